//! The state database, looked after with and without a daemon.

use crate::{folder, up};

const HELD: &str = "version = 1\n[queue.words]\n";

#[test]
fn a_backup_beside_a_daemon_comes_back() {
    let it = up(HELD);
    let first = it.ganger(&["push", "words", "--payload", "1", "--json"]).with_code(0).json();
    let copy = it.ganger(&["store", "backup", "copy.db", "--json"]).with_code(0).json();
    assert_eq!((copy["unfinished"].as_u64(), copy["finished"].as_u64()), (Some(1), Some(0)));
    let said = it.ganger(&["store", "backup", "copy.db"]).with_code(9);
    assert!(said.err.contains("--replace"), "{}", said.err);
    let late = it.ganger(&["push", "words", "--payload", "2", "--json"]).with_code(0).json();
    let found = it.ganger(&["store", "check", "--json"]).with_code(0).json();
    assert_eq!((found["ok"].as_bool(), found["unfinished"].as_u64()), (Some(true), Some(2)));
    for verb in [
        &["store", "restore", "copy.db"][..],
        &["store", "vacuum"],
        &["store", "check", "--repair"],
    ] {
        let said = it.ganger(verb).with_code(9);
        assert!(said.err.contains("ganger down"), "{}", said.err);
    }
    let _ = it.ganger(&["down"]).with_code(0);
    let restored = it.ganger(&["store", "restore", "copy.db", "--json"]).with_code(0).json();
    assert_eq!(restored["unfinished"], 1);
    assert!(std::path::Path::new(restored["aside"].as_str().unwrap()).is_file());
    let _ = it.ganger(&["store", "check", "--repair"]).with_code(0);
    let _ = it.ganger(&["store", "vacuum"]).with_code(0);
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let id = |pushed: &serde_json::Value| pushed["id"].as_str().unwrap().to_owned();
    let _ = it.ganger(&["task", "get", &id(&first)]).with_code(0);
    let _ = it.ganger(&["task", "get", &id(&late)]).with_code(4);
    // Ids that were drawn after the backup are not drawn again.
    let next = it.ganger(&["push", "words", "--payload", "3", "--json"]).with_code(0).json();
    assert!(id(&next) > id(&late));
}

#[test]
fn without_a_database_it_says_so() {
    let it = folder();
    for verb in [&["store", "check"][..], &["store", "backup", "x.db"], &["store", "vacuum"]] {
        let said = it.ganger(verb).with_code(4);
        assert!(said.err.contains("--state-dir"), "{}", said.err);
    }
}

const SEARCHED: &str = r#"
version = 1
[queue.words]
history = { max_count = 5, search = true }
[pool.words]
shell = "cat"
queues = ["words"]
protocol = "command"
"#;

#[test]
fn history_is_found_exported_and_bounded() {
    let it = up(SEARCHED);
    for n in 1..=8 {
        let payload = format!("{{\"n\":{n},\"name\":\"Tower {n}\"}}");
        let kind = if n % 2 == 0 { "even" } else { "odd" };
        let tag = format!("t{n}");
        let push = ["push", "words", "-p", &payload, "--kind", kind, "--tag", "all", "--tag", &tag];
        let _ = it.ganger(&[&push[..], &["--wait"]].concat()).with_code(0);
    }
    // What is kept is brought down to its bound behind the commits, at the latest when the daemon ends.
    let _ = it.ganger(&["down"]).with_code(0);
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let all = it.ganger(&["task", "export", "--queue", "words"]).with_code(0);
    let numbers = all.out.lines().map(|line| {
        let task: serde_json::Value = serde_json::from_str(line).unwrap();
        task["payload"]["n"].as_u64().unwrap()
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [8, 7, 6, 5, 4]);
    let found = |words: &[&str]| -> Vec<String> {
        let list = ["task", "ls", "--queue", "words", "--json"];
        let page = it.ganger(&[&list[..], words].concat()).with_code(0).json();
        let tasks = page["tasks"].as_array().unwrap();
        tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found(&["--text", "tower"]).len(), 5);
    assert_eq!(found(&["--text", "tower 7"]), found(&["--tag", "t7"]));
    assert_eq!(found(&["--kind", "even", "--since", "1h"]).len(), 3);
    assert_eq!(found(&["--until", "1h"]).len(), 0);
    // An export that broke off goes on behind its last line.
    let all = it.ganger(&["task", "export", "--tag", "all"]).with_code(0);
    let second: serde_json::Value = serde_json::from_str(all.out.lines().nth(1).unwrap()).unwrap();
    let cursor = second["cursor"].as_str().unwrap();
    let rest = it.ganger(&["task", "export", "--tag", "all", "--after", cursor]).with_code(0);
    assert_eq!(rest.out.lines().collect::<Vec<_>>(), all.out.lines().skip(2).collect::<Vec<_>>());
    let _ = it.ganger(&["store", "check"]).with_code(0);
}
