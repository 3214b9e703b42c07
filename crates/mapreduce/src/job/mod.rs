//! A whole job over commands: `ganger mapreduce`.
//!
//! ```text
//! files ─▶ splits ─▶ attempts: a thread and its child each ─▶ sorted spill, partitioned ─▶ attempts that merge a partition ─▶ parts
//!                       ▲ assign                    │ one file that nobody else writes        │
//!                     Plan ◀── rows on disk ── Journal ◀──────────────────────────────────────┘     all rows there: published
//! ```
//!
//! The caller's process is the keeper of all children (a [`Gang`](ganger_keeper::Gang)), so there is one way to spawn, and their trees end with it. Nothing counts before
//! its row in the journal is on disk: a process that is killed at any place goes on with `resume`, and no committed task runs again. The result is one
//! rename of a folder that was not there, with a manifest of its parts.
//!
//! Built-in steps (`@words`, `@sum`, …) run in the attempt's thread, with the same splits, files, rows and merge.

mod attempt;
mod child;
mod driver;
mod error;
mod groups;
mod journal;
mod options;
mod publish;
mod run;
mod said;

pub use error::RunError;
pub use options::{Find, FoldBy, Job, Map, Note, Outcome, Progress, Reduce};
pub use publish::MANIFEST;
pub use run::run;
pub use said::CounterName;
