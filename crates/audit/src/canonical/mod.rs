//! The one form of a line: what may be written in two ways is written in one.
//!
//! * Objects have their keys in byte order, each once; no white space anywhere.
//! * Numbers are integers of 64 bits, in decimal, without sign where they are not negative, without leading zeros.
//! * Strings hold printable ASCII (0x20-0x7e) as it is, but `"` and `\` behind a `\`; **everything else** is `\uXXXX` with
//!   lower-case digits, beyond the basic plane as a surrogate pair. So no control byte (C0, C1, DEL), no bidirectional
//!   override, no line separator and no look-alike letter ever reaches a file, a pager or a terminal, and a text can't end
//!   its line. One rule without a list of dangerous characters has no character that was forgotten.
//! * Depth is bounded by [`DEPTH_MAX`].
//!
//! [`write()`] makes the form, [`check()`] accepts nothing else.

mod check;
mod write;

pub use check::{Malformed, Member, check, members};
pub use write::{Unwritable, shown, string, write};

/// Objects and arrays within each other: twice what the records need.
pub const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests;
