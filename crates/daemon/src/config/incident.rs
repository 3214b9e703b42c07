//! `[incident]`: when the rules of detection fire, and what happens then.

use std::collections::BTreeSet;

use ganger_audit::Severity;
use ganger_core::Dur;
use ganger_incident::{COUNT_MAX, Hook, LockOutRule, Rule, Settings, Threshold};
use schemars::JsonSchema;

use super::resolve::{in_range, not_zero};
use super::values::Time;
use super::walk::{At, FromNode, Key, Node, Walk, section};

/// How bad an incident is.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct SeverityWord(
    #[schemars(with = "String", extend("enum" = ["info", "low", "medium", "high", "critical"]))]
    Severity,
);

impl FromNode for SeverityWord {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        use Severity::{Critical, High, Info, Low, Medium};
        let words = [
            ("info", Info),
            ("low", Low),
            ("medium", Medium),
            ("high", High),
            ("critical", Critical),
        ];
        walk.word(node, &words).map(Self)
    }
}

/// A rule of detection, by its id.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct RuleWord(#[schemars(with = "String", regex(pattern = r"^I[0-9]{2}$"))] Rule);

impl FromNode for RuleWord {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let words: Vec<_> = Rule::all().map(|rule| (rule.id(), rule)).collect();
        walk.word(node, &words).map(Self)
    }
}

section! {
    /// So many within so long.
    struct RawThreshold in "a threshold of [incident]" {
        /// How often: 1 to 1000.
        count: u32,
        /// Within which time: "1m".
        within: Time,
    }
}

section! {
    /// Principals that may run nothing for a while.
    struct RawLockOut in "`lock_out`" {
        /// After incidents at least this bad: "info", "low", "medium", "high" (default) or "critical".
        severity: SeverityWord,
        /// For so long after the last record of it. Default: "10m".
        time: Time,
    }
}

section! {
    /// Who is told of an incident.
    struct RawHook in "`hook`" {
        /// A program by its absolute path, with arguments; it reads the incident as a line of JSON.
        command: Vec<At<String>>,
        /// Of incidents at least this bad. Default: "high".
        severity: SeverityWord,
    }
}

section! {
    /// What counts as an attack or a fault among the commands that run under policies. The defaults raise nothing in days
    /// of ordinary use.
    struct RawIncident in "[incident]" {
        /// I01: denials of one principal. Default: 10 within 1m.
        denials: RawThreshold,
        /// I04: denied requests that look like an injection. Default: 3 within 10m.
        probes: RawThreshold,
        /// I06: paths outside of their folder; one with several `..` in it, or through a link, is enough. Default: 3 within 10m.
        paths: RawThreshold,
        /// I12: runs of one program ended at a limit. Default: 3 within 10m.
        kills: RawThreshold,
        /// I14: requests refused for their rate. Default: 100 within 1m.
        limited: RawThreshold,
        /// I02, I15: runs of a principal before something new of it is told. Default: 100.
        learn: u32,
        /// Rules that are not wanted: ["I15"].
        off: Vec<At<RuleWord>>,
        /// Whoever is behind an incident may run nothing for a while. Default: nobody is locked out.
        lock_out: RawLockOut,
        /// Who is told. Default: nobody but the log and the events.
        hook: RawHook,
    }
}

/// Runs that a principal may need before it is known.
const LEARN_MAX: u32 = 1_000_000;

/// The settings, with what is not said as by default.
pub(super) fn resolve(keys: Option<&RawIncident>, walk: &mut Walk<'_>) -> Settings {
    let usual = Settings::default();
    let Some(keys) = keys else { return usual };
    let learn = u32::try_from(usual.learn).unwrap_or(LEARN_MAX);
    let off = keys.off.get().into_iter().flatten().map(|at| at.value.0);
    Settings {
        denials: threshold(&keys.denials, usual.denials, walk),
        probes: threshold(&keys.probes, usual.probes, walk),
        paths: threshold(&keys.paths, usual.paths, walk),
        kills: threshold(&keys.kills, usual.kills, walk),
        limited: threshold(&keys.limited, usual.limited, walk),
        learn: in_range(&keys.learn, learn, 0, LEARN_MAX, walk).into(),
        off: off.collect::<BTreeSet<_>>(),
        lock_out: keys.lock_out.get().map(|keys| lock_out(keys, walk)),
        hook: keys.hook.0.as_ref().and_then(|at| hook(at, walk)),
    }
}

fn threshold(key: &Key<RawThreshold>, usual: Threshold, walk: &mut Walk<'_>) -> Threshold {
    let Some(keys) = key.get() else { return usual };
    Threshold {
        count: in_range(&keys.count, usual.count, 1, COUNT_MAX, walk),
        within: time(&keys.within, usual.within, walk),
    }
}

fn lock_out(keys: &RawLockOut, walk: &mut Walk<'_>) -> LockOutRule {
    let usual = LockOutRule::default();
    LockOutRule {
        severity: keys.severity.get().map_or(usual.severity, |word| word.0),
        time: time(&keys.time, usual.time, walk),
    }
}

fn hook(at: &At<RawHook>, walk: &mut Walk<'_>) -> Option<Hook> {
    let keys = &at.value;
    let command: Vec<String> =
        keys.command.get().into_iter().flatten().map(|at| at.value.clone()).collect();
    if keys.command.is_absent() || command.first().is_some_and(|program| !program.starts_with('/'))
    {
        walk.error(
            keys.command.span().unwrap_or_else(|| at.span.clone()),
            "a hook needs a program by its absolute path",
        )
        .help("hook = { command = [\"/usr/local/bin/page\"], severity = \"high\" }".into());
        return None;
    }
    let severity = keys.severity.get().map_or(Severity::High, |word| word.0);
    Some(Hook { command, severity })
}

fn time(key: &Key<Time>, usual: Dur, walk: &mut Walk<'_>) -> Dur {
    let time = key.get().map_or(usual, |time| time.0);
    not_zero(&key.span(), time, walk);
    time
}
