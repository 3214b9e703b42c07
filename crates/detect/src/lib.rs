//! What is unusual or wrong in what processes cost and do: small, named detectors with evidence.
//!
//! Pure: no I/O, no clock, no task; time comes with the sample. Every detector's state has a fixed bound and can be stored, so that a
//! restarted daemon forgets nothing. Figures and choices: `docs/design/010-detect.md`.

mod engine;

pub use engine::*;
