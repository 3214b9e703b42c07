//! The shapes scripts rely on. A changed snapshot is a broken script somewhere: only ever add.

use ganger_api::error::ErrorBody;
use ganger_api::*;
use ganger_core::{
    BreakerState, Durability, FailureCause, GroupState, GroupStrategy, InstanceKind, InstanceState,
    Priority, Stream, TaskId, TaskState,
};
use serde_json::value::RawValue;

const AT: Timestamp = Timestamp(1_795_341_600_123);

fn id() -> TaskId {
    TaskId::from_raw(0x0123_4567_89ab_cdef).expect("it is positive")
}

fn shape<T: serde::Serialize>(name: &str, value: &T) {
    insta::assert_snapshot!(name, serde_json::to_string_pretty(value).expect("shapes are JSON"));
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).expect("the text is JSON")
}

fn instance() -> Instance {
    Instance {
        name: "web".into(),
        slot: 2,
        kind: InstanceKind::Service,
        state: InstanceState::Backoff,
        ready: false,
        pid: None,
        restarts: 3,
        started_at: Some(AT),
        reason: "exited with code 1".into(),
        next_try_s: Some(Seconds(0.412_345)),
        failures: 2,
        cause: Some(FailureCause::ExitCode),
        breaker: BreakerState::Closed,
        probes: vec![],
        status: None,
        doing: None,
        main_pid: None,
        connections: None,
    }
}

fn log_line() -> LogLine {
    let line = "listening".into();
    LogLine { v: V1, ts: AT, name: "web".into(), slot: 1, stream: Stream::Stderr, line }
}

#[test]
fn status() {
    let status = Status {
        v: V1,
        daemon: DaemonStatus { pid: 7, version: "0.1.0".into(), uptime_s: Seconds(1.5) },
        keeper: ProcessStatus { pid: Some(5) },
        logger: ProcessStatus { pid: None },
        state_dir: "/app/.ganger".into(),
        config_file: Some("/app/ganger.toml".into()),
        config_differs: true,
        schedules: None,
        groups: vec![],
        reloads: vec![],
        degraded: vec![Degraded { what: "a".into(), why: "b".into(), fix: "c".into() }],
        api_only: None,
    };
    shape("status", &status);
}

#[test]
fn costs() {
    let host = HostCost {
        cpu_busy_s: Seconds(1.25),
        cpu_all_s: Seconds(10.0),
        memory_total_bytes: 8 << 30,
        memory_available_bytes: 6 << 30,
        load: 0.42,
    };
    let instance = InstanceCost {
        name: "web".into(),
        slot: 2,
        cpu_percent: 12.5,
        cpu_s: Seconds(3.0),
        memory_bytes: 64 << 20,
        processes: 2,
        threads: 9,
        fds: 21,
        fds_percent: 2.1,
        read_bytes: 4_096,
        written_bytes: 8_192,
    };
    let costs = Costs { v: V1, at: AT, passed_s: Seconds(1.0), host, instances: vec![instance] };
    shape("costs", &costs);
}

#[test]
fn store() {
    let file = String::from("/app/.ganger/state.db");
    let (bytes, unfinished, finished) = (4_096, 3, 2);
    shape("store-backup", &StoreBackup { v: V1, file: file.clone(), bytes, unfinished, finished });
    let aside = Some("/app/.ganger/state.db.before-restore-1".into());
    let restored =
        StoreRestore { v: V1, file: file.clone(), aside, unfinished, finished, epoch: 9 };
    shape("store-restore", &restored);
    let problem = StoreProblem { what: "a".into(), remedy: "recount".into(), fix: "b".into() };
    let check = StoreCheck {
        v: V1,
        file,
        ok: false,
        bytes,
        free_bytes: 0,
        log_bytes: 7,
        unfinished,
        finished,
        problems: vec![problem],
    };
    shape("store-check", &check);
    shape("store-vacuum", &StoreVacuum { v: V1, before: 8_192, after: 4_096 });
}

#[test]
fn ps() {
    let group = Group {
        name: "api".into(),
        strategy: GroupStrategy::RestForOne,
        state: GroupState::Degraded,
        reason: "optional `cache` has failed".into(),
        members: vec![
            GroupMember { name: "web".into(), optional: false },
            GroupMember { name: "cache".into(), optional: true },
        ],
    };
    shape(
        "ps",
        &Instances { v: V1, instances: vec![instance()], groups: vec![group], reloads: vec![] },
    );
}

#[test]
fn service() {
    let service = Service {
        reload: None,
        v: V1,
        name: "web".into(),
        kind: InstanceKind::Service,
        replicas: 2,
        stopped: false,
        command: vec!["node".into(), "server.js".into()],
        listeners: vec![Listener {
            address: "tcp://127.0.0.1:3000".into(),
            name: "web".into(),
            mode: "inherit".into(),
            slot: None,
            open: true,
            queued: Some(0),
            queue_max: Some(4_096),
        }],
        instances: vec![instance()],
        last_lines: vec![log_line()],
    };
    shape("service", &service);
}

#[test]
fn push() {
    shape(
        "pushed",
        &Pushed { v: V1, ids: vec![id()], duplicate: false, existing: vec![], refused: vec![] },
    );
    let refused = vec![RefusedTask { line: 7, error: "why".into() }];
    shape(
        "pushed_some",
        &Pushed { v: V1, ids: vec![id()], duplicate: true, existing: vec![], refused },
    );
    let result = StreamResult {
        v: V1,
        id: id(),
        state: TaskState::Completed,
        result: Some(raw("{\"big\":12345678901234567890}")),
        error: None,
    };
    shape("push_wait", &result);
}

#[test]
fn a_new_task_leaves_out_what_is_not_said() {
    assert_eq!(serde_json::to_string(&NewTask::default()).unwrap(), "{}");
    let task: NewTask = serde_json::from_str(
        r#"{"kind":"k","payload":{"a":1.0},"priority":200,"delay":"5s","key":"x"}"#,
    )
    .unwrap();
    shape("new_task", &task);
    assert!(serde_json::from_str::<NewTask>(r#"{"payloads":1}"#).is_err());
}

#[test]
fn queue_get() {
    let queue = Queue {
        v: V1,
        name: "images".into(),
        paused: false,
        draining: false,
        counts: QueueCounts { available: 2, completed: 9, ..QueueCounts::default() },
        oldest_age_s: Some(Seconds(12.0)),
        durability: Durability::Fsync,
        cache: None,
    };
    assert_eq!(queue.counts.open(), 2);
    shape("queue_get", &queue);
}

#[test]
fn task_get_and_list() {
    let attempt = Attempt {
        n: 1,
        worker: Some("images#2".into()),
        pid: Some(99),
        started_at: Some(AT),
        ended_at: None,
        outcome: None,
        error: None,
        usage: None,
        progress: None,
        log_lines: None,
        log_dropped: None,
    };
    let task = Task {
        v: V1,
        id: id(),
        queue: "images".into(),
        kind: "resize".into(),
        state: TaskState::Running,
        priority: Priority::HIGH,
        payload: raw("[1]"),
        result: None,
        error: None,
        reason: None,
        crashes: None,
        tags: vec!["blue".into()],
        cached: false,
        result_expired: false,
        progress: None,
        log: Vec::new(),
        attempts: vec![attempt],
        created_at: Some(AT),
        due_at: None,
    };
    shape("task_get", &task);
    let exported = ExportedTask {
        v: V1,
        id: id(),
        queue: "images".into(),
        kind: "resize".into(),
        state: TaskState::Completed,
        priority: Priority::HIGH,
        tags: vec!["blue".into()],
        payload: raw("[1]"),
        result: Some(raw("true")),
        error: None,
        attempts: 1,
        created_at: AT,
        ended_at: Some(AT),
        cursor: "f123".into(),
    };
    shape("task_export", &TaskExport { v: V1, tasks: vec![exported], next: Some("f123".into()) });
    let summary = TaskSummary {
        id: id(),
        queue: "images".into(),
        kind: String::new(),
        state: TaskState::Discarded,
        priority: Priority(7),
        attempts: 5,
        error: Some("boom".into()),
        created_at: AT,
        progress: None,
    };
    let page = TaskPage { v: V1, tasks: vec![summary], next: Some("f12".into()) };
    shape("task_list", &page);
}

#[test]
fn streams() {
    shape("log_line", &log_line());
    let event = ganger_core::Event {
        seq: 9,
        ts_ms: AT.0,
        kind: "instance.state".into(),
        name: "web".into(),
        slot: Some(1),
        from: Some("starting".into()),
        to: Some("running".into()),
        reason: String::new(),
        exit: None,
    };
    shape("event_line", &EventLine::from(event));
}

#[test]
fn apply_wait_and_verbs() {
    let change = Change {
        action: ChangeAction::Add,
        kind: "service".into(),
        name: "web".into(),
        effect: None,
        keys: vec![],
    };
    shape("applied", &Applied { v: V1, changes: vec![change], warnings: vec![] });
    let wait = WaitRequest {
        conditions: vec![
            "queue:a=empty".parse().unwrap(),
            format!("task:{}=done", id()).parse().unwrap(),
        ],
        timeout_s: Some(Seconds(60.0)),
    };
    shape("wait", &wait);
    let answer = VerbAnswer { v: V1, done: vec!["web".into()], notes: vec![] };
    shape("verb", &answer);
}

#[test]
fn errors() {
    let error = ApiError::new(ErrorKind::NotFound, "there is no queue `x`").hint("add it");
    shape("error", &ErrorBody { v: V1, error });
}

#[test]
fn every_kind_has_its_own_exit_code() {
    use ErrorKind::*;
    let kinds =
        [Failed, Usage, Config, NotFound, NoDaemon, Denied, Timeout, Partial, Conflict, Full];
    let codes: Vec<_> = kinds.iter().map(|kind| kind.exit_code()).collect();
    assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn conditions_read_back_and_nonsense_is_refused() {
    for text in ["queue:a=b=empty", "service:web=ready", "task:00000000000ab=done"] {
        let condition: WaitCondition = text.parse().unwrap();
        assert_eq!(condition.to_string(), text);
    }
    for wrong in ["queue:a", "queue:=empty", "queue:a=full", "task:x=done", "x:a=empty", ""] {
        assert!(
            wrong.parse::<WaitCondition>().unwrap_err().to_string().contains("queue:NAME=empty")
        );
    }
}

#[test]
fn times_are_rfc_3339_and_versions_may_grow() {
    assert_eq!(serde_json::to_string(&AT).unwrap(), "\"2026-11-22T10:00:00.123Z\"");
    let back: Timestamp = serde_json::from_str("\"2026-11-22T11:00:00.123+01:00\"").unwrap();
    assert_eq!(back, AT);
    let grown = r#"{"v":2,"ids":[],"new":true}"#;
    assert!(serde_json::from_str::<Pushed>(grown).is_ok());
    assert!(serde_json::from_str::<Pushed>(r#"{"v":0,"ids":[]}"#).is_err());
}

#[test]
fn an_error_says_each_thing_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer: {source}")]
    struct Outer {
        source: Inner,
    }
    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner(#[source] std::io::Error);
    let error = Outer { source: Inner(std::io::Error::other("disk")) };
    let api = ApiError::from_error(ErrorKind::Failed, &error);
    assert_eq!((api.message.as_str(), api.chain), ("outer: inner", vec!["disk".to_owned()]));
}

fn schedule_of(fires: Vec<Fire>) -> Schedule {
    Schedule {
        v: V1,
        name: "nightly".into(),
        when: "30 2 * * *".into(),
        timezone: "Europe/Berlin".into(),
        jitter_s: Seconds(30.0),
        queue: "images".into(),
        kind: "sweep".into(),
        priority: Priority::NORMAL,
        overlap: "skip".into(),
        missed: "latest".into(),
        missed_max: 100,
        paused: false,
        next_fire: Some(FireTime {
            at: AT,
            local: "2026-11-22T11:00:00.123+01:00[Europe/Berlin]".into(),
        }),
        last_fire: Some(AT),
        last_task: Some(id()),
        waiting: 1,
        fired: 12,
        skipped: 2,
        fires,
    }
}

#[test]
fn schedules() {
    let fired =
        Fire { at: AT, made_at: AT, outcome: "fired".into(), task: Some(id()), reason: None };
    let skipped = Fire {
        outcome: "skipped".into(),
        task: None,
        reason: Some("because".into()),
        ..fired.clone()
    };
    shape("schedules", &Schedules { v: V1, schedules: vec![schedule_of(vec![])] });
    shape("schedule", &schedule_of(vec![fired, skipped]));
    shape("schedule-run", &RunAnswer { v: V1, at: AT, task: Some(id()) });
    let next = vec![FireTime { at: AT, local: "2026-11-22T10:00:00.123+00:00[UTC]".into() }];
    let (when, timezone) = ("@hourly".into(), "UTC".into());
    shape("schedule-next", &NextFires { v: V1, when, timezone, next });
    let summary = ScheduleSummary {
        total: 3,
        paused: 1,
        waiting: 0,
        fired: 12,
        skipped: 2,
        next: Some("nightly".into()),
        next_at: Some(AT),
    };
    shape("schedule-summary", &summary);
}

#[test]
fn dead_letters() {
    let letter = DeadLetter {
        id: TaskId::from_raw(7).unwrap(),
        queue: "mail".into(),
        kind: "send".into(),
        priority: Priority::NORMAL,
        attempts: 3,
        crashes: 3,
        reason: Some("quarantined".into()),
        class: None,
        error: Some("memory limit reached".into()),
        created_at: Timestamp(1_704_067_200_000),
        died_at: Timestamp(1_704_067_260_000),
    };
    let page = DeadPage { v: V1, letters: vec![letter.clone()], next: Some("d1.7".into()) };
    shape("dead", &page);
    let done = DeadDone { v: V1, found: 3, done: 2, skipped: 1, sample: vec![letter], next: None };
    shape("dead-done", &done);
}

#[test]
fn upgrades() {
    let upgrade = Upgrade {
        from: "0.1.0".into(),
        to: "0.2.0".into(),
        at: Timestamp(1_704_067_200_000),
        keeper_gap_us: 9_648,
        children: 1_000,
        failed: Some("the new daemon exited with code 1 before it served".into()),
    };
    let started = UpgradeStarted {
        v: V1,
        from: "0.1.0".into(),
        to: "0.2.0".into(),
        migrates: true,
        upgrade: Some(Upgrade { failed: None, ..upgrade.clone() }),
    };
    shape("upgrade-started", &started);
    let last = Some(upgrade);
    let version = "0.1.0".into();
    shape("upgrade-last", &UpgradeReport { v: V1, version, daemon_pid: 4711, last });
}
