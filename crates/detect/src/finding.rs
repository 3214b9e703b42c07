//! What a detector says: which, of what, since when, how sure, against what, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Facts that a finding carries at most.
pub const EVIDENCE_MAX: usize = 8;

/// What is measured of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Cores used.
    Cpu,
    /// Resident bytes.
    Memory,
    /// Open descriptors.
    Fds,
    /// Threads, or processes of the tree.
    Threads,
    /// Bytes read and written a second.
    Io,
    /// Seconds that a request or a task takes.
    Latency,
}

impl Metric {
    /// The word in texts and in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Fds => "fds",
            Self::Threads => "threads",
            Self::Io => "io",
            Self::Latency => "latency",
        }
    }

    /// The smallest change that anybody would act on, in the metric's unit: what is smaller is never told, however rare it is.
    #[must_use]
    pub const fn floor(self) -> f64 {
        match self {
            Self::Cpu => 0.05,
            Self::Memory => 16.0 * 1024.0 * 1024.0,
            Self::Fds => 16.0,
            Self::Threads => 8.0,
            Self::Io => 256.0 * 1024.0,
            Self::Latency => 0.05,
        }
    }

    /// `value` with its unit, for people.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Cpu => format!("{:.1} % of a core", value * 100.0),
            Self::Memory => format!("{:.1} MiB", value / 1_048_576.0),
            Self::Fds => format!("{value:.0} descriptors"),
            Self::Threads => format!("{value:.0} threads"),
            Self::Io => format!("{:.2} MiB/s", value / 1_048_576.0),
            Self::Latency => format!("{value:.3} s"),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What can run full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Open descriptors of their limit.
    Fds,
    /// Processes and threads of their limit.
    Pids,
    /// Memory of its limit.
    Memory,
    /// Share of the time in which a CPU quota held the object back.
    CpuQuota,
    /// Share of the time in which something waited for a CPU (PSI some).
    CpuPressure,
    /// Share of the time in which everything waited for memory (PSI full).
    MemoryPressure,
    /// Share of the time in which everything waited for I/O (PSI full).
    IoPressure,
}

impl Resource {
    /// The word in texts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fds => "descriptors",
            Self::Pids => "processes",
            Self::Memory => "memory",
            Self::CpuQuota => "CPU quota",
            Self::CpuPressure => "CPU pressure",
            Self::MemoryPressure => "memory pressure",
            Self::IoPressure => "I/O pressure",
        }
    }
}

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Far above anything usual, for at least three of five steps.
    Spike,
    /// A new level that stays.
    LevelShift,
    /// Grows and never gives back.
    Leak,
    /// Work is queued, nothing gets done, and it sleeps.
    Stall,
    /// Work is queued, nothing gets done, and it burns a core.
    Livelock,
    /// Ends again and again.
    CrashLoop,
    /// Close to a limit, or held back.
    Saturation,
    /// Unlike its siblings.
    Outlier,
}

impl Detector {
    /// The word in texts and in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::LevelShift => "level_shift",
            Self::Leak => "leak",
            Self::Stall => "stall",
            Self::Livelock => "livelock",
            Self::CrashLoop => "crash_loop",
            Self::Saturation => "saturation",
            Self::Outlier => "outlier",
        }
    }
}

/// What is wrong, as incidents see it: detectors that see the same trouble have the same cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Spike or level shift.
    Unusual(Metric),
    /// Leak.
    Leak(Metric),
    /// Stall or livelock.
    NoProgress,
    /// Crash loop.
    CrashLoop,
    /// Saturation.
    Saturated(Resource),
    /// Outlier among siblings.
    Outlier(Metric),
}

/// One thing that a detector sees now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Who says it.
    pub detector: Detector,
    /// The service, worker or process: name and slot.
    pub object: String,
    /// What is wrong.
    pub cause: Cause,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// How sure and how bad, 0 to 1: below 0.5 worth a note, from 0.8 worth a call.
    pub score: f64,
    /// The value now, in the unit of the metric (of a resource: share of the limit, 0 to 1; of a crash loop: ends in the window; of no progress: seconds).
    pub value: f64,
    /// What it is held against, in the same unit.
    pub baseline: f64,
    /// Samples that the baseline rests on.
    pub samples: u64,
    /// Short facts with numbers, the most telling first; at most [`EVIDENCE_MAX`].
    pub evidence: Vec<String>,
    /// Seconds until the limit is reached, where that applies.
    pub eta_s: Option<f64>,
    /// It began within five minutes of a reload.
    pub deploy: bool,
}

/// Seconds for people: `45 s`, `12 min`, `3.5 h`, `2.1 d`.
pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}
