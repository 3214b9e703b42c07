//! Operators that need no process: each slot feeds one with blocks of whole records and all are merged in the end.

mod decimal;
mod grep;
mod words;

pub use decimal::Decimal;
pub use grep::Grep;
pub use words::{WordCount, is_space};

#[cfg(test)]
mod tests;
