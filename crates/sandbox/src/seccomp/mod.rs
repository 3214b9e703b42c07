//! Which system calls a child may make: rules, and the filter of classic BPF that they become.
//!
//! Nothing is allowed that isn't listed. What is not listed fails with EPERM when the call is known here, and with ENOSYS when it is
//! not, so that a C library tries the older way as it would on an older kernel. A call by another ABI of the same machine (32-bit or
//! x32 numbers on x86-64) ends the process: the numbers mean something else there.
//!
//! For commands under policies there is a second filter of each set, in which calls that only attacks make end the process: its end is
//! then evidence ([`Calls::watched`]).
//!
//! ```text
//! arch? ── other ─► kill          ┌─ range: allow
//!   │                             ├─ range: errno
//! number ── binary search ────────┼─ one call: look at an argument, then allow or errno
//!   (over ranges of one verdict)  └─ …
//! ```
//!
//! Ranges, not single numbers: a filter is checked and compiled by the kernel for each child, which costs about a microsecond an
//! instruction.

mod compile;
mod rules;
mod sets;
#[cfg(test)]
mod tests;

pub use compile::Filter;
pub use rules::{Check, Ends, Rules, Verdict};
pub use sets::Calls;

/// The name of a call of this ABI, by its number.
#[must_use]
pub fn name_of(number: u32) -> Option<&'static str> {
    syscalls::Sysno::new(number as usize).map(|call| call.name())
}
