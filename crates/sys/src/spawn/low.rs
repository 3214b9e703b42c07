//! Numbers below 64 that are kept for children, so that a start costs the same however many descriptors are open.
//!
//! clone copies the table of descriptors, and the child closes every copy as it execs: with thousands open that is most
//! of a start. A child made with CLONE_FILES shares the table instead and takes a copy of the part below 64 for itself:
//! close_range(2) with CLOSE_RANGE_UNSHARE copies only what lies below the range, in every kernel that has it (5.9).
//!
//! ```text
//! parent:  source ──dup3──▶ kept number (below 64)                      ┌─▶ kept number: /dev/null again
//!                              └── clone3(CLONE_FILES) ──▶ child: session, cgroups ── unshare ── descriptors …
//! ```
//!
//! Until it has unshared, the child changes no descriptor: a failure before that leaves the parent's table as it is.
//! Kernels before 6.11 without the fix of CVE-2024-45025 leave marks of higher numbers in the copy, by which the child
//! would skip free numbers; [`LowNumbers::reserve`] tries that out, and refuses.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::{DupFlags, dup3};

use super::Spec;
use super::prepared::Prepared;

/// Where the child's own part of the table ends. 64 is the smallest table there is and a whole word of the kernel's
/// bitmaps; other numbers were rounded wrongly before 5.18.
pub(super) const END: i32 = 64;

/// Numbers below 64 at which the parent holds nothing of use; lent to one child at a time, see the module.
#[derive(Debug)]
pub struct LowNumbers {
    kept: Vec<OwnedFd>,
    null: File,
}

impl LowNumbers {
    /// Most descriptors that a child is given this way; one with more is started by a copy of the whole table.
    pub const MOST: usize = 24;

    /// Keeps the lowest free numbers. To be called before many descriptors are open.
    ///
    /// # Errors
    /// There are not enough free numbers below 64, or this kernel can't take a part of a table (see the module). Children
    /// can be started all the same, by [`Spec::spawn`](super::Spec::spawn).
    pub fn reserve() -> io::Result<Self> {
        let null = File::open("/dev/null")?;
        super::probe::unshares_well(&null)?;
        let mut kept = Vec::with_capacity(Self::MOST);
        while kept.len() < Self::MOST {
            let number = rustix::io::fcntl_dupfd_cloexec(&null, 3)?;
            if number.as_raw_fd() >= END {
                let free = kept.len();
                let why = format!("only {free} of {} numbers below {END} are free", Self::MOST);
                return Err(io::Error::other(why));
            }
            kept.push(number);
        }
        Ok(Self { kept, null })
    }

    /// Moves a descriptor out of the numbers that could be kept; where that fails it stays where it is.
    #[must_use]
    pub fn leave(fd: OwnedFd) -> OwnedFd {
        if fd.as_raw_fd() >= END {
            return fd;
        }
        rustix::io::fcntl_dupfd_cloexec(&fd, END).unwrap_or(fd)
    }

    /// Gives the descriptors of a prepared child low numbers; `None` when it can't be started this way.
    pub(super) fn lend(&mut self, spec: &Spec<'_>, child: &mut Prepared) -> Option<Lent<'_>> {
        // One more is for the report of failures. What is to keep its number may have a high one.
        if spec.walls.is_some() || !spec.keep.is_empty() || spec.fds.len() >= self.kept.len() {
            return None;
        }
        let mut lent = Lent { low: self, used: 0 };
        let mut fds = Vec::with_capacity(spec.fds.len());
        for ((source, _), (number, target)) in spec.fds.iter().zip(&child.fds) {
            fds.push((if *number < END { *number } else { lent.put(*source)? }, *target));
        }
        child.fds = fds;
        child.shared = true;
        Some(lent)
    }
}

/// Numbers while a child uses them. Dropped when it has its own copy of them, or is gone: they are free again then.
pub(super) struct Lent<'a> {
    low: &'a mut LowNumbers,
    used: usize,
}

impl Lent<'_> {
    /// A low number for a descriptor, close-on-exec.
    pub(super) fn put(&mut self, fd: BorrowedFd<'_>) -> Option<i32> {
        let place = self.low.kept.get_mut(self.used)?;
        dup3(fd, place, DupFlags::CLOEXEC).ok()?;
        self.used += 1;
        Some(place.as_raw_fd())
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        for index in (0..self.used).rev() {
            if dup3(&self.low.null, &mut self.low.kept[index], DupFlags::CLOEXEC).is_err() {
                // What was lent must not stay open here: better one number less.
                self.low.kept.swap_remove(index);
            }
        }
    }
}
