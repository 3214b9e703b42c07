//! What conditions of alerts can name: kinds of objects, their metrics and the detectors. All in base units: seconds, bytes, processors, parts of one.
//!
//! | kind | objects | metrics |
//! | --- | --- | --- |
//! | `service`, `pool` | `service:web` as a whole, `service:web#2` one instance | what processes cost; how supervision goes |
//! | `queue` | `queue:images` | tasks by state, the age of the oldest |
//! | `host` | the machine | what it costs and lacks |
//!
//! What processes cost is that of the instance that has most of it: a limit is each instance's own, and percentiles of two do not add up.

use ganger_alert::{Read, Rule};
use ganger_monitor::{Meaning, MetricInfo, host_metrics, tree_metrics};

/// Kinds of objects.
pub(crate) const KINDS: [&str; 4] = ["service", "pool", "queue", "host"];
/// Detectors, as `finding(…)` names them.
pub(crate) const DETECTORS: [&str; 8] =
    ["spike", "level_shift", "leak", "stall", "livelock", "crash_loop", "saturation", "outlier"];
/// Longest window over what is counted and not kept in series: that is remembered in memory, look by look.
pub(crate) const COUNTED_WINDOW_MAX_S: u64 = 6 * 3_600;

/// What is counted of services and pools: its name, whether it only grows.
const SUPERVISED: [(&str, bool); 7] = [
    ("up", false),
    ("ready", false),
    ("down", false),
    ("failed", false),
    ("uptime", false),
    ("restarts", true),
    ("crashes", true),
];
/// What is counted of queues.
const QUEUED: [(&str, bool); 10] = [
    ("depth", false),
    ("available", false),
    ("scheduled", false),
    ("running", false),
    ("retryable", false),
    ("oldest_age", false),
    ("paused", false),
    ("completed", true),
    ("discarded", true),
    ("cancelled", true),
];

/// Where a metric's values are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Source {
    /// In series, and newest in the monitor's last look.
    Series(&'static MetricInfo),
    /// Counted now; a total that grows, or a level.
    Counted {
        /// It only grows.
        counter: bool,
    },
}

impl Source {
    /// A total that grows.
    pub(crate) const fn counter(self) -> bool {
        match self {
            Self::Series(info) => info.counter,
            Self::Counted { counter } => counter,
        }
    }
}

/// The metric of that kind of object; also by the names that people know from elsewhere.
pub(crate) fn metric(kind: &str, name: &str) -> Option<Source> {
    let name = match name {
        "rss" => "memory",
        "pss" => "memory_own",
        name => name,
    };
    let series =
        |all: &'static [MetricInfo]| all.iter().find(|info| info.name == name).map(Source::Series);
    let counted = |all: &[(&str, bool)]| {
        let found = all.iter().find(|(known, _)| *known == name);
        found.map(|(_, counter)| Source::Counted { counter: *counter })
    };
    match kind {
        "service" | "pool" => series(tree_metrics()).or_else(|| counted(&SUPERVISED)),
        "queue" => counted(&QUEUED),
        "host" => series(host_metrics()),
        _ => None,
    }
}

/// All metrics of a kind.
fn metrics(kind: &str) -> Vec<&'static str> {
    let series = |all: &'static [MetricInfo]| all.iter().map(|info| info.name);
    let counted = |all: &'static [(&'static str, bool)]| all.iter().map(|(name, _)| *name);
    match kind {
        "service" | "pool" => series(tree_metrics()).chain(counted(&SUPERVISED)).collect(),
        "queue" => counted(&QUEUED).collect(),
        "host" => series(host_metrics()).collect(),
        _ => Vec::new(),
    }
}

/// By what a kept value (of a counter: its increase a second) becomes base units.
pub(crate) const fn base(meaning: Meaning) -> f64 {
    match meaning {
        // 10,000 units are a second.
        Meaning::Processor | Meaning::Waiting => 1e-4,
        Meaning::Memory | Meaning::Throughput => 1_024.0,
        Meaning::Events | Meaning::Count => 1.0,
        Meaning::Share => 1e-3,
        Meaning::Hundredths => 1e-2,
    }
}

/// What a rule reads that nothing tells, with what to write instead.
pub(crate) fn faults(rule: &Rule) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let reads = rule.reads();
    let kinds = reads.metrics.iter().map(|(of, _)| of.kind.as_str());
    let kinds = kinds.chain(reads.findings.iter().map(|(of, _)| of.kind.as_str()));
    let kinds = kinds.chain([rule.subject.kind.as_str()]);
    if let Some(unknown) = kinds.into_iter().find(|kind| !KINDS.contains(kind)) {
        let help = format!("kinds are {}", KINDS.join(", "));
        faults.push((format!("nothing is of the kind `{unknown}`"), help));
        return faults;
    }
    for (of, query) in &reads.metrics {
        let Some(source) = metric(&of.kind, &query.metric) else {
            let help = format!("a {} has {}", of.kind, metrics(&of.kind).join(", "));
            faults.push((format!("a {} has no metric `{}`", of.kind, query.metric), help));
            continue;
        };
        if !query.labels.is_empty() {
            let why = format!("`{}` has no labels", query.metric);
            faults.push((why, "leave them out".to_owned()));
        }
        if query.read == Read::Rate && !source.counter() {
            let why = format!("`{}` is a level: rate() is of totals that grow", query.metric);
            faults.push((why, "use avg, max, last or a percentile; or finding(leak)".to_owned()));
        }
        let long = query.range.is_some_and(|range| range.as_secs() > COUNTED_WINDOW_MAX_S);
        if long && matches!(source, Source::Counted { .. }) {
            let why = format!("`{}` is remembered for 6h, not longer", query.metric);
            faults.push((why, "use a window of at most 6h".to_owned()));
        }
    }
    for (of, detector) in &reads.findings {
        if !matches!(&*of.kind, "service" | "pool") {
            let why = format!("no detector looks at a {}", of.kind);
            faults.push((why, "they look at services and pools".to_owned()));
            continue;
        }
        if !DETECTORS.contains(detector) {
            let help = format!("detectors are {}", DETECTORS.join(", "));
            faults.push((format!("there is no detector `{detector}`"), help));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use ganger_alert::RuleSettings;

    use super::*;

    fn of(when: &str) -> Vec<String> {
        let rule = Rule::new("r", RuleSettings::new(when)).unwrap_or_else(|e| panic!("{e}"));
        faults(&rule).into_iter().map(|(why, help)| format!("{why}; {help}")).collect()
    }

    #[test]
    fn what_exists_can_be_named_and_nothing_else() {
        for when in [
            "p95(memory{service:web}, 5m) > 512MiB",
            "rss{service:web#2} > 1GiB and finding(leak)",
            "depth{queue:*} > 1000 and rate(completed{queue:q}, 5m) == 0",
            "cpu > 80% or load > 4",
            "down{pool:*} > 0",
        ] {
            // A second object of another kind than the first needs a rule of its own; these that name one are fine.
            if Rule::new("r", RuleSettings::new(when)).is_ok() {
                assert_eq!(of(when), [] as [String; 0], "{when}");
            }
        }
        for (when, why) in [
            ("cpuu{service:web} > 1", "no metric `cpuu`"),
            ("cpu{servic:web} > 1", "kind `servic`"),
            ("rate(memory{service:web}, 5m) > 1", "is a level"),
            ("finding(leek{service:web})", "no detector `leek`"),
            ("max(depth{queue:q}, 7h) > 1", "for 6h"),
            ("finding(leak)", "looks at a host"),
            ("depth{queue:q,a='b'} > 1", "no labels"),
        ] {
            let told = of(when);
            assert!(told.len() == 1 && told[0].contains(why), "{when}: {told:?}");
        }
    }

    #[test]
    fn base_units_are_seconds_bytes_and_parts_of_one() {
        let Some(Source::Series(cpu)) = metric("service", "cpu") else { panic!() };
        assert!((10_000.0 * base(cpu.meaning) - 1.0).abs() < 1e-9);
        assert_eq!(metric("pool", "rss"), metric("pool", "memory"));
        assert_eq!(metric("queue", "cpu"), None);
    }
}
