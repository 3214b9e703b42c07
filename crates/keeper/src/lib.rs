//! Who starts a child: spawn, reap, hold, restart; and the wire types of a plan.
//!
//! The keeper is the parent of every child: one thread, an epoll loop, no async runtime, no network. It has no policy: it
//! does what plans say, tells every exit until it is acknowledged, and keeps descriptors, logger and daemon alive.

pub mod wire;

mod options;

pub use options::{Helper, KeeperOptions};
