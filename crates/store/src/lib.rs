//! Durable state by intent: the [`Store`] trait, its SQLite implementation, migrations, the group-commit writer.
//!
//! Owns the one file that must survive everything: tasks, attempts, results, dead letters, counters, events and
//! desired state. It knows no retry rule and no worker: callers say what shall be true, with times and
//! fencing tokens, and the store makes it durable or refuses it. Queues of durability `memory` never come here.
//!
//! ```text
//! Batch { ops in order, sync }
//!    │  Writer::submit (never blocks)
//!    ▼
//! writer thread ── takes all that waits ── ONE transaction ── commit (FULL if any batch says `sync`, else NORMAL)
//!    │                                                            │ fsync or I/O error: poisoned, all later refused
//!    ▼                                                            │ disk full, read-only: rolled back, typed, lives on
//! Settled { batch, result }  ◄────────────────────────────────────┘
//! ```
//!
//! Reading happens on connections of its own ([`Readers`], [`StoreRead`]), each read bounded.

mod applied;
mod attempt;
pub mod batch;
#[cfg(test)]
#[macro_use]
mod conformance;
pub mod control;
pub mod dead;
pub mod error;
pub mod readers;
pub mod rows;
pub mod said;
pub mod schedule;
pub mod sqlite;
pub mod store;
pub mod writer;
#[cfg(test)]
mod writer_tests;

pub use batch::{
    Applied, AttemptError, AttemptWord, Batch, Cancelled, Claim, DeadReason, Duplicate, Enqueue,
    KeepBounds, Next, Op, Outcome, Push, Refused, RefusedWhy, Revived, TaskOptions,
};
pub use bytes::Bytes;
pub use control::{
    CacheStats, Caching, Control, Dedupe, Followed, Limits, OnConflict, Special, Until, What,
};
pub use dead::{DeadCursor, DeadPage, DeadQuery, DeadRow};
pub use error::{OpenError, StoreError};
pub use readers::Readers;
pub use rows::{
    AttemptRow, Counts, Cursor, Due, DueRow, Gate, Page, QueueRow, ReadyRow, RunningRow, StoreSize,
    TaskQuery, TaskRow,
};
pub use said::{Progress, Said, SaidLine};
pub use schedule::{Fire, FireRow, ScheduleMark, ScheduleRow};
pub use sqlite::upkeep;
pub use sqlite::{SCHEMA_VERSION, SqliteOptions, SqliteReader, SqliteStore};
pub use store::{Store, StoreRead};
pub use writer::{COMMIT_BUCKETS_US, Settled, Writer, WriterStats, WriterThread};
