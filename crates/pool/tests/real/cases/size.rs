//! Pools that size themselves, and processes that make room for fresh ones.

use std::collections::BTreeSet;
use std::time::Duration;

use ganger_core::TaskState;
use ganger_pool::{Autoscale, PoolSpec, Protocol, Recycle};
use ganger_queue::NewTask;

use super::kinds::ask;
use crate::need;
use crate::rig::{Rig, pool};

/// Says its pid for each task.
const PID_PY: &str = r#"
import os, sys
for line in sys.stdin:
    print(os.getpid(), flush=True)
"#;

pub(crate) fn autoscale() {
    let rig = Rig::new();
    let rules = Autoscale {
        min: 0,
        max: 3,
        target: Duration::from_millis(50),
        cool_down: Duration::from_millis(100),
    };
    // Each task waits until the test lets all go.
    let gate = rig.path("gate");
    let gate = gate.to_str().unwrap();
    assert!(std::process::Command::new("mkfifo").arg(gate).status().unwrap().success());
    let script = format!("read line < {gate}; echo 1");
    let daemon = rig.daemon(vec![PoolSpec {
        protocol: Protocol::Command,
        workers: 0,
        autoscale: Some(rules),
        ..pool(&["/bin/sh", "-c", &script])
    }]);
    let mut view = daemon.pools.snapshot();
    daemon.run(async {
        view.wait_for(|s| s.of("w").count() == 0).await.unwrap();
        let tasks = (0..6).map(|_| NewTask::json("1")).collect();
        let pushed = daemon.tasks.push("q", None, tasks).await.unwrap();
        view.wait_for(|s| s.of("w").filter(|i| i.pid.is_some()).count() == 3).await.unwrap();
        let path = gate.to_owned();
        let ids = pushed.ids.clone();
        let opened = tokio::task::spawn_blocking(move || {
            // Open until all have read: a line for each.
            let mut gate = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
            std::io::Write::write_all(&mut gate, &b"go\n".repeat(200)).unwrap();
            gate
        });
        let gate = opened.await.unwrap();
        for id in ids {
            assert_eq!(daemon.tasks.wait(id, None).await.unwrap().state, TaskState::Completed);
        }
        view.wait_for(|s| s.of("w").count() == 0).await.unwrap();
        let again = daemon.tasks.push("q", None, vec![NewTask::json("2")]).await.unwrap();
        assert_eq!(
            daemon.tasks.wait(again.ids[0], None).await.unwrap().state,
            TaskState::Completed
        );
        drop(gate);
    });
    let events = daemon.events();
    assert!(events.iter().any(|e| e.starts_with("pool.scaled")), "{events:?}");
    daemon.end();
}

pub(crate) fn recycle() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("pid.py", PID_PY);
    let daemon = rig.daemon(vec![PoolSpec {
        protocol: Protocol::Stdio,
        raw: true,
        recycle: Recycle { tasks: Some(3), ..Recycle::default() },
        ..pool(&["python3", &script])
    }]);
    let mut pids = Vec::new();
    for n in 0..9 {
        let (state, pid) = ask(&daemon, "q", n.to_string());
        assert_eq!(state, TaskState::Completed, "{pid}");
        pids.push(pid);
    }
    let processes: BTreeSet<_> = pids.iter().collect();
    assert_eq!(processes.len(), 3, "{pids:?}");
    assert!(pids.chunks(3).all(|three| three.iter().all(|pid| *pid == three[0])), "{pids:?}");
    let events = daemon.events();
    let told = |e: &&String| e.starts_with("worker.recycled") && e.contains("done 3 tasks of 3");
    assert!(events.iter().filter(told).count() >= 2, "{events:?}");
    daemon.end();
}
