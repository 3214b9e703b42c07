//! Dead letters as people look for them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ganger_core::{Priority, TaskId, pattern};

use crate::batch::{AttemptError, DeadReason};
use crate::rows::TaskRow;

/// Which dead letters. `*` in `kind` and `class` stands for any text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadQuery {
    /// Only this queue's.
    pub queue: Option<String>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only those whose last error is of this class.
    pub class: Option<String>,
    /// Only those with this in the last error: its message, stack or last lines of stderr. Upper and lower case are one.
    pub text: Option<String>,
    /// Only those given up for this.
    pub reason: Option<DeadReason>,
    /// Only those that died at or after this moment; milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Only those that died before this moment; milliseconds since 1970.
    pub until_ms: Option<u64>,
    /// At most so many, capped at [`crate::store::PAGE_MAX`].
    pub limit: usize,
    /// Go on after a page.
    pub after: Option<DeadCursor>,
}

/// One dead letter, without its payload and attempts: [`crate::StoreRead::task`] has those.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadRow {
    /// The task.
    pub id: TaskId,
    /// Its queue.
    pub queue: Arc<str>,
    /// What kind of work it is.
    pub kind: Option<Arc<str>>,
    /// Larger first.
    pub priority: Priority,
    /// Number of its last attempt: with the id it names this death, see [`crate::Op::Retry`].
    pub attempt: u32,
    /// Ends by crash or timeout.
    pub crashes: u32,
    /// When it was given up; milliseconds since 1970.
    pub died_at_ms: u64,
    /// Why it was given up; `None` for those of before such reasons were kept.
    pub reason: Option<DeadReason>,
    /// Why its last attempt failed.
    pub error: Option<AttemptError>,
}

/// One page of dead letters, by queue, newest pushed first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeadPage {
    /// May be fewer than asked for, also none, when `next` is set: a read looks at a bounded number of rows.
    pub rows: Vec<DeadRow>,
    /// Where to go on; `None` at the end.
    pub next: Option<DeadCursor>,
}

/// Where the next page begins. Opaque; written as text in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadCursor {
    /// Number of the queue that is looked through.
    pub(crate) queue: i64,
    /// The last id looked at.
    pub(crate) id: i64,
}

impl DeadQuery {
    /// Whether it is one of them (its queue is not looked at).
    #[must_use]
    pub fn wants(&self, row: &DeadRow) -> bool {
        let like = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|wanted| pattern::matches(wanted, name))
        };
        let class = row.error.as_ref().and_then(|error| error.class.as_deref()).unwrap_or_default();
        like(&self.kind, row.kind.as_deref().unwrap_or_default())
            && like(&self.class, class)
            && self.reason.is_none_or(|reason| row.reason == Some(reason))
            && self.since_ms.is_none_or(|since| row.died_at_ms >= since)
            && self.until_ms.is_none_or(|until| row.died_at_ms < until)
            && self.text.as_deref().is_none_or(|text| row.says(text))
    }
}

impl DeadRow {
    /// From a task that is a dead letter.
    #[must_use]
    pub fn of(task: TaskRow) -> Self {
        Self {
            id: task.id,
            queue: task.queue,
            kind: task.kind,
            priority: task.priority,
            attempt: task.attempt,
            crashes: task.crashes,
            died_at_ms: task.ended_at_ms.unwrap_or_default(),
            reason: task.reason,
            error: task.error,
        }
    }

    fn says(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let Some(error) = &self.error else { return false };
        let stack = error.stack.as_deref().unwrap_or_default();
        let mut parts = [error.message.as_str(), stack].into_iter();
        parts.any(|part| part.to_lowercase().contains(&text))
            || error.stderr.iter().any(|line| line.to_lowercase().contains(&text))
    }
}

impl fmt::Display for DeadCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{:x}.{:x}", self.queue, self.id)
    }
}

impl FromStr for DeadCursor {
    type Err = crate::rows::CursorError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parts = s.strip_prefix('d').and_then(|rest| rest.split_once('.'));
        let number = |text| i64::from_str_radix(text, 16).ok().filter(|n| *n >= 0);
        parts
            .and_then(|(queue, id)| Some(Self { queue: number(queue)?, id: number(id)? }))
            .ok_or_else(|| crate::rows::CursorError::new(s))
    }
}
