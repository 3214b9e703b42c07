//! What every process costs: whole trees, the machine beside, each tick.
//!
//! ```text
//! tick ─▶ the machine's files ─▶ each process's clock ─moved, or 10 s over─▶ its files ─▶ sums of trees ─▶ &Sample
//!              │ something was started            │ no such process
//!              └▶ /proc is listed: new ones       └▶ moved out of its tree, not counted twice (kin)
//! ```
//!
//! Cheap because nothing is read that can't have changed: a process whose clock stands still has done nothing, and a machine that
//! started nothing has no new processes. Exact because the clock counts nanoseconds, and because a tree's total never forgets what
//! processes used that are gone. Bounded: processes, trees, descriptors, the time for proportional memory.
//!
//! A tree has a name and a slot, and that is its identity: restarts go on with the same counters, and numbers of processes are
//! never keys of anything that is kept.

mod counters;
mod error;
mod found;
mod group;
mod host;
mod kin;
mod options;
mod process;
mod proportional;
mod read;
mod sample;
mod sampler;
mod target;
#[cfg(test)]
mod test_support;

pub use counters::Counters;
pub use error::SamplerError;
pub use group::{Group, MemoryEvents};
pub use host::{Host, HostCpu, HostMemory, Pressure, Pressures};
pub use options::Options;
pub use process::{Name, Process, Proportional, State};
pub use sample::{Cost, Sample, Tree};
pub use sampler::Sampler;
pub use target::{By, Pick, TreeId, Watch};
