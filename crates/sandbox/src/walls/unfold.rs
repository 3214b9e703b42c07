//! Paths without links, remembered: a path that leads to the same file as before, which still lies where it lay, went through the links that
//! were found then, or through others that lead there as well. One look at each end instead of one at each part.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat2};

/// As many links in a path as the kernel follows (MAXSYMLINKS).
const LINKS_MAX: usize = 40;
/// More paths than the programs of a machine have that start walled again and again; one more forgets all.
const KNOWN_MAX: usize = 4096;

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfolded {
    /// Without links.
    pub(super) real: PathBuf,
    /// The links that it goes through, and what they say.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    /// Device and inode of what is there.
    pub(super) file: (u64, u64),
    /// It is a folder.
    pub(super) folder: bool,
}

static KNOWN: Mutex<BTreeMap<PathBuf, Unfolded>> = Mutex::new(BTreeMap::new());

impl Unfolded {
    /// Of an absolute path.
    ///
    /// # Errors
    /// Nothing is there, or it can't be looked at; that is not remembered.
    pub(super) fn known(path: &Path) -> io::Result<Self> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(path)
            && found.holds(path)
        {
            return Ok(found.clone());
        }
        let found = Self::of(path)?;
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(path.to_path_buf(), found.clone());
        Ok(found)
    }

    /// The same file at both ends, and no link in what is to be without.
    fn holds(&self, path: &Path) -> bool {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let opened = openat2(CWD, &self.real, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
        let there =
            opened.and_then(fstat).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.file);
        let plain = self.links.is_empty() && self.real == path;
        there && (plain || fs::metadata(path).is_ok_and(|meta| identity(&meta) == self.file))
    }

    fn of(path: &Path) -> io::Result<Self> {
        let mut open: Vec<PathBuf> = parts(path);
        open.reverse();
        let mut real = PathBuf::from("/");
        let mut links = Vec::new();
        let mut meta = fs::symlink_metadata(&real)?;
        while let Some(part) = open.pop() {
            if part == Path::new("..") {
                real.pop();
                meta = fs::symlink_metadata(&real)?;
                continue;
            }
            let here = real.join(&part);
            meta = fs::symlink_metadata(&here)?;
            if !meta.is_symlink() {
                real = here;
                continue;
            }
            if links.len() >= LINKS_MAX {
                return Err(rustix::io::Errno::LOOP.into());
            }
            let to = fs::read_link(&here)?;
            if to.is_absolute() {
                real = PathBuf::from("/");
            }
            open.extend(parts(&to).into_iter().rev());
            links.push((here, to));
        }
        // The last part may have been a link to the root.
        if real == Path::new("/") {
            meta = fs::symlink_metadata(&real)?;
        }
        Ok(Self { real, links, file: identity(&meta), folder: meta.is_dir() })
    }
}

fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

fn parts(path: &Path) -> Vec<PathBuf> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    };
    path.components().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_leads_elsewhere_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        for name in ["one", "two"] {
            fs::create_dir(base.join(name)).unwrap();
            fs::write(base.join(name).join("file"), name).unwrap();
        }
        symlink("one", base.join("link")).unwrap();
        let path = base.join("link/file");
        let first = Unfolded::known(&path).unwrap();
        assert_eq!(first.real, base.join("one/file"));
        assert_eq!(first.links, [(base.join("link"), PathBuf::from("one"))]);
        assert_eq!(Unfolded::known(&path).unwrap(), first);
        // The link leads elsewhere.
        fs::remove_file(base.join("link")).unwrap();
        symlink("two", base.join("link")).unwrap();
        assert_eq!(Unfolded::known(&path).unwrap().real, base.join("two/file"));
        // Another file lies there.
        fs::write(base.join("new"), "new").unwrap();
        fs::rename(base.join("new"), base.join("two/file")).unwrap();
        let meta = fs::metadata(base.join("two/file")).unwrap();
        assert_eq!(Unfolded::known(&path).unwrap().file, identity(&meta));
        // Its folder lies elsewhere, and what was its place is a link to it.
        let (plain, moved) = (base.join("one/file"), base.join("moved"));
        assert_eq!(Unfolded::known(&plain).unwrap().real, plain);
        fs::rename(base.join("one"), &moved).unwrap();
        symlink("moved", base.join("one")).unwrap();
        assert_eq!(Unfolded::known(&plain).unwrap().real, moved.join("file"));
        // The file lies elsewhere, and what was its place is a link to it.
        let plain = base.join("two/file");
        assert_eq!(Unfolded::known(&plain).unwrap().links, []);
        fs::rename(&plain, base.join("moved/other")).unwrap();
        symlink("../moved/other", &plain).unwrap();
        assert_eq!(Unfolded::known(&plain).unwrap().real, base.join("moved/other"));
        assert_eq!(Unfolded::known(&path).unwrap().real, base.join("moved/other"));
        fs::remove_file(base.join("moved/other")).unwrap();
        assert!(Unfolded::known(&path).is_err() && Unfolded::known(&plain).is_err());
    }
}
