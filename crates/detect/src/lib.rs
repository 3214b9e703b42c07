//! What is unusual or wrong in what processes cost and do: small, named detectors with evidence.
//!
//! ```text
//!              ┌ Meter (Engine): spike, level shift ┐
//!   Sample ───▶├ Leak ── memory, fds, threads       │
//!   Mark   ───▶├ Stall: stall, livelock             ├─▶ Finding ─▶ Desk: one incident for object and cause ─▶ Change
//!   End    ───▶├ CrashLoop                          │
//!              └ Saturation                         ┘
//!   a pool's tick ─▶ Siblings: outlier ─▶ its own Desk ─▶ Change
//! ```
//!
//! Pure: no I/O, no clock, no task; time comes with the sample. Every detector's state has a fixed bound and can be stored, so that a
//! restarted daemon forgets nothing. [`Watch`] holds all of one object. Figures and choices: `docs/design/010-detect.md`.

mod crash;
mod desk;
mod engine;
mod finding;
mod leak;
mod meter;
mod progress;
mod saturation;
mod siblings;
mod trend;
mod watch;

pub use crash::ENDS_MAX;
pub use desk::{CLOSE_MS, Change, DESK_MAX, Desk, Incident, REFRACTORY_MS, STEP_MS};
pub use engine::*;
pub use finding::{Cause, Detector, EVIDENCE_MAX, Finding, Metric, Resource};
pub use leak::MINIMA_MAX;
pub use meter::DEPLOY_MS;
pub use progress::{PATIENCE_FIRST_S, PATIENCE_MIN_S, Progress};
pub use siblings::{POOL_MIN, SIBLINGS_MAX, Siblings};
pub use watch::{Mark, OBJECT_MAX, STATE_JSON_MAX, Sample, Watch};
