//! Records of runs: intent, outcome, denial, incident.

use std::collections::BTreeMap;

use ganger_core::{End, SignalSource};
use serde::{Deserialize, Serialize};

use super::common::{Program, Severity};
use crate::hash::Hash;
use crate::text::{Arg, Text};

/// What is about to be started, after the policy said yes and before anything runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The policy that allowed it.
    pub policy: String,
    /// Its rule.
    pub rule: String,
    /// SHA-256 of the policy's resolved form, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_sha256: Option<String>,
    /// The program.
    pub program: Program,
    /// The command line, the program's name first; secrets as digests.
    pub argv: Vec<Arg>,
    /// Names of the environment's variables, in order; values are never recorded.
    #[serde(default)]
    pub env: Vec<Text>,
    /// Working folder.
    pub cwd: Text,
    /// Profile of the sandbox.
    pub profile: String,
    /// Layers of it that the policy treats otherwise than the profile does, by name: `require`, `prefer` or `off`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<String, String>,
    /// Limits that will hold.
    #[serde(default)]
    pub limits: Limits,
    /// Marks of the decision that a person may want to know: arguments that look like probes, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// Limits of a run; what is none has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Time, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// CPU time, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Share of one CPU, in thousandths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u64>,
    /// Bytes of memory.
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
    /// The kernel's controllers hold memory, cores and processes, or nothing runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require: bool,
}

/// How a run ended, told when its tree is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The policy that allowed it.
    pub policy: String,
    /// How its main process ended.
    pub end: Ending,
    /// Its process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What it used.
    #[serde(default)]
    pub usage: Usage,
    /// Layers of the sandbox that held it, by name.
    #[serde(default)]
    pub enforced: Vec<String>,
    /// Layers that were wanted and not to be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<Degraded>,
    /// The limit it ran into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach: Option<Breach>,
    /// Its output was cut at the limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub output_cut: bool,
    /// What else was seen of it that a person may want to know: `residue:2` processes left at its end, `stuck:1` that could not be ended,
    /// `secret:private_key` in its output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// [`End`] with its time as an integer, which the log's form asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Ending {
    /// It never ran.
    CouldNotSpawn {
        /// The step that failed.
        step: String,
        /// Its errno.
        errno: i32,
    },
    /// It returned or called exit.
    Exited {
        /// 0-255.
        code: i32,
    },
    /// A signal ended it.
    Signalled {
        /// The signal's number.
        signal: i32,
        /// It left a core.
        core: bool,
        /// Who sent it.
        by: SignalSource,
    },
    /// Its time was over.
    TimedOut {
        /// The limit in milliseconds.
        after_ms: u64,
    },
    /// It ran into a limit.
    LimitHit {
        /// Which.
        limit: String,
        /// Highest use seen, in the limit's unit.
        peak: u64,
    },
    /// The sandbox stopped it.
    SandboxViolation {
        /// What it tried.
        what: String,
    },
    /// Nobody can say.
    Lost,
}

impl From<&End> for Ending {
    fn from(end: &End) -> Self {
        match end.clone() {
            End::CouldNotSpawn { step, errno } => Self::CouldNotSpawn { step, errno },
            End::Exited { code } => Self::Exited { code },
            End::Signalled { signal, core, by } => Self::Signalled { signal, core, by },
            End::TimedOut { after } => {
                Self::TimedOut { after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX) }
            }
            End::LimitHit { limit, peak } => Self::LimitHit { limit, peak },
            End::SandboxViolation { what } => Self::SandboxViolation { what },
            End::Lost => Self::Lost,
        }
    }
}

/// What a run used, its whole tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// From the start to the empty tree, microseconds.
    pub wall_us: u64,
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, microseconds.
    pub system_us: u64,
    /// Highest memory, bytes.
    pub memory_peak: u64,
    /// Bytes it said.
    pub output: u64,
    /// SHA-256 of what was passed on of its standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_sha256: Option<Hash>,
    /// The same of its standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr_sha256: Option<Hash>,
}

/// A layer that was wanted and is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// What is missing.
    pub what: String,
    /// Why.
    pub why: String,
}

/// A limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// `memory`, `wall`, `output`, …
    pub limit: String,
    /// Its value, in its unit.
    pub allowed: u64,
    /// Highest use seen.
    pub peak: u64,
}

/// What was not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// The policy asked for.
    pub policy: String,
    /// The rule that said no; none where no rule said yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// A word for programs: `no_rule`, `argument`, `path`, `rate`, `identity`, …
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The program asked for, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Text>,
    /// The command line asked for; secrets as digests.
    #[serde(default)]
    pub argv: Vec<Arg>,
    /// Which argument was at fault, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u32>,
    /// Marks, as in [`Intent::flags`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The line of the policy that would allow it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// What the argument at fault can be made to do, where that is known (`command`, `write`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub danger: Option<String>,
}

/// Something a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The incident's own id.
    pub id: String,
    /// The rule of detection.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// Technique of ATT&CK: `T1059.004`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technique: Option<String>,
    /// A sentence.
    pub message: String,
    /// Numbers (`seq`) of the records that show it.
    #[serde(default)]
    pub evidence: Vec<u64>,
    /// How often so far.
    pub count: u64,
    /// The policy concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The program concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Text>,
    /// What was done about it: `killed`, `locked_out`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// Somebody looked at an incident, closed it or opened it again. Who stands in the envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentState {
    /// The incident's id.
    pub id: String,
    /// What it is from here on.
    pub state: Handling,
    /// What there is to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What people did about an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handling {
    /// Nobody looked at it.
    Open,
    /// Somebody knows of it: more of the same is counted, and told only if it gets worse.
    Ack,
    /// It is dealt with: more of the same is a new incident.
    Closed,
}

impl Handling {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Ack => "ack",
            Self::Closed => "closed",
        }
    }
}

impl Outcome {
    /// In words.
    pub(crate) fn sentence(&self) -> String {
        let mut text = End::from(&self.end).to_string();
        if let Some(breach) = &self.breach {
            text.push_str(&format!(
                ", {} limit {} breached with {}",
                breach.limit, breach.allowed, breach.peak
            ));
        }
        if !self.degraded.is_empty() {
            let missing: Vec<&str> =
                self.degraded.iter().map(|layer| layer.what.as_str()).collect();
            text.push_str(&format!(", without {}", missing.join(", ")));
        }
        if self.output_cut {
            text.push_str(", output cut");
        }
        text
    }
}

impl From<&Ending> for End {
    fn from(ending: &Ending) -> Self {
        match ending.clone() {
            Ending::CouldNotSpawn { step, errno } => Self::CouldNotSpawn { step, errno },
            Ending::Exited { code } => Self::Exited { code },
            Ending::Signalled { signal, core, by } => Self::Signalled { signal, core, by },
            Ending::TimedOut { after_ms } => {
                Self::TimedOut { after: std::time::Duration::from_millis(after_ms) }
            }
            Ending::LimitHit { limit, peak } => Self::LimitHit { limit, peak },
            Ending::SandboxViolation { what } => Self::SandboxViolation { what },
            Ending::Lost => Self::Lost,
        }
    }
}
