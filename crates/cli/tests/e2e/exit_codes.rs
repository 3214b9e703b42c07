//! The exit codes that scripts rely on.

use crate::{TWO, folder, up};

#[test]
fn without_a_daemon() {
    let it = folder();
    it.write("ganger.toml", TWO);
    for words in [
        &["ps"][..],
        &["status"],
        &["events"],
        &["queue", "list"],
        &["task", "list"],
        &["stop", "idle"],
        &["push", "mail"],
        &["wait", "service:idle=ready"],
    ] {
        let said = it.ganger(words).with_code(5);
        assert!(said.err.contains("help: ") && said.out.is_empty(), "{words:?}: {}", said.err);
    }
    let _ = it.ganger(&["down"]).with_code(0);
    let _ = it.ganger(&["logs"]).with_code(4);
    let _ = it.ganger(&["validate"]).with_code(0);
    let _ = it.ganger(&["config", "show", "--json"]).with_code(0).json();
    let _ = it.ganger(&["config", "schema"]).with_code(0).json();
    let _ = it.ganger(&["version", "--json"]).with_code(0).json();
    let _ = it.ganger(&["no-such-verb"]).with_code(2);
    let _ = it.ganger(&["-f", "absent.toml", "up"]).with_code(3);
    let plan = it.ganger(&["up", "--dry-run"]).with_code(0);
    assert_eq!(plan.out, "+ service counter: start\n+ service idle: start\n");
}

#[test]
fn with_a_daemon() {
    let it = up(TWO);
    for (words, code) in [
        (&["stop", "ghost"][..], 4),
        (&["ps", "ghost"], 4),
        (&["status", "ghost"], 4),
        (&["logs", "ghost"], 4),
        (&["queue", "get", "ghost"], 4),
        (&["push", "ghost"], 4),
        (&["task", "get", "0000000000007"], 4),
        (&["stop", "ghost", "idle"], 8),
        (&["push", "ghost", "--payload", "{nope"], 2),
        (&["logs", "--grep", "("], 2),
    ] {
        let said = it.ganger(words).with_code(code);
        assert!(said.err.contains("error: "), "{words:?}: {}", said.err);
    }
    let _ = it.ganger(&["stop", "idle"]).with_code(0);
    let _ = it.ganger(&["wait", "service:idle=ready", "--timeout", "100ms"]).with_code(7);
    for words in
        [&["ps"][..], &["status"], &["status", "idle"], &["queue", "list"], &["task", "list"]]
    {
        let json = it.ganger(&[words, &["--json"]].concat()).with_code(0).json();
        assert_eq!(json["v"], 1, "{words:?}: {json}");
    }
}
