//! `ganger metrics`, and its dashboard: what that asks for is there.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop at what is wrong")]
#![expect(clippy::print_stdout, reason = "what is left out is told")]

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{folder, up};

/// A service and a queue, so that both have samples.
const CONFIG: &str = r#"
version = 1
[service.idle]
command = ["sleep", "1000"]
stop_timeout = "2s"
[queue.mail]
"#;

/// Every `expr` and every `label_values` of a dashboard.
fn queries(at: &Value, found: &mut Vec<String>) {
    match at {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| match value {
            Value::String(text) if key == "expr" || key == "query" => found.push(text.clone()),
            other => queries(other, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

/// Words that begin as our metrics do.
fn names(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("ganger_"))
}

#[test]
fn every_query_of_the_dashboard_names_what_the_daemon_gives() {
    let printed = folder().ganger(&["metrics", "--dashboard"]).with_code(0).out;
    let dashboard: Value = serde_json::from_str(&printed).unwrap();
    let mut asked = vec![];
    queries(&dashboard, &mut asked);
    assert!(asked.len() > 25, "only {} queries were read", asked.len());

    let it = up(CONFIG);
    let page = it.ganger(&["metrics"]).with_code(0).out;
    let mut given: BTreeSet<String> = BTreeSet::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        given.insert(if kind == "histogram" { format!("{name}_bucket") } else { name.to_owned() });
    }
    let unknown: Vec<&str> =
        asked.iter().flat_map(|query| names(query)).filter(|name| !given.contains(*name)).collect();
    assert!(unknown.is_empty(), "not given by the daemon: {unknown:?}\n{page}");
    assert!(page.contains("ganger_queue_tasks{queue=\"mail\",state=\"available\"} 0"), "{page}");
    checked(&page);
    let _ = it.ganger(&["down"]).with_code(0);
}

/// By Prometheus' own checker, where that is installed (Debian: `prometheus`).
fn checked(page: &str) {
    let checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut checker) = checker else {
        println!("skipped: promtool is not installed");
        return;
    };
    checker.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let said = checker.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.status.success() && words.trim().is_empty(), "{words}");
}

#[test]
fn without_a_daemon_there_are_no_metrics() {
    let said = folder().ganger(&["metrics"]).with_code(5).err;
    assert!(said.contains("ganger up"), "{said}");
}
