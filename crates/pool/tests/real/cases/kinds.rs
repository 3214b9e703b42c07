//! Each kind of worker does its work.

use ganger_core::TaskState;
use ganger_pool::{PoolSpec, Protocol};
use ganger_queue::NewTask;

use crate::need;
use crate::rig::{Daemon, Rig, pool};
use crate::scripts::{ENVELOPE_PY, FORK_JS, LINES_PY};

/// Pushes one payload and waits for its end: state, result or error's text.
pub(crate) fn ask(daemon: &Daemon, queue: &str, payload: impl Into<String>) -> (TaskState, String) {
    let payload: String = payload.into();
    let row = daemon.run(async {
        let pushed = daemon.tasks.push(queue, None, vec![NewTask::json(payload)]).await.unwrap();
        daemon.tasks.wait(pushed.ids[0], None).await.unwrap()
    });
    let error = row.error.map(|e| format!("{} | {}", e.message, e.stderr.join(" / ")));
    let text = row.result.map(|r| String::from_utf8(r.to_vec()).unwrap()).or(error);
    (row.state, text.unwrap_or_default())
}

pub(crate) fn done(text: &str) -> (TaskState, String) {
    (TaskState::Completed, text.to_owned())
}

pub(crate) fn fork_script() {
    need!("node");
    let rig = Rig::new();
    let script = rig.script("fork.js", FORK_JS);
    let daemon = rig.daemon(vec![PoolSpec { raw: true, ..pool(&["node", &script]) }]);
    for n in 0..20 {
        assert_eq!(
            ask(&daemon, "q", format!("{{\"n\":{n}}}")),
            done(&format!("{{\"double\":{}}}", n * 2))
        );
    }
    daemon.end();
}

pub(crate) fn line_program() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("lines.py", LINES_PY);
    let spec = PoolSpec { raw: true, protocol: Protocol::Stdio, ..pool(&["python3", &script]) };
    let daemon = rig.daemon(vec![spec]);
    for n in 0..20 {
        assert_eq!(ask(&daemon, "mem", n.to_string()), done(&(n + 1).to_string()));
    }
    let events = daemon.events();
    assert!(
        events.iter().any(|e| e.starts_with("worker.garbage") && e.contains("starting up")),
        "{events:?}"
    );
    daemon.end();
}

pub(crate) fn envelope() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("w.py", ENVELOPE_PY);
    let daemon = rig.daemon(vec![PoolSpec { workers: 2, ..pool(&["python3", &script]) }]);
    daemon.run(async {
        let (way_in, mut way_out) = daemon.tasks.push_stream("q").await.unwrap();
        let kind = Some("thumb".into());
        let tasks = (0..500).map(|n| NewTask {
            kind: std::clone::Clone::clone(&kind),
            ..NewTask::json(format!("{{\"n\":{n}}}"))
        });
        way_in.push(tasks.collect()).await.unwrap().ids().await.unwrap();
        drop(way_in);
        let mut results = Vec::new();
        while let Some(finished) = way_out.next().await {
            results.extend(
                finished
                    .into_iter()
                    .map(|f| String::from_utf8(f.result.unwrap().to_vec()).unwrap()),
            );
        }
        assert_eq!(results.len(), 500);
        let want = r#"{"n": 77, "attempt": 1, "kind": "thumb"}"#;
        assert!(results.iter().any(|r| r == want), "{:?}", results[0]);
    });
    let (state, text) = ask(&daemon, "once", r#"{"fail":"no luck"}"#);
    assert_eq!((state, text.as_str()), (TaskState::Discarded, "no luck | "));
    daemon.end();
}

pub(crate) fn commands() {
    let rig = Rig::new();
    let script = r#"case $1 in
        echo) printf '%s %s %s' "$2" "$GANGER_ATTEMPT" "$(cat)";;
        json) echo '{"ok": true}';;
        env) echo "$GANGER_TASK_ID $GANGER_FENCE";;
        fail) echo 'no such thumb' >&2; exit 3;;
        die) kill -9 $$;;
        much) head -c 2000000 /dev/zero;;
        long) exec sleep 1000;;
    esac"#;
    let spec = PoolSpec {
        protocol: Protocol::Command,
        workers: 2,
        output_max: 1 << 20,
        ..pool(&["sh", "-c", script, "sh", "{payload.do}", "{payload.arg}"])
    };
    let daemon = rig.daemon(vec![spec]);
    let task = |what: &str| format!("{{\"do\":\"{what}\",\"arg\":\"a b; $(x)\"}}");
    let echoed = format!("a b; $(x) 1 {}", task("echo"));
    assert_eq!(ask(&daemon, "once", task("echo")), done(&serde_json::to_string(&echoed).unwrap()));
    assert_eq!(ask(&daemon, "once", task("json")), done("{\"ok\": true}"));
    let (_, env) = ask(&daemon, "once", task("env"));
    assert_eq!(env.trim_matches('"').split(' ').next().unwrap().len(), 13, "{env}");
    let (state, text) = ask(&daemon, "once", task("fail"));
    assert_eq!(
        (state, text.as_str()),
        (TaskState::Discarded, "the command exited with code 3 | no such thumb")
    );
    let (_, text) = ask(&daemon, "once", task("die"));
    assert!(text.contains("killed by SIGKILL"), "{text}");
    let (_, text) = ask(&daemon, "once", task("much"));
    assert!(text.contains("print less"), "{text}");
    let (_, text) = ask(&daemon, "quick", task("long"));
    assert!(text.contains("timed out after 300ms"), "{text}");
    let (_, text) = ask(&daemon, "q", "{\"do\":\"echo\"}");
    assert!(text.contains("payload.arg"), "{text}");
    daemon.end();
}

pub(crate) fn scaling() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("w.py", ENVELOPE_PY);
    let daemon = rig.daemon(vec![pool(&["python3", &script])]);
    let mut view = daemon.pools.snapshot();
    let mut up = async |n: usize| {
        let running = |s: &std::sync::Arc<ganger_supervise::Snapshot>| {
            s.of("w").filter(|i| i.pid.is_some()).count() == n
        };
        view.wait_for(running).await.unwrap();
    };
    daemon.run(async {
        daemon.pools.scale("w", 3).await.unwrap();
        up(3).await;
        daemon.pools.scale("w", 1).await.unwrap();
        up(1).await;
        daemon.pools.stop_workers("w", None, "by the test").await.unwrap();
        up(0).await;
        let id =
            daemon.tasks.push("q", None, vec![NewTask::json("{\"n\":1}")]).await.unwrap().ids[0];
        daemon.pools.start_workers("w", Some(1)).await.unwrap();
        let row = daemon.tasks.wait(id, None).await.unwrap();
        assert_eq!(row.state, TaskState::Completed, "{row:?}");
        daemon.pools.restart_workers("w", None).await.unwrap();
        up(1).await;
        assert!(daemon.pools.scale("x", 1).await.is_err());
        assert!(
            daemon
                .pools
                .start_workers("w", Some(9))
                .await
                .unwrap_err()
                .to_string()
                .contains("no worker 9")
        );
        daemon.pools.apply(vec![]).await.unwrap();
        up(0).await;
    });
    daemon.end();
}
