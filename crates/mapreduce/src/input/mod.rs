//! What a job reads: files, globs, standard input; lines and other records; plain, gzip or zstd.
//!
//! [`Inputs`] lists the files and tells everything that can be known before work starts (nothing matches, a file can't be
//! read, is a folder, is not what its name says). [`Splits`] cuts their bytes, laid end to end, into equal ranges; a
//! record belongs to the split in which it starts, so a split's end is found by looking at a few bytes behind it.
//! [`Blocks`] reads a piece of a split as blocks of whole records.

mod blocks;
mod csv;
mod error;
mod format;
mod list;
mod open;
mod splits;

pub use blocks::{BLOCK, Block, Blocks};
pub use error::InputError;
pub use format::{Format, Records};
pub use list::{Inputs, Packing};
pub use splits::{Piece, Split, SplitSize, Splits};

#[cfg(test)]
mod tests;
