//! Payloads beside their message: memory that nobody can change any more (memfd_create(2) with seals), passed as a descriptor.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use ganger_sys::memfd;
use rustix::fs::{FileType, OFlags, SealFlags};

use super::types::BODY_MAX;

/// Why a body is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It could be changed while somebody reads it.
    #[error("the body's descriptor is no memfd with the seals write, shrink and grow")]
    NotSealed,
    /// Its length is not what was said.
    #[error("the body has {is} bytes, the message says {said}")]
    OtherSize {
        /// What it has.
        is: u64,
        /// What the message says.
        said: u64,
    },
    /// More than one process should hand to another at a time.
    #[error("the body has {is} bytes, the most is {BODY_MAX}")]
    TooLarge {
        /// What it has.
        is: u64,
    },
    /// A descriptor of the sender that is no file.
    #[error("the sender's descriptor {fd} is no file")]
    NoFile {
        /// Which.
        fd: u32,
    },
    /// A file that the sender only knows of: the daemon may be able to read what its sender may not.
    #[error("the sender's descriptor {fd} is no file of its own that has no name any more")]
    NotItsOwn {
        /// Which.
        fd: u32,
    },
    /// A system call failed.
    #[error("the body: {step}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The error.
        source: io::Error,
    },
}

fn failed<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> BodyError {
    move |source| BodyError::Io { step, source: source.into() }
}

/// Checks what came with a message.
///
/// # Errors
/// It is not sealed, or not as long as was said.
pub(super) fn check(fd: impl AsFd, said: u64) -> Result<(), BodyError> {
    let seals = rustix::fs::fcntl_get_seals(&fd).map_err(|_| BodyError::NotSealed)?;
    let needed = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW;
    if !seals.contains(needed) {
        return Err(BodyError::NotSealed);
    }
    let stat = rustix::fs::fstat(&fd).map_err(failed("fstat"))?;
    sized(u64::try_from(stat.st_size).unwrap_or(0), said)
}

const fn sized(is: u64, said: u64) -> Result<(), BodyError> {
    if is > BODY_MAX {
        return Err(BodyError::TooLarge { is });
    }
    if is != said { Err(BodyError::OtherSize { is, said }) } else { Ok(()) }
}

/// A sealed memfd of these bytes.
///
/// # Errors
/// A system call failed.
pub fn seal(bytes: &[u8]) -> Result<OwnedFd, BodyError> {
    memfd::sealed("ganger-body", bytes).map_err(failed("memfd"))
}

fn create() -> Result<File, BodyError> {
    memfd::create("ganger-body").map_err(failed("memfd_create"))
}

/// Copies the file that is descriptor `fd` of process `pid` into memory of our own: its owner may still write to it. Blocks.
///
/// Opening it again asks for *our* rights, and the sender may hold a file by `O_PATH` that it may not read. So what was opened (not
/// what the path named a moment before) must belong to the process's user, and have no name: it was made to be lent.
///
/// # Errors
/// It can't be opened (another user's process), is not the sender's own, is no file, or not as long as was said.
pub(super) fn copy_of(pid: u32, fd: u32, said: u64) -> Result<OwnedFd, BodyError> {
    let path = format!("/proc/{pid}/fd/{fd}");
    // A pipe or a device must not hold us up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let meta = std::fs::metadata(&path).map_err(failed("open the sender's descriptor"))?;
    if !meta.is_file() {
        return Err(BodyError::NoFile { fd });
    }
    sized(meta.len(), said)?;
    let from = rustix::fs::open(Path::new(&path), flags, rustix::fs::Mode::empty())
        .map_err(failed("open the sender's descriptor"))?;
    let stat = rustix::fs::fstat(&from).map_err(failed("fstat"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(BodyError::NoFile { fd });
    }
    let process =
        std::fs::metadata(format!("/proc/{pid}")).map_err(failed("look at the sender"))?;
    if stat.st_uid != process.uid() || stat.st_nlink != 0 {
        return Err(BodyError::NotItsOwn { fd });
    }
    let mut into = create()?;
    let is = io::copy(&mut File::from(from).take(said), &mut into).map_err(failed("copy"))?;
    sized(is, said)?;
    memfd::seal(into).map_err(failed("seal"))
}

/// All of a sealed body.
///
/// # Errors
/// A system call failed.
pub(super) fn read(fd: &OwnedFd, size: u64) -> Result<Vec<u8>, BodyError> {
    let file = File::from(fd.try_clone().map_err(failed("dup"))?);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    // By place: all who have this descriptor share one position.
    file.read_exact_at(&mut bytes, 0).map_err(failed("read"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn only_what_nobody_can_change_is_taken() {
        let good = seal(b"hello").unwrap();
        check(&good, 5).unwrap();
        assert!(matches!(check(&good, 4), Err(BodyError::OtherSize { is: 5, said: 4 })));
        assert_eq!(read(&good, 5).unwrap(), b"hello");
        assert_eq!(read(&good, 5).unwrap(), b"hello", "whatever was read before");
        let mut open = create().unwrap();
        open.write_all(b"hello").unwrap();
        assert!(matches!(check(&open, 5), Err(BodyError::NotSealed)));
        assert!(matches!(check(File::open("/dev/null").unwrap(), 0), Err(BodyError::NotSealed)));
    }

    #[test]
    fn a_file_of_another_process_is_copied() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let (pid, fd) = (std::process::id(), u32::try_from(file.as_raw_fd()).unwrap());
        let copy = copy_of(pid, fd, 10).unwrap();
        file.rewind().unwrap();
        file.write_all(b"x").unwrap();
        check(&copy, 10).unwrap();
        assert_eq!(read(&copy, 10).unwrap(), b"0123456789");
        assert!(matches!(copy_of(pid, fd, 11), Err(BodyError::OtherSize { .. })));
        let own_fd = |file: &File| u32::try_from(file.as_raw_fd()).unwrap();
        let refused = |file: &File, size| {
            matches!(copy_of(pid, own_fd(file), size), Err(BodyError::NotItsOwn { .. }))
        };
        let named = tempfile::NamedTempFile::new().unwrap();
        assert!(refused(named.as_file(), 0), "it has a name: it was not made to be lent");
        if rustix::process::geteuid().is_root() {
            let nobody = Some(rustix::fs::Uid::from_raw(65_534));
            rustix::fs::fchown(&file, nobody, None).unwrap();
            assert!(
                refused(&file, 10),
                "somebody else's, which we could read and its holder maybe not"
            );
        }
        let (reader, _writer) = std::io::pipe().unwrap();
        let fd = u32::try_from(reader.as_raw_fd()).unwrap();
        assert!(matches!(copy_of(pid, fd, 0), Err(BodyError::NoFile { .. })));
    }
}
