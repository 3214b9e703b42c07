//! What people read about an alert. The only place where these sentences are made.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::expr::{self, Evidence};
use crate::group::{Alert, Status};
use crate::state::Ended;
use crate::values::Time;

/// Most log lines in a message, and most characters of one.
pub const LOG_LINES: usize = 20;
/// See [`LOG_LINES`].
pub const LOG_LINE_MAX: usize = 400;
/// Most likely causes in a message: more is a list, not a hint.
pub const CAUSES: usize = 3;

/// Something that may be the cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// One sentence without its end: "reloaded 2 min before (web 1.4 → 1.5)".
    pub what: String,
    /// From 0 to 1; causes are told in this order.
    pub weight: f64,
}

/// What the caller knows about an alert when it is told.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct About {
    /// The process.
    pub pid: Option<u32>,
    /// The attempt of a task, or the restarts of a service.
    pub attempt: Option<u32>,
    /// What the value usually is, and of how many samples.
    pub baseline: Option<(f64, u64)>,
    /// Likely causes, in any order.
    pub causes: Vec<Cause>,
    /// The newest lines of its log, oldest first.
    pub log: Vec<String>,
    /// Command lines that help: `ganger restart web`.
    pub try_this: Vec<String>,
}

impl About {
    /// The likeliest causes, most likely first.
    #[must_use]
    pub fn ranked(&self) -> Vec<&Cause> {
        let mut causes: Vec<&Cause> = self.causes.iter().collect();
        causes.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        causes.truncate(CAUSES);
        causes
    }

    /// The newest lines, each cut, without control characters.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let skipped = self.log.len().saturating_sub(LOG_LINES);
        self.log.iter().skip(skipped).map(|line| {
            let plain = line.chars().map(|c| if c.is_control() { ' ' } else { c });
            plain.take(LOG_LINE_MAX).collect()
        })
    }
}

/// All that is known, in a few lines: what, since when, how bad, why, what it said, what to try.
#[must_use]
pub fn text(alert: &Alert, about: &About) -> String {
    let mut out = format!("{}: {}\n", headline(alert), alert.summary);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<9}{value}");
    };
    line("what", &what(alert, about));
    line("since", &since(alert));
    if let Some(value) = value(alert, about) {
        line("value", &value);
    }
    if let Some(stale) = alert.stale {
        line("data", &format!("none since {}: what is said here may be old", clock(stale)));
    }
    if alert.status == Status::Firing {
        for cause in about.ranked() {
            line("perhaps", &format!("{} ({:.0} %)", cause.what, cause.weight * 100.0));
        }
        for command in &about.try_this {
            line("try", command);
        }
        for logged in about.lines() {
            line("log", &logged);
        }
    }
    out
}

fn headline(alert: &Alert) -> String {
    let severity = alert.labels.get("severity").map_or("", String::as_str);
    let state = match (alert.status, alert.flapping) {
        (Status::Firing, Some(_)) => "flapping",
        (Status::Firing, None) => "firing",
        (Status::Resolved, _) => "resolved",
    };
    format!("{} {} [{severity}]", state.to_uppercase(), alert.rule)
}

fn what(alert: &Alert, about: &About) -> String {
    let mut text = alert.object.to_string();
    if let Some(pid) = about.pid {
        let _ = write!(text, ", pid {pid}");
    }
    if let Some(attempt) = about.attempt {
        let _ = write!(text, ", attempt {attempt}");
    }
    text
}

/// Since when and, if it ended, until when and why.
pub(crate) fn since(alert: &Alert) -> String {
    let mut text = clock(alert.starts);
    if let Some(flapping) = alert.flapping {
        let _ = write!(text, "; comes and goes, told once since {}", clock(flapping));
    }
    if let Some(ends) = alert.ends {
        let why = ended(alert.ended.unwrap_or(Ended::Cleared));
        let _ = write!(text, " until {}: {why}", clock(ends));
    }
    text
}

/// Why an alert ended.
#[must_use]
pub const fn ended(why: Ended) -> &'static str {
    match why {
        Ended::NoData => "data is missing, which the rule takes as fine",
        Ended::Lost => "no data for a day: whether it is over is not known",
        Ended::Gone => "it was removed",
        Ended::RuleRemoved => "the rule was removed",
        Ended::RuleChanged => "the rule was changed, and tells it elsewhere or otherwise",
        Ended::Cleared => "the condition holds no more",
    }
}

/// `memory = 612 MiB (> 512 MiB)`.
#[must_use]
pub fn evidence(evidence: &Evidence) -> String {
    let shown = |value: Option<f64>| {
        value.map_or("missing".to_owned(), |value| expr::number(value, evidence.unit))
    };
    let (what, op) = (&evidence.what, &evidence.op);
    format!("{what} = {} ({op} {})", shown(evidence.value), shown(evidence.threshold))
}

/// The value against its threshold and its usual size.
pub(crate) fn value(alert: &Alert, about: &About) -> Option<String> {
    let evidence = alert.evidence.as_ref()?;
    let mut text = self::evidence(evidence);
    if let Some((usual, samples)) = about.baseline {
        let usual = expr::number(usual, evidence.unit);
        let _ = write!(text, ", usually {usual} (of {samples} samples)");
    }
    Some(text)
}

/// RFC 3339 in UTC, as Go writes it: no fraction when it is zero.
pub(crate) fn clock(time: Time) -> String {
    let time = i64::try_from(time).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(jiff::Timestamp::MAX).to_string()
}
