//! A few words in memory that outlives the process that writes them: a sealed memfd, mapped, whose descriptor somebody else keeps.
//!
//! Each word is an atomic, so what another process left half done is at worst an old word beside a new one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// How many words there are.
pub const WORDS: usize = 8;
const BYTES: usize = WORDS * size_of::<AtomicU64>();
/// With these nobody can take the memory away under the mapping (SIGBUS).
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// Words shared with whoever has the descriptor.
#[derive(Debug)]
pub struct Shared(NonNull<[AtomicU64; WORDS]>);

// SAFETY: it is only ever used as a shared reference to atomics, which any thread may use; the mapping lives as long as this.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// A descriptor for [`Shared::open`], all words 0. Close-on-exec.
///
/// # Errors
/// A system call failed.
pub fn create(name: &str) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, BYTES as u64)?;
    fcntl_add_seals(&fd, SEALS)?;
    Ok(fd)
}

impl Shared {
    /// Maps what [`create`] made, here or in another process.
    ///
    /// # Errors
    /// It is something else, or a system call failed.
    pub fn open(fd: impl AsFd) -> io::Result<Self> {
        let size = rustix::fs::fstat(&fd)?.st_size;
        if !fcntl_get_seals(&fd)?.contains(SEALS) || size != BYTES as i64 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the memory of words"));
        }
        let (rights, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the kernel chooses a place that nothing uses; the file has this size and the seals keep it.
        let at = unsafe { mmap(std::ptr::null_mut(), BYTES, rights, flags, fd, 0) }?;
        NonNull::new(at.cast()).map(Self).ok_or_else(|| io::ErrorKind::Other.into())
    }

    /// The words.
    #[must_use]
    pub const fn words(&self) -> &[AtomicU64; WORDS] {
        // SAFETY: mapped, of this size, aligned to a page, and unmapped only by drop; atomics may be changed by others.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this length, and nothing refers to it any more. That it fails leaves a page mapped.
        let _mapped = unsafe { munmap(self.0.as_ptr().cast(), BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn words_outlive_who_wrote_them() {
        let fd = create("test").unwrap();
        let first = Shared::open(&fd).unwrap();
        first.words()[3].store(7, Ordering::Relaxed);
        drop(first);
        let second = Shared::open(fd.try_clone().unwrap()).unwrap();
        drop(fd);
        assert_eq!(
            second.words().each_ref().map(|w| w.load(Ordering::Relaxed)),
            [0, 0, 0, 7, 0, 0, 0, 0]
        );
        let other = crate::memfd::sealed("test", &[0; BYTES]).unwrap();
        assert!(Shared::open(crate::memfd::create("test").unwrap()).is_err());
        assert!(Shared::open(&other).is_err(), "nobody may write it");
    }
}
