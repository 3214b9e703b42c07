//! The store alone: push, claim and outcome of each task through the writer, by batches, with its row of history and the
//! counters.
//!
//! ```text
//! batch n:  push of n ── claims of those pushed by n-1 ── outcomes of those claimed by n-2     one commit, fsync
//! ```
//!
//! A run counts only what the store says it has completed, read back through a reader of its own.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_core::{Priority, TaskId, TaskState, Token};
use ganger_store::{
    AttemptWord, Batch, Claim, Enqueue, Next, Op, Outcome, Push, SqliteOptions, SqliteStore, Store,
    StoreRead as _, Writer,
};

use super::load;
use crate::error::{CliError, Kind};

/// Tasks a batch pushes, and claims, and ends.
pub(super) const BATCH: i64 = 1_000;
/// Batches with the writer at a time: one is committed while the next is made, as the dispatcher makes its own.
const UNDER_WAY: u32 = 2;
/// A run has at least so many batches, however slow the machine: of fewer, too few tasks would go the whole way.
const LEAST: i64 = 8;
const WORKER: &str = "bench#1";
const QUEUE: &str = "bench";

/// Completes tasks for about `long` in a database of its own; tasks a second.
pub(super) fn cycles(folder: &Path, long: Duration) -> Result<f64, CliError> {
    let path = folder.join("cycle.db");
    let done = run(&path, long);
    for end in ["", "-wal", "-shm"] {
        // What is left goes with the bench's folder.
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
    done
}

fn run(path: &Path, long: Duration) -> Result<f64, CliError> {
    let store = SqliteStore::open(SqliteOptions::new(path)).map_err(|error| broke(&error))?;
    let mut reader = store.reader().map_err(|error| broke(&error))?;
    let mut load = Load::new(store.epoch());
    let (writer, thread) = Writer::start(store).map_err(|error| broke(&error))?;
    let (tell, told) = mpsc::channel();
    let since = Instant::now();
    let mut out = 0;
    loop {
        let more = since.elapsed() < long || load.pushed < LEAST * BATCH;
        while out < UNDER_WAY && more {
            let tell = tell.clone();
            writer.submit(load.batch(), move |settled| drop(tell.send(settled)));
            out += 1;
        }
        if out == 0 {
            break;
        }
        let settled = told.recv().map_err(|error| broke(&error))?;
        let applied = settled.result.map_err(|error| broke(&error))?;
        if let Some(refused) = applied.refused.first() {
            return Err(broken(format!("the store refused a step of a task: {refused:?}")));
        }
        out -= 1;
    }
    let took = since.elapsed();
    drop(writer);
    thread.join();
    let row = reader.queue(QUEUE).map_err(|error| broke(&error))?;
    let counted = row.map_or(0, |row| row.counts.get(TaskState::Completed));
    let last = reader.task(load.id(load.ended)).map_err(|error| broke(&error))?;
    let attempts = last.map_or(0, |row| row.attempts.len());
    if counted != load.ended.unsigned_abs() || attempts != 1 {
        return Err(broken(format!(
            "the store counts {counted} completed tasks of {}, and {attempts} attempts of the last",
            load.ended
        )));
    }
    Ok(counted as f64 / took.as_secs_f64().max(1e-9))
}

fn broke(error: &dyn std::error::Error) -> CliError {
    broken(format!("the store's bench broke: {error}"))
}

fn broken(message: String) -> CliError {
    CliError::new(Kind::Failed, message)
}

/// What batches are made of.
struct Load {
    queue: Arc<str>,
    worker: Arc<str>,
    payload: Bytes,
    epoch: u32,
    /// The highest number pushed, claimed and ended so far; tasks are numbered from 1.
    pushed: i64,
    claimed: i64,
    ended: i64,
    now_ms: u64,
}

impl Load {
    fn new(epoch: u32) -> Self {
        Self {
            queue: QUEUE.into(),
            worker: WORKER.into(),
            payload: load::payload().into(),
            epoch,
            pushed: 0,
            claimed: 0,
            ended: 0,
            now_ms: ganger_api::Timestamp::now().0,
        }
    }

    /// The next step of everything that is under way.
    fn batch(&mut self) -> Batch {
        let mut ops = Vec::new();
        ops.extend((self.ended + 1..=self.claimed).map(|n| self.outcome(n)));
        ops.extend((self.claimed + 1..=self.pushed).map(|n| Op::Claim(self.claim(n))));
        self.ended = self.claimed;
        self.claimed = self.pushed;
        let tasks = (self.pushed + 1..=self.pushed + BATCH).map(|n| self.enqueue(n)).collect();
        self.pushed += BATCH;
        let queue = Arc::clone(&self.queue);
        ops.push(Op::Push(Push { req: 0, queue, key: None, fire: None, tasks }));
        let id_floor = Some(self.id(self.pushed));
        Batch { sync: true, ops, id_floor, ..Batch::default() }
    }

    /// Ids as the daemon draws them: they only rise.
    fn id(&self, n: i64) -> TaskId {
        let first = TaskId::first_at(self.now_ms).raw();
        TaskId::from_raw(first + n).unwrap_or(TaskId::first_at(self.now_ms))
    }

    fn token(&self, n: i64) -> Token {
        Token { epoch: self.epoch, counter: n.unsigned_abs() }
    }

    fn enqueue(&self, n: i64) -> Enqueue {
        Enqueue {
            id: self.id(n),
            kind: Some(load::KIND.into()),
            priority: Priority::NORMAL,
            run_at_ms: 0,
            payload: self.payload.clone(),
            options: None,
            claim: None,
        }
    }

    fn claim(&self, n: i64) -> Claim {
        Claim {
            id: self.id(n),
            queue: Arc::clone(&self.queue),
            token: self.token(n),
            attempt: 1,
            worker: Arc::clone(&self.worker),
            pid: std::process::id(),
            at_ms: self.now_ms,
            started: true,
        }
    }

    fn outcome(&self, n: i64) -> Op {
        Op::Outcome(Box::new(Outcome {
            id: self.id(n),
            queue: Arc::clone(&self.queue),
            token: self.token(n),
            started_at_ms: None,
            ended_at_ms: self.now_ms,
            pid: None,
            word: AttemptWord::Completed,
            error: None,
            said: None,
            next: Next::Completed { result: Bytes::from_static(b"null") },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_that_counts_went_the_whole_way() {
        let folder = tempfile::tempdir().unwrap();
        let rate = cycles(folder.path(), Duration::from_millis(50)).unwrap();
        assert!(rate > 0.0, "{rate}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn a_task_takes_three_batches() {
        let mut load = Load::new(1);
        let weights = [0; 4].map(|_| load.batch().weight());
        let batch = usize::try_from(BATCH).unwrap();
        assert_eq!(weights, [batch, 2 * batch, 3 * batch, 3 * batch]);
        assert_eq!((load.pushed, load.claimed, load.ended), (4 * BATCH, 3 * BATCH, 2 * BATCH));
    }
}
