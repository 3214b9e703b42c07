//! Tasks: the rules of retry, schedule, priority and dead letters over the store.
//!
//! [`Engine`] is pure and synchronous: no I/O, no clock, no runtime. Its one owner (the dispatcher in `pool`) tells it
//! what happened and does what it answers. Tasks of `fsync` and `relaxed` queues live in the store; the engine keeps a
//! bounded window of the next ones per lane (a lane is one priority of one queue). Tasks of `memory` queues live here.
//!
//! # The loop that drives it
//!
//! ```text
//!            push, finish, started, cancel, retry, pause        (all that waits, in one go)
//!                          │
//!            take(worker …) for every worker with room          (claims; ride in the enqueue when they can)
//!                          │
//!            flush() → Some(batch) ──► Writer::submit           (while fewer than IN_FLIGHT_MAX are out)
//!                          │                  │
//!            settled(…) ◄──┼──────────────────┘                 (commit done, or failed)
//!            loaded(…)  ◄──┼── reads that Actions asked for     (refill, due)
//!            tick(now)  ◄──┼── next_deadline()
//!                          ▼
//!            actions(): send, replies, finished, expired, cancels, returned, reads
//! ```
//!
//! A task of a durable queue appears in [`Actions::send`] only after the commit that claims it, a pusher's reply and a
//! finished task only after theirs. For `memory` queues all of it comes at once.
//!
//! ```
//! use ganger_queue::{Engine, EngineOptions, Finish, How, NewTask, Now, QueueConfig, Worker};
//! use ganger_core::Durability;
//!
//! let now = Now::real();
//! let mut engine = Engine::new(EngineOptions::new(1));
//! let config = QueueConfig { durability: Durability::Memory, ..QueueConfig::default() };
//! let queue = engine.configure("images", config);
//! engine.push(7, queue, None, vec![NewTask::json("{}")], now)?;
//! let worker = Worker { key: 1, name: "images#1".into(), pid: 4711 };
//! assert_eq!(engine.take(&worker, &[queue], 16, 1, now), 1);
//! let actions = engine.actions();
//! assert_eq!((actions.replies.len(), actions.send.len()), (1, 1));
//! let attempt = &actions.send[0];
//! engine.finish(Finish::new(attempt.id, attempt.token, How::Completed("1".into())), now)?;
//! assert_eq!(engine.actions().finished.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! At start the owner gives it what the store knows: [`Engine::configure`] each queue, [`Engine::restore`] with the
//! store's counts and lanes, [`Engine::resume`] the claims of earlier epochs, then asks the workers that live on.

pub mod actions;
pub mod config;
pub mod control;
pub mod engine;
pub mod limits;
pub mod retry;
pub mod said;
pub mod schedule;
pub mod shares;
pub mod why;

pub use actions::{
    Actions, Attempt, Cancelling, Done, Expired, Failure, Finished, Loaded, Read, Reply, Returned,
};
pub use config::{NewTask, PushError, QueueConfig};
pub use control::{ControlRules, DedupeKey, DedupeRule, Wants};
pub use engine::{
    Engine, EngineOptions, EngineStats, Finish, GateSet, How, Now, QueueIx, Stale, Worker,
};
pub use limits::{Limit, LimitRules, Rate};
pub use retry::{ClassRule, OnClass, RetryRules};
pub use said::Saying;
pub use shares::Lanes;

/// Batches that may be with the writer at a time: one commits while the next is filled.
pub const IN_FLIGHT_MAX: usize = 2;
