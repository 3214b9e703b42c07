//! `[incident]`: when rules fire, and what happens then.

use std::collections::BTreeSet;
use std::time::Duration;

use ganger_audit::Severity;
use ganger_core::Dur;
use serde::{Deserialize, Serialize};

use crate::hook::Hook;
use crate::rule::Rule;

/// Hits that a window may have to wait for: it keeps that many of each principal.
pub const COUNT_MAX: u32 = 1_000;

/// So many within so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threshold {
    /// 1 to [`COUNT_MAX`].
    pub count: u32,
    /// Not zero.
    pub within: Dur,
}

impl Threshold {
    const fn new(count: u32, seconds: u64) -> Self {
        Self { count, within: Dur(Duration::from_secs(seconds)) }
    }
}

/// When a principal is locked out, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockOutRule {
    /// Incidents at least this bad.
    pub severity: Severity,
    /// Counted from the last record of the incident.
    pub time: Dur,
}

impl Default for LockOutRule {
    fn default() -> Self {
        Self { severity: Severity::High, time: Dur(Duration::from_secs(600)) }
    }
}

/// `[incident]`. The defaults raise nothing in days of ordinary use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// I01: denials of one principal.
    pub denials: Threshold,
    /// I04: denied requests that look like an injection. Allowed ones, where such text is plain text, count a tenth.
    pub probes: Threshold,
    /// I06: paths outside of their folder. One with `..` in it, or through a link, is enough.
    pub paths: Threshold,
    /// I12: runs of one program that were ended at a limit.
    pub kills: Threshold,
    /// I14: requests refused for their rate.
    pub limited: Threshold,
    /// I02 and I15: runs of a principal before something new of it is told.
    pub learn: u64,
    /// Rules that are not wanted.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub off: BTreeSet<Rule>,
    /// None: nobody is locked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_out: Option<LockOutRule>,
    /// Who is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<Hook>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            denials: Threshold::new(10, 60),
            probes: Threshold::new(3, 600),
            paths: Threshold::new(3, 600),
            kills: Threshold::new(3, 600),
            limited: Threshold::new(100, 60),
            learn: 100,
            off: BTreeSet::new(),
            lock_out: None,
            hook: None,
        }
    }
}

impl Settings {
    /// Nothing was said.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with settings that did not come from a file that was checked.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let thresholds = [
            ("denials", self.denials),
            ("probes", self.probes),
            ("paths", self.paths),
            ("kills", self.kills),
            ("limited", self.limited),
        ];
        let sound = |threshold: Threshold| {
            (1..=COUNT_MAX).contains(&threshold.count) && !threshold.within.0.is_zero()
        };
        let mut wrong: Vec<String> = thresholds
            .into_iter()
            .filter(|(_, threshold)| !sound(*threshold))
            .map(|(name, _)| {
                format!("incident: `{name}` needs 1 to {COUNT_MAX} within more than nothing")
            })
            .collect();
        let program = self.hook.as_ref().and_then(|hook| hook.command.first());
        if self.hook.is_some() && program.is_none_or(|program| !program.starts_with('/')) {
            wrong.push("incident: the hook's program is no absolute path".to_owned());
        }
        wrong
    }
}
