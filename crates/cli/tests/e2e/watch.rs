//! Files that change: one restart for a service that watches, another configuration for `up --watch`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::{SOON, folder};

const WATCHED: &str = r#"
version = 1
[service.app]
shell = "read line < main.conf; echo got $line; exec sleep 1000"
ready = { log = "got" }
watch = { paths = ["main.conf"], debounce = "50ms" }
"#;

#[test]
fn a_touched_file_is_one_restart() {
    let it = folder();
    it.write("main.conf", "one\n");
    it.write("ganger.toml", WATCHED);
    let _ = it.ganger(&["up", "-d", "--wait=20s"]).with_code(0);
    let mut events = it.follow(&["events", "-f", "--after", "0", "--json"]);
    events.until("the watch", SOON, |line| line.contains("\"watching\""));
    // Replaced as editors do, by another file of that name.
    it.write("next", "two\n");
    std::fs::rename(it.path().join("next"), it.path().join("main.conf")).expect("renamed");
    let line = events.until("the restart", SOON, |line| line.contains("service.watch"));
    assert!(line.contains("main.conf changed"), "{line}");
    it.follow(&["logs", "app", "-f"]).until("the new words", SOON, |line| line.contains("got two"));
    // A second change is the second restart: the first was one.
    it.write("main.conf", "three\n");
    events.until("the restart", SOON, |line| line.contains("service.watch"));
    it.follow(&["logs", "app", "-f"]).until("the newest", SOON, |line| line.contains("got three"));
    assert_eq!(it.instance("app", 1)["restarts"], 2);
}

/// The lines that a verb says on stderr, as they come.
fn said(verb: &mut Child) -> Receiver<String> {
    let stderr = verb.stderr.take().expect("stderr is piped");
    let (say, hear) = channel();
    std::thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).all(|line| say.send(line).is_ok())
    });
    hear
}

fn until(lines: &Receiver<String>, what: &str) {
    while !lines.recv_timeout(SOON).expect(what).contains(what) {}
}

#[test]
fn up_applies_its_file_when_it_changes_and_a_wrong_one_changes_nothing() {
    let it = folder();
    let one = "version = 1\n[service.a]\ncommand = [\"sleep\", \"1000\"]\n";
    it.write("ganger.toml", one);
    let mut verb = it.command(&["up", "--watch"]);
    let mut verb =
        verb.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("ganger starts");
    let lines = said(&mut verb);
    until(&lines, "is applied again when it changes");
    let _ = it.ganger(&["wait", "service:a=ready", "--timeout", "20s"]).with_code(0);
    let pid = it.pid("a", 1);
    it.write("ganger.toml", &format!("{one}\n[service.b]\ncomand = 1\n"));
    until(&lines, "nothing was changed");
    it.write("next", &format!("{one}\n[service.b]\ncommand = [\"sleep\", \"1000\"]\n"));
    std::fs::rename(it.path().join("next"), it.path().join("ganger.toml")).expect("renamed");
    until(&lines, "applied, + service b");
    assert_eq!(it.pid("a", 1), pid);
    let _ = it.ganger(&["down"]).with_code(0);
    verb.wait().expect("it ends with ganger");
}
