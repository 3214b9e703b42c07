//! The daemon dies, the work goes on.

use std::io::Write as _;

use ganger_core::{TaskId, TaskState};
use ganger_pool::{PoolSpec, Protocol};
use ganger_queue::NewTask;

use crate::need;
use crate::rig::{Daemon, Rig, pool};
use crate::scripts::{ENVELOPE_PY, FORK_JS};

fn push(daemon: &Daemon, payloads: Vec<String>) -> Vec<TaskId> {
    let tasks = payloads.into_iter().map(NewTask::json).collect();
    daemon.run(daemon.tasks.push("q", None, tasks)).unwrap().ids
}

fn pids(daemon: &Daemon) -> Vec<u32> {
    daemon.run(async {
        let mut view = daemon.pools.snapshot();
        let up =
            |s: &std::sync::Arc<ganger_supervise::Snapshot>| s.of("w").any(|i| i.pid.is_some());
        view.wait_for(up).await.unwrap().of("w").filter_map(|i| i.pid).collect()
    })
}

pub(crate) fn envelope() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("w.py", ENVELOPE_PY);
    let log = rig.path("trace");
    let specs = || vec![pool(&["python3", &script])];
    let mut daemon = rig.daemon(specs());
    let before = pids(&daemon);
    let ids = push(
        &daemon,
        (0..200).map(|n| format!("{{\"n\":{n},\"ms\":5,\"log\":{log:?}}}")).collect(),
    );
    rig.wait_for_line("trace");
    for _ in 0..3 {
        daemon.kill();
        daemon = rig.daemon(specs());
        assert_eq!(pids(&daemon), before, "the worker lives on");
    }
    for id in ids {
        let row = daemon.run(daemon.tasks.wait(id, None)).unwrap();
        assert_eq!(row.state, TaskState::Completed);
        assert_eq!((row.attempt, row.attempts.len()), (1, 1), "{row:?}");
    }
    // Every task ran once: no attempt was lost on the way, none was sent twice.
    let lines = rig.lines("trace");
    assert_eq!(lines.len(), 400, "{lines:?}");
    daemon.end();
}

pub(crate) fn raw() {
    need!("node");
    let rig = Rig::new();
    let script = rig.script("fork.js", FORK_JS);
    let hang = rig.path("hang");
    let specs = || vec![PoolSpec { raw: true, ..pool(&["node", &script]) }];
    let daemon = rig.daemon(specs());
    let before = pids(&daemon);
    let id = push(&daemon, vec![format!("{{\"hang\":{hang:?}}}")])[0];
    rig.wait_for_line("hang");
    daemon.kill();
    let daemon = rig.daemon(specs());
    let again = daemon.run(async {
        let mut view = daemon.pools.snapshot();
        let replaced = |s: &std::sync::Arc<ganger_supervise::Snapshot>| {
            s.of("w").any(|i| i.pid.is_some_and(|pid| !before.contains(&pid)))
        };
        view.wait_for(replaced).await.unwrap().of("w").filter_map(|i| i.pid).collect::<Vec<_>>()
    });
    assert_ne!(before, again);
    daemon.run(async {
        // The second attempt hangs as well; it is the one that is cancelled.
        while daemon.tasks.get(id).await.unwrap().attempt < 2 {
            daemon.tasks.stats().await.unwrap();
            tokio::task::yield_now().await;
        }
        daemon.tasks.cancel(id).await.unwrap();
        let row = daemon.tasks.wait(id, None).await.unwrap();
        assert_eq!(row.state, TaskState::Cancelled);
        assert_eq!(
            row.attempts[0].outcome,
            Some(ganger_store::AttemptWord::Interrupted),
            "{row:?}"
        );
    });
    daemon.end();
}

pub(crate) fn command() {
    let rig = Rig::new();
    let trace = rig.path("trace");
    let go = rig.path("go");
    rustix::fs::mkfifoat(rustix::fs::CWD, &go, 0o600.into()).unwrap();
    // Open for both: a line waits for its reader, and the lack of one can't block the test.
    let mut gate = std::fs::File::options().read(true).write(true).open(&go).unwrap();
    let script = r#"echo start >> "$1"; read line < "$2"; echo end >> "$1"; echo "\"$line\"""#;
    let (trace_arg, go_arg) = (trace.to_str().unwrap(), go.to_str().unwrap());
    let specs = || {
        let argv = ["sh", "-c", script, "sh", trace_arg, go_arg];
        vec![PoolSpec { protocol: Protocol::Command, ..pool(&argv) }]
    };
    let daemon = rig.daemon(specs());
    let id = push(&daemon, vec!["1".into()])[0];
    rig.wait_for_line("trace");
    // A start whose answer nobody takes is ended, and in a process of the test the waiter goes before the link.
    pids(&daemon);
    daemon.kill();
    // It ends while no daemon is there, and its keeper remembers.
    gate.write_all(b"kept\n").unwrap();
    let daemon = rig.daemon(specs());
    let row = daemon.run(daemon.tasks.wait(id, None)).unwrap();
    assert_eq!((row.state, row.result.as_deref()), (TaskState::Completed, Some(&b"\"kept\""[..])));
    assert_eq!((row.attempts.len(), rig.lines("trace")), (1, vec!["start".into(), "end".into()]));
    daemon.end();
}

pub(crate) fn died_meanwhile() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("w.py", ENVELOPE_PY);
    let log = rig.path("trace");
    let specs = || vec![pool(&["python3", &script])];
    let daemon = rig.daemon(specs());
    let pid = pids(&daemon)[0];
    let ids = push(
        &daemon,
        (0..10).map(|n| format!("{{\"n\":{n},\"ms\":50,\"log\":{log:?}}}")).collect(),
    );
    rig.wait_for_line("trace");
    daemon.kill();
    let pidfd = ganger_sys::pidfd::open(pid).unwrap();
    ganger_sys::pidfd::send_signal(&pidfd, 9).unwrap();
    let daemon = rig.daemon(specs());
    let mut crashes = 0;
    for id in ids {
        let row = daemon.run(daemon.tasks.wait(id, None)).unwrap();
        assert_eq!(row.state, TaskState::Completed);
        crashes += row.attempts.len() - 1;
    }
    assert_eq!(crashes, 1, "only what ran is charged");
    daemon.end();
}
