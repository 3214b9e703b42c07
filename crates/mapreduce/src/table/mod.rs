//! Folding values by key in memory: keys are interned once, values folded in place.
//!
//! Keys of up to 16 bytes, nearly all words and numbers of real text, lie in the slots of an open table as two words of
//! eight bytes; longer ones in one growing arena. Nothing is allocated per record. [`KeyTable::memory`] tells when it is time to
//! take the content out, sorted by key, as a run that is merged later.

mod keys;
mod sorted;

pub use keys::{KeyTable, SHORT, ShortKey};
pub use sorted::{Sorted, merged};

/// What is kept for a key. Folding is associative and commutative: any order of records gives the same.
pub trait Fold: Copy {
    /// Stands in an empty slot and is never folded in.
    const ABSENT: Self;

    /// Whether it is [`Fold::ABSENT`].
    fn is_absent(&self) -> bool;

    /// Takes the other's records in.
    fn fold(&mut self, other: Self);
}

/// Counts; zero is absent.
impl Fold for u64 {
    const ABSENT: Self = 0;

    #[inline]
    fn is_absent(&self) -> bool {
        *self == 0
    }

    #[inline]
    fn fold(&mut self, other: Self) {
        *self = self.saturating_add(other);
    }
}

#[cfg(test)]
mod tests;
