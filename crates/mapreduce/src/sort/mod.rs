//! Sorting more than memory holds, and putting sorted runs together.
//!
//! ```text
//! push ─▶ chunk (fits the cache) ─ full: sorted by eight bytes at a time ─▶ run: blocks of 32 KiB, lz4, checksum
//!                                                                            │ in memory while the budget lasts,
//!                                                                            ▼ else merged into one run in a file
//!                                                    ranges of keys ─▶ loser tree ─▶ records in order, keys in groups
//! ```
//!
//! A chunk is sorted and packed while it is in the cache; merging then reads every run from front to back. Packed text is
//! a third of its size or less, so what needs a file is what is larger than the budget when packed. All slots take from
//! one [`Budget`]. A block that is not as it was written is found by its checksum and told with file and place.

mod budget;
mod chunk;
mod error;
mod kept;
mod merge;
mod ranges;
mod run;
mod sorter;
mod tree;

pub use budget::Budget;
pub use error::SortError;
pub use kept::{RunFile, merge_into};
pub use merge::{Merge, Record};
pub use ranges::{Cut, ranges};
pub use run::{Run, Spills};
pub use sorter::Sorter;

#[cfg(test)]
mod tests;
