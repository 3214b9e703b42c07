//! What receivers get, and how it gets there: text for people, Alertmanager's webhook body, an outbox that forgets nothing.
//!
//! ```text
//!  Notification + About (facts) ─▶ message::text ─▶ log
//!                               ├▶ webhook::body ─┬▶ Outbox ─▶ http::send (signed anew for every try)
//!                               └▶ the same JSON ─┴▶ Outbox ─▶ exec: argv from a template, JSON on stdin (the caller starts it)
//! ```

pub mod http;
pub mod message;
pub mod outbox;
pub mod webhook;

use ganger_core::Dur;
use serde::{Deserialize, Serialize};

pub use message::{About, Cause};
pub use outbox::{Outbox, Shelf};

/// `[notify.NAME]`: how one receiver is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Channel {
    /// A line in the daemon's log for every alert.
    Log {},
    /// A program, started by the caller.
    Exec {
        /// The program and its arguments; `{status}`, `{group}`, `{summary}` and `{id}` are filled in, each within its argument.
        command: Vec<String>,
    },
    /// An HTTP POST of Alertmanager's body.
    Webhook(Webhook),
}

/// `[notify.NAME] webhook = …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// `http://host:port/path`.
    pub url: String,
    /// Bodies are signed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The target may be this machine or its link. Otherwise an address of these is refused, whatever name leads to it.
    #[serde(default)]
    pub allow_local: bool,
    /// Most alerts in a body; 0: all. The rest are counted in `truncatedAlerts`.
    #[serde(default)]
    pub max_alerts: usize,
    /// How long one try may take.
    #[serde(default = "timeout")]
    pub timeout: Dur,
}

impl Webhook {
    /// To that URL, with all else as usual.
    #[must_use]
    pub fn new(url: String) -> Self {
        let (secret, allow_local, max_alerts, timeout) = (None, false, 0, timeout());
        Self { url, secret, allow_local, max_alerts, timeout }
    }
}

/// Alertmanager waits for ten seconds as well.
const fn timeout() -> Dur {
    Dur(std::time::Duration::from_secs(10))
}

/// The arguments of an [`Channel::Exec`]. No shell sees them: what is filled in stays one argument.
#[must_use]
pub fn argv(command: &[String], status: &str, group: &str, summary: &str, id: &str) -> Vec<String> {
    // A NUL ends an argument for the kernel, and a summary may hold anything.
    let clean = |text: &str| text.replace('\0', " ");
    let pieces = [("{status}", status), ("{group}", group), ("{summary}", summary), ("{id}", id)];
    command.iter().map(|argument| clean(&filled(argument, &pieces))).collect()
}

/// One pass from left to right, so that what was filled in is not filled in again.
fn filled(template: &str, pieces: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match pieces.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                out.push_str(value);
                rest = &rest[name.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}
