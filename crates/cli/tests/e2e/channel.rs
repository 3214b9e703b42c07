//! Services that talk: the two workers of docs/channel.md, as they are printed there.

use std::io::{BufRead, BufReader};

use ganger_testkit::TempDaemon;
use ganger_testkit::daemon::Process;

use crate::{GANGER, SOON};

const PAGE: &str = include_str!("../../../../docs/channel.md");

/// The program of the page that begins with this.
fn printed(begins: &str) -> &'static str {
    let from = PAGE.find(begins).expect("the page has it");
    let text = &PAGE[from..];
    &text[..text.find("```").expect("it ends")]
}

fn has_python() -> bool {
    std::process::Command::new("python3").arg("--version").output().is_ok()
}

fn call(it: &TempDaemon, words: &[&str]) -> String {
    it.ganger(&[&["call"], words].concat()).with_code(0).out.trim_end().to_owned()
}

#[test]
fn the_worker_in_sh_answers() {
    let it = TempDaemon::new(GANGER);
    it.write("worker.sh", printed("#!/bin/sh\n# Answers"));
    it.write(
        "ganger.toml",
        "version = 1\n[service.count]\ncommand = [\"sh\", \"worker.sh\"]\nchannel = true\nready = { channel = true }\n\
         [service.deaf]\ncommand = [\"sleep\", \"1000\"]\nchannel = true\n\
         [service.plain]\ncommand = [\"sleep\", \"1000\"]\n",
    );
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let _ = it.ganger(&["wait", "service:count=ready", "--timeout", "60s"]).with_code(0);
    assert_eq!(call(&it, &["count", "--payload", "\"hello\""]), "5");
    let answer = it.ganger(&["call", "count#1", "--payload", "\"no\"", "--json"]).with_code(0);
    assert_eq!(answer.json()["result"], 2);
    let late = it.ganger(&["call", "deaf", "--timeout", "10ms"]).with_code(7);
    assert!(late.err.contains("no answer of deaf#1 in time"), "{}", late.err);
    let nobody = it.ganger(&["call", "plain"]).with_code(4);
    assert!(nobody.err.contains("channel = true"), "{}", nobody.err);
}

#[test]
fn the_worker_in_python_is_told_and_goes_on_under_a_new_daemon() {
    if !has_python() {
        eprintln!("skipped: no python3");
        return;
    }
    let it = TempDaemon::new(GANGER);
    it.write("worker.py", printed("import json, os, socket\n"));
    it.write(
        "ganger.toml",
        "version = 1\n[service.sums]\ncommand = [\"python3\", \"worker.py\"]\nchannel = true\nready = { channel = true }\n",
    );
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let _ = it.ganger(&["wait", "service:sums=ready", "--timeout", "60s"]).with_code(0);
    let pid = it.pid("sums", 1);
    for _ in 0..2 {
        assert_eq!(call(&it, &["sums", "--kind", "add", "--payload", "[1, 2]"]), "3");
        let error = it.ganger(&["call", "sums", "--kind", "sing"]).with_code(1);
        assert!(error.err.contains("no such kind: sing"), "{}", error.err);
        // What it heard, it says again.
        // Talk and data in one stream: it says when it listens.
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = it.command(&["subscribe", "seen", "-n", "1", "--json"]);
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut listener = command.spawn().unwrap();
        drop(command);
        let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
        assert!(lines.next().unwrap().contains("listening"));
        let _ = it.ganger(&["publish", "jobs.done", "--payload", "{\"n\":1}"]).with_code(0);
        let line = lines.next().unwrap();
        assert!(line.contains(r#""from":"sums#1","payload":{"n": 1}"#), "{line}");
        assert!(listener.wait().unwrap().success());
        let daemon = Process::open(it.pid_of("daemon")).unwrap();
        daemon.kill();
        assert!(daemon.ended_within(SOON));
    }
    assert_eq!(it.pid("sums", 1), pid);
}

/// Twenty lines without an SDK: tasks and words of others on one channel. A task of it asks a service.
const POOL_WORKER: &str = r#"
import json, os, socket
channel = socket.socket(fileno=int(os.environ["GANGER_CHANNEL_FD"]))
def say(words):
    channel.sendall((json.dumps(words) + "\n").encode())
say("ready")
for line in channel.makefile():
    words = json.loads(line)
    if words.get("$g") == "request":
        say({"$g": "response", "id": words["id"], "result": [os.getpid(), words["from"]]})
    elif words.get("$g") == "response":
        say({"id": words["id"], "result": words["result"]})
    elif "$sync" in words:
        say({"$sync": {"n": words["$sync"]["n"], "running": [], "done": []}})
    elif "id" in words:
        say({"$g": "request", "id": words["id"], "to": "count", "payload": words["payload"]})
"#;

#[test]
fn workers_of_a_pool_ask_and_are_asked() {
    if !has_python() {
        eprintln!("skipped: no python3");
        return;
    }
    let it = TempDaemon::new(GANGER);
    it.write("worker.sh", printed("#!/bin/sh\n# Answers"));
    it.write("pool.py", POOL_WORKER);
    it.write(
        "ganger.toml",
        "version = 1\n[service.count]\ncommand = [\"sh\", \"worker.sh\"]\nchannel = true\nready = { channel = true }\n\
         [queue.texts]\n[pool.texts]\ncommand = [\"python3\", \"pool.py\"]\nqueues = [\"texts\"]\nworkers = 2\nchannel = true\n",
    );
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let _ = it.ganger(&["wait", "service:count=ready", "--timeout", "60s"]).with_code(0);
    let push = ["push", "texts", "--payload", "\"hello\"", "--wait"];
    let pids = [it.pid("texts", 1), it.pid("texts", 2)];
    for _ in 0..2 {
        // Its answer says that it is there, and that requests go by name.
        assert_eq!(it.ganger(&push).with_code(0).out.trim_end(), "5");
        let second = format!("[{}, \"api\"]", pids[1]);
        assert_eq!(call(&it, &["texts#2"]), second);
        let daemon = Process::open(it.pid_of("daemon")).unwrap();
        daemon.kill();
        assert!(daemon.ended_within(SOON));
    }
    assert_eq!([it.pid("texts", 1), it.pid("texts", 2)], pids);
}
