//! `ready`, `startup` and `live`, resolved.

use ganger_core::Dur;
use serde::{Deserialize, Serialize};

/// When an instance counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The sign.
    pub check: ReadyCheck,
    /// Not ready after this is a failure of the start.
    pub timeout: Dur,
}

/// The sign of readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadyCheck {
    /// A line of its output matches this regular expression.
    Log(String),
    /// A TCP connection to `host:port` is accepted.
    Tcp(String),
    /// It says `READY=1` to `NOTIFY_SOCKET` (`sd_notify`(3)).
    Notify,
    /// It sends `"ready"` over its channel.
    Channel,
    /// A `GET` is answered well.
    Http(HttpAddress),
    /// This program, with its arguments, exits with 0.
    Exec(Vec<String>),
    /// It has been up this long.
    Uptime(Dur),
}

/// What a check by HTTP asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpAddress {
    /// `host:port`.
    pub address: String,
    /// Path and query.
    pub path: String,
}

/// How it is seen that a running instance still works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The sign.
    pub check: LiveCheck,
    /// From one check to the next; of a watchdog, the longest silence.
    pub every: Dur,
    /// An answer that takes longer is a bad one.
    pub timeout: Dur,
    /// So many bad answers in a row are too many.
    pub failures: u32,
}

/// The sign of liveness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveCheck {
    /// A TCP connection to `host:port` is accepted.
    Tcp(String),
    /// A `GET` is answered well.
    Http(HttpAddress),
    /// This program, with its arguments, exits with 0.
    Exec(Vec<String>),
    /// It says `WATCHDOG=1` to `NOTIFY_SOCKET` by itself.
    Notify,
}

/// How it is seen that a worker's process still answers: by pings on its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pings {
    /// From one ping to the next.
    pub every: Dur,
    /// So many intervals without an answer are too many.
    pub failures: u32,
}
