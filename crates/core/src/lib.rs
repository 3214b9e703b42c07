//! Ids, words, time and size parsing, backoff maths: only what crates share that may not know each other.
//!
//! This crate does no I/O, starts no task and reads no clock. Everything may use it; it uses nothing of ours.

pub mod backoff;
pub mod bucket;
pub mod end;
pub mod event;
pub mod ids;
pub mod logwire;
pub mod pattern;
pub mod priority;
pub mod task_backoff;
pub mod units;
pub mod walls;
pub mod words;

pub use backoff::{Backoff, CauseBackoffs};
pub use bucket::{Bucket, Rate};
pub use end::{End, SignalSource, Usage};
pub use event::{Event, Exit};
pub use ids::{InstanceId, SpawnId, StateId, TaskId, TaskIdSource, Token};
pub use priority::Priority;
pub use task_backoff::TaskBackoff;
pub use units::{Dur, DurRange, Size, UnitError};
pub use walls::{Mode, Wall};
pub use words::{
    BreakerState, Durability, Effect, FailureCause, GroupState, GroupStrategy, InstanceKind,
    InstanceState, ReloadState, Stream, TaskState,
};
