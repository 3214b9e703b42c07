//! Cgroups: one folder per instance, on version 1, version 2 or both at once.
//!
//! ```text
//! v2      <own>/ganger-keeper            where keeper, logger and daemon live (controllers need a leaf)
//!         <own>/ganger-<state>/<tree>    one per instance: membership, cgroup.kill, memory, cpu, pids
//! v1      <own>/ganger-<state>/<tree>    once per controller that has a limit to enforce
//! hybrid  v1 for the limits, the controller-less cgroup2 mount for membership and cgroup.kill
//! ```
//!
//! Folders stay for the next process of the same instance (making three v1 folders costs 380 µs) up to a bound; counters
//! are therefore compared with a baseline taken at the start. This module never signals a process by number.

mod base;
mod controls;
mod driver;
mod hierarchy;
mod saved;
mod tree;

pub use driver::{Driver, Kind, TreeError};
pub use hierarchy::Controller;
pub use saved::SavedTree;
pub use tree::Tree;
