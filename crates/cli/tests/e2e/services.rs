//! Services from `up` to `down`.

use ganger_testkit::daemon::{Process, alive};

use crate::{SOON, TWO, folder, up};

#[test]
fn up_ps_logs_down() {
    let it = up(TWO);
    let pids = [it.pid("counter", 1), it.pid("idle", 1)];
    assert!(pids.iter().all(|pid| alive(*pid)));
    let idle = it.instance("idle", 1);
    assert_eq!((idle["state"].as_str(), idle["ready"].as_bool()), (Some("running"), Some(true)));
    assert_eq!(idle["kind"], "service");

    it.follow(&["logs", "counter", "-f", "--no-prefix"])
        .until("third line", SOON, |l| l == "count 3");
    let held: Vec<_> = pids.iter().filter_map(|pid| Process::open(*pid)).collect();
    let down = it.ganger(&["down"]).with_code(0);
    assert!(down.err.contains("counter#1") && down.err.contains("idle#1"), "{}", down.err);
    assert!(held.iter().all(|process| process.ended_within(SOON)));
    assert_eq!(it.children(), Vec::<u32>::new());

    // Logs need no daemon; a second `down` finds nothing and is content.
    let logs = it.ganger(&["logs", "counter", "--json", "-n", "1"]).with_code(0).json();
    assert!(logs["line"].as_str().unwrap().starts_with("count "), "{logs}");
    assert_eq!(logs["stream"], "stdout");
    let _ = it.ganger(&["down"]).with_code(0);
    let _ = it.ganger(&["ps"]).with_code(5);
}

#[test]
fn stop_start_restart_scale() {
    let it = up(TWO);
    let first = Process::open(it.pid("idle", 1)).unwrap();
    let _ = it.ganger(&["stop", "idle"]).with_code(0);
    assert!(first.ended_within(SOON));
    assert_eq!(it.instance("idle", 1)["state"], "stopped");

    let _ = it.ganger(&["start", "idle"]).with_code(0);
    let _ = it.ganger(&["wait", "service:idle=ready", "--timeout", "20s"]).with_code(0);
    let second = it.pid("idle", 1);
    assert_ne!(second, first.pid);

    let _ = it.ganger(&["restart", "idle"]).with_code(0);
    let _ = it.ganger(&["wait", "service:idle=ready", "--timeout", "20s"]).with_code(0);
    assert_ne!(it.pid("idle", 1), second);

    let _ = it.ganger(&["scale", "idle=3"]).with_code(0);
    let _ = it.ganger(&["wait", "service:idle=ready", "--timeout", "20s"]).with_code(0);
    let pids = [1, 2, 3].map(|slot| it.pid("idle", slot));
    assert!(pids.iter().all(|pid| alive(*pid)));
}

#[test]
fn a_killed_service_comes_back_and_says_why() {
    let it = up(TWO);
    let old = Process::open(it.pid("idle", 1)).unwrap();
    old.kill();
    // What happened before comes first, so nothing is missed between the kill and the look.
    let mut events = it.follow(&["events", "-f", "--json"]);
    let exit = events.until("exit", SOON, |l| l.contains("instance.exit") && l.contains("idle"));
    assert!(exit.contains("SIGKILL"), "{exit}");
    events.until("ready again", SOON, |l| l.contains("\"to\":\"running\"") && l.contains("idle"));
    let now = it.instance("idle", 1);
    assert_eq!((now["state"].as_str(), now["restarts"].as_u64()), (Some("running"), Some(1)));
}

#[test]
fn a_procfile_with_env_and_port_runs_unmodified() {
    let it = folder();
    it.write("Procfile", "web: echo \"listening on $PORT for $WHO\"; exec sleep 1000\nworker: echo working; exec sleep 1000\n");
    it.write(".env", "WHO=ana\nPORT=5100\n");
    let _ = it.ganger(&["up", "-d", "--wait"]).with_code(0);
    let mut logs = it.follow(&["logs", "-f", "--no-prefix"]);
    logs.until("web's line", SOON, |l| l == "listening on 5100 for ana");
    let _ = it.ganger(&["down"]).with_code(0);
}

#[test]
fn up_in_the_foreground_streams_and_ends_with_ctrl_c() {
    let it = folder();
    it.write("ganger.toml", TWO);
    let mut session = it.follow(&["up"]);
    session.until("a prefixed line", SOON, |l| l.starts_with("counter#1") && l.contains("│ count"));
    let up = Process::open(session.pid()).unwrap();
    up.signal(rustix::process::Signal::INT);
    assert!(up.ended_within(SOON));
    assert_eq!(session.wait(), Some(0));
    assert_eq!(it.children(), Vec::<u32>::new());
    let _ = it.ganger(&["ps"]).with_code(5);
}

#[test]
fn a_second_ctrl_c_kills_what_does_not_stop() {
    let it = folder();
    it.write(
        "ganger.toml",
        "version = 1\n[service.deaf]\nshell = \"trap '' TERM; echo deaf; while :; do sleep 1; done\"\nstop_timeout = \"10m\"\n",
    );
    let mut session = it.follow(&["up"]);
    session.until("its line", SOON, |l| l.contains("│ deaf"));
    let deaf = Process::open(it.pid("deaf", 1)).unwrap();
    let up = Process::open(session.pid()).unwrap();
    let mut events = it.follow(&["events", "-f", "--json"]);
    up.signal(rustix::process::Signal::INT);
    events.until("stopping", SOON, |l| l.contains("\"to\":\"stopping\""));
    assert!(alive(deaf.pid));
    up.signal(rustix::process::Signal::INT);
    assert!(up.ended_within(SOON) && deaf.ended_within(SOON));
    assert_eq!(session.wait(), Some(0));
    assert_eq!(it.children(), Vec::<u32>::new());
}

#[test]
fn a_second_up_applies_to_the_running_daemon_and_leaves_it_running() {
    let it = up(TWO);
    let pid = it.pid("idle", 1);
    it.write("ganger.toml", &format!("{TWO}\n[service.third]\ncommand = [\"sleep\", \"1000\"]\n"));
    let plan = it.ganger(&["up", "--dry-run"]).with_code(0);
    assert_eq!(plan.out, "+ service third: start\n");
    let again = it.ganger(&["up", "-d", "--wait"]).with_code(0);
    assert!(again.err.contains("already"), "{}", again.err);
    assert_eq!(it.pid("idle", 1), pid);
    assert!(alive(it.pid("third", 1)));
}
