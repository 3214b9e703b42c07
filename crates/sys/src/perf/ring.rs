//! The ring between kernel and reader: a page of words (head, tail) and a power of two of pages of records.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::Event;

/// Where `data_head` and `data_tail` stand in the first page (`struct perf_event_mmap_page`).
const HEAD_AT: usize = 1024;
const TAIL_AT: usize = 1032;

/// A ring that one processor's events write to.
#[derive(Debug)]
pub struct Ring {
    at: NonNull<u8>,
    page: usize,
    data: usize,
}

// SAFETY: the mapping belongs to this value alone, and all its uses take `&mut self`.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps a ring of `pages` pages of data, a power of two, for `event`.
    ///
    /// # Errors
    /// EPERM: over what this user may lock (`kernel.perf_event_mlock_kb`, 516 KiB a processor, and RLIMIT_MEMLOCK beyond it);
    /// ENOMEM; EINVAL: not a power of two.
    pub fn map(event: &Event, pages: usize) -> io::Result<Self> {
        let page = rustix::param::page_size();
        if !pages.is_power_of_two() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let data = page * pages;
        let (rights, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the kernel chooses a place that nothing uses.
        let at =
            unsafe { mmap(std::ptr::null_mut(), page + data, rights, flags, event.0.as_fd(), 0) }?;
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self { at, page, data })
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: inside the first page of the mapping, aligned to 8; the kernel and we change it by whole words.
        unsafe { self.at.add(at).cast::<AtomicU64>().as_ref() }
    }

    /// Moves all records that are there to the end of `to`, and gives the ring's room back.
    pub fn drain(&mut self, to: &mut Vec<u8>) {
        // Acquire: the records are written before the head; release: they are copied before the tail moves.
        let head = self.word(HEAD_AT).load(Ordering::Acquire);
        let tail = self.word(TAIL_AT).load(Ordering::Relaxed);
        // Never more than the ring holds, whatever stands in the words.
        let length = usize::try_from(head.wrapping_sub(tail)).unwrap_or(0).min(self.data);
        let begin = (tail % self.data as u64) as usize;
        let first = length.min(self.data - begin);
        for (from, length) in [(begin, first), (0, length - first)] {
            // SAFETY: inside the data pages, which the kernel doesn't write to between tail and head.
            let bytes = unsafe {
                std::slice::from_raw_parts(self.at.add(self.page + from).as_ptr(), length)
            };
            to.extend_from_slice(bytes);
        }
        self.word(TAIL_AT).store(head, Ordering::Release);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and nothing refers to it any more. That it fails leaves pages mapped.
        let _mapped = unsafe { munmap(self.at.as_ptr().cast(), self.page + self.data) };
    }
}
