//! The only crate with unsafe: clone3, pidfds, signalfd, prctl, descriptor passing; and what several crates read
//! of `/proc` or pass as sealed memory.
//!
//! Each module wraps one kernel facility in a safe call and knows nothing of services, tasks or policy. What rustix
//! offers safely is used from there, also by other crates; here stands only what it can't.

pub mod cputime;
pub mod exec;
pub mod fd;
pub mod frame;
pub mod landlock;
pub mod memfd;
pub mod perf;
pub mod pidfd;
pub mod proc;
pub mod reap;
pub mod seccomp;
pub mod shared;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod torture;

pub use fd::adopt_fd;
