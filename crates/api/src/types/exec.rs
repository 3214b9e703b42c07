//! `POST /exec/{policy}` and `POST /exec`: commands under policies.
//!
//! The request is JSON as policies read it (`{"args":[…],"env":{…},"cwd":"…","stdin":{"bytes":N}}`), and behind it, after one newline, the
//! N bytes of its standard input. The answer is an [`ExecEnd`]; with `?stream=true` it is a row of [`frames`](super::exec_frames).

use serde::{Deserialize, Serialize};

use super::{Degraded, Seconds, V1};
use crate::ApiError;

/// How the answer is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecQuery {
    /// As frames, as it comes.
    pub stream: bool,
}

/// It runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStart {
    /// Version of the shape.
    pub v: V1,
    /// Its id in the audit log.
    pub run_id: String,
    /// The rule that allowed it.
    pub rule: String,
    /// Its process id.
    pub pid: u32,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecEnd {
    /// Version of the shape.
    pub v: V1,
    /// Its id in the audit log.
    pub run_id: String,
    /// `allowed`, `denied`, `limited` (less often, or fewer at once), or `failed` (ganger could not do it).
    pub verdict: String,
    /// The rule that decided.
    pub rule: Option<String>,
    /// Why, or how it ended, in words.
    pub reason: String,
    /// A word for programs, where it did not run: `not_allowed`, `option`, `path`, `rate`, `no_audit`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Which argument was at fault, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument: Option<usize>,
    /// The line of configuration that would allow it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// Seconds after which the same may be allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<Seconds>,
    /// The code a shell would show; none where nothing ran.
    pub exit: Option<u8>,
    /// The limits it had.
    pub limits: ExecLimits,
    /// The limit that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach: Option<ExecBreach>,
    /// Layers that held it, by name.
    pub layers: Vec<String>,
    /// Layers that its policy leaves out of its profile, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// What was wanted and is not there.
    pub degraded: Vec<Degraded>,
    /// What it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<ExecUsage>,
    /// What it said on its standard output, as text; not in a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// The same of its standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// Its output was cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub output_cut: bool,
    /// Where nothing ran: the same as every failure of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
}

/// Limits of a run; what is none has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecLimits {
    /// Time by the clock, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// CPU time, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Thousandths of a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Open files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Bytes of one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// Bytes on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    /// Bytes of output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
}

/// A limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecBreach {
    /// `wall`, `memory`, `output`, `cpu_time`, …
    pub limit: String,
    /// Its value: bytes, or milliseconds.
    pub allowed: u64,
    /// Highest use seen.
    pub peak: u64,
}

/// What a run used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecUsage {
    /// From its start until nothing of it was left.
    pub wall_s: Seconds,
    /// CPU time in user mode.
    pub user_s: Seconds,
    /// CPU time in the kernel.
    pub system_s: Seconds,
    /// Highest memory, bytes.
    pub memory_peak: u64,
    /// Bytes it said.
    pub output: u64,
}
