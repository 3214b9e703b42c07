//! What ganger's processes cost, watched by the second and kept: the sampler's figures go into series, and marks beside them.
//!
//! ```text
//! who is there (daemon) ──watch──▶ ┌──────────── one thread ────────────┐ ──▶ newest sample, for metrics and `top`
//! what happened ─────────mark────▶ │ each second: sampler ─▶ rows ─▶ series │ ──▶ Reader: a picture of all series
//!                                  └──────────────────────────────────────┘
//! ```
//!
//! A thread and no task: reading `/proc` blocks, a minute's encoding takes milliseconds, and a tick must come at its time however busy
//! the daemon is. A tick that comes late is taken once, not made up for: its figures cover the time that has passed.
//!
//! An object is a name and a slot; the machine itself is [`HOST`]. Units stand in [`Meaning`].

mod figures;
mod handle;
mod metrics;
mod rows;
mod thread;

pub use figures::{Figure, Kept, figure, read};
pub use handle::{Monitor, MonitorError, Watched};
pub use metrics::{HOST, Meaning, MetricInfo, host_metrics, metric, tree_metrics};
pub use thread::{Settings, Tick};
