//! Planted causes: `why` names each, and once it is removed the task runs. Times are long enough for a slow machine to ask.

use std::fs::{File, OpenOptions};

use ganger_testkit::TempDaemon;
use ganger_testkit::daemon::Process;
use serde_json::Value;

use crate::{SOON, folder, pipe, pushed, up};

/// Programs that wait for a named pipe: whoever opens it for writing knows that the task runs, and ends it by closing it.
const CONFIG: &str = r#"
version = 1
[queue.later]
[queue.flaky]
retry = { max = 3, backoff = "12s..12s", jitter = "none" }
[queue.paused]
[queue.rated]
limits = { rate = "1/1h" }
[pool.quick]
queues = ["later", "flaky", "paused", "rated"]
protocol = "command"
command = ["sh", "-c", "case $(cat) in *flaky*) test -e healed || exit 3;; *gate*) cat gate > /dev/null;; esac; echo 1"]

[queue.same]
cache_ttl = "1h"
[queue.whole]
limits = { running = 1 }
[queue.kinds]
limits = { kind.resize = 1 }
[queue.keys]
limits = { key = "who.tenant", per_key = 1 }
[pool.gates]
queues = ["whole", "kinds", "keys", "same"]
protocol = "command"
workers = 2
command = ["sh", "-c", "read -r line; cat \"$(echo \"$line\" | sed 's/.*gate\":\"\\([a-z]*\\).*/\\1/')\" > /dev/null; echo 1"]

[queue.busy]
[pool.one]
queues = ["busy"]
protocol = "command"
command = ["sh", "-c", "cat busy > /dev/null; echo 1"]

[queue.crashing]
[pool.crashing]
queues = ["crashing"]
protocol = "stdio"
raw = true
restart = { backoff = "1ms..1ms", max = 1, within = "1h", breaker = "1h" }
command = ["sh", "-c", "test ! -e broken || exit 7; while read -r line; do echo 1; done"]

[queue.halted]
[pool.halted]
queues = ["halted"]
protocol = "command"
command = ["echo", "1"]

[queue.zero]
[pool.zero]
queues = ["zero"]
protocol = "command"
command = ["echo", "1"]

[queue.alone]
"#;

const ALONE: &str = r#"
[pool.alone]
queues = ["alone"]
protocol = "command"
command = ["echo", "1"]
"#;

fn why(it: &TempDaemon, id: &str) -> Value {
    it.ganger(&["why", id, "--json"]).with_code(0).json()
}

/// The cause of this name, which must be there.
fn cause(it: &TempDaemon, id: &str, name: &str) -> Value {
    let why = why(it, id);
    let found = why["causes"].as_array().into_iter().flatten().find(|cause| cause["cause"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {why}")).clone()
}

fn says(it: &TempDaemon, id: &str, part: &str) {
    let said = it.ganger(&["why", id]).with_code(0);
    assert!(said.out.contains(part), "no {part:?} in {}", said.out);
}

fn completes(it: &TempDaemon, id: &str) {
    let _ = it.ganger(&["task", "wait", id, "--timeout", "60s"]).with_code(0);
    says(it, id, "it is completed");
}

/// Returns once a task reads the pipe.
fn hold(pipe: &std::path::Path) -> File {
    OpenOptions::new().write(true).open(pipe).expect("the pipe was just made")
}

#[test]
fn time_gates_and_rates() {
    let it = up(CONFIG);
    let later = pushed(&it, &["later", "--delay", "12s"]);
    assert!(cause(&it, &later, "scheduled")["until"].is_string());
    says(&it, &later, "not to run before");

    let flaky = pushed(&it, &["flaky", "\"flaky\""]);
    // There is one worker: when the next task runs, the end of the one before is stored.
    let pipe = pipe(&it, "gate");
    let next = pushed(&it, &["flaky", "\"gate\""]);
    let gate = hold(&pipe);
    let retry = cause(&it, &flaky, "retry");
    assert_eq!((&retry["attempt"], &retry["max"]), (&1.into(), &3.into()));
    assert!(retry["error"].as_str().unwrap().contains('3'), "{retry}");
    it.write("healed", "");
    drop(gate);
    completes(&it, &next);

    let first = pushed(&it, &["rated"]);
    completes(&it, &first);
    let second = pushed(&it, &["rated"]);
    assert_eq!(cause(&it, &second, "rate")["of"], "queue");
    says(&it, &second, "has reached its rate");
    it.write("ganger.toml", &CONFIG.replace("1/1h", "9/s"));
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    completes(&it, &second);

    let _ = it.ganger(&["queue", "pause", "paused"]).with_code(0);
    let paused = pushed(&it, &["paused"]);
    assert_eq!(cause(&it, &paused, "paused")["by"], "person");
    says(&it, &paused, "`ganger queue resume paused`");
    let _ = it.ganger(&["queue", "resume", "paused"]).with_code(0);
    for id in [paused, later, flaky] {
        completes(&it, &id);
    }
    let _ = it.ganger(&["why", "0000000000007"]).with_code(4);
}

#[test]
fn limits_are_held_by_somebody() {
    let it = up(CONFIG);
    for (queue, of, name, kind, payload) in [
        ("whole", "queue", Value::Null, "other", r#"{"gate":"whole"}"#),
        ("kinds", "kind", "resize".into(), "resize", r#"{"gate":"kinds"}"#),
        ("keys", "key", "acme".into(), "other", r#"{"who":{"tenant":"acme"},"gate":"keys"}"#),
    ] {
        let pipe = pipe(&it, queue);
        let first = pushed(&it, &[queue, payload, "--kind", kind]);
        let second = pushed(&it, &[queue, payload, "--kind", kind]);
        let gate = hold(&pipe);
        let limit = cause(&it, &second, "limit");
        assert_eq!((&limit["of"], &limit["name"], &limit["max"]), (&of.into(), &name, &1.into()));
        assert_eq!(limit["held_by"][0]["task"], first.as_str(), "{limit}");
        says(&it, &second, &format!("held by {first} on gates#"));
        says(&it, &first, "it runs on gates#");
        drop(gate);
        completes(&it, &first);
        drop(hold(&pipe));
        completes(&it, &second);
    }
}

#[test]
fn the_same_work_waits_for_the_one_under_way() {
    let it = up(CONFIG);
    let pipe = pipe(&it, "same");
    let [leader, second, third] = [(); 3].map(|()| pushed(&it, &["same", r#"{"gate":"same"}"#]));
    let gate = hold(&pipe);
    for id in [&second, &third] {
        let follows = cause(&it, id, "follows");
        assert_eq!(
            (&follows["leader"], &follows["state"]),
            (&leader.as_str().into(), &"running".into())
        );
        assert_eq!(
            why(&it, id)["causes"].as_array().map(Vec::len),
            Some(1),
            "nothing else holds it"
        );
    }
    says(
        &it,
        &second,
        &format!(
            "it waits for the result of task {leader}, which has the same input and runs on gates#"
        ),
    );
    // Without a result of the first, the second runs, and the third waits for that one.
    let _ = it.ganger(&["task", "cancel", &leader]).with_code(0);
    let _ = it.ganger(&["task", "wait", &leader, "--timeout", "60s"]);
    says(&it, &leader, "it is cancelled");
    // Before the first goes: the second would read the end of the pipe if it came while only that one was open.
    let gates = [gate, hold(&pipe)];
    assert_eq!(cause(&it, &third, "follows")["leader"], second.as_str());
    says(&it, &second, "it runs on gates#");
    drop(gates);
    completes(&it, &second);
    completes(&it, &third);
    let _ = it.ganger(&["queue", "pause", "same"]).with_code(0);
    let waits = pushed(&it, &["same", r#"{"gate":"other"}"#]);
    let follower = pushed(&it, &["same", r#"{"gate":"other"}"#]);
    assert_eq!(cause(&it, &follower, "follows")["state"], "available");
    says(&it, &follower, &format!("`ganger why {waits}` says what holds that one"));
}

#[test]
fn workers_are_busy_down_or_not_there() {
    let it = up(CONFIG);
    let pipe = pipe(&it, "busy");
    let ids = [pushed(&it, &["busy"]), pushed(&it, &["busy"]), pushed(&it, &["busy"])];
    let gate = hold(&pipe);
    assert_eq!(cause(&it, &ids[2], "busy")["tasks"][0]["task"], ids[0].as_str());
    drop(gate);
    completes(&it, &ids[0]);
    for id in &ids[1..] {
        // Only now nobody reads the pipe any more but the next task.
        drop(hold(&pipe));
        completes(&it, id);
    }

    // Not while it starts: it would be given the task, and lose it.
    let mut events = it.follow(&["events", "-f", "-n", "100"]);
    it.write("broken", "");
    let worker = Process::open(it.pid("crashing", 1)).expect("it runs");
    worker.kill();
    events.until("the breaker opens", SOON, |l| l.contains("instance.breaker"));
    let crashing = pushed(&it, &["crashing"]);
    let down = cause(&it, &crashing, "worker_down");
    assert_eq!(down["worker"], "crashing#1");
    std::fs::remove_file(it.path().join("broken")).expect("it was written");
    let _ = it.ganger(&["restart", "crashing"]).with_code(0);
    completes(&it, &crashing);

    let _ = it.ganger(&["stop", "halted"]).with_code(0);
    let halted = pushed(&it, &["halted"]);
    assert_eq!(cause(&it, &halted, "pool_stopped")["pool"], "halted");
    let _ = it.ganger(&["start", "halted"]).with_code(0);
    completes(&it, &halted);

    let _ = it.ganger(&["scale", "zero=0"]).with_code(0);
    let zero = pushed(&it, &["zero"]);
    assert_eq!(cause(&it, &zero, "no_workers")["pool"], "zero");
    let _ = it.ganger(&["scale", "zero=1"]).with_code(0);
    completes(&it, &zero);

    let alone = pushed(&it, &["alone"]);
    let _ = cause(&it, &alone, "no_pool");
    it.write("ganger.toml", &format!("{CONFIG}{ALONE}"));
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    completes(&it, &alone);
}

#[test]
fn a_full_queue_and_a_drained_one_refuse_with_their_codes() {
    let it = folder();
    it.write(
        "ganger.toml",
        "version = 1\n[queue.small]\nmax_bytes = \"10B\"\n[queue.slow]\nmax_length = 1\n",
    );
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let said = it.ganger(&["push", "small", "\"much too long\""]).with_code(10);
    assert!(said.err.contains("max_bytes") && said.err.contains("try again in"), "{}", said.err);
    let _ = pushed(&it, &["slow"]);
    let _ = it.ganger(&["push", "slow"]).with_code(10);
    let _ = it.ganger(&["queue", "drain", "small", "--wait"]).with_code(0);
    let said = it.ganger(&["push", "small", "1"]).with_code(9);
    assert!(said.err.contains("draining"), "{}", said.err);
    let _ = it.ganger(&["queue", "resume", "small"]).with_code(0);
    let _ = pushed(&it, &["small", "1"]);
}
