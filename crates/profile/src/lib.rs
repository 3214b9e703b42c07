//! Where processes spend their processor time: stacks sampled by the kernel, named, and written as what people look at.
//!
//! ```text
//! pids ─ target ─► every process and thread below them
//!                      │
//!                   sampler ── perf events by thread and processor, one ring a processor
//!                      │ records, in order of time
//!                   collect ── address → (file, offset) while the mapping is known; counts by stack
//!                      │
//!                   names ──── blazesym for files and the kernel, perf_map for what a runtime compiled
//!                      │
//!                   Profile ─► output: SVG, folded, pprof, speedscope; top functions
//! ```
//!
//! Where perf is not to be had, it looks at what `/proc` tells of threads instead, and the profile says so: it is then about
//! what threads wait for, not about functions.
//!
//! Stacks are followed by frame pointers. Code without them (`-fomit-frame-pointer`, most distributions' libraries) has its leaf
//! functions named all the same; who called them may be missing. [`Meta::broken`] counts stacks that end early.

mod collect;
mod error;
mod names;
pub mod output;
mod perf_map;
mod permit;
mod profile;
mod sampler;
mod space;
mod states;
mod target;

pub use error::ProfileError;
pub use profile::{Frame, FrameKind, Function, Meta, Method, Profile};
pub use sampler::{Progress, Wish, record};

/// Samples a second when nothing else is said: not a divisor of what programs do in step with the clock.
pub const HERTZ: u32 = 99;
/// The most samples a second: what the kernel allows by default is 100,000, where it measures mostly itself.
pub const MOST_HERTZ: u32 = 1_000;
