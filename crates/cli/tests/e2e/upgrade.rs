//! `ganger upgrade`: another binary, the same processes.

use std::cell::Cell;
use std::path::PathBuf;

use ganger_testkit::TempDaemon;

use crate::{GANGER, SOON, TWO, up};

/// The binary under another name: another file for the system, and this user's.
fn copy(it: &TempDaemon, name: &str) -> String {
    let copy = it.path().join(name);
    std::fs::copy(GANGER, &copy).expect("the binary can be copied");
    copy.to_str().expect("a plain path").to_owned()
}

fn program(pid: u32) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/exe")).expect("it runs")
}

#[test]
fn keeper_daemon_and_logger_are_another_binary_and_services_run_on() {
    let it = up(TWO);
    let next = copy(&it, "ganger-next");
    let pids = [it.pid("counter", 1), it.pid("idle", 1)];
    let ours = ["keeper", "daemon", "logger"].map(|who| it.pid_of(who));
    let mut lines = it.follow(&["logs", "counter", "-f", "--no-prefix"]);
    lines.until("some lines", SOON, |l| l == "count 5");
    let mut events = it.follow(&["events", "-f"]);
    events.until("the past", SOON, |l| l.contains("idle#1"));

    let asked = it.ganger(&["upgrade", "--binary", &next, "--dry-run", "--json"]).with_code(0);
    assert_eq!(asked.json()["dry_run"], true);
    let refused = it.ganger(&["upgrade", "--binary", "/bin/true"]).with_code(1);
    assert!(refused.err.contains("nothing was changed"), "{}", refused.err);
    assert_eq!(["keeper", "daemon", "logger"].map(|who| it.pid_of(who)), ours);

    let done = it.ganger(&["upgrade", "--binary", &next, "--json"]).with_code(0).json();
    assert_eq!((&done["processes"], &done["kept"]), (&2.into(), &2.into()), "{done}");
    assert_eq!([it.pid("counter", 1), it.pid("idle", 1)], pids);
    assert_eq!(it.pid_of("keeper"), ours[0]);
    assert_ne!(it.pid_of("daemon"), ours[1]);
    for pid in [ours[0], it.pid_of("daemon")] {
        assert_eq!(program(pid), PathBuf::from(&next));
    }
    // Whoever follows goes on following, and the log has no gap.
    events.until("the new daemon", SOON, |l| l.contains("daemon.start"));
    let last = Cell::new(5);
    lines.until("lines of afterwards", SOON, |l| {
        let n: u32 = l.strip_prefix("count ").and_then(|n| n.parse().ok()).unwrap_or_default();
        assert_eq!(n, last.replace(n) + 1);
        n > 30
    });
}
