//! The writer with a store that does as told, and with the real one.

use std::sync::mpsc;

use crate::batch::{Applied, Batch, Op};
use crate::conformance::{batch, push, task};
use crate::error::StoreError;
use crate::sqlite::{SqliteOptions, SqliteReader, SqliteStore};
use crate::store::{Store, StoreRead};
use crate::writer::{Settled, WAITING_MAX, Writer};

/// Commits when it is let, fails when a batch says so, tells how large each group was.
struct Told {
    gate: mpsc::Receiver<()>,
    groups: mpsc::Sender<Vec<u64>>,
    tended: u64,
}

const FULL: u64 = 666;
const BROKEN: u64 = 667;

impl Store for Told {
    type Read = SqliteReader;

    fn epoch(&self) -> u32 {
        1
    }
    fn commit(&mut self, batches: &[Batch]) -> Result<Vec<Applied>, StoreError> {
        let group = batches.iter().map(|b| b.no).collect();
        self.groups.send(group).map_err(|_| StoreError::Closed)?;
        self.gate.recv().map_err(|_| StoreError::Closed)?;
        match batches.iter().map(|b| b.no).max() {
            Some(FULL) => Err(StoreError::Full("told".into())),
            Some(BROKEN) => Err(StoreError::Poisoned("told".into())),
            _ => Ok(batches.iter().map(|_| Applied::default()).collect()),
        }
    }
    fn tend(&mut self, _idle: bool) -> Result<(), StoreError> {
        self.tended += 1;
        Ok(())
    }
    fn wants_tending(&self) -> bool {
        false
    }
    fn letters_pruned(&self) -> u64 {
        self.tended
    }
    fn reader(&self) -> Result<SqliteReader, StoreError> {
        Err(StoreError::Closed)
    }
}

struct Scene {
    writer: Writer,
    gate: mpsc::Sender<()>,
    groups: mpsc::Receiver<Vec<u64>>,
    tell: mpsc::Sender<Settled>,
    told: mpsc::Receiver<Settled>,
}

fn scene() -> Scene {
    let (gate, let_go) = mpsc::channel();
    let (groups_in, groups) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let (writer, _) = Writer::start(Told { gate: let_go, groups: groups_in, tended: 0 }).unwrap();
    Scene { writer, gate, groups, tell, told }
}

impl Scene {
    fn submit(&self, no: u64) {
        let tell = self.tell.clone();
        let batch = Batch { no, ..Batch::default() };
        self.writer.submit(batch, move |settled| {
            // A test that is over hears nothing more.
            let _ = tell.send(settled);
        });
    }

    fn answer(&self) -> (u64, Result<Applied, StoreError>) {
        let settled = self.told.recv().unwrap();
        (settled.batch.no, settled.result)
    }
}

#[test]
fn what_arrives_during_a_commit_is_the_next_group() {
    let scene = scene();
    scene.submit(1);
    assert_eq!(scene.groups.recv().unwrap(), [1]);
    (2..=9).for_each(|no| scene.submit(no));
    scene.gate.send(()).unwrap();
    assert_eq!(scene.groups.recv().unwrap(), (2..=9).collect::<Vec<_>>());
    scene.gate.send(()).unwrap();
    let answers: Vec<u64> = (0..9).map(|_| scene.answer().0).collect();
    assert_eq!(answers, (1..=9).collect::<Vec<_>>());
}

#[test]
fn one_batch_that_fails_does_not_take_the_others_along() {
    let scene = scene();
    scene.submit(1);
    scene.groups.recv().unwrap();
    [2, FULL, 3].into_iter().for_each(|no| scene.submit(no));
    (0..5).for_each(|_| scene.gate.send(()).unwrap());
    assert!(scene.answer().1.is_ok());
    assert!(scene.answer().1.is_ok());
    assert!(matches!(scene.answer(), (FULL, Err(StoreError::Full(_)))));
    assert!(matches!(scene.answer(), (3, Ok(_))));
    assert_eq!(
        scene.groups.iter().take(4).collect::<Vec<_>>(),
        [vec![2, FULL, 3], vec![2], vec![FULL], vec![3]]
    );
}

#[test]
fn an_io_error_is_the_end() {
    let scene = scene();
    scene.submit(BROKEN);
    scene.gate.send(()).unwrap();
    assert!(matches!(scene.answer(), (BROKEN, Err(StoreError::Poisoned(_)))));
    scene.submit(1);
    assert!(
        matches!(scene.answer(), (1, Err(StoreError::Poisoned(_)))),
        "without asking the store"
    );
    assert_eq!(scene.groups.iter().take(1).count(), 1);
    assert_eq!(scene.writer.stats().failures, 1);
}

#[test]
fn what_tending_dropped_is_told() {
    let scene = scene();
    scene.submit(1);
    assert_eq!(scene.groups.recv().unwrap(), [1]);
    scene.submit(2);
    scene.gate.send(()).unwrap();
    assert_eq!(scene.groups.recv().unwrap(), [2]);
    assert_eq!(scene.writer.stats().letters_pruned, 1, "tended between the two");
}

#[test]
fn a_full_line_answers_at_once() {
    let scene = scene();
    scene.submit(0);
    scene.groups.recv().unwrap();
    (1..=WAITING_MAX as u64 + 1).for_each(|no| scene.submit(no));
    let (no, result) = scene.answer();
    assert_eq!(no, WAITING_MAX as u64 + 1);
    assert!(matches!(result, Err(StoreError::Busy(_))));
}

#[tokio::test]
async fn the_real_store_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(SqliteOptions::new(dir.path().join("state.db"))).unwrap();
    let readers = crate::Readers::new(vec![store.reader().unwrap(), store.reader().unwrap()]);
    let (writer, thread) = Writer::start(store).unwrap();
    let mut commits = tokio::task::JoinSet::new();
    for n in 1..=40 {
        let writer = writer.clone();
        commits.spawn(async move { writer.commit(batch(vec![push(vec![task(n)])])).await });
    }
    while let Some(settled) = commits.join_next().await {
        let settled = settled.unwrap();
        assert!(settled.result.is_ok());
        assert!(matches!(settled.batch.ops[0], Op::Push(_)));
    }
    let row = readers.run(|store| store.queue("q")).await.unwrap().unwrap();
    assert_eq!(row.counts.unfinished(), 40);
    let stats = writer.stats();
    assert_eq!((stats.batches, stats.rows), (40, 40));
    drop(writer);
    thread.join();
}
