//! Keeper and daemon die together and the next keeper may not end what they left: no attempt runs twice meanwhile. Needs root
//! and setpriv, for workers of another user and a keeper that may signal nobody else's processes.

use std::fs::OpenOptions;
use std::process::Command;

use ganger_testkit::TempDaemon;
use ganger_testkit::daemon::{Process, Said, alive};
use serde_json::Value;

use crate::{SOON, folder, pipe, pushed};

/// A run says so, then waits for the end of the named pipe `gate`, unless there is `open`.
const CONFIG: &str = r#"
version = 1
[queue.q]
retry = { max = 3, backoff = "0s..0s" }
[pool.p]
queues = ["q"]
protocol = "command"
user = "nobody"
stop_timeout = "1s"
command = ["sh", "-c", "cat > /dev/null; echo run >> runs; test -e open || read -r line < gate; echo 1"]
"#;

/// A verb whose keeper, if it starts one, lacks these capabilities and has no cgroups.
fn without(it: &TempDaemon, capabilities: &str, words: &[&str]) -> Said {
    let plain = it.command(words);
    let mut command = Command::new("setpriv");
    command.arg(format!("--bounding-set={capabilities}")).arg("--").arg(plain.get_program());
    command.args(words).current_dir(it.path()).env("GANGER_NO_CGROUP", "1");
    Said::of(&command.output().expect("setpriv was found before"))
}

fn able() -> bool {
    let root = rustix::process::geteuid().is_root();
    let there = Command::new("setpriv").arg("--version").output();
    root && there.is_ok_and(|out| out.status.success())
}

fn runs(it: &TempDaemon) -> usize {
    std::fs::read_to_string(it.path().join("runs")).unwrap_or_default().lines().count()
}

fn why(it: &TempDaemon, id: &str) -> Value {
    it.ganger(&["why", id, "--json"]).with_code(0).json()["causes"][0].clone()
}

fn not_beside(capabilities: &str) {
    let it = folder();
    it.write("ganger.toml", CONFIG);
    let open = |path: &std::path::Path, mode: &str| {
        let made = Command::new("chmod").arg(mode).arg(path).status();
        assert!(made.is_ok_and(|status| status.success()));
    };
    open(it.path(), "0777");
    let gate = pipe(&it, "gate");
    open(&gate, "0666");
    let _ = without(&it, "+all", &["up", "-d"]).with_code(0);
    let id = pushed(&it, &["q", "1"]);
    // It runs: somebody reads the pipe. It goes on reading, as nothing is written.
    let held = OpenOptions::new().write(true).open(&gate).expect("a worker reads it");
    let old = it.pid("p", 1);
    let worker = Process::open(old).expect("it runs");
    let both = ["keeper", "daemon"].map(|who| Process::open(it.pid_of(who)).expect("it runs"));
    both.iter().for_each(Process::kill);
    assert!(both.iter().all(|process| process.ended_within(SOON)));

    let _ = without(&it, capabilities, &["up", "-d"]).with_code(0);
    assert!(alive(old), "the new keeper may not end it");
    let cause = why(&it, &id);
    assert_eq!((&cause["cause"], &cause["pids"][0]), (&"stuck".into(), &old.into()), "{cause}");
    let said = it.ganger(&["why", &id]).with_code(0).out;
    assert!(said.contains(&format!("kill -9 {old}")), "{said}");
    let said = it.ganger(&["status"]).with_code(0).out;
    assert!(said.contains("not run again") && said.contains(&id), "{said}");
    let said = it.ganger(&["doctor"]).out;
    assert!(said.contains("not run again") && said.contains(&format!("kill -9 {old}")), "{said}");
    // A daemon later it is the same: the store says that it runs.
    let daemon = Process::open(it.pid_of("daemon")).expect("it runs");
    daemon.kill();
    assert!(daemon.ended_within(SOON));
    assert_eq!(why(&it, &id)["cause"], "stuck");
    // A push is taken and run beside it: only the attempt is stuck, not its place.
    let other = pushed(&it, &["q", "2"]);
    let mut events = it.follow(&["events", "-f", "-n", "100"]);
    events.until("the event", SOON, |line| line.contains("task.stuck") && line.contains(&id));

    it.write("open", "");
    // Now it is dead: the task goes on by itself.
    worker.kill();
    assert!(worker.ended_within(SOON));
    events.until("the other event", SOON, |line| line.contains("task.unstuck"));
    drop(held);
    for task in [&id, &other] {
        let _ = it.ganger(&["task", "wait", task, "--timeout", "20s"]).with_code(0);
    }
    assert_eq!(runs(&it), 3, "the first twice, the other once");
    let said = it.ganger(&["status"]).with_code(0).out;
    assert!(!said.contains("not run again") && !said.contains("leftovers"), "{said}");
}

#[test]
fn what_the_keeper_may_not_end_is_not_run_beside() {
    if !able() {
        return eprintln!("skipped: it needs root and setpriv");
    }
    not_beside("-kill");
}

#[test]
fn what_the_keeper_can_not_even_recognise_is_not_run_beside() {
    if !able() {
        return eprintln!("skipped: it needs root and setpriv");
    }
    not_beside("-kill,-sys_ptrace");
}
