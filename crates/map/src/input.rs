//! Where values come from: words, files, standard input, globs; combined or linked, split into columns, packed into jobs.
//!
//! ```text
//! Intake ─bytes─▶ Records ─values─▶ Rows ─one row per combination─▶ Packer ─values of a job─▶
//! ```
//!
//! Nothing here blocks: what has nothing to read yet says [`Step::Pending`], and its descriptor can be waited for. A single
//! source is streamed; several are read to their end first, because each is gone through again and again.

mod blocks;
mod columns;
mod intake;
mod pack;
mod records;
mod rows;

pub use blocks::{Blocks, Boundary, Cut};
pub use columns::{Columns, Trim};
pub use pack::{Pack, Packer};
pub use rows::{Rows, Shape, Source, glob};

/// What the next look brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    /// One.
    Item(T),
    /// Nothing yet.
    Pending,
    /// There will be no more.
    End,
}

/// An argument's longest form with its NUL (execve(2), MAX_ARG_STRLEN: 32 pages of 4 KiB).
pub const MAX_VALUE: usize = 128 * 1024 - 1;

impl<T> Step<T> {
    /// The same with another item.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Step<U> {
        match self {
            Self::Item(item) => Step::Item(change(item)),
            Self::Pending => Step::Pending,
            Self::End => Step::End,
        }
    }
}
