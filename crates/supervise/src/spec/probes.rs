//! Probes as data: what is asked of an instance, how often, and what an answer is worth.
//!
//! ```text
//!   spawned ── startup ──► started up ── ready ──► running
//!              (optional)      │        (optional)    │
//!                              └───── live, again and again, from the first of these two that is declared
//! ```

use std::fmt;
use std::time::Duration;

use ganger_core::Dur;
use serde::{Deserialize, Serialize};

/// `GET` of this: an answer from 200 to 399 passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// `host:port` to connect to; also the request's `Host`.
    pub address: String,
    /// Path and query, from the slash on.
    pub path: String,
}

impl fmt::Display for HttpCheck {
    /// Short where it is this machine: `:3000/health`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", short(&self.address), self.path)
    }
}

/// An address as a person would write it: without this machine's own.
pub(crate) fn short(address: &str) -> &str {
    address.strip_prefix("127.0.0.1").unwrap_or(address)
}

/// A program that answers by its exit code: 0 passes. It runs as the instance does: user, folder, environment, limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecCheck {
    /// Absolute path.
    pub program: String,
    /// Arguments, the zeroth included.
    pub argv: Vec<String>,
}

impl fmt::Display for ExecCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.argv.first().map_or(&*self.program, |first| first))
    }
}

/// Where readiness, or the end of a start-up, is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadyBy {
    /// A line of its log matches this regular expression.
    Log(String),
    /// A TCP connect to this address succeeds: `127.0.0.1:3000`, `:3000`, `localhost:3000`.
    Tcp(String),
    /// `READY=1` on the socket in `NOTIFY_SOCKET`.
    Notify,
    /// `"ready"` on its channel. A service's channel is read here; a worker's pool calls
    /// [`InstanceHandle::ready`](crate::instance::InstanceHandle::ready).
    Channel,
    /// A server of it listens, as Node's `cluster` module tells its primary.
    Listening,
    /// An HTTP request is answered well.
    Http(HttpCheck),
    /// A program says so.
    Exec(ExecCheck),
    /// It has been up this long.
    Uptime(Duration),
}

impl fmt::Display for ReadyBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(pattern) => write!(f, "log /{pattern}/"),
            Self::Tcp(address) => write!(f, "tcp {}", short(address)),
            Self::Notify => f.write_str("notify"),
            Self::Channel => f.write_str("channel"),
            Self::Listening => f.write_str("cluster listening"),
            Self::Http(check) => write!(f, "http {check}"),
            Self::Exec(check) => write!(f, "exec {check}"),
            Self::Uptime(time) => write!(f, "uptime {}", Dur(*time)),
        }
    }
}

/// Readiness, or the end of a start-up, and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Where it is seen.
    pub by: ReadyBy,
    /// Longer is a failure; 30 s by default in configurations.
    pub timeout: Duration,
}

/// What shows that a running instance still works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveBy {
    /// A TCP connect to this address succeeds.
    Tcp(String),
    /// An HTTP request is answered well.
    Http(HttpCheck),
    /// A program says so.
    Exec(ExecCheck),
    /// `WATCHDOG=1` comes by itself on the socket in `NOTIFY_SOCKET`, at least once an interval.
    Watchdog,
    /// It answers pings on its channel. A worker's pool asks, and calls
    /// [`InstanceHandle::answered`](crate::instance::InstanceHandle::answered).
    Ping,
}

impl fmt::Display for LiveBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp {}", short(address)),
            Self::Http(check) => write!(f, "http {check}"),
            Self::Exec(check) => write!(f, "exec {check}"),
            Self::Watchdog => f.write_str("notify (watchdog)"),
            Self::Ping => f.write_str("channel (ping)"),
        }
    }
}

/// Liveness: how it is seen, how often it is asked for, and when it is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// How it is seen.
    pub by: LiveBy,
    /// From the beginning of one check to that of the next; of a watchdog, the longest silence.
    pub every: Duration,
    /// An answer that takes longer is none.
    pub timeout: Duration,
    /// So many bad answers in a row, and its process is replaced.
    pub failures: u32,
}
