//! The client: HTTP/1.1 over the Unix socket in the state folder.
//!
//! It owns no state beyond the path. While a daemon is being restarted its listener is held by the keeper, so a call
//! made meanwhile waits in the kernel's queue; a call cut off by the daemon's death is made again for as long as
//! [`ClientOptions::restart_patience`] allows, if repeating it can't do harm. It never starts a daemon.

mod body;
mod calls;
mod connect;
mod connection;
mod exec;
mod sse;
mod stream;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use calls::{EventQuery, LogQuery};
pub use connection::Connection;
pub use exec::ExecStream;
pub use sse::{Sse, SseError};
pub use stream::{Results, TaskSink};

/// How a [`Client`] behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long calls go on trying while the state folder's lock says that a keeper lives but no daemon answers.
    pub restart_patience: Duration,
    /// The deadline of a call that only reads or writes state.
    pub timeout: Duration,
    /// The deadline of a call that waits for processes to start or end.
    pub verb_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            restart_patience: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
            verb_timeout: Duration::from_secs(3_600),
        }
    }
}

/// Talks with the daemon of one state folder. Cheap to clone; each call opens its own connection.
#[derive(Debug, Clone)]
pub struct Client {
    state_dir: PathBuf,
    /// A socket by its own path, which serves commands under policies only.
    socket: Option<PathBuf>,
    options: ClientOptions,
}

impl Client {
    /// The daemon that keeps its state in `state_dir`.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into(), socket: None, options: ClientOptions::default() }
    }

    /// A daemon by the socket that it has for others (`[server] exec_socket`): [`Client::exec`] is all that it answers.
    #[must_use]
    pub fn at_socket(path: impl Into<PathBuf>) -> Self {
        Self { socket: Some(path.into()), ..Self::new("/") }
    }

    /// With other patience and deadlines.
    #[must_use]
    pub fn with_options(mut self, options: ClientOptions) -> Self {
        self.options = options;
        self
    }

    /// The state folder.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }
}

/// True while some process holds the state folder's lock, i.e. a keeper or daemon lives. Takes no lock itself.
#[must_use]
pub fn lock_is_held(state_dir: &Path) -> bool {
    connect::lock_is_held(state_dir)
}
