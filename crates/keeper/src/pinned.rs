//! Programs that are executed by the descriptor that was compared: nothing can take their place between the look and the start.
//!
//! The child executes `/proc/self/fd/N`: it has the keeper's descriptors until exec, which closes this one. The way through `/proc` needs
//! nothing of the child's routine; it is not for scripts, whose interpreter would look for a descriptor that is closed.

use std::os::fd::{AsRawFd, OwnedFd};

use ganger_sandbox::Identified;
use rustix::fs::{Mode, OFlags};

use crate::launch::Failure;
use crate::wire::Pin;

/// Opens the program and compares it.
pub(crate) fn open(program: &str, pin: &Pin) -> Result<OwnedFd, Failure> {
    let fail = |errno: rustix::io::Errno| Failure::io("pin", program, &errno.into());
    // O_PATH: nothing is read, a pipe or a device does nothing.
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(program, flags, Mode::empty()).map_err(fail)?;
    let is = rustix::fs::fstat(&fd).map_err(fail)?;
    let same = (is.st_dev, is.st_ino) == (pin.dev, pin.ino)
        && u64::try_from(is.st_size) == Ok(pin.size)
        && (is.st_ctime, u64::from(pin.ctime_ns)) == (pin.ctime_s, is.st_ctime_nsec);
    if same {
        return Ok(fd);
    }
    let detail = format!(
        "{program} is not the file that was decided on: look at it, then load the policy again"
    );
    Err(Failure { step: "pin", errno: 0, detail })
}

/// The path by which a child executes it.
pub(crate) fn path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// What tells it from every other file: for a child that finds it in mounts of its own.
pub(crate) const fn identified(pin: &Pin) -> Identified {
    Identified { device: pin.dev, inode: pin.ino }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn another_file_of_the_same_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        std::fs::write(&path, "one").unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        let pin = Pin {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            ctime_s: meta.ctime(),
            ctime_ns: u32::try_from(meta.ctime_nsec()).unwrap(),
        };
        let name = path.to_str().unwrap();
        assert!(open(name, &pin).is_ok());
        std::fs::write(dir.path().join("other"), "two").unwrap();
        std::fs::rename(dir.path().join("other"), &path).unwrap();
        let failure = open(name, &pin).unwrap_err();
        assert_eq!(failure.step, "pin");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(open(link.to_str().unwrap(), &pin).is_err());
    }
}
