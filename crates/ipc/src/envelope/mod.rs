//! The envelope around tasks and answers. The envelope is parsed, what it carries is not.

mod from_worker;
#[cfg(test)]
mod tests;
mod text;
mod to_worker;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use from_worker::{FromWorker, Hello, SyncAnswer, TaskAnswer, TaskFailure, parse};
pub use text::lossy;
pub(crate) use to_worker::put_one_line;
pub use to_worker::{
    BatchLine, NODE_HANDLE_ACK, TaskOut, put_ack, put_cancel, put_drain, put_ping, put_sync,
};

/// How much of an unreadable line is kept to be shown.
const EXCERPT: usize = 200;

/// A line that is not the protocol: an excerpt and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a message of the worker protocol ({why}): {excerpt}")]
pub struct Garbage {
    /// The first characters of the line, made printable.
    pub excerpt: String,
    /// What was wrong with it.
    pub why: String,
}

impl Garbage {
    pub(crate) fn new(line: &[u8], why: &str) -> Self {
        let shown = &line[..line.len().min(EXCERPT)];
        let mut excerpt: String = String::from_utf8_lossy(shown)
            .chars()
            .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
            .collect();
        if line.len() > EXCERPT {
            excerpt.push('…');
        }
        Self { excerpt, why: why.to_owned() }
    }
}

/// A message of Node's own runtime: an object whose `cmd` starts with `NODE_` (lib/internal/child_process.js, `isInternal`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Internal {
    /// The child passes a handle. It holds back everything it sends until it gets [`NODE_HANDLE_ACK`]: answer at once.
    Handle,
    /// Any other; nothing waits for an answer.
    Other,
}

/// Tells Node's internal messages from a script's own.
pub(crate) fn internal_of(value: &RawValue) -> Option<Internal> {
    #[derive(Deserialize)]
    struct Probe<'a> {
        #[serde(borrow)]
        cmd: Option<&'a RawValue>,
    }
    // The cheap test first: nearly no message has these bytes.
    memchr::memmem::find(value.get().as_bytes(), b"\"NODE_")?;
    let probe: Probe<'_> = serde_json::from_str(value.get()).ok()?;
    let cmd = probe.cmd?.get();
    match cmd {
        r#""NODE_HANDLE""# => Some(Internal::Handle),
        _ if cmd.len() > r#""NODE_""#.len() && cmd.starts_with("\"NODE_") => Some(Internal::Other),
        _ => None,
    }
}

/// Without the 0x02 that Bun puts before internal messages, and without white space.
pub(crate) fn trim(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\x02").unwrap_or(line).trim_ascii()
}
