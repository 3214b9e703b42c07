//! What workers say with the SDKs: kept with their attempt, whatever becomes of it.

use std::time::{Duration, Instant};

use ganger_core::{TaskId, TaskState};
use ganger_queue::NewTask;
use ganger_queue::said::{BYTES_MAX, LINES_MAX, SAVE_EVERY};
use ganger_store::{AttemptRow, AttemptWord, Said};

use crate::need;
use crate::rig::{Daemon, Rig, pool};
use crate::scripts::{WORDS_JS, WORDS_PY};

const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk");

fn texts(attempt: &AttemptRow) -> Vec<&str> {
    attempt.said.as_ref().unwrap().lines.iter().map(|line| &*line.text).collect()
}

fn push(daemon: &Daemon, queue: &str, payload: &str) -> TaskId {
    daemon.run(daemon.tasks.push(queue, None, vec![NewTask::json(payload.to_owned())])).unwrap().ids
        [0]
}

pub(crate) fn node() {
    need!("node");
    let rig = Rig::new();
    let script = rig.script("w.js", &WORDS_JS.replace("SDK", &format!("{SDK}/node")));
    both(&rig, &["node", &script]);
}

pub(crate) fn python() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("w.py", &WORDS_PY.replace("SDK", &format!("{SDK}/python")));
    both(&rig, &["python3", &script]);
}

fn both(rig: &Rig, argv: &[&str]) {
    let daemon = rig.daemon(vec![pool(argv)]);
    crash(&daemon);
    flood(&daemon);
    daemon.end();
}

/// The first attempt dies in the middle, the second says something else.
fn crash(daemon: &Daemon) {
    for queue in ["q", "mem"] {
        let id = push(daemon, queue, "\"crash\"");
        let row = daemon.run(daemon.tasks.wait(id, None)).unwrap();
        assert_eq!(row.state, TaskState::Completed, "{row:?}");
        let words: Vec<_> = row.attempts.iter().filter_map(|a| a.outcome).collect();
        assert_eq!(words, [AttemptWord::Crash, AttemptWord::Completed]);
        assert_eq!(texts(&row.attempts[0]), ["attempt 1", "two", "lines"], "{queue}");
        let progress = row.attempts[0].said.as_ref().unwrap().progress.clone().unwrap();
        assert_eq!(
            (progress.percent(), progress.message.as_deref()),
            (Some(33.0), Some("half way"))
        );
        // What the first said too late came under the second: in vain.
        assert_eq!(texts(&row.attempts[1]), ["attempt 2"], "{queue}");
    }
}

fn flood(daemon: &Daemon) {
    let before = daemon.run(daemon.tasks.stats()).unwrap();
    let began = Instant::now();
    let id = push(daemon, "q", "\"flood\"");
    let row = daemon.run(daemon.tasks.wait(id, None)).unwrap();
    let said: &Said = row.attempts[0].said.as_ref().unwrap();
    let bytes: usize = said.lines.iter().map(|line| line.text.len()).sum();
    assert_eq!((said.total, &*said.lines.back().unwrap().text), (100_000, "line 100000"));
    assert!(said.lines.len() <= LINES_MAX && bytes <= BYTES_MAX, "{bytes}");
    assert_eq!(said.progress.as_ref().unwrap().percent(), Some(100.0));
    let after = daemon.run(daemon.tasks.stats()).unwrap();
    let took = began.elapsed();
    let per = |each: Duration| u64::try_from(took.as_millis() / each.as_millis()).unwrap();
    let (writes, ticks) =
        (after.engine.said_writes - before.engine.said_writes, after.ticks - before.ticks);
    // The rest is what any task costs.
    assert!(
        writes <= per(SAVE_EVERY) && ticks <= per(Duration::from_millis(250)) + 20,
        "{writes} {ticks} {took:?}"
    );
}

/// Words before a daemon's death are kept as they were written, those after it go on under the next.
pub(crate) fn takeover() {
    need!("python3");
    let rig = Rig::new();
    let script = rig.script("w.py", &WORDS_PY.replace("SDK", &format!("{SDK}/python")));
    let spec = || vec![pool(&["python3", &script])];
    let daemon = rig.daemon(spec());
    let (began, go) = (rig.path("began"), rig.path("go"));
    let payload = format!("{{\"began\":{began:?},\"go\":{go:?}}}");
    let id = push(&daemon, "q", &payload);
    rig.wait_for_line("began");
    // It has said both; they may be on their way.
    daemon.run(async {
        let mut heard = daemon.tasks.listen(id).await.unwrap();
        let row = daemon.tasks.get(id).await.unwrap();
        let mut progress = row.attempts[0].said.clone().and_then(|said| said.progress);
        while progress.is_none() {
            progress = heard.recv().await.unwrap().said.progress;
        }
        assert_eq!(progress.unwrap().percent(), Some(10.0));
    });
    daemon.retire();
    let daemon = rig.daemon(spec());
    std::fs::write(&go, "").unwrap();
    let row = daemon.run(daemon.tasks.wait(id, None)).unwrap();
    assert_eq!((row.state, row.attempts.len()), (TaskState::Completed, 1), "{row:?}");
    assert_eq!(texts(&row.attempts[0]), ["before", "after"]);
    daemon.end();
}
