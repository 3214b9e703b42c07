//! One command over many inputs (`ganger map`): what people use `xargs -P` and GNU parallel for.
//!
//! ```text
//! sources ─▶ rows ─▶ packed ─┐                       ┌─▶ output: grouped, ordered, by line, tagged
//! blocks of stdin ───────────┴▶ Feed ─▶ Run ─▶ Gang ─┤
//!                  done before ◀─ joblog ◀───────────┴─▶ halt, retry, joblog
//! ```
//!
//! Everything runs in one thread over the keeper's [`Gang`](ganger_keeper::Gang): this process is the parent of every job, so a start is one
//! clone without a round trip, and every job's tree is ended with it. What jobs say goes from their own writes into unlinked files and from there
//! to the caller's output: no byte passes this process while a job runs, and memory does not grow with it.
//!
//! The parts are pure but for [`run()`]: [`Template`], [`input`], [`Halt`], [`Joblog`]. It parses no options and prints nothing of its own: notes
//! go to the caller.

mod error;
mod halt;
pub mod input;
mod joblog;
mod options;
mod output;
mod path;
mod quote;
mod results;
mod room;
mod run;
mod template;

pub use error::MapError;
pub use halt::{Amount, Halt, HaltOn, HaltWhen, Tally};
pub use joblog::{Joblog, Resume, Row};
pub use options::{Input, Note, Options, Progress, Show, TimeLimit};
pub use path::Part;
pub use quote::{line, quote};
pub use room::{Load, Slots};
pub use run::{Outcome, run};
pub use template::{Given, Many, Template, TemplateError};
