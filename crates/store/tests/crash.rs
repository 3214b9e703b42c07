//! A process that commits in a loop and dies: by SIGKILL at any moment, and by an I/O error. Everything it was told is
//! stored is there afterwards.
//!
//! The process is this test binary again, told by the environment to be the one that dies.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;

use ganger_core::{Priority, TaskId, TaskState, Token};
use ganger_store::{
    AttemptWord, Batch, Bytes, Claim, Enqueue, Next, Op, Outcome, Push, SqliteOptions, SqliteStore,
    Store, StoreError, StoreRead, Writer,
};

const FOLDER: &str = "GANGER_TEST_CRASH_FOLDER";
const PER_BATCH: i64 = 20;

fn id(n: i64) -> TaskId {
    TaskId::from_raw(n).unwrap()
}

/// Round `n`: pushes 20 tasks, each born claimed; completes those of the round before.
fn round(n: i64, epoch: u32, first: bool) -> Batch {
    let queue: Arc<str> = "q".into();
    let claim = |n: i64| Claim {
        id: id(n),
        queue: Arc::clone(&queue),
        token: Token { epoch, counter: n.unsigned_abs() },
        attempt: 1,
        worker: "w#1".into(),
        pid: 1,
        at_ms: 1,
        started: true,
    };
    let tasks = (n * PER_BATCH..(n + 1) * PER_BATCH).map(|n| Enqueue {
        id: id(n),
        kind: None,
        priority: Priority::NORMAL,
        run_at_ms: 0,
        payload: Bytes::from(n.to_string()),
        options: None,
        claim: Some(Box::new(claim(n))),
    });
    let mut ops = vec![Op::Push(Push {
        req: 0,
        queue: Arc::clone(&queue),
        key: None,
        fire: None,
        tasks: tasks.collect(),
    })];
    if !first {
        ops.extend(((n - 1) * PER_BATCH..n * PER_BATCH).map(|n| {
            let Claim { id, token, queue, .. } = claim(n);
            Op::Outcome(Box::new(Outcome {
                id,
                queue,
                token,
                started_at_ms: None,
                ended_at_ms: 2,
                pid: None,
                word: AttemptWord::Completed,
                error: None,
                said: None,
                next: Next::Completed { result: Bytes::from(format!("{}", id.raw() * 2)) },
            }))
        }));
    }
    Batch { no: n.unsigned_abs(), sync: n % 2 == 0, ops, id_floor: Some(id((n + 1) * PER_BATCH)) }
}

/// The one that dies: says `committed N` after each commit, `failed WHY` when one fails.
#[test]
fn commits_until_it_dies() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut out = std::io::stdout().lock();
    let mut say = |text: String| {
        writeln!(out, "\n@{text}").unwrap();
        out.flush().unwrap();
    };
    let store = SqliteStore::open(SqliteOptions::new(Path::new(&folder).join("state.db"))).unwrap();
    let floor = store.reader().unwrap().id_floor().unwrap();
    let epoch = store.epoch();
    let (writer, _thread) = Writer::start(store).unwrap();
    let start = floor.map_or(1, |id| id.raw() / PER_BATCH + 1);
    let (tell, told) = mpsc::channel();
    let mut failures = 0;
    for n in start.. {
        let tell = tell.clone();
        writer.submit(round(n, epoch, n == start), move |settled| tell.send(settled).unwrap());
        if n - start < 3 {
            continue;
        }
        let settled = told.recv().unwrap();
        match settled.result {
            Ok(applied) => {
                assert_eq!(applied.refused, []);
                say(format!("committed {}", settled.batch.no));
            }
            Err(error) => {
                let word = match error {
                    StoreError::Poisoned(_) => "poisoned",
                    _ => "other",
                };
                say(format!("failed {word} {error}"));
                failures += 1;
                if failures == 3 {
                    return;
                }
            }
        }
    }
}

fn start(folder: &Path, shell: Option<&str>) -> (Child, BufReader<ChildStdout>) {
    let me = std::env::current_exe().unwrap();
    let mut command = match shell {
        Some(script) => {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(script).arg(me);
            command
        }
        None => Command::new(me),
    };
    let mut child = command
        .args(["--exact", "commits_until_it_dies", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// What the child says next; `None` at its end.
fn heard(out: &mut BufReader<ChildStdout>) -> Option<String> {
    let mut line = String::new();
    loop {
        line.clear();
        if out.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        if let Some(said) = line.strip_prefix('@') {
            return Some(said.trim().to_owned());
        }
    }
}

/// Everything committed is there, each task once and in the state that its round left it in.
fn check(folder: &Path, rounds: &[(i64, bool)]) {
    let store = SqliteStore::open(SqliteOptions::new(folder.join("state.db"))).unwrap();
    let mut reader = store.reader().unwrap();
    let last = rounds.last().unwrap().0;
    for (n, ended) in rounds {
        for n in n * PER_BATCH..(n + 1) * PER_BATCH {
            let task = reader.task(id(n)).unwrap().unwrap_or_else(|| panic!("task {n} is lost"));
            assert_eq!(task.payload, Bytes::from(n.to_string()));
            if *ended {
                assert_eq!(task.state, TaskState::Completed, "task {n}");
                assert_eq!(task.result, Some(Bytes::from((n * 2).to_string())));
            }
        }
    }
    let counts = reader.queue("q").unwrap().unwrap().counts;
    assert_eq!(counts.get(TaskState::Running), reader.running().unwrap().len() as u64);
    assert!(reader.id_floor().unwrap() >= Some(id((last + 1) * PER_BATCH)));
}

fn number(said: &str) -> Option<i64> {
    said.strip_prefix("committed ")?.parse().ok()
}

#[test]
fn sigkill_loses_nothing_that_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut rounds: Vec<(i64, bool)> = Vec::new();
    for kill in 0..12 {
        let (mut child, mut out) = start(folder.path(), None);
        let mut first = true;
        for _ in 0..(5 + kill * 7 % 40) {
            let n = number(&heard(&mut out).unwrap()).unwrap();
            // A round completes the one before it, but not across a restart.
            if !first && let Some(before) = rounds.last_mut() {
                before.1 = true;
            }
            first = false;
            rounds.push((n, false));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts too.
        while let Some(n) = heard(&mut out).as_deref().and_then(number) {
            rounds.last_mut().unwrap().1 = true;
            rounds.push((n, false));
        }
        check(folder.path(), &rounds);
    }
}

#[test]
fn an_io_error_stops_the_store_and_a_restart_finds_everything_told() {
    let folder = tempfile::tempdir().unwrap();
    // Writes over the file size limit fail with EFBIG once the signal is ignored (setrlimit(2)): an I/O error that
    // needs no root. The unit is 512 or 1024 bytes, both larger than what opening needs.
    let script = "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\"";
    let (mut child, mut out) = start(folder.path(), Some(script));
    let mut rounds: Vec<(i64, bool)> = Vec::new();
    let mut failures = Vec::new();
    while let Some(said) = heard(&mut out) {
        if let Some(n) = number(&said) {
            assert!(failures.is_empty(), "nothing is stored after an I/O error");
            if let Some(before) = rounds.last_mut() {
                before.1 = true;
            }
            rounds.push((n, false));
        } else {
            failures.push(said);
        }
    }
    child.wait().unwrap();
    assert!(rounds.len() > 3, "it worked for a while: {rounds:?} {failures:?}");
    assert_eq!(failures.len(), 3);
    for failure in &failures {
        assert!(failure.starts_with("failed poisoned"), "{failure}");
        assert!(failure.contains("I/O error"), "{failure}");
    }
    check(folder.path(), &rounds);
}
