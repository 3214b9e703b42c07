//! Dead letters by the command: why they died, replay by filter and over a crash, edit, purge.

use ganger_testkit::TempDaemon;
use ganger_testkit::daemon::Process;

use crate::{SOON, up};

const WORDS: &str = r#"
version = 1
[queue.words]
retry = { max = 5, curve = "fixed", backoff = "10ms", jitter = "none", crash_limit = 2 }
dead = { max_count = 500 }
[pool.words]
command = ["sh", "-c", "case $(cat) in *kill*) echo falling >&2; kill -9 $$;; *bad*) exit 3;; *) echo 7;; esac"]
queues = ["words"]
protocol = "command"
workers = 2
"#;

fn empty(it: &TempDaemon) {
    let _ = it.ganger(&["wait", "queue:words=empty", "--timeout", "60s"]).with_code(0);
}

fn dead(it: &TempDaemon, filter: &[&str]) -> Vec<serde_json::Value> {
    let words = [&["dead", "list", "--json", "-n", "1000"], filter].concat();
    let page = it.ganger(&words).with_code(0).json();
    page["letters"].as_array().expect("a page has letters").clone()
}

fn metrics(it: &TempDaemon) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let figures = ganger_api::Client::new(it.state_dir());
    runtime.expect("a runtime").block_on(figures.metrics()).expect("the daemon tells its figures")
}

#[test]
fn they_are_told_apart_brought_back_edited_and_purged() {
    let it = up(WORDS);
    let _ = it.ganger(&["push", "words", "-k", "poison", "\"kill\""]).with_code(0);
    let _ = it.ganger(&["push", "words", "\"bad\"", "--retry", "max=2"]).with_code(0);
    let said = it.ganger(&["push", "words", "1", "--retry", "curve=steep"]).with_code(2);
    assert!(said.err.contains("polynomial"), "{}", said.err);
    empty(&it);
    let poison = dead(&it, &["--reason", "quarantined"]);
    assert_eq!(
        (poison.len(), &poison[0]["attempts"], &poison[0]["kind"]),
        (1, &2.into(), &"poison".into())
    );
    for figure in ["ganger_tasks_discarded_total 2", "ganger_tasks_quarantined_total 1"] {
        let text = metrics(&it);
        assert!(text.lines().any(|line| line == figure), "{figure} is not in\n{text}");
    }
    let id = poison[0]["id"].as_str().unwrap();
    let task = it.ganger(&["dead", "show", id, "--json"]).with_code(0).json();
    assert_eq!(task["attempts"][1]["outcome"], "crash");
    assert!(task["attempts"][1]["usage"]["peak_rss"].as_u64().unwrap() > 0, "{task}");
    assert!(task["error"].as_str().unwrap().contains("falling"), "{task}");
    let bad = dead(&it, &["--text", "CODE 3"]);
    assert_eq!(
        (bad.len(), &bad[0]["attempts"], &bad[0]["reason"]),
        (1, &2.into(), &"attempts".into())
    );
    let dry = it.ganger(&["dead", "replay", "--all", "--dry-run", "--json"]).with_code(0).json();
    assert_eq!((&dry["found"], &dry["done"]), (&2.into(), &0.into()));
    let _ = it.ganger(&["dead", "edit", id, "--payload", "\"fine\""]).with_code(0);
    let _ = it.ganger(&["task", "wait", id, "--timeout", "60s"]).with_code(0);
    let _ = it.ganger(&["dead", "replay"]).with_code(2);
    let _ = it.ganger(&["dead", "purge", "-q", "words"]).with_code(2);
    let _ = it.ganger(&["dead", "purge", "-q", "words", "--yes"]).with_code(0);
    let queue = it.ganger(&["queue", "get", "words", "--json"]).with_code(0).json();
    assert_eq!(
        (&queue["counts"]["discarded"], &queue["counts"]["completed"]),
        (&0.into(), &1.into())
    );
}

#[test]
fn a_replay_broken_off_brings_each_letter_back_once() {
    let it = up(WORDS);
    let lines: String = (0..60).map(|n| format!("{{\"bad\":{n}}}\n")).collect();
    it.write("bad.jsonl", &lines);
    let push = ["push", "words", "--lines", "bad.jsonl", "--retry", "max=1"];
    let _ = it.ganger(&push).with_code(0);
    empty(&it);
    let daemon = Process::open(it.pid_of("daemon")).unwrap();
    std::thread::scope(|scope| {
        let replay = scope.spawn(|| it.ganger(&["dead", "replay", "--all", "--rate", "60/s"]));
        daemon.kill();
        assert!(daemon.ended_within(SOON));
        let _ = replay.join().unwrap();
    });
    let _ = it.ganger(&["dead", "replay", "--all"]);
    empty(&it);
    let letters = dead(&it, &[]);
    assert_eq!(letters.len(), 60, "none is lost");
    let attempts: u64 = letters.iter().map(|letter| letter["attempts"].as_u64().unwrap()).sum();
    // Once by either call; by both where the second found it dead again.
    assert!((120..=180).contains(&attempts), "{attempts}");
}
