//! Operators that need no process: each slot feeds one with blocks of whole records and all are merged in the end.

mod lines;
mod stats;
mod top;
mod words;

pub use lines::{Grep, Wc};
pub use stats::{Decimal, Stats};
pub use top::TopK;
pub use words::{WordCount, is_space};

#[cfg(test)]
mod tests;
