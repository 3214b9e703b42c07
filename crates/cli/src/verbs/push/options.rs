//! What a pushed task may ask for beyond being run.

use ganger_api::{Dedupe, DedupeConflict, DedupeUntil, NewTask, Timestamp};
use ganger_core::Dur;

use crate::text;

/// Flags of `push` that a line of its own (`--envelope`) may also have.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Options {
    /// No second task with this key; "payload": none with the same kind and payload
    #[arg(long, value_name = "KEY")]
    dedupe: Option<String>,
    /// How long the key is held: start, success, or a time from now [default: success]
    #[arg(long, value_name = "WHEN", requires = "dedupe")]
    until: Option<DedupeUntil>,
    /// When the key is held: existing (print that task), reject, or replace (one that waits) [default: existing]
    #[arg(long, value_name = "WHAT", requires = "dedupe", value_parser = on_conflict)]
    on_conflict: Option<DedupeConflict>,
    /// Cancel it when it is not done after this long, also while it runs
    #[arg(long, value_name = "TIME")]
    deadline: Option<Dur>,
    /// Cancel it when it has not begun after this long
    #[arg(long, value_name = "TIME")]
    expires_in: Option<Dur>,
    /// Keep its result this long
    #[arg(long, value_name = "TIME")]
    result_ttl: Option<Dur>,
    /// Use, and be, the result of tasks with the same kind and payload for this long
    #[arg(long, value_name = "TIME")]
    cache: Option<Dur>,
}

fn on_conflict(text: &str) -> Result<DedupeConflict, String> {
    match text {
        "existing" => Ok(DedupeConflict::Existing),
        "reject" => Ok(DedupeConflict::Reject),
        "replace" => Ok(DedupeConflict::Replace),
        _ => Err("it is existing, reject or replace".into()),
    }
}

impl Options {
    /// Puts in what the task does not say itself.
    pub(super) fn fill(&self, task: &mut NewTask) {
        if task.dedupe.is_none() {
            task.dedupe = self.dedupe.as_ref().map(|key| Dedupe {
                key: key.clone(),
                until: self.until.unwrap_or_default(),
                on_conflict: self.on_conflict.unwrap_or_default(),
            });
        }
        let deadline = |time: Dur| {
            let ms = u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX);
            Timestamp(text::now_ms().saturating_add(ms))
        };
        task.deadline = task.deadline.or(self.deadline.map(deadline));
        task.expires_in = task.expires_in.or(self.expires_in);
        task.result_ttl = task.result_ttl.or(self.result_ttl);
        task.cache = task.cache.or(self.cache);
    }
}
