//! What an instance's probes last found and what it says of itself.
//!
//! These change with every check, which nobody has to hear of: they stand in a `watch` of their own, that whoever shows an
//! instance reads when it does.

use std::time::Duration;

use tokio::sync::watch;

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeKind {
    /// The end of a start-up.
    Startup,
    /// Readiness.
    Ready,
    /// Liveness.
    Live,
}

/// One probe of the living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeView {
    /// Which.
    pub kind: ProbeKind,
    /// What is asked: `http :3000/health`.
    pub what: String,
    /// The last answer; `None` before the first.
    pub ok: Option<bool>,
    /// What a bad one said.
    pub said: String,
    /// Bad answers in a row.
    pub failures: u32,
    /// Answers so far.
    pub checks: u64,
    /// How long the last one took.
    pub latency: Option<Duration>,
    /// Wall-clock milliseconds since 1970 of the last one.
    pub at_ms: u64,
}

/// What the process says it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// `RELOADING=1`, until the next `READY=1`.
    Reloading,
    /// `STOPPING=1`.
    Stopping,
}

/// All of it, for one living process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signs {
    /// In the order in which they are asked; none where none is declared.
    pub probes: Vec<ProbeView>,
    /// `STATUS=` of its last words.
    pub status: Option<String>,
    /// What it says it is doing.
    pub doing: Option<Doing>,
    /// The process it calls its main one, if that is another than the one ganger started.
    pub main_pid: Option<u32>,
}

/// A reader of an instance's [`Signs`]. Two are equal when they read the same instance's, whatever it says.
#[derive(Debug, Clone, Default)]
pub struct SignsReader(Option<watch::Receiver<Signs>>);

impl SignsReader {
    pub(crate) fn of(board: Option<&watch::Sender<Signs>>) -> Self {
        Self(board.map(watch::Sender::subscribe))
    }

    /// What there is to say now.
    #[must_use]
    pub fn read(&self) -> Signs {
        self.0.as_ref().map(|signs| signs.borrow().clone()).unwrap_or_default()
    }
}

impl PartialEq for SignsReader {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => one.same_channel(other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for SignsReader {}
