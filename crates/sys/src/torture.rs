//! Places at which a torture may end the daemon, and a disk that forgets what was not synced.
//!
//! Only a build with the feature `torture` has any of it: `cargo xtask torture queue` makes its own program with that
//! feature, under its own name. Everywhere else [`reach`] is an empty function and `arm` is not there.
//!
//! ```text
//! STATE/torture-crash      "NAME N": the next daemon reads and removes it, and SIGKILLs itself when it reaches NAME the Nth time
//! STATE/torture-crashed    a line "NAME NS" of each daemon that did, CLOCK_MONOTONIC
//! STATE/torture-unsynced   while it is there, the next daemon starts from what SQLite had synced, and from nothing else; its end at a
//!                          place stands for a power cut and takes the keeper along
//! ```
//!
//! Names: `dispatch.heard`, `dispatch.settled`, `dispatch.replied` (the dispatcher), and every place at which SQLite meets
//! the disk: `wal.write`, `wal.sync`, `wal.synced`, `db.write`, `db.sync`, `db.synced`, `db.truncate`, `wal.truncate`. A write of the
//! database is a checkpoint half done, a write of the log a commit half done.

#[cfg(any(test, feature = "torture"))]
mod disk;
#[cfg(feature = "torture")]
mod points;
#[cfg(feature = "torture")]
mod vfs;

#[cfg(feature = "torture")]
pub use points::{arm, reach};

/// Nothing: this build has no places to crash at.
#[cfg(not(feature = "torture"))]
#[inline(always)]
pub const fn reach(_name: &'static str) {}
