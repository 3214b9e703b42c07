//! What the report says, in order, before it has a form: HTML and Markdown write the same blocks.

use ganger_incident::Standing;

use crate::model::{Count, Groups, Integrity, Refused, Report};
use crate::score::ProfileScore;
use crate::tally::severity;

/// A headed part.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) blocks: Vec<Block>,
}

/// A piece of it.
#[derive(Debug)]
pub(crate) enum Block {
    /// A sentence.
    Text(String),
    /// Something that must not be overlooked, or that all is well.
    Verdict(Tone, String),
    /// Numbers with their names.
    Facts(Vec<(Tone, &'static str, u64)>),
    /// The period as a chart; in text the totals say it.
    Timeline,
    /// Bars: what they show, the longest one's value, and each one's label, value, and what is written beside it.
    Bars(&'static str, Option<u64>, Vec<Bar>),
    /// A table: heads, of which those with `#` are numbers, and rows.
    Table(&'static [&'static str], Vec<Vec<String>>),
}

/// Tone, label, value, what is written beside it.
pub(crate) type Bar = (Tone, String, u64, String);

/// How a thing is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
}

impl Tone {
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    const fn bad_if(n: u64) -> Self {
        if n > 0 { Self::Bad } else { Self::Plain }
    }

    const fn warn_if(n: u64) -> Self {
        if n > 0 { Self::Warn } else { Self::Plain }
    }
}

/// All of them.
pub(crate) fn sections(report: &Report) -> Vec<Section> {
    vec![
        Section { title: "In short", blocks: short(report) },
        Section { title: "Incidents", blocks: incidents(report) },
        Section { title: "Who, what, by which rule", blocks: groups(report) },
        Section { title: "Denials", blocks: denials(report) },
        Section { title: "New programs", blocks: new_programs(report) },
        Section { title: "Limits and missing layers", blocks: stops(report) },
        Section { title: "Hardening", blocks: hardening(&report.profiles) },
        Section { title: "Policies", blocks: policies(report) },
        Section { title: "The log", blocks: vec![integrity(&report.log)] },
    ]
}

fn short(report: &Report) -> Vec<Block> {
    let t = &report.totals;
    let worst = |name: &str| count_of(&report.incidents.by_severity, name);
    let open = count_of(&report.incidents.by_state, "open");
    let mut blocks = vec![
        Block::Facts(vec![
            (Tone::Plain, "runs", t.runs),
            (Tone::warn_if(t.denied), "denied", t.denied),
            (Tone::warn_if(t.limited), "too often or locked out", t.limited),
            (Tone::Plain, "failed", t.failed),
            (Tone::warn_if(t.limit_kills), "ended at limits", t.limit_kills),
            (Tone::bad_if(t.violations), "stopped by the sandbox", t.violations),
            (Tone::warn_if(t.degraded), "with layers missing", t.degraded),
            (
                Tone::bad_if(worst("critical") + worst("high")),
                "grave incidents",
                worst("critical") + worst("high"),
            ),
            (Tone::warn_if(open), "incidents open", open),
        ]),
        Block::Timeline,
    ];
    let mut rest = Vec::new();
    if t.running > 0 {
        rest.push(format!("{} had not ended when the period did.", many(t.running, "run")));
    }
    if t.unknown > 0 {
        rest.push(format!("Of {} nobody can say how they ended.", many(t.unknown, "run")));
    }
    if t.unreadable > 0 {
        rest.push(format!("{} of the log could not be read.", many(t.unreadable, "line")));
    }
    if !rest.is_empty() {
        blocks.push(Block::Text(rest.join(" ")));
    }
    blocks
}

fn incidents(report: &Report) -> Vec<Block> {
    let all = &report.incidents;
    if all.list.is_empty() {
        return vec![Block::Text("No rule of detection found anything.".into())];
    }
    let tone = |name: &str| match name {
        "critical" | "high" => Tone::Bad,
        "medium" => Tone::Warn,
        _ => Tone::Plain,
    };
    let bar = |count: &Count| {
        (tone(&count.name), count.name.clone(), count.count, count.count.to_string())
    };
    let techniques = all.by_technique.iter().map(row_of_count).collect();
    let mut blocks = vec![
        Block::Bars("Incidents by severity", None, all.by_severity.iter().map(bar).collect()),
        Block::Table(&["technique (ATT&CK)", "incidents#"], techniques),
        Block::Table(
            &[
                "id",
                "severity",
                "what",
                "technique",
                "principal",
                "program",
                "times#",
                "state",
                "last",
                "said",
            ],
            all.list.iter().map(incident).collect(),
        ),
    ];
    more(all.more, &mut blocks);
    blocks
}

fn incident(one: &Standing) -> Vec<String> {
    let dash = |text: Option<&String>| text.map_or_else(|| "–".to_owned(), Clone::clone);
    vec![
        one.id.clone(),
        severity(one.severity).to_owned(),
        one.title.to_owned(),
        dash(one.technique.as_ref()),
        dash(one.principal.as_ref()),
        dash(one.program.as_ref()),
        one.count.to_string(),
        one.state.as_str().to_owned(),
        minute(&one.last),
        one.message.clone(),
    ]
}

fn groups(report: &Report) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (heads, groups) in [
        (&["principal", "runs#", "denied#", "failed#", "stopped#"], &report.principals),
        (&["rule", "runs#", "denied#", "failed#", "stopped#"], &report.rules),
        (&["program", "runs#", "denied#", "failed#", "stopped#"], &report.programs),
    ] {
        let Groups { rows, more: left } = groups;
        let cells = |group: &crate::model::Group| {
            let numbers = [group.runs, group.denied, group.failed, group.stopped];
            std::iter::once(group.name.clone()).chain(numbers.iter().map(u64::to_string)).collect()
        };
        blocks.push(Block::Table(heads, rows.iter().map(cells).collect()));
        more(*left, &mut blocks);
    }
    blocks
}

fn denials(report: &Report) -> Vec<Block> {
    if report.reasons.is_empty() {
        return vec![Block::Text("Nothing was denied.".into())];
    }
    let reasons = report.reasons.iter().map(row_of_count).collect();
    let top = report.top_denied.iter().map(|one| {
        vec![
            one.principal.clone(),
            one.policy.clone(),
            one.reason.clone(),
            one.count.to_string(),
            one.command.clone(),
            one.message.clone(),
            allowing(one),
            one.seq.to_string(),
        ]
    });
    vec![
        Block::Table(&["reason", "denied#"], reasons),
        Block::Table(
            &[
                "principal",
                "policy",
                "reason",
                "times#",
                "last asked for",
                "why not",
                "would allow it",
                "record#",
            ],
            top.collect(),
        ),
    ]
}

fn allowing(one: &Refused) -> String {
    match (&one.allow, &one.danger) {
        (None, _) => "–".to_owned(),
        (Some(line), None) => line.clone(),
        (Some(line), Some(danger)) => format!("{line} (and what it is known for: {danger})"),
    }
}

fn new_programs(report: &Report) -> Vec<Block> {
    if report.new_programs.is_empty() {
        return vec![Block::Text("Nobody ran a program for the first time.".into())];
    }
    let rows = report.new_programs.iter().map(|one| {
        vec![
            minute(&one.ts),
            one.principal.clone(),
            one.program.clone(),
            one.rule.clone(),
            one.seq.to_string(),
        ]
    });
    vec![Block::Table(&["first run", "principal", "program", "rule", "record#"], rows.collect())]
}

fn stops(report: &Report) -> Vec<Block> {
    let mut blocks = Vec::new();
    if report.limit_kills.is_empty() {
        blocks.push(Block::Text("No run was ended at a limit.".into()));
    } else {
        let number = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), |n| n.to_string());
        let rows = report.limit_kills.iter().map(|kill| {
            vec![
                kill.policy.clone(),
                kill.limit.clone(),
                number(kill.allowed),
                number(kill.peak),
                kill.count.to_string(),
            ]
        });
        blocks
            .push(Block::Table(&["policy", "limit", "allowed#", "peak#", "runs#"], rows.collect()));
    }
    if report.degraded.is_empty() {
        blocks.push(Block::Text("No run lacked a layer that its profile wants.".into()));
    } else {
        let rows = report.degraded.iter().map(|one| {
            vec![one.policy.clone(), one.what.clone(), one.why.clone(), one.runs.to_string()]
        });
        blocks.push(Block::Table(&["policy", "missing layer", "why", "runs#"], rows.collect()));
    }
    blocks
}

fn hardening(profiles: &[ProfileScore]) -> Vec<Block> {
    if profiles.is_empty() {
        return vec![Block::Text("No run tells what held it.".into())];
    }
    let bar = |score: &ProfileScore| {
        let tone = match score.exposure_tenths {
            0..50 => Tone::Good,
            50..75 => Tone::Warn,
            _ => Tone::Bad,
        };
        let tenths = score.exposure_tenths;
        let beside = format!("{}.{} {}", tenths / 10, tenths % 10, score.rating.as_str());
        (tone, score.profile.clone(), u64::from(tenths), beside)
    };
    let mut blocks = vec![
        Block::Text(
            "Exposure from 0.0 (everything holds) to 10.0 (nothing does), from what the runs of the period really had."
                .into(),
        ),
        Block::Bars("Exposure by profile", Some(100), profiles.iter().map(bar).collect()),
    ];
    let mut rows = Vec::new();
    for score in profiles {
        for layer in &score.layers {
            let lost = (score.runs - layer.runs.min(score.runs)) as f64 / score.runs.max(1) as f64;
            rows.push(vec![
                score.profile.clone(),
                format!("{} ({})", layer.what, layer.layer),
                format!("{} of {}", layer.runs, score.runs),
                format!("+{:.1}", lost * f64::from(layer.weight) / 10.0),
            ]);
        }
    }
    blocks.push(Block::Table(&["profile", "layer", "runs that had it#", "exposure#"], rows));
    blocks
}

fn policies(report: &Report) -> Vec<Block> {
    let mut blocks = Vec::new();
    match &report.unused_rules {
        None => blocks.push(Block::Text(
            "Which rules were not needed is not known: the policies were not there to compare with.".into(),
        )),
        Some(unused) if unused.is_empty() => {
            blocks.push(Block::Text("Every rule was needed.".into()));
        }
        Some(unused) => {
            blocks.push(Block::Text(
                "Rules that allowed nothing in the period; what nobody needs for a quarter should go.".into(),
            ));
            let rows = unused.iter().map(|rule| vec![rule.clone()]).collect();
            blocks.push(Block::Table(&["unused rule"], rows));
        }
    }
    if !report.policy_changes.is_empty() {
        let short = |sha: Option<&String>| {
            sha.map_or_else(|| "–".to_owned(), |sha| sha.chars().take(12).collect())
        };
        let rows = report.policy_changes.iter().map(|one| {
            vec![
                minute(&one.ts),
                one.policy.clone(),
                short(one.replaces.as_ref()),
                short(one.sha256.as_ref()),
                one.seq.to_string(),
            ]
        });
        blocks.push(Block::Table(&["changed", "policy", "from", "to", "record#"], rows.collect()));
    }
    blocks
}

fn integrity(log: &Integrity) -> Block {
    let text = match (log.ok, &log.finding) {
        (Some(true), _) => {
            let witness = match log.witnessed {
                Some(n) => format!("the witness agrees ({})", many(n, "checkpoint")),
                None => {
                    "there is no witness: an older copy of the whole log would not be seen".into()
                }
            };
            let unsigned = match log.unsigned {
                0 => String::new(),
                n => format!(
                    " The last {} not signed yet.",
                    if n == 1 { "record is".into() } else { format!("{n} records are") }
                ),
            };
            format!(
                "Records {} to {} are as they were written: the chain and {} hold, {witness}.{unsigned} Head {} signed by key {}.",
                log.first,
                log.last,
                many(log.checkpoints, "signed checkpoint"),
                log.hash,
                log.key
            )
        }
        (Some(false), finding) => format!(
            "THE LOG IS NOT AS IT WAS WRITTEN, so nothing in this report can be relied on: {}",
            finding.as_deref().unwrap_or("no place is known")
        ),
        (None, Some(why)) => format!("The log was not verified: {why}"),
        (None, None) => "The log was not verified for this report.".into(),
    };
    let tone = match log.ok {
        Some(true) => Tone::Good,
        Some(false) => Tone::Bad,
        None => Tone::Warn,
    };
    Block::Verdict(tone, text)
}

fn row_of_count(count: &Count) -> Vec<String> {
    vec![count.name.clone(), count.count.to_string()]
}

fn count_of(counts: &[Count], name: &str) -> u64 {
    counts.iter().find(|count| count.name == name).map_or(0, |count| count.count)
}

fn more(n: u64, blocks: &mut Vec<Block>) {
    if n > 0 {
        blocks.push(Block::Text(format!("… and {n} more.")));
    }
}

/// `1 run`, `2 runs`.
fn many(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// `2026-11-23 08:46` of `2026-11-23T08:46:07.000000000Z`.
pub(crate) fn minute(ts: &str) -> String {
    ts.get(..16).unwrap_or(ts).replace('T', " ")
}
