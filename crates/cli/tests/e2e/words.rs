//! Progress and log lines as people see them: of a plain line program, and of commands.

use std::fs::OpenOptions;

use crate::{SOON, pipe, pushed};

/// A worker without any SDK. It says something, waits until the pipe `go` is opened and closed, and says more.
const WORKER: &str = r#"#!/bin/sh
while IFS= read -r line; do
    id=$(printf '%s\n' "$line" | sed -n 's/.*"id":"\([^"]*\)".*/\1/p')
    [ -n "$id" ] || continue
    echo "{\"id\":\"$id\",\"log\":\"one\"}"
    printf '{"id":"%s","log":"two\\nlines"}\n' "$id"
    echo "{\"id\":\"$id\",\"progress\":42.5,\"message\":\"half way\"}"
    cat go > /dev/null
    echo "{\"id\":\"$id\",\"log\":\"late\"}"
    echo "{\"id\":\"$id\",\"progress\":100}"
    echo "{\"id\":\"$id\",\"result\":1}"
done
"#;

const CONFIG: &str = r#"
version = 1
[queue.lines]
[pool.lines]
queues = ["lines"]
protocol = "stdio"
command = ["sh", "worker.sh"]

[queue.commands]
[pool.commands]
queues = ["commands"]
protocol = "command"
command = ["sh", "-c", "echo begun >&2; cat go > /dev/null; echo done >&2"]
"#;

#[test]
fn progress_and_lines_are_shown_and_followed() {
    let it = crate::folder();
    it.write("worker.sh", WORKER);
    it.write("ganger.toml", CONFIG);
    let go = pipe(&it, "go");
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let open = || drop(OpenOptions::new().write(true).open(&go).unwrap());

    let id = pushed(&it, &["lines", "--payload", "1"]);
    let mut follow = it.follow(&["task", "logs", "-f", "--json", &id]);
    follow.until("the progress", SOON, |line| line.contains("\"percent\":42.5"));
    let task = it.ganger(&["task", "show", &id]).with_code(0).out;
    assert!(task.contains("[#########-----------] 42.5 %  half way"), "{task}");
    assert!(task.contains("last lines of attempt 1:\n  one\n  two\n  lines\n"), "{task}");
    let list = it.ganger(&["task", "list"]).with_code(0).out;
    assert!(list.contains("PROGRESS") && list.contains("42.5 %"), "{list}");
    let why = it.ganger(&["why", &id]).with_code(0).out;
    assert!(why.contains("(at 42.5 %  half way)"), "{why}");
    open();
    follow.until("the last line", SOON, |line| line.contains("\"line\":\"late\""));
    assert_eq!(follow.wait(), Some(0), "it ends with the task");
    let said = it.ganger(&["task", "logs", &id]).with_code(0);
    assert_eq!(said.out, "one\ntwo\nlines\nlate\n");
    let said = it.ganger(&["task", "logs", "-n", "1", &id]).with_code(0);
    assert_eq!(said.out, "late\n");
    let task = it.ganger(&["task", "get", &id, "--json"]).with_code(0).json();
    assert_eq!(
        (&task["progress"]["percent"], &task["attempts"][0]["log_lines"]),
        (&100.0.into(), &4.into())
    );
    // None says how far it is any more: no column.
    assert!(!it.ganger(&["task", "list"]).with_code(0).out.contains("PROGRESS"));

    let id = pushed(&it, &["commands"]);
    let mut follow = it.follow(&["task", "logs", "-f", &id]);
    open();
    follow.until("the last words", SOON, |line| line == "done");
    assert_eq!(follow.wait(), Some(0));
    let said = it.ganger(&["task", "logs", &id]).with_code(0);
    assert_eq!(said.out, "begun\ndone\n");
    let said = it.ganger(&["task", "logs", "0000000000007"]).with_code(4);
    assert!(said.err.contains("0000000000007"), "{}", said.err);
}
