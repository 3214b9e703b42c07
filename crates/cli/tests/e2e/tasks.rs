//! Tasks by the command: push, wait, list, get, retry, cancel.

use crate::{pushed, up};

const WORDS: &str = r#"
version = 1
[queue.words]
retry = { max = 1 }
[pool.words]
command = ["sh", "-c", "case $(cat) in *bad*) echo no >&2; exit 3;; *) echo '{\"ok\":true}';; esac"]
queues = ["words"]
protocol = "command"
workers = 2
"#;

#[test]
fn push_wait_get() {
    let it = up(WORDS);
    let said = it.ganger(&["push", "words", "--payload", "\"fine\"", "--wait"]).with_code(0);
    assert_eq!(said.out, "{\"ok\":true}\n");
    let id = pushed(&it, &["words", "--payload", "7", "--priority", "high"]);
    let _ = it.ganger(&["task", "wait", &id, "--timeout", "20s"]).with_code(0);
    let task = it.ganger(&["task", "get", &id, "--json"]).with_code(0).json();
    assert_eq!(
        (task["state"].as_str(), task["priority"].as_str()),
        (Some("completed"), Some("high"))
    );
    assert_eq!(task["attempts"][0]["outcome"], "completed");
    let _ = it.ganger(&["wait", "queue:words=empty", "--timeout", "20s"]).with_code(0);
    let queue = it.ganger(&["queue", "get", "words", "--json"]).with_code(0).json();
    assert_eq!(queue["counts"]["completed"], 2);
}

#[test]
fn a_failure_is_told_and_can_be_retried() {
    let it = up(WORDS);
    let said = it.ganger(&["push", "words", "--payload", "\"bad\"", "--wait"]).with_code(1);
    assert!(said.err.contains("discarded"), "{}", said.err);
    let list = it.ganger(&["task", "list", "--state", "discarded", "--json"]).with_code(0).json();
    let id = list["tasks"][0]["id"].as_str().unwrap().to_owned();
    let said = it.ganger(&["task", "wait", &id, "--timeout", "20s"]).with_code(1);
    assert!(said.err.contains("code 3") && said.err.contains("task retry"), "{}", said.err);
    let _ = it.ganger(&["task", "retry", &id]).with_code(0);
    let _ = it.ganger(&["task", "wait", &id, "--timeout", "20s"]).with_code(1);
    let task = it.ganger(&["task", "get", &id, "--json"]).with_code(0).json();
    assert_eq!(task["attempts"].as_array().unwrap().len(), 2, "{task}");
}

#[test]
fn many_lines_a_pause_and_a_key() {
    let it = up(WORDS);
    let _ = it.ganger(&["queue", "pause", "words"]).with_code(0);
    let lines: String = (0..2_500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    it.write("tasks.jsonl", &lines);
    let said = it.ganger(&["push", "words", "--lines", "tasks.jsonl"]).with_code(0);
    assert_eq!(said.out.lines().count(), 2_500);
    let queue = it.ganger(&["queue", "get", "words", "--json"]).with_code(0).json();
    assert_eq!(
        (queue["paused"].as_bool(), queue["counts"]["available"].as_u64()),
        (Some(true), Some(2_500))
    );
    let first = pushed(&it, &["words", "--key", "same"]);
    assert_eq!(pushed(&it, &["words", "--key", "same"]), first);
    let _ = it.ganger(&["task", "cancel", &first]).with_code(0);
    let task = it.ganger(&["task", "get", &first, "--json"]).with_code(0).json();
    assert_eq!(task["state"], "cancelled");
    let page =
        it.ganger(&["task", "list", "--queue", "words", "-n", "10", "--json"]).with_code(0).json();
    assert_eq!(page["tasks"].as_array().unwrap().len(), 10);
    let after = page["next"].as_str().unwrap();
    let page =
        it.ganger(&["task", "list", "-n", "10", "--after", after, "--json"]).with_code(0).json();
    assert_eq!(page["tasks"].as_array().unwrap().len(), 10);
}

#[test]
fn a_bulk_file_with_bad_lines_and_a_second_run() {
    let it = up(WORDS);
    let _ = it.ganger(&["queue", "pause", "words"]).with_code(0);
    let available = || {
        let queue = it.ganger(&["queue", "get", "words", "--json"]).with_code(0).json();
        queue["counts"]["available"].as_u64().unwrap()
    };
    let mut lines: Vec<String> = (0..2_500).map(|n| format!("{{\"payload\":{n}}}\n")).collect();
    lines[2_100] = "{\"payload\": oops}\n".into();
    it.write("tasks.jsonl", &lines.concat());
    let push = ["push", "words", "--lines", "tasks.jsonl", "--envelope", "--key", "run-1"];
    let said = it.ganger(&push).with_code(2);
    assert!(said.err.contains("tasks.jsonl:2101 is not a task"), "{}", said.err);
    assert!(said.err.contains("lines 1 to 2000 are pushed"), "{}", said.err);
    assert_eq!((said.out.lines().count(), available()), (2_000, 2_000));
    lines[2_100] = "{\"payload\":2100,\"priority\":\"high\"}\n".into();
    it.write("tasks.jsonl", &lines.concat());
    let said = it.ganger(&push).with_code(0);
    assert!(
        said.err.contains("pushed 2,500 tasks on words (2000 of them by an earlier run)")
            || said.err.contains("(2000 of them by an earlier run)"),
        "{}",
        said.err
    );
    assert_eq!((said.out.lines().count(), available()), (2_500, 2_500));
    // A payload that only the daemon can refuse is told by its line of the file too.
    it.write("big.jsonl", &format!("1\n\nno\n\"{}\"\n5\n", "x".repeat(1_100_000)));
    let said =
        it.ganger(&["push", "words", "--lines", "big.jsonl", "--on-error", "skip"]).with_code(8);
    assert!(said.err.contains("big.jsonl:3 is not JSON"), "{}", said.err);
    assert!(said.err.contains("big.jsonl:4 its payload has 1100002 bytes"), "{}", said.err);
    assert_eq!((said.out.lines().count(), available()), (2, 2_502));
    it.write("big.jsonl", &format!("1\n\n\"{}\"\n5\n", "x".repeat(1_100_000)));
    let said = it.ganger(&["push", "words", "--lines", "big.jsonl"]).with_code(2);
    assert!(said.err.contains("big.jsonl:3: ") && said.err.contains("1100002"), "{}", said.err);
    assert_eq!(available(), 2_502);
}

#[test]
fn unique_cached_and_late_tasks() {
    let it = up(&format!("{WORDS}\n[queue.cached]\ncache_ttl = \"10m\"\n"));
    let _ = it.ganger(&["queue", "pause", "words"]).with_code(0);
    let unique = ["words", "{\"a\":1, \"b\":2}", "--dedupe", "payload"];
    let first = pushed(&it, &unique);
    assert_eq!(pushed(&it, &["words", "{\"b\":2,\"a\":1}", "--dedupe", "payload"]), first);
    let refused =
        ["push", "words", "{\"b\":2,\"a\":1}", "--dedupe", "payload", "--on-conflict", "reject"];
    assert!(it.ganger(&refused).with_code(9).err.contains(&first));
    let _ = it.ganger(&["task", "priority", "--queue", "words", "high"]).with_code(0);
    let task = it.ganger(&["task", "get", &first, "--json"]).with_code(0).json();
    assert_eq!(task["priority"], "high");
    let late = pushed(&it, &["words", "1", "--expires-in", "1ms"]);
    let _ = it.ganger(&["task", "wait", &late, "--timeout", "20s"]).with_code(1);
    let task = it.ganger(&["task", "get", &late, "--json"]).with_code(0).json();
    assert_eq!(task["state"], "cancelled");
    assert!(task["error"].as_str().unwrap().starts_with("expired"), "{task}");
    // Nobody takes from it: the second waits for the first, and ends with it.
    let leader = pushed(&it, &["cached", "7"]);
    let follower = pushed(&it, &["cached", "7"]);
    let task = it.ganger(&["task", "get", &follower, "--json"]).with_code(0).json();
    assert_eq!((task["state"].as_str(), task["due_at"].as_str()), (Some("scheduled"), None));
    let _ = it.ganger(&["task", "cancel", &leader]).with_code(0);
    let queue = it.ganger(&["queue", "show", "cached", "--json"]).with_code(0).json();
    assert_eq!(
        (queue["cache"]["hits"].as_u64(), queue["cache"]["misses"].as_u64()),
        (Some(1), Some(1))
    );
}
