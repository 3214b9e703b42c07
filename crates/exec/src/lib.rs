//! The executor: from a request to a decision, a record, a contained run and the record of its end.
//!
//! ```text
//! who + what ─ decide ─ room? ─ paths opened ─ intent on disk ─ keeper starts it ─ output, limits ─ tree empty ─ outcome on disk ─ answer
//!                │        │          │              │                                                      │
//!                └ denied └ limited  └ denied       └ no audit: nothing runs         daemon dies in between: the next one ends it
//!                       each leaves a record                                        and records what the keeper knows, or `lost`
//! ```
//!
//! Policy decides, the keeper starts, the log remembers; nothing here is a second way to do any of it. One owner task
//! ([`Executor::start`]) has the policies in force, the log and the counters of rates; each run is a task of its own, which asks the owner
//! for room. What is launched is the decision's [`ganger_policy::Launch`] and nothing of the request.
//!
//! What a run leaves of itself for another daemon is a note on its child (`left`): a run whose caller's connection is cut is ended, and its
//! real end is recorded.

mod announced;
mod evidence;
mod gate;
mod handle;
mod left;
mod opened;
mod pins;
mod plan;
mod records;
mod run;
mod scan;
mod shut;
mod speech;
mod task;
mod watch;

pub use handle::{
    Ask, Caller, Ended, Executor, Load, LoadError, RecordError, Started, Told, Verdict,
};
pub use left::is_run;
pub use records::Seen;
pub use shut::Shut;
pub use task::Parts;

#[cfg(test)]
mod tests;
