//! Who starts a child: spawn, reap, hold, restart; and the wire types of a plan.
//!
//! The keeper is the parent of every child: one thread, an epoll loop, no async runtime, no network. It has no policy: it
//! does what plans say, tells every exit until it is acknowledged, and keeps descriptors, logger and daemon alive.
//!
//! It never waits for its daemon or its logger, never signals by number, and opens no file by a name that a child can
//! write. Exits it reports are the only authority on how a child ended.

mod walled;
pub mod wire;

mod adopted;
mod child;
mod clear;
mod crash;
mod daemon;
mod error;
mod gang;
mod helper;
mod keeper;
mod launch;
mod leave;
mod leftovers;
mod life;
mod logger;
mod logpipes;
mod notify;
mod oneshot;
mod options;
mod past;
mod ping;
mod pinned;
mod poller;
mod reap;
mod requests;
mod resume;
mod scan;
mod snapshot;
mod start;
mod starting;
mod state_dir;
mod stdio;
pub mod survivor;
mod takeover;
mod watchdog;

pub use error::KeeperError;
pub use gang::{Ended, Gang, News, NotStarted};
pub use oneshot::{OneShot, OneShotEnd, oneshot};
pub use options::{Helper, KeeperOptions};
pub use resume::offer;
pub use start::run;
pub use state_dir::lock as lock_state;
