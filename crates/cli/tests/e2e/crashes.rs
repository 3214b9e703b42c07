//! What the death of daemon, keeper and logger changes for services: as little as possible.

use ganger_testkit::daemon::{Process, alive};

use crate::{SOON, TWO, up};

#[test]
fn a_killed_daemon_is_replaced_and_services_keep_their_pids() {
    let it = up(TWO);
    let pids = [it.pid("counter", 1), it.pid("idle", 1)];
    let daemon = Process::open(it.pid_of("daemon")).unwrap();
    daemon.kill();
    assert!(daemon.ended_within(SOON));
    // Callers queue on the held listener: no error is seen.
    assert_eq!([it.pid("counter", 1), it.pid("idle", 1)], pids);
    assert_ne!(it.pid_of("daemon"), daemon.pid);
    assert!(pids.iter().all(|pid| alive(*pid)));
    no_gap(&it);
}

#[test]
fn a_killed_logger_loses_no_line() {
    let it = up(TWO);
    let logger = Process::open(it.pid_of("logger")).unwrap();
    let mut lines = it.follow(&["logs", "counter", "-f", "--no-prefix"]);
    lines.until("some lines", SOON, |l| l == "count 5");
    logger.kill();
    assert!(logger.ended_within(SOON));
    lines.until("lines after the kill", SOON, |l| {
        l.strip_prefix("count ").and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n > 25)
    });
    no_gap(&it);
}

#[test]
fn a_killed_keeper_leaves_services_managed_and_says_what_is_lost() {
    let it = up(TWO);
    let pids = [it.pid("counter", 1), it.pid("idle", 1)];
    let keeper = Process::open(it.pid_of("keeper")).unwrap();
    keeper.kill();
    assert!(keeper.ended_within(SOON));
    assert_eq!([it.pid("counter", 1), it.pid("idle", 1)], pids);
    assert_ne!(it.pid_of("keeper"), keeper.pid);
    let status = it.ganger(&["status", "--json"]).with_code(0).json();
    assert!(!status["degraded"].as_array().unwrap().is_empty(), "{status}");
    no_gap(&it);

    let idle = Process::open(pids[1]).unwrap();
    let _ = it.ganger(&["restart", "idle"]).with_code(0);
    assert!(idle.ended_within(SOON));
    let _ = it.ganger(&["wait", "service:idle=ready", "--timeout", "20s"]).with_code(0);
    assert_ne!(it.pid("idle", 1), pids[1]);
    let _ = it.ganger(&["down"]).with_code(0);
    assert_eq!(it.children(), Vec::<u32>::new());
}

#[test]
fn keeper_and_daemon_killed_together_leave_no_second_copy() {
    let it = up(TWO);
    let old = [it.pid("counter", 1), it.pid("idle", 1)].map(|pid| Process::open(pid).unwrap());
    let both = ["keeper", "daemon"].map(|who| Process::open(it.pid_of(who)).unwrap());
    both.iter().for_each(Process::kill);
    assert!(both.iter().all(|process| process.ended_within(SOON)));
    let _ = it.ganger(&["up", "-d", "--wait"]).with_code(0);
    assert!(old.iter().all(|process| process.ended_within(SOON)), "leftovers are ended first");
    let mut now = vec![it.pid("counter", 1), it.pid("idle", 1)];
    let mut children = it.children();
    children.retain(|pid| !is_sleep_of_a_shell(*pid, &now));
    now.sort_unstable();
    children.sort_unstable();
    assert_eq!(children, now);
}

/// The counter's shell runs `sleep 0.05` as a child.
fn is_sleep_of_a_shell(pid: u32, mains: &[u32]) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
    stat.is_empty() || parent.is_some_and(|parent: u32| mains.contains(&parent))
}

/// The counter's numbers follow each other without gap or double.
fn no_gap(it: &ganger_testkit::TempDaemon) {
    let said = it.ganger(&["logs", "counter", "--no-prefix"]).with_code(0).out;
    let numbers: Vec<u32> =
        said.lines().filter_map(|line| line.strip_prefix("count ")?.parse().ok()).collect();
    assert!(!numbers.is_empty());
    for pair in numbers.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "{said}");
    }
}

#[test]
fn a_killed_daemon_gives_no_token_twice() {
    let it = up(r#"
version = 1
[queue.rated]
limits = { rate = "1/1h" }
[pool.p]
queues = ["rated"]
protocol = "command"
command = ["echo", "1"]
"#);
    let push = || it.ganger(&["push", "rated", "--json"]).with_code(0).json()["id"].to_string();
    let (first, second) = (push().replace('"', ""), push().replace('"', ""));
    let _ = it.ganger(&["task", "wait", &first, "--timeout", "20s"]).with_code(0);
    let daemon = Process::open(it.pid_of("daemon")).unwrap();
    daemon.kill();
    assert!(daemon.ended_within(SOON));
    let said = it.ganger(&["why", &second]).with_code(0).out;
    assert!(said.contains("has reached its rate"), "{said}");
}
