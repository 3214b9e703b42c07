//! Golden fixtures: the shapes that keepers and daemons of other versions read and write.
#![expect(clippy::unwrap_used, reason = "a test without the test attribute on its helpers")]

use ganger_core::logwire::{LogReply, LogTarget};
use ganger_core::{End, InstanceId, InstanceKind, SignalSource, SpawnId, StateId, Stream, Usage};
use ganger_keeper::wire::{
    ChannelPlan, ChildRow, Crash, Event, ExitReport, Held, HeldRow, Offer, Output, Plan, Request,
    Scope, Stdin, Survivor, Table, Upgrade, UpgradeNews, WIRE_VERSION, decode, encode,
};
use ganger_sandbox::{Degraded, Identity, Layer, Limits, Need, Profile, Report};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fn target() -> LogTarget {
    LogTarget { name: "web".into(), slot: 2, max_bytes: 1000, max_age_s: 60 }
}

fn plan() -> Plan {
    let limits = Limits { memory: Some(1 << 30), cpu: Some(0.5), ..Limits::default() };
    let identity = Some(Identity { uid: 33, gid: 33, groups: vec![4] });
    let need = Need::Require;
    Plan {
        instance: InstanceId::new("web", 2),
        kind: InstanceKind::Service,
        program: "/usr/bin/node".into(),
        argv: vec!["node".into(), "server.js".into()],
        env: [("PORT", "3000")].into_iter().collect(),
        cwd: "/srv".into(),
        stdin: Stdin::Pipe,
        stdout: Output::Log(target()),
        stderr: Output::Capture { cap_bytes: 4096 },
        channel: Some(ChannelPlan { fd: Some(4) }),
        inherit: vec![("listen:3000".into(), 3)],
        profile: Profile {
            limits,
            identity,
            no_new_privs: true,
            umask: Some(0o77),
            need,
            sandbox: None,
        },
        tree: Some("web#2".into()),
        setsid: true,
        foreground: false,
        keep_leftovers: false,
        pin: None,
        whose: None,
        blob: "note".into(),
    }
}

fn exit() -> ExitReport {
    ExitReport {
        id: SpawnId::new(1, 7),
        instance: InstanceId::new("web", 2),
        pid: 4242,
        end: End::Signalled { signal: 9, core: false, by: SignalSource::Ganger },
        usage: Usage { user_us: 5, peak_rss: 4096, ..Usage::default() },
        at_ms: 1_700_000_000_000,
        leftovers: 3,
        stuck: vec![99],
        adopted: false,
    }
}

fn report() -> Report {
    let degraded =
        Degraded { what: "cpu limit".into(), why: "no controller".into(), fix: "be root".into() };
    Report {
        enforced: vec![Layer::Tree, Layer::NoNewPrivs],
        degraded: vec![degraded],
        ..Report::default()
    }
}

fn requests() -> Vec<Request> {
    let id = SpawnId::new(1, 7);
    vec![
        Request::Hello { version: WIRE_VERSION },
        Request::Ready,
        Request::Spawn { id, plan: Box::new(plan()) },
        Request::Signal { id, signal: 15, scope: Scope::Tree },
        Request::EndTree { id },
        Request::AckExit { id },
        Request::SetBlob { id, blob: "b".into() },
        Request::Hold { name: "listen:3000".into() },
        Request::Release { name: "listen:3000".into() },
        Request::RetireLog { name: "web".into(), slot: 2 },
        Request::FlushLogs { tag: 8 },
        Request::Pong { n: 3 },
        Request::Shutdown,
        Request::Examine { path: "/usr/bin/ganger".into() },
        Request::Upgrade,
    ]
}

fn events() -> Vec<Event> {
    let id = SpawnId::new(1, 7);
    let (keeper_pid, state_id) = (10, StateId([7; 16]));
    let (stream, why) = (Stream::Stderr, "why".to_owned());
    let offer = Offer { version: "0.2.0".into(), wire: WIRE_VERSION, resume: 1, schema: 2 };
    vec![
        Event::Welcome { version: WIRE_VERSION, keeper_pid, state_id },
        Event::Spawned {
            id,
            pid: 4242,
            started_at_ms: 1,
            tree: Some("@web#2".into()),
            report: report(),
        },
        Event::SpawnFailed { id, step: "execve".into(), errno: 2, detail: "/x: gone".into() },
        Event::Exited(exit()),
        Event::TreeEnded { id, stuck: vec![99] },
        Event::Held {
            name: "log:web:2:stderr:r".into(),
            what: Held::LogRead { target: target(), stream },
        },
        Event::Held { name: "listen:3000".into(), what: Held::Named },
        Event::Log(LogReply::Dropped {
            name: "web".into(),
            slot: 2,
            stream,
            bytes: 5,
            why: why.clone(),
        }),
        Event::Log(LogReply::Flushed { tag: 8 }),
        Event::LoggerStarted { pid: 11, previous: Some(End::Exited { code: 1 }) },
        Event::Ping { n: 3 },
        Event::ShutdownAsked { why: why.clone() },
        Event::Refused { id: Some(id), why: why.clone() },
        Event::Upgrade { news: UpgradeNews::Offered { offer } },
        Event::Upgrade { news: UpgradeNews::Refused { why } },
        Event::Upgrade { news: UpgradeNews::Done { upgrade: upgrade() } },
    ]
}

fn upgrade() -> Upgrade {
    Upgrade {
        from: "0.1.0".into(),
        to: "0.2.0".into(),
        at_ms: 1_700_000_000_000,
        keeper_gap_us: 9000,
        children: 3,
        on_trial: false,
        failed: Some("why".into()),
    }
}

fn table() -> Table {
    let row = ChildRow {
        id: SpawnId::new(1, 7),
        instance: InstanceId::new("web", 2),
        kind: InstanceKind::Worker,
        pid: 4242,
        started_at_ms: 1,
        pidfd: Some(5),
        outcome: None,
        channel: Some(6),
        stdin: None,
        stdout: None,
        stderr: Some(7),
        tree: Some("@web#2".into()),
        report: report(),
        blob: "note".into(),
        exit: Some(exit()),
        adopted: true,
        keep_leftovers: false,
    };
    let what = Held::LogWrite { target: target(), stream: Stream::Stdout };
    Table {
        version: WIRE_VERSION,
        state_id: StateId([7; 16]),
        state_dir: "/srv/.ganger".into(),
        keeper_pid: 10,
        logger_pid: Some(11),
        children: vec![row],
        held: vec![HeldRow { name: "log:web:2:stdout:w".into(), fd: 8, what }],
        lock_fd: Some(9),
        api_fd: Some(12),
        crash: Some(Crash { quick_failures: 5, last: End::Exited { code: 1 }, api_only: true }),
        degraded: report().degraded,
        survivors: vec![Survivor {
            pid: 13,
            birth: 4711,
            spawn: Some(SpawnId(5)),
            instance: Some(InstanceId::new("images", 2)),
        }],
        upgrade: None,
    }
}

/// Line by line: what is written today is what the fixture has, and the fixture reads back as the value.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(fixture: &str, values: &[T]) {
    let path = format!("{}/tests/fixtures/{fixture}", env!("CARGO_MANIFEST_DIR"));
    let written: Vec<String> =
        values.iter().map(|value| String::from_utf8(encode(value)).unwrap()).collect();
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, written.join("\n") + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), values.len(), "{path}");
    for ((line, value), written) in lines.into_iter().zip(values).zip(&written) {
        assert_eq!(
            line, written,
            "{path}: the wire has changed: is it additive? then UPDATE_FIXTURES=1"
        );
        assert_eq!(&decode::<T>("a fixture", line.as_bytes()).unwrap(), value);
    }
}

#[test]
fn requests_keep_their_shape() {
    check("v1-requests.jsonl", &requests());
}

#[test]
fn events_keep_their_shape() {
    check("v1-events.jsonl", &events());
}

#[test]
fn the_table_keeps_its_shape() {
    check("v1-table.jsonl", &[table(), Table { upgrade: Some(upgrade()), ..table() }]);
}

#[test]
fn a_reader_forgives_what_is_new_and_what_is_missing() {
    let newer = br#"{"do":"ready","since":12}"#;
    assert_eq!(decode::<Request>("a request", newer).unwrap(), Request::Ready);
    let least = br#"{"instance":{"name":"a","slot":1},"kind":"service","program":"/x","argv":["x"],
        "env":[],"cwd":"/"}"#;
    let plan: Plan = decode("a plan", least).unwrap();
    assert!(plan.setsid && !plan.foreground && plan.stdout == Output::Null);
    assert!(decode::<Event>("an event", b"{}").unwrap_err().to_string().contains("an event"));
}
