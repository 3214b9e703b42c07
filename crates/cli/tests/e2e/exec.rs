//! `ganger exec`: a command under a policy, through decision, record, keeper and back.

use std::io::Write as _;
use std::process::Stdio;

use ganger_testkit::daemon::{Process, Said};

use crate::{SOON, folder, up};

const CONFIG: &str = r#"
version = 1
[policy.count]
program = "/usr/bin/seq"
args = [{ int = "1..9999999" }]
limits = { output = "1000" }
sandbox = "none"
[policy.copy]
program = "/bin/cat"
stdin = { bytes = "64K" }
sandbox = "none"
[policy.nap]
program = "/bin/sleep"
args = [{ int = "0..1000" }]
limits = { time = "300ms" }
running = 1
sandbox = "none"
[policy.once]
program = "/bin/true"
rate = "1/h"
sandbox = "none"
[policy.login]
program = "/bin/echo"
args = [{ secret = true }]
dashes = false
sandbox = "none"
[policy.theirs]
program = "/bin/true"
who = { uids = [4242] }
sandbox = "none"
"#;

#[test]
fn allowed_denied_limited_and_recorded() {
    let it = up(CONFIG);
    let said = it.ganger(&["exec", "count", "--", "3"]).with_code(0);
    assert_eq!(said.out, "1\n2\n3\n");
    let said = it.ganger(&["exec", "count", "--", "100000"]).with_code(137);
    assert_eq!(said.out.len(), 1_000, "cut to the byte");
    assert!(said.err.contains("output limit of 1000"), "{}", said.err);
    let mut copy = it.command(&["exec", "copy", "--stdin", "-"]);
    let mut copy = copy.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    copy.stdin.take().unwrap().write_all(b"a\0b\n").unwrap();
    let said = Said::of(&copy.wait_with_output().unwrap()).with_code(0);
    assert_eq!(said.out, "a\0b\n");
    let said = it.ganger(&["exec", "count", "--", "1; id"]).with_code(6);
    assert!(said.err.contains("denied at count (value)"), "{}", said.err);
    let said = it.ganger(&["exec", "nap", "--", "1000"]).with_code(124);
    assert!(said.err.contains("wall limit"), "{}", said.err);
    let _ = it.ganger(&["exec", "once"]).with_code(0);
    let said = it.ganger(&["exec", "once", "--json"]).with_code(10).json();
    assert_eq!((&said["verdict"], &said["code"]), (&"limited".into(), &"rate".into()));
    assert!(said["retry_after_s"].as_f64().is_some_and(|s| s > 3_000.0), "{said}");
    // Somebody else's policy and one that is not there are told alike.
    let theirs = it.ganger(&["exec", "theirs"]).with_code(6).err;
    let none = it.ganger(&["exec", "no-such"]).with_code(6).err;
    assert_eq!(theirs.replace("theirs", "X"), none.replace("no-such", "X"));
    let said = it.ganger(&["exec", "login", "--", "hunter2"]).with_code(0);
    assert_eq!(said.out, "hunter2\n");
    let _ = it.ganger(&["exec", "login", "--", "hunter2", "hunter2"]).with_code(6);

    let log = it.ganger(&["audit", "export", "--format", "jsonl"]).with_code(0).out;
    assert!(!log.contains("hunter2"), "a secret stands in the log");
    let records: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |event: &str| records.iter().filter(|record| record["event"] == event).count();
    assert_eq!((count("intent"), count("outcome"), count("denied")), (6, 6, 5));
    for intent in records.iter().filter(|record| record["event"] == "intent") {
        let run = |record: &&serde_json::Value| {
            record["event"] == "outcome" && record["run"] == intent["run"]
        };
        assert_eq!(records.iter().filter(run).count(), 1);
    }
    let first = records.iter().find(|record| record["event"] == "outcome").unwrap();
    // printf '1\n2\n3\n' | sha256sum
    let digest = "14c5e74c4b96ccef41cd94db73a9ec3348038ac094feca4fd897cecffa07cdae";
    assert_eq!(first["body"]["usage"]["stdout_sha256"], digest);
    let _ = it.ganger(&["audit", "verify"]).with_code(0);
}

const LAYERS: &str = r#"
version = 1
[policy.say]
program = "/bin/echo"
args = ["x"]
sandbox = "standard"
# A machine may lack any of them, and is told so.
[policy.say.layers]
user = "prefer"
mount = "prefer"
capabilities = "prefer"
no_new_privs = "prefer"
seccomp = "off"
landlock = "prefer"
[policy.bare]
program = "/bin/echo"
args = ["z"]
# Without a root of its own it is executed by its descriptor.
[policy.bare.layers]
user = "prefer"
mount = "off"
pid = "prefer"
net = "prefer"
ipc = "prefer"
uts = "prefer"
capabilities = "prefer"
no_new_privs = "prefer"
seccomp = "prefer"
landlock = "prefer"
[policy.held]
program = "/bin/echo"
args = ["y"]
sandbox = "none"
limits = { pids = 50, memory = "1G", require = true }
"#;

#[test]
fn layers_of_a_policy_are_explained_told_and_recorded() {
    let it = folder();
    it.write("ganger.toml", LAYERS);
    let mut up = it.command(&["up", "-d"]);
    let up = up.env("GANGER_NO_LAYERS", "landlock").env("GANGER_NO_CGROUP", "1");
    let _ = Said::of(&up.output().unwrap()).with_code(0);
    let told = it.ganger(&["policy", "explain", "--", "/bin/echo", "x"]);
    assert!(told.out.contains("landlock prefer, seccomp off"), "{}{}", told.out, told.err);
    let said = it.ganger(&["exec", "say", "--json", "--", "x"]).with_code(0).json();
    let has = |list: &serde_json::Value, name: &str| {
        list.as_array().into_iter().flatten().any(|one| one == name)
    };
    assert!(has(&said["left_out"], "seccomp") && !has(&said["layers"], "seccomp"), "{said}");
    assert!(!has(&said["layers"], "landlock"), "{said}");
    let degraded = said["degraded"].to_string();
    assert!(degraded.contains("layer landlock") && degraded.contains("lsm="), "{said}");
    assert_eq!(it.ganger(&["exec", "bare", "--", "z"]).with_code(0).out, "-- z\n");
    // Limits that no controller holds, where that is required: refused, and why.
    let said = it.ganger(&["exec", "held", "--", "y"]).with_code(125);
    assert!(said.err.contains("memory limit: no cgroup"), "{}", said.err);
    assert!(said.out.is_empty(), "{}", said.out);

    let log = it.ganger(&["audit", "export", "--format", "jsonl"]).with_code(0).out;
    let records: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str, policy: &str| {
        let of = |it: &&serde_json::Value| it["event"] == event && it["body"]["policy"] == policy;
        records.iter().find(of).expect(event)["body"].clone()
    };
    let modes = &of("intent", "say")["layers"];
    assert_eq!((&modes["landlock"], &modes["seccomp"]), (&"prefer".into(), &"off".into()));
    let ended = of("outcome", "say");
    assert!(ended["degraded"].to_string().contains("layer landlock"), "{ended}");
    assert_eq!(of("intent", "held")["limits"]["require"], true);
    assert_eq!(of("outcome", "held")["end"]["how"], "could_not_spawn");
}

#[test]
fn a_killed_daemon_leaves_no_run_and_no_open_intent() {
    let it = up(&CONFIG.replace("300ms", "900s"));
    let mut records = it.follow(&["audit", "tail", "-f", "--json"]);
    let daemon = Process::open(it.pid_of("daemon")).unwrap();
    let waiting = it.command(&["exec", "nap", "--", "997"]).stderr(Stdio::piped()).spawn().unwrap();
    records.until("the intent", SOON, |line| line.contains("\"event\":\"intent\""));
    // Whether it runs by now or not: what is announced has an end, and nothing outlives it.
    daemon.kill();
    assert!(daemon.ended_within(SOON));
    let end = records.until("its end", SOON, |line| line.contains("\"event\":\"outcome\""));
    let end: serde_json::Value = serde_json::from_str(&end).unwrap();
    let how = end["body"]["end"]["how"].as_str().unwrap();
    assert!(["signalled", "lost"].contains(&how), "{end}");
    assert_eq!(it.children(), Vec::<u32>::new(), "a run outlived the daemon that watched it");
    let said = Said::of(&waiting.wait_with_output().unwrap()).with_code(125);
    assert!(said.err.contains("audit tail"), "{}", said.err);
    let _ = it.ganger(&["audit", "verify"]).with_code(0);
}
