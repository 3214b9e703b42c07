//! Jobs over data: what is read, how it is cut, folded, sorted, merged and committed.
//!
//! ```text
//! patterns ─▶ Inputs ─▶ Splits (arithmetic, nothing is stored per split) ─▶ Blocks of whole records
//!                                                                             │ operator, one per slot
//!                         KeyTable (fold by key, bounded) ◀───────────────────┤
//!                         Sorter   (cache-sized runs, spills) ◀───────────────┘
//!                              └─▶ sorted runs ─▶ loser tree ─▶ groups ─▶ output in the order of keys
//! ```
//!
//! [`job`] runs commands over splits, with a plan, a journal and the keeper's children; [`local`] feeds built-in operators on threads of this process alone, without any of these.
//!
//! No runtime: slots are threads that ask for the next split. Everything is in memory up to a budget
//! that all slots share; what does not fit is written as checked, compressed blocks and merged back. The same input gives
//! the same bytes whatever the number of slots, the size of splits or the budget.

pub mod input;
pub mod job;
pub mod local;
pub mod operators;
pub mod plan;
pub mod sort;
pub mod table;
