//! The real [`Identify`]: program files of this machine.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::identity::{Identify, Identity, Shebang, Stamp};

/// The kernel reads so much of a script's first line (BINPRM_BUF_SIZE).
const SHEBANG_MAX: usize = 256;
/// Programs are at most some hundred megabytes; a sparse file of terabytes is none.
const HASHED_MAX: u64 = 4 << 30;
/// Read at once.
const BLOCK: usize = 128 << 10;
/// It may have become a pipe since it was looked at.
const NO_WAIT: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
/// The kernel follows at most so many links (MAXSYMLINKS).
const LINKS_MAX: usize = 40;

/// This machine's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Identify for Disk {
    fn stamp(&self, path: &str) -> io::Result<Stamp> {
        Ok(stamp(&fs::metadata(path)?))
    }

    fn inspect(&self, path: &str, hash: bool) -> io::Result<Identity> {
        let real = fs::canonicalize(path)?;
        // One descriptor for all that follows: what is looked at is one file, whatever happens to the name.
        // Nothing else is opened: a pipe would wait for its other end, a device would begin to do something.
        if !fs::metadata(&real)?.is_file() {
            return Err(io::Error::other("this is not a file"));
        }
        let mut file = File::options().read(true).custom_flags(NO_WAIT).open(&real)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("this is not a file"));
        }
        let mut first = Vec::with_capacity(SHEBANG_MAX);
        (&mut file).take(SHEBANG_MAX as u64).read_to_end(&mut first)?;
        let sha256 = if hash { Some(sha256(&first, &mut file)?) } else { None };
        let mut value = [0u8; 64];
        let capabilities = rustix::fs::fgetxattr(&file, "security.capability", &mut value[..]);
        let real_text =
            real.to_str().ok_or_else(|| io::Error::other("its real path is not UTF-8"))?.to_owned();
        Ok(Identity {
            writable: writable(Path::new(path), &meta)?,
            real: real_text,
            stamp: stamp(&meta),
            mode: meta.permissions().mode(),
            capabilities: match capabilities {
                Ok(_) | Err(rustix::io::Errno::RANGE) => true,
                Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => false,
                // Some that can't be read here (of another user namespace) are some.
                Err(error) => return Err(error.into()),
            },
            script: shebang(&first),
            sha256,
        })
    }
}

fn stamp(meta: &Metadata) -> Stamp {
    let nanos = u32::try_from(meta.ctime_nsec()).unwrap_or(0);
    Stamp { dev: meta.dev(), ino: meta.ino(), size: meta.size(), ctime: (meta.ctime(), nanos) }
}

fn sha256(first: &[u8], file: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(first);
    let mut rest = file.take(HASHED_MAX);
    let mut block = vec![0u8; BLOCK];
    loop {
        let read = rest.read(&mut block)?;
        if read == 0 {
            break;
        }
        hash.update(&block[..read]);
    }
    if rest.limit() == 0 {
        return Err(io::Error::other("it is too large to be a program"));
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn shebang(first: &[u8]) -> Option<Shebang> {
    let line = first.strip_prefix(b"#!")?;
    let line = line.split(|b| *b == b'\n').next().unwrap_or(line);
    let line = String::from_utf8_lossy(line);
    let line = line.trim_matches([' ', '\t']);
    let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let argument = argument.trim_matches([' ', '\t']);
    Some(Shebang {
        interpreter: interpreter.to_owned(),
        argument: (!argument.is_empty()).then(|| argument.to_owned()),
    })
}

/// The first thing on the way that others may change: the file, a folder, or a folder that holds a link of it.
fn writable(path: &Path, file: &Metadata) -> io::Result<Option<String>> {
    let own = rustix::process::geteuid().as_raw();
    let open = |meta: &Metadata| {
        meta.permissions().mode() & 0o022 != 0 || (meta.uid() != 0 && meta.uid() != own)
    };
    if open(file) {
        return Ok(Some(path.display().to_string()));
    }
    let mut at = PathBuf::from("/");
    let mut names: Vec<_> =
        path.components().rev().map(|part| part.as_os_str().to_owned()).collect();
    let mut links = 0;
    while let Some(name) = names.pop() {
        if name == "/" {
            at = PathBuf::from("/");
        } else if name == ".." {
            at.pop();
        } else {
            at.push(name);
        }
        let meta = fs::symlink_metadata(&at)?;
        if meta.is_symlink() {
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::other("too many symbolic links"));
            }
            let to = fs::read_link(&at)?;
            at.pop();
            names.extend(to.components().rev().map(|part| part.as_os_str().to_owned()));
        } else if meta.is_dir() && open(&meta) {
            return Ok(Some(at.display().to_string()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_has_a_stamp_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tool");
        fs::write(&path, "#!/usr/bin/env  python3 \nprint(1)\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let text = path.to_str().unwrap();
        let found = Disk.inspect(text, true).unwrap();
        assert_eq!(found.stamp, Disk.stamp(text).unwrap());
        assert_eq!(found.mode & 0o7777, 0o755);
        let script = found.script.unwrap();
        assert_eq!(
            (script.interpreter.as_str(), script.argument.as_deref()),
            ("/usr/bin/env", Some("python3"))
        );
        let wanted = Sha256::digest(fs::read(&path).unwrap());
        let wanted: String = wanted.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found.sha256, Some(wanted));

        // Another file under the same name: by rename, by link and by symbolic link.
        let other = dir.path().join("other");
        fs::write(&other, "x").unwrap();
        let mut seen = vec![found.stamp];
        fs::rename(&other, &path).unwrap();
        seen.push(Disk.stamp(text).unwrap());
        fs::write(&other, "y").unwrap();
        fs::remove_file(&path).unwrap();
        fs::hard_link(&other, &path).unwrap();
        seen.push(Disk.stamp(text).unwrap());
        fs::write(dir.path().join("third"), "z").unwrap();
        fs::remove_file(&path).unwrap();
        symlink(dir.path().join("third"), &path).unwrap();
        seen.push(Disk.stamp(text).unwrap());
        for (at, one) in seen.iter().enumerate() {
            assert!(seen[at + 1..].iter().all(|other| other != one), "{seen:?}");
        }
        assert!(Disk.inspect("/nowhere/at/all", false).is_err());
        assert!(Disk.inspect("/", false).is_err());
        assert!(Disk.inspect("/dev/null", false).is_err());
    }

    #[test]
    fn what_others_may_change_is_found_behind_links_too() {
        // Not below a /tmp that everybody may write to: that would be found instead of what is looked for.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["closed", "open"] {
            fs::create_dir(base.join(folder)).unwrap();
            fs::set_permissions(base.join(folder), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let file = base.join("closed/tool");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        symlink("../closed/tool", base.join("open/link")).unwrap();
        let found = |path: PathBuf| Disk.inspect(path.to_str().unwrap(), false).unwrap().writable;
        // A checkout in a folder of everybody's is found first.
        let above = found(file.clone());
        if above.is_some() {
            println!("skipped: {above:?} above this checkout can be written by others");
            return;
        }
        fs::set_permissions(base.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        let open = base.join("open").display().to_string();
        assert_eq!(found(base.join("open/link")), Some(open));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o775)).unwrap();
        assert_eq!(found(file.clone()), Some(file.display().to_string()));
    }
}
