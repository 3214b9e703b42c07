//! Workers: dispatch, reuse, takeover.
mod attempt;
mod bulk;
mod command;
mod dead;
mod dispatcher;
mod error;
mod events;
mod pace;
mod pools;
mod schedules;
mod spec;
mod start;
pub mod stream;
mod tasks;
pub mod template;
mod worker;

pub use bulk::Group;
pub use dead::{DeadVerb, Death};
pub use dispatcher::DispatchStats;
pub use error::{PoolError, TaskError};
pub use ganger_queue::Finished;
pub use pools::{PoolParts, Pools};
pub use schedules::{Fired, ScheduleError, ScheduleLook, ScheduleParts, Schedules};
pub use spec::{OUTPUT_MAX, PoolSpec, Protocol, WORKERS_MAX};
pub use start::{Claims, Parts, Started, start};
pub use stream::{PushTicket, StreamIn, StreamOut};
pub use tasks::{Pushed, QueueLook, StoreReaders, Tasks};
