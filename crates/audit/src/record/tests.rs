//! Any record goes into a line and comes back.

use proptest::prelude::*;

use super::*;
use crate::entry::{Entry, Event};
use crate::hash::Hash;
use crate::line::{Moment, Prepared};
use crate::text::Arg;

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        any::<String>().prop_map(|s| Text::new(s.as_bytes())),
        any::<Vec<u8>>().prop_map(|b| Text::new(&b))
    ]
}

fn arg() -> impl Strategy<Value = Arg> {
    prop_oneof![text().prop_map(Arg::Shown), any::<[u8; 32]>().prop_map(Arg::Secret)]
}

fn program() -> impl Strategy<Value = Program> {
    (text(), any::<[u64; 3]>(), any::<i64>(), any::<Option<String>>()).prop_map(
        |(path, [dev, ino, size], ctime_ns, sha256)| Program {
            path: path.clone(),
            dev,
            ino,
            size,
            ctime_ns,
            sha256: sha256.clone(),
            interpreter: sha256.map(|_| {
                Box::new(Program {
                    path,
                    dev,
                    ino,
                    size,
                    ctime_ns,
                    sha256: None,
                    interpreter: None,
                })
            }),
        },
    )
}

fn principal() -> impl Strategy<Value = Principal> {
    (any::<String>(), any::<[u32; 3]>(), prop::option::of(text()), any::<Option<u64>>()).prop_map(
        |(name, [uid, gid, pid], exe, connection)| Principal {
            name,
            uid,
            gid,
            pid,
            exe,
            connection,
        },
    )
}

fn intent() -> impl Strategy<Value = Intent> {
    let words = (any::<String>(), any::<String>(), any::<Option<String>>());
    let lists = (
        prop::collection::vec(arg(), 0..5),
        prop::collection::vec(text(), 0..3),
        any::<Vec<String>>(),
    );
    let limits = any::<Option<u64>>();
    let layers = prop::collection::btree_map(any::<String>(), any::<String>(), 0..3);
    (words, program(), lists, text(), (limits, layers)).prop_map(
        |((policy, rule, policy_sha256), program, (argv, env, flags), cwd, (limit, layers))| {
            Intent {
                profile: rule.clone(),
                layers,
                limits: Limits { wall_ms: limit, output: limit, ..Limits::default() },
                policy,
                rule,
                policy_sha256,
                program,
                argv,
                env,
                cwd,
                flags,
            }
        },
    )
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        any::<i32>().prop_map(|code| Ending::Exited { code }),
        (any::<String>(), any::<i32>())
            .prop_map(|(step, errno)| Ending::CouldNotSpawn { step, errno }),
        any::<u64>().prop_map(|after_ms| Ending::TimedOut { after_ms }),
        (any::<String>(), any::<u64>()).prop_map(|(limit, peak)| Ending::LimitHit { limit, peak }),
        any::<String>().prop_map(|what| Ending::SandboxViolation { what }),
        Just(Ending::Lost),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let outcome =
        (any::<String>(), ending(), any::<[u64; 5]>(), any::<Vec<String>>(), any::<bool>());
    let outcome = outcome.prop_map(|(policy, end, n, names, output_cut)| Outcome {
        policy,
        end,
        pid: None,
        usage: Usage {
            wall_us: n[0],
            user_us: n[1],
            system_us: n[2],
            memory_peak: n[3],
            output: n[4],
            stdout_sha256: Some(crate::Hash::of(b"said")),
            stderr_sha256: None,
        },
        degraded: names.iter().map(|n| Degraded { what: n.clone(), why: n.clone() }).collect(),
        breach: names.first().map(|n| Breach { limit: n.clone(), allowed: 1, peak: 2 }),
        flags: names.clone(),
        enforced: names,
        output_cut,
    });
    let denied = (
        any::<[String; 3]>(),
        prop::option::of(text()),
        prop::collection::vec(arg(), 0..4),
        any::<Option<u32>>(),
    );
    let denied = denied.prop_map(|([policy, reason, message], program, argv, at)| Denied {
        rule: at.map(|_| reason.clone()),
        flags: vec![message.clone()],
        allow: at.map(|_| message.clone()),
        danger: None,
        policy,
        reason,
        message,
        program,
        argv,
        at,
    });
    let incident =
        (any::<[String; 4]>(), any::<Vec<u64>>(), any::<u64>(), prop::option::of(text()));
    let incident =
        incident.prop_map(|([id, rule, message, action], evidence, count, program)| Incident {
            id,
            rule,
            severity: Severity::High,
            technique: Some("T1059.004".into()),
            message,
            evidence,
            count,
            policy: None,
            program,
            action: Some(action),
        });
    prop_oneof![
        intent().prop_map(|intent| Record::Intent(Box::new(intent))),
        outcome.prop_map(|outcome| Record::Outcome(Box::new(outcome))),
        denied.prop_map(|denied| Record::Denied(Box::new(denied))),
        incident.prop_map(|incident| Record::Incident(Box::new(incident))),
        any::<String>().prop_map(|reason| Record::Stopped(Stopped { reason })),
        (any::<String>(), any::<Option<String>>()).prop_map(|(id, note)| {
            Record::IncidentState(Box::new(IncidentState { id, state: Handling::Ack, note }))
        }),
    ]
}

proptest! {
    // Unoptimised, a case takes 20 ms.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_record_goes_there_and_back(
        record in record(),
        principal in prop::option::of(principal()),
        run in prop::option::of(any::<[u8; 16]>().prop_map(RunId)),
        seq: u64,
    ) {
        let append = Append { run, principal, record };
        let moment = Moment::now();
        let mut line = Vec::new();
        let prepared = Prepared::new(&append).unwrap();
        prepared.write(seq, Hash([9; 32]), &moment, &mut line);
        prop_assert!(line.len() <= prepared.len_max());
        prop_assert_eq!(line.pop(), Some(b'\n'));
        prop_assert!(line.iter().all(|byte| (0x20..=0x7e).contains(byte)), "one line of printable ASCII");
        prop_assert_eq!(crate::canonical::check(&line), Ok(()));
        let entry = Entry::read(&line).unwrap();
        prop_assert_eq!((entry.seq, entry.prev, &entry.ts), (seq, Hash([9; 32]), &moment.ts));
        let read = Append { run: entry.run, principal: entry.principal.clone(), record: append.record.clone() };
        prop_assert_eq!(&read, &append);
        prop_assert_eq!(&entry.event, &Event::Record(append.record));
        for shown in [entry.detail(), entry.argv().concat(), entry.program().unwrap_or_default()] {
            prop_assert!(shown.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{}", shown);
        }
    }
}

#[test]
fn a_newer_record_is_read_as_far_as_it_is_known() {
    let line = format!(
        r#"{{"body":{{"new":true,"reason":"x"}},"event":"stopped","extra":1,"mono":1,"prev":"{0}","seq":1,"ts":"t","v":2}}"#,
        "00".repeat(32)
    );
    let entry = Entry::read(line.as_bytes()).unwrap();
    assert_eq!(entry.event, Event::Record(Record::Stopped(Stopped { reason: "x".into() })));
    let entry = Entry::read(line.replace("stopped", "approved").as_bytes()).unwrap();
    assert_eq!(entry.name(), "approved");
}
