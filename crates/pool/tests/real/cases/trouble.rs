//! Workers that die, hang, babble or never listen.

use std::os::unix::fs::PermissionsExt as _;

use ganger_core::TaskState;
use ganger_pool::{PoolSpec, Protocol};
use ganger_queue::NewTask;

use super::kinds::{ask, done};
use crate::need;
use crate::rig::{Rig, pool};
use crate::scripts::{ENVELOPE_PY, FORK_JS, LINES_PY};

pub(crate) fn crash() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("w.py", ENVELOPE_PY);
    let log = rig.path("trace");
    let daemon = rig.daemon(vec![pool(&["python3", &script])]);
    let rows = daemon.run(async {
        daemon.tasks.pause("q").await.unwrap();
        let mut tasks = vec![NewTask::json(format!("{{\"n\":0,\"kill\":9,\"log\":{log:?}}}"))];
        tasks.extend((1..30).map(|n| NewTask::json(format!("{{\"n\":{n},\"log\":{log:?}}}"))));
        let ids = daemon.tasks.push("q", None, tasks).await.unwrap().ids;
        daemon.tasks.resume("q").await.unwrap();
        let mut rows = Vec::new();
        for id in ids {
            rows.push(daemon.tasks.wait(id, None).await.unwrap());
        }
        rows
    });
    assert_eq!(rows[0].state, TaskState::Discarded);
    let error = rows[0].error.clone().unwrap();
    assert!(
        error.message.contains("killed by SIGKILL") && error.message.contains("w#1"),
        "{error:?}"
    );
    assert_eq!(error.stderr, ["last words"]);
    assert_eq!(rows[0].attempts.len(), 3);
    for row in &rows[1..] {
        assert_eq!(
            (row.state, row.attempt),
            (TaskState::Completed, 1),
            "a buffered task was charged"
        );
    }
    assert!(
        daemon.events().iter().any(|e| e.starts_with("worker.crash w") && e.contains("1 task"))
    );
    daemon.end();
}

/// Starts and ends in the order they happened; the next attempt never begins before the one before it is gone.
fn spans(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|l| l.split(' ').next().unwrap()).collect()
}

pub(crate) fn timeouts() {
    need!("node");
    need!("python3");
    let rig = Rig::new();
    let (fork, py) = (rig.script("fork.js", FORK_JS), rig.script("w.py", ENVELOPE_PY));
    let raw = PoolSpec { raw: true, queues: vec!["quick".into()], ..pool(&["node", &fork]) };
    let daemon = rig.daemon(vec![raw]);
    let hang = rig.path("hang");
    let (state, text) = ask(&daemon, "quick", format!("{{\"hang\":{hang:?}}}"));
    assert_eq!((state, text.as_str()), (TaskState::Discarded, "timed out after 300ms | "));
    // On a busy machine the time of an attempt can be over before the script has begun with it.
    assert!((1..=3).contains(&rig.lines("hang").len()), "{:?}", rig.lines("hang"));
    assert_eq!(ask(&daemon, "quick", "{\"n\":4}"), done("{\"double\":8}"));
    let polite = PoolSpec { queues: vec!["quick".into()], ..pool(&["python3", &py]) };
    daemon.run(daemon.pools.apply(vec![polite])).unwrap();
    let log = rig.path("trace");
    let (state, text) = ask(&daemon, "quick", format!("{{\"ms\":60000,\"log\":{log:?}}}"));
    assert_eq!((state, text.as_str()), (TaskState::Discarded, "timed out after 300ms | "));
    let lines = rig.lines("trace");
    let spans = spans(&lines);
    assert!((1..=3).contains(&(spans.len() / 2)), "{spans:?}");
    assert!(spans.chunks(2).all(|attempt| attempt == ["start", "end"]), "{spans:?}");
    let before = daemon.events();
    assert!(!before.iter().any(|e| e.contains("worker.crash")), "it let go when asked: {before:?}");
    daemon.end();
}

pub(crate) fn garbage() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("lines.py", LINES_PY);
    let spec = PoolSpec {
        raw: true,
        protocol: Protocol::Stdio,
        line_max: 1 << 20,
        ..pool(&["python3", &script])
    };
    let daemon = rig.daemon(vec![spec]);
    let (state, text) = ask(&daemon, "once", "\"noise\"");
    assert!(state == TaskState::Discarded && text.contains("not json"), "{text}");
    let (state, text) = ask(&daemon, "once", "\"long\"");
    assert!(
        state == TaskState::Discarded && text.contains("longer than") && text.contains("1M"),
        "{text}"
    );
    assert_eq!(ask(&daemon, "once", "1"), done("2"));
    daemon.end();
}

pub(crate) fn swallowed() {
    let rig = Rig::new();
    // What npx does to the channel: it is there, and nobody reads it.
    let npx = rig.script("npx", "#!/bin/sh\nexec sleep 1000\n");
    std::fs::set_permissions(&npx, std::fs::Permissions::from_mode(0o755)).unwrap();
    let closes = rig.script("closes", "exec 3>&-; exec sleep 1000");
    let daemon = rig.daemon(vec![pool(&[&npx])]);
    let (state, text) = ask(&daemon, "once", "1");
    assert_eq!(state, TaskState::Discarded);
    assert!(
        text.contains("`npx` is itself a Node program")
            && text.contains("[\"node\", \"worker.js\"]"),
        "{text}"
    );
    daemon.run(daemon.pools.apply(vec![pool(&["sh", &closes])])).unwrap();
    let reason = daemon.run(async {
        let mut view = daemon.pools.snapshot();
        let told = |s: &std::sync::Arc<ganger_supervise::Snapshot>| {
            s.of("w").any(|i| i.pid.is_none() && i.reason.contains("closed its channel"))
        };
        view.wait_for(told).await.unwrap().of("w").map(|i| i.reason.clone()).collect::<String>()
    });
    assert!(reason.contains("command = [\"node\""), "{reason}");
    // A changed command is a new chance.
    daemon
        .run(daemon.pools.apply(vec![PoolSpec {
            raw: true,
            ..pool(&["sh", "-c", "while read l; do echo 1 >&3; done <&3"])
        }]))
        .unwrap();
    assert_eq!(ask(&daemon, "once", "1"), done("1"));
    daemon.end();
}

pub(crate) fn cancel() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("w.py", ENVELOPE_PY);
    let log = rig.path("trace");
    let daemon = rig.daemon(vec![pool(&["python3", &script])]);
    let payload = format!("{{\"ms\":60000,\"log\":{log:?}}}");
    let id = daemon.run(daemon.tasks.push("q", None, vec![NewTask::json(payload)])).unwrap().ids[0];
    rig.wait_for_line("trace");
    let row = daemon.run(async {
        daemon.tasks.cancel(id).await.unwrap();
        daemon.tasks.wait(id, None).await.unwrap()
    });
    assert_eq!((row.state, row.attempts.len()), (TaskState::Cancelled, 1));
    assert_eq!(spans(&rig.lines("trace")), ["start", "end"]);
    daemon.end();
}
