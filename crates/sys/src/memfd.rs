//! Content in memory that nobody can change any more (memfd_create(2) with seals), to be passed as a descriptor.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// A file in memory to be filled and then [`seal`]ed. Close-on-exec.
///
/// # Errors
/// The system call failed.
pub fn create(name: &str) -> io::Result<File> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into())
}

/// From here on it is neither written nor made longer or shorter; its position is its start.
///
/// # Errors
/// The system call failed, as for a file that was not made by [`create`].
pub fn seal(mut file: File) -> io::Result<OwnedFd> {
    file.rewind()?;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

/// Sealed memory with this content.
///
/// # Errors
/// A system call failed.
pub fn sealed(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = create(name)?;
    file.write_all(content)?;
    seal(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn content_is_read_from_its_start_and_can_not_be_changed() {
        let mut file = File::from(sealed("test", b"{\"a\":1}").unwrap());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"a\":1}");
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
    }
}
