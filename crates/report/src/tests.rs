//! One made week in each form.

use std::collections::BTreeSet;

use ganger_audit::{
    Breach, Degraded, Denied, Ending, Entry, Event, Hash, Incident, Intent, Limits, Outcome,
    PolicyLoaded, Principal, Program, Record, RunId, Severity, Started, Usage,
};
use ganger_incident::Ledger;

use crate::{Around, Report, Tally, html, markdown};

/// 2026-11-16T00:00:00Z
const FROM: u64 = 1_794_787_200_000;
const WEEK: u64 = 7 * 86_400_000;

struct Log(Vec<Entry>);

impl Log {
    fn push(&mut self, ms: u64, name: &str, run: u8, record: Record) {
        let seq = self.0.len() as u64 + 1;
        self.0.push(Entry {
            seq,
            ts: crate::tally::stamp(FROM + ms),
            mono_ns: ms,
            prev: Hash([0; 32]),
            run: (run > 0).then_some(RunId([run; 16])),
            principal: Some(Principal { name: name.into(), uid: 1000, ..Principal::default() }),
            event: Event::Record(record),
        });
    }

    fn run(&mut self, ms: u64, name: &str, change: impl FnOnce(&mut Intent, &mut Outcome)) {
        let run = u8::try_from(self.0.len()).unwrap() + 1;
        let mut intent = intent();
        let mut outcome = outcome();
        change(&mut intent, &mut outcome);
        self.push(ms, name, run, Record::Intent(Box::new(intent)));
        self.push(ms + 50, name, run, Record::Outcome(Box::new(outcome)));
    }
}

fn intent() -> Intent {
    Intent {
        policy: "fetch".into(),
        rule: "fetch/log".into(),
        policy_sha256: None,
        program: Program {
            path: "/usr/bin/git".into(),
            dev: 1,
            ino: 2,
            size: 3,
            ctime_ns: 4,
            sha256: None,
            interpreter: None,
        },
        argv: vec!["git".into(), "log".into()],
        env: Vec::new(),
        cwd: "/".into(),
        profile: "strict".into(),
        layers: std::collections::BTreeMap::new(),
        limits: Limits::default(),
        flags: Vec::new(),
    }
}

fn outcome() -> Outcome {
    Outcome {
        policy: "fetch".into(),
        end: Ending::Exited { code: 0 },
        pid: Some(7),
        usage: Usage::default(),
        enforced: ["seccomp", "landlock", "no_new_privs", "tree"].map(str::to_owned).into(),
        degraded: Vec::new(),
        breach: None,
        output_cut: false,
        flags: Vec::new(),
    }
}

/// What an attacker would like to see in a report.
const EVIL: &str = "<script>alert('x')</script> | [x](http://evil.example) \u{1b}[2J\u{202e}";

fn report() -> Report {
    let mut log = Log(Vec::new());
    let started = Started { host: "build-1".into(), ..Started::default() };
    log.push(0, "root", 0, Record::Started(started));
    let loaded = PolicyLoaded {
        policy: "fetch".into(),
        sha256: Some("ab".repeat(32)),
        ..PolicyLoaded::default()
    };
    log.push(60_000, "root", 0, Record::PolicyLoaded(loaded));
    for day in 0..6 {
        log.run(day * 86_400_000 + 30_000_000, "ada", |_, _| {});
    }
    log.run(200_000_000, "ci", |intent, outcome| {
        intent.program.path = "/usr/bin/make".into();
        intent.rule = "build".into();
        outcome.end = Ending::LimitHit { limit: "memory".into(), peak: 70_000_000 };
        outcome.breach =
            Some(Breach { limit: "memory".into(), allowed: 64_000_000, peak: 70_000_000 });
    });
    log.run(210_000_000, "ci", |_, outcome| {
        outcome.enforced.clear();
        outcome.degraded =
            vec![Degraded { what: "landlock".into(), why: "the kernel has none".into() }];
        outcome.end = Ending::Exited { code: 2 };
    });
    for n in 0..3 {
        let denied = Denied {
            policy: "fetch".into(),
            rule: Some("fetch/log".into()),
            reason: "option".into(),
            message: format!("{EVIL} is no option"),
            program: Some("/usr/bin/git".into()),
            argv: vec!["git".into(), EVIL.into()],
            at: Some(1),
            flags: Vec::new(),
            allow: Some("options = { \"-x\" = {} }".into()),
            danger: None,
        };
        log.push(300_000_000 + n, "eve", 0, Record::Denied(Box::new(denied)));
    }
    let incident = Incident {
        id: "I05-20".into(),
        rule: "I05".into(),
        severity: Severity::High,
        technique: Some("T1059".into()),
        message: EVIL.into(),
        evidence: vec![20],
        count: 3,
        policy: Some("fetch".into()),
        program: Some("/usr/bin/git".into()),
        action: None,
    };
    log.push(300_000_003, "eve", 0, Record::Incident(Box::new(incident)));
    let (mut tally, mut ledger) = (Tally::new(FROM, FROM + WEEK), Ledger::default());
    for entry in &log.0 {
        tally.see(entry);
        ledger.see(entry);
    }
    let rules = Some(vec!["fetch/log".into(), "fetch/tags".into(), "build".into()]);
    let around = Around { now_ms: FROM + WEEK, rules, ..Around::default() };
    tally.report(&ledger, around)
}

#[test]
fn as_data() {
    insta::assert_json_snapshot!(report());
}

#[test]
fn as_markdown() {
    insta::assert_snapshot!(markdown(&report()));
}

#[test]
fn as_page() {
    insta::assert_snapshot!(html(&report()));
}

/// Nothing but what this program writes: no other tags, no script, no address, no byte that steers a terminal.
#[test]
fn nothing_gets_into_the_page() {
    let page = html(&report());
    let tags: BTreeSet<&str> = page
        .split('<')
        .skip(1)
        .filter_map(|rest| rest.split([' ', '>', '\n']).next())
        .map(|tag| tag.trim_start_matches('/'))
        .collect();
    let ours = [
        "!doctype", "b", "body", "div", "g", "h1", "h2", "head", "header", "html", "li", "line",
        "meta", "p", "rect", "section", "span", "style", "svg", "table", "tbody", "td", "text",
        "th", "thead", "title", "tr", "ul",
    ];
    assert_eq!(tags, BTreeSet::from(ours));
    for text in [page, markdown(&report())] {
        assert!(text.chars().all(|c| !c.is_control() || c == '\n'));
        assert!(!text.contains('\u{202e}') && !text.contains("<script"));
    }
    assert!(markdown(&report()).contains(r"\[x\](http&#58;//evil.example)"));
}

#[test]
fn what_was_before_the_period_is_not_new() {
    let mut log = Log(Vec::new());
    log.run(0, "ada", |_, _| {});
    log.run(86_400_000, "ada", |_, _| {});
    let mut tally = Tally::new(FROM + 3_600_000, FROM + 2 * 86_400_000);
    log.0.iter().for_each(|entry| tally.see(entry));
    let report = tally.report(&Ledger::default(), Around::default());
    assert_eq!((report.totals.runs, report.totals.records, report.totals.running), (1, 2, 0));
    assert_eq!(report.new_programs, []);
    assert_eq!(report.unused_rules, None);
}
