//! Probes: start-up, readiness and liveness by programs, and what is shown of them.

use ganger_testkit::daemon::Process;

use crate::{SOON, up};

/// Works while its file is there, and makes that when it starts.
const FILE: &str = r#"
version = 1
[service.file]
shell = "touch alive; exec sleep 1000"
restart = { healthy_after = "10m" }
startup = { uptime = "10ms" }
ready = { exec = ["test", "-e", "alive"] }
live = { exec = ["sh", "-c", "test -e alive || { echo it is gone >&2; exit 7; }"], every = "100ms", timeout = "20s", failures = 2 }
"#;

#[test]
fn a_service_that_hangs_is_restarted_with_the_reason() {
    let it = up(FILE);
    let old = Process::open(it.pid("file", 1)).unwrap();
    let probes = it.instance("file", 1)["probes"].clone();
    let kinds: Vec<_> = probes.as_array().unwrap().iter().map(|p| &p["kind"]).collect();
    assert_eq!(kinds, ["startup", "ready", "live"], "{probes}");
    assert_eq!((probes[0]["ok"].as_bool(), probes[1]["ok"].as_bool()), (Some(true), Some(true)));

    let mut events = it.follow(&["events", "-f", "--json"]);
    std::fs::remove_file(it.path().join("alive")).unwrap();
    let reason = "its check exited with code 7: it is gone, 2 times in ";
    let stopping = |l: &str| l.contains("\"to\":\"stopping\"") && l.contains(reason);
    events.until("why it stops", SOON, stopping);
    events.until("it runs again", SOON, |l| l.contains("\"to\":\"running\""));
    assert!(old.ended_within(SOON));
    let now = it.instance("file", 1);
    assert_ne!(now["pid"].as_u64(), Some(u64::from(old.pid)));
    assert_eq!(now["cause"], "health", "{now}");
    let status = it.ganger(&["status", "file"]).with_code(0);
    assert!(status.out.contains("file#1 live by exec sh: "), "{}", status.out);
}

#[test]
fn a_new_daemon_goes_on_asking() {
    let it = up(FILE);
    let service = Process::open(it.pid("file", 1)).unwrap();
    let daemon = Process::open(it.pid_of("daemon")).unwrap();
    daemon.kill();
    assert!(daemon.ended_within(SOON));
    assert_eq!(it.pid("file", 1), service.pid);
    let mut events = it.follow(&["events", "-f", "--json"]);
    std::fs::remove_file(it.path().join("alive")).unwrap();
    events.until("why it stops", SOON, |l| l.contains("it is gone, 2 times in "));
    assert!(service.ended_within(SOON));
}

/// Its check hangs, and so does a process of the check that left its session and its parent.
const HANGS: &str = r#"
version = 1
[service.well]
command = ["sleep", "1000"]
live = { exec = ["sh", "-c", "exec 9>held; (setsid sleep 1000 &); exec sleep 1000"], every = "100ms", timeout = "500ms", failures = 1 }
"#;

#[test]
fn a_check_that_hangs_is_ended_with_all_it_started() {
    let it = crate::folder();
    it.write("ganger.toml", HANGS);
    let held = crate::pipe(&it, "held");
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let mut events = it.follow(&["events", "-f", "--json", "-n", "1000"]);
    let mut said = String::new();
    // Open until the last process of a check that holds it has ended.
    let mut held = std::fs::File::open(held).unwrap();
    assert_eq!(std::io::Read::read_to_string(&mut held, &mut said).unwrap(), 0);
    events.until("a verdict", SOON, |l| l.contains("its check took longer than 500ms"));
}

/// A worker that answers pings, but its first process never does.
const WORKER: &str = r#"
echo '{"$hello":{"sdk":"sh","version":"1","ping":true}}' >&$GANGER_CHANNEL_FD
test -e once || { touch once; exec sleep 1000; }
while read -r line; do
  case $line in '{"$ping":'*) n=${line#*:}; n=${n%\}}; echo "{\"\$pong\":$n}"; echo answered $n >&2 ;; esac
done <&$GANGER_CHANNEL_FD >&$GANGER_CHANNEL_FD
"#;

#[test]
fn a_worker_that_answers_no_ping_is_replaced_and_one_that_does_stays() {
    let it = crate::folder();
    it.write("worker.sh", WORKER);
    it.write(
        "ganger.toml",
        "version = 1\n[queue.q]\n[pool.w]\ncommand = [\"sh\", \"worker.sh\"]\nqueues = [\"q\"]\n\
         live = { channel = true, every = \"1s\", failures = 2 }\n",
    );
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let mut events = it.follow(&["events", "-f", "--json", "-n", "1000"]);
    let hung = |l: &str| l.contains("worker.hung") && l.contains("no answer to a ping for ");
    events.until("a verdict", SOON, hung);
    events.until("its exit", SOON, |l| l.contains("instance.exit"));
    events.until("the next", SOON, |l| l.contains("\"to\":\"running\""));
    let pid = it.pid("w", 1);
    // Its second process answers; the second ping goes out when the first answer is known.
    let mut logs = it.follow(&["logs", "w", "-f", "--no-prefix"]);
    logs.until("two answers", SOON, |l| l == "answered 2");
    let worker = it.instance("w", 1);
    assert_eq!(worker["pid"].as_u64(), Some(u64::from(pid)));
    let live = &worker["probes"][0];
    assert_eq!((live["kind"].as_str(), live["ok"].as_bool()), (Some("live"), Some(true)), "{live}");
}

#[test]
fn mistakes_in_probes_are_named_with_their_place() {
    let it = crate::folder();
    it.write(
        "ganger.toml",
        "version = 1\n[service.a]\ncommand = [\"true\"]\nlive = { http = \"https://a/\", interval = \"1s\" }\n",
    );
    let said = it.ganger(&["up", "-d"]).with_code(3).err;
    assert!(said.contains("asks for TLS") && said.contains("ganger calls this `every`"), "{said}");
}
