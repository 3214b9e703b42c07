//! Tasks that take their worker along, or hold it.

use std::time::Duration;

use ganger_core::{TaskId, TaskState};
use ganger_pool::{PoolSpec, Protocol};
use ganger_queue::NewTask;
use ganger_store::{AttemptWord, DeadReason, TaskRow};

use crate::need;
use crate::rig::{Daemon, Rig, pool};
use crate::scripts::{POISON_PY, STOPPED_RAW_PY};

fn push(daemon: &Daemon, queue: &str, payloads: Vec<String>) -> Vec<TaskId> {
    let tasks = payloads.into_iter().map(NewTask::json).collect();
    daemon.run(daemon.tasks.push(queue, None, tasks)).unwrap().ids
}

fn wait(daemon: &Daemon, id: TaskId) -> TaskRow {
    daemon.run(daemon.tasks.wait(id, None)).unwrap()
}

/// The first attempt stops its own process; the second looks whether that is gone, and works.
pub(crate) fn stopped() {
    need!("python3");
    let rig = Rig::new();
    let (poison, raw) = (rig.script("w.py", POISON_PY), rig.script("raw.py", STOPPED_RAW_PY));
    let (trace, flag) = (rig.path("trace"), rig.path("flag"));
    let (trace_arg, flag_arg) = (trace.to_str().unwrap(), flag.to_str().unwrap());
    let command = r#"for p in $(cut -d' ' -f1 "$1" 2>/dev/null); do
        [ -e /proc/$p ] && echo "$$ beside $p" >> "$1"; done
        echo "$$ $GANGER_ATTEMPT" >> "$1"; [ $GANGER_ATTEMPT = 1 ] && kill -STOP $$; echo 7"#;
    let patient = |argv: &[&str]| {
        let mut spec = PoolSpec { queues: vec!["patient".into()], ..pool(argv) };
        spec.instance.stop.timeout = Duration::from_millis(200);
        spec
    };
    let envelope = patient(&["python3", &poison]);
    let raw = PoolSpec { raw: true, ..patient(&["python3", &raw, trace_arg, flag_arg]) };
    let command = PoolSpec {
        protocol: Protocol::Command,
        ..patient(&["sh", "-c", command, "sh", trace_arg])
    };
    let daemon = rig.daemon(vec![envelope]);
    for (kind, spec) in [("envelope", None), ("raw", Some(raw)), ("command", Some(command))] {
        if let Some(spec) = spec {
            daemon.run(daemon.pools.apply(vec![spec])).unwrap();
        }
        let _ = std::fs::remove_file(&trace);
        let id = push(&daemon, "patient", vec![format!("{{\"stop\":{trace:?}}}")])[0];
        let row = wait(&daemon, id);
        assert_eq!(row.state, TaskState::Completed, "{kind}: {row:?}");
        let words: Vec<_> = row.attempts.iter().filter_map(|a| a.outcome).collect();
        assert_eq!(words, [AttemptWord::Timeout, AttemptWord::Completed], "{kind}");
        let lines = rig.lines("trace");
        assert_eq!(
            lines.len(),
            2,
            "{kind}: the old process was there beside the new one: {lines:?}"
        );
        assert_ne!(row.attempts[0].pid, row.attempts[1].pid, "{kind}");
        assert!(row.attempts[0].error.as_ref().unwrap().usage.is_some(), "{kind}: {row:?}");
        assert_eq!(row.crashes, 1, "{kind}: a timeout counts");
    }
    daemon.end();
}

/// Three attempts, each under another daemon; those who wait in the same worker, or come from other tasks, are not hurt.
pub(crate) fn out_of_memory() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("w.py", POISON_PY);
    let trace = rig.path("trace");
    let spec = || {
        let mut spec = PoolSpec { queues: vec!["many".into()], ..pool(&["python3", &script]) };
        let limits = &mut spec.instance.plan.profile.limits;
        limits.memory = Some(64 << 20);
        // Reached first where there is no memory controller.
        limits.address_space = Some(300 << 20);
        vec![spec]
    };
    let mut daemon = rig.daemon(spec());
    daemon.run(daemon.tasks.pause("many")).unwrap();
    let mut payloads = vec![format!("{{\"eat\":{trace:?}}}")];
    payloads.extend((0..30).map(|n| format!("{{\"n\":{n}}}")));
    let ids = push(&daemon, "many", payloads);
    daemon.run(daemon.tasks.resume("many")).unwrap();
    for n in 1..3 {
        rig.wait_for_lines("trace", n);
        // It dies now, or while no daemon is there: the keeper tells the next one.
        daemon.kill();
        daemon = rig.daemon(spec());
    }
    let row = wait(&daemon, ids[0]);
    assert_eq!((row.state, row.reason), (TaskState::Discarded, Some(DeadReason::Quarantined)));
    assert_eq!((row.crashes, rig.lines("trace").len()), (3, 3), "{row:?}");
    let words: Vec<_> = row.attempts.iter().filter_map(|a| a.outcome).collect();
    assert_eq!(words, [AttemptWord::Crash; 3]);
    let error = row.error.unwrap();
    let by_cgroup = error.message.contains("memory limit reached");
    assert!(by_cgroup || error.message.contains("SIGABRT"), "{error:?}");
    println!("memory was limited by {}", if by_cgroup { "a cgroup" } else { "RLIMIT_AS" });
    assert_eq!(error.stderr, ["eating"]);
    assert!(error.usage.unwrap().peak_rss > 10 << 20);
    for id in &ids[1..] {
        let row = wait(&daemon, *id);
        assert_eq!((row.state, row.attempts.len()), (TaskState::Completed, 1), "{row:?}");
    }
    let counts = daemon.run(daemon.tasks.queue("many")).unwrap().row.counts;
    assert_eq!((counts.get(TaskState::Discarded), counts.get(TaskState::Completed)), (1, 30));
    assert_eq!(counts.unfinished(), 0);
    let told = daemon.events();
    assert!(told.iter().any(|e| e.contains("(quarantined)")), "{told:?}");
    // A person may try again, with a fresh count.
    daemon.run(daemon.tasks.retry(ids[0])).unwrap();
    let row = wait(&daemon, ids[0]);
    assert_eq!((row.reason, row.attempts.len()), (Some(DeadReason::Quarantined), 6));
    daemon.end();
}
