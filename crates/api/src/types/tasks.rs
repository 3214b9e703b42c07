//! Tasks: pushing, reading, results.

use ganger_core::{Dur, Priority, TaskId, TaskState};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Seconds, TaskRetry, Timestamp, V1};

/// A task to push: one line of a bulk body.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// What the worker is asked to do; workers tell kinds apart by it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Any JSON; `null` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// `high`, `normal`, `low` or 0-255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Not before this long from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Dur>,
    /// Not before this moment; instead of `delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What it sets for itself about retries; the rest is the queue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<TaskRetry>,
    /// A key of the caller's: a second push of the same key to the same queue answers with the first one's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Words to find it by; at most 32 of at most 100 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Counts against its queue's limits per key under this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// No second task like it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<super::Dedupe>,
    /// Not done by then: it is cancelled, also while it runs. RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Not begun after this long: it is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Dur>,
    /// Its result is kept this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_ttl: Option<Dur>,
    /// Its result serves identical tasks (queue, kind, payload) this long; "0s": neither asks nor serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Dur>,
}

/// One finished task, a line of the duplex stream and of `push --wait --json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StreamResult {
    /// Version of the shape.
    pub v: V1,
    /// The task.
    pub id: TaskId,
    /// `completed`, `cancelled` or `discarded`.
    pub state: TaskState,
    /// What its worker answered; `null` without.
    pub result: Option<Box<RawValue>>,
    /// Why it failed; `null` when it did not.
    pub error: Option<String>,
}

/// One task with its attempts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// Version of the shape.
    pub v: V1,
    /// 13 characters of base32.
    pub id: TaskId,
    /// Where it was pushed.
    pub queue: String,
    /// What is to be done.
    pub kind: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// Larger first.
    pub priority: Priority,
    /// As pushed.
    pub payload: Box<RawValue>,
    /// What its worker answered.
    pub result: Option<Box<RawValue>>,
    /// Why it failed last.
    pub error: Option<String>,
    /// Why it was given up, when discarded: `attempts`, `non_retryable`, `max_age`, `quarantined`, `stuck`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Tries that ended by crash or timeout since it was pushed or brought back; left out when 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crashes: Option<u32>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// It never ran: its result is that of an identical task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Its result was kept for so long only, and is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub result_expired: bool,
    /// How far the last try said that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<super::Progress>,
    /// The last log lines of the last try.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<super::TaskWord>,
    /// Every try, oldest first.
    pub attempts: Vec<Attempt>,
    /// When it was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it may be tried (again), for `scheduled` and `retryable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

/// One try of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub n: u32,
    /// The instance that ran it: `images#2`.
    pub worker: Option<String>,
    /// The process that ran it.
    pub pid: Option<u32>,
    /// When the worker began.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// `completed`, `error`, `crash`, `timeout`, `snoozed`, `interrupted`, `lost`, `cancelled`; `null` while it runs.
    pub outcome: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// What its process had used, where the try ended with its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<AttemptUsage>,
    /// How far it said that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<super::Progress>,
    /// Log lines it said in all; left out when 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_lines: Option<u64>,
    /// Of these, lines that were dropped because the attempt said too many; left out when 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_dropped: Option<u64>,
}

/// What a process had used in all when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AttemptUsage {
    /// Processor time, user and system.
    pub cpu_s: Seconds,
    /// Largest resident set in bytes.
    pub peak_rss: u64,
}

/// One line of `ganger task export`: a task without its single attempts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportedTask {
    /// Version of the shape.
    pub v: V1,
    /// 13 characters of base32.
    pub id: TaskId,
    /// Where it was pushed.
    pub queue: String,
    /// What is to be done.
    pub kind: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// Larger first.
    pub priority: Priority,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// As pushed.
    pub payload: Box<RawValue>,
    /// What its worker answered.
    pub result: Option<Box<RawValue>>,
    /// Why it failed last.
    pub error: Option<String>,
    /// How many tries so far.
    pub attempts: u32,
    /// When it was pushed.
    pub created_at: Timestamp,
    /// When it was finished.
    pub ended_at: Option<Timestamp>,
    /// `--after` this one goes on behind it.
    pub cursor: String,
}

/// A page of an export.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskExport {
    /// Version of the shape.
    pub v: V1,
    /// Unfinished ones oldest first, then finished ones newest first.
    pub tasks: Vec<ExportedTask>,
    /// Where to go on; `null` at the end.
    pub next: Option<String>,
}

/// A page of tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskPage {
    /// Version of the shape.
    pub v: V1,
    /// Newest first.
    pub tasks: Vec<TaskSummary>,
    /// Pass as `after` for the next page; `null` at the end.
    pub next: Option<String>,
}

/// A task in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskSummary {
    /// 13 characters of base32.
    pub id: TaskId,
    /// Where it was pushed.
    pub queue: String,
    /// What is to be done.
    pub kind: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// Larger first.
    pub priority: Priority,
    /// How many tries so far.
    pub attempts: u32,
    /// Why it failed last.
    pub error: Option<String>,
    /// When it was pushed.
    pub created_at: Timestamp,
    /// How far it is, where it runs and says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<super::Progress>,
}

/// Query of `GET /tasks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskQuery {
    /// Only this queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Only this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskState>,
    /// Only this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only those with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only those pushed since: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only those pushed before: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Only those with all these words in kind, tags, payload, result or error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// At most this many; the daemon caps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}
