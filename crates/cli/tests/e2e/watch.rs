//! Files that change: one restart for a service that watches, another configuration for `up --watch`.

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
    let mut events = {
        it.ganger(&["up", "-d", "--wait=20s"]).with_code(0);
        it.follow(&["events", "-f", "--after", "0", "--json"])
    };
    events.until("the watch", SOON, |line| line.contains("\"watching\""));
    // Replaced as editors do, by another file of that name.
    it.write("next", "two\n");
    std::fs::rename(it.path().join("next"), it.path().join("main.conf")).unwrap();
    let line = events.until("the restart", SOON, |line| line.contains("service.watch"));
    assert!(line.contains("main.conf changed"), "{line}");
    it.follow(&["logs", "app", "-f"]).until("the new words", SOON, |line| line.contains("got two"));
    // A second change is the second restart: the first was one.
    it.write("main.conf", "three\n");
    events.until("the restart", SOON, |line| line.contains("service.watch"));
    it.follow(&["logs", "app", "-f"]).until("the newest", SOON, |line| line.contains("got three"));
    assert_eq!(it.instance("app", 1)["restarts"], 2);
}

#[test]
fn up_applies_its_file_when_it_changes_and_a_wrong_one_changes_nothing() {
    let it = folder();
    let one = "version = 1\n[service.a]\ncommand = [\"sleep\", \"1000\"]\n";
    it.write("ganger.toml", one);
    let mut up = it.follow(&["up", "--watch"]);
    up.until("the watch", SOON, |line| line.contains("applied again when"));
    it.write("ganger.toml", &format!("{one}\n[service.b]\ncomand = 1\n"));
    up.until("the refusal", SOON, |line| line.contains("nothing was changed"));
    let pid = it.pid("a", 1);
    it.write("ganger.toml", &format!("{one}\n[service.b]\ncommand = [\"sleep\", \"1000\"]\n"));
    up.until("the change", SOON, |line| line.contains("+ service b"));
    it.ganger(&["wait", "service:b=ready", "--timeout", "20s"]).with_code(0);
    assert_eq!(it.pid("a", 1), pid);
}
