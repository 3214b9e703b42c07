//! The daemon: wiring of configuration, supervision, tasks and the HTTP API, start-up and shut-down.
//!
//! It owns the desired state and the HTTP listener's answers. It never forks, never parses what children say beyond
//! the worker protocol, and may die at any moment: keeper, children and logs go on, and the next daemon resumes.

mod alerts;
mod anomalies;
mod app;
pub mod config;
mod convert;
mod desired;
mod environments;
mod foreman;
mod http;
mod incidents;
mod left;
mod monitor;
mod program;
mod recorder;
mod run;

pub use run::{DaemonError, DaemonOptions, run};
