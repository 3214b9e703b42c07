use ganger_audit::{Append, Breach, Degraded, Hash, Limits, Principal, Program, Usage};

use super::*;

const RUN: RunId = RunId([7; 16]);

fn entry(record: Record) -> Entry {
    let append = Append { run: Some(RUN), principal: Some(Principal::default()), record };
    Entry {
        seq: 1,
        ts: "2026-11-23T08:46:07Z".into(),
        mono_ns: 1,
        prev: Hash([0; 32]),
        run: append.run,
        principal: append.principal,
        event: Event::Record(append.record),
    }
}

fn intent() -> Record {
    Record::Intent(Box::new(Intent {
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
        cwd: "/srv".into(),
        profile: "strict".into(),
        layers: std::collections::BTreeMap::new(),
        limits: Limits::default(),
        flags: Vec::new(),
    }))
}

fn ended(end: Ending, change: impl FnOnce(&mut Outcome)) -> String {
    let mut outcome = Outcome {
        policy: "fetch".into(),
        end,
        pid: Some(7),
        usage: Usage::default(),
        enforced: vec!["landlock".into(), "seccomp".into()],
        degraded: Vec::new(),
        breach: None,
        output_cut: false,
        flags: Vec::new(),
    };
    change(&mut outcome);
    let told = told(RUN, &[entry(intent()), entry(Record::Outcome(Box::new(outcome)))]);
    format!("{}: {}", told.verdict, told.why.join("\n  "))
}

fn denied(change: impl FnOnce(&mut Denied)) -> String {
    let mut denied = Denied {
        policy: "fetch".into(),
        rule: Some("fetch/log".into()),
        reason: "option".into(),
        message: "`--exec-path` is not an option of rule fetch/log".into(),
        program: None,
        argv: vec!["log".into(), "--exec-path=/tmp".into()],
        at: Some(1),
        flags: Vec::new(),
        allow: Some("options = { \"--exec-path\" = {} }".into()),
        danger: None,
    };
    change(&mut denied);
    let told = told(RUN, &[entry(Record::Denied(Box::new(denied)))]);
    format!("{}: {}", told.verdict, told.why.join("\n  "))
}

#[test]
fn every_end_is_told_and_nothing_is_guessed() {
    let by = ganger_core::SignalSource::Unknown;
    let all = [
        denied(|_| {}),
        denied(|denied| denied.danger = Some("command".into())),
        denied(|denied| (denied.allow, denied.rule, denied.at) = (None, None, None)),
        denied(|denied| {
            (denied.policy, denied.rule, denied.allow, denied.at) =
                (String::new(), None, None, None);
        }),
        ended(Ending::Exited { code: 0 }, |_| {}),
        ended(Ending::Exited { code: 2 }, |outcome| {
            let degraded = Degraded { what: "memory limit".into(), why: "no controller".into() };
            outcome.degraded = vec![degraded];
        }),
        ended(Ending::Signalled { signal: 31, core: false, by }, |_| {}),
        ended(Ending::Signalled { signal: 11, core: true, by }, |_| {}),
        ended(Ending::TimedOut { after_ms: 2_000 }, |outcome| {
            outcome.breach = Some(Breach { limit: "wall".into(), allowed: 2_000, peak: 2_003 });
        }),
        ended(Ending::LimitHit { limit: "memory".into(), peak: 70 << 20 }, |outcome| {
            outcome.breach =
                Some(Breach { limit: "memory".into(), allowed: 64 << 20, peak: 70 << 20 });
            outcome.output_cut = true;
        }),
        ended(Ending::SandboxViolation { what: "seccomp: ptrace".into() }, |_| {}),
        ended(Ending::CouldNotSpawn { step: "execve".into(), errno: 2 }, |outcome| {
            outcome.enforced.clear();
        }),
        ended(Ending::Lost, |outcome| outcome.enforced.clear()),
        told(RUN, &[entry(intent())]).why.join("\n  "),
    ];
    insta::assert_snapshot!("why_run", all.join("\n"));
}
