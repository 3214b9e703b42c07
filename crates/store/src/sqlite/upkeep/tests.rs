//! Copies, checks and repairs, with a store that is open beside them and without.

use std::path::{Path, PathBuf};

use ganger_core::TaskState;
use tempfile::TempDir;

use super::*;
use crate::batch::{AttemptWord, Batch, Next, Op, RefusedWhy};
use crate::conformance::{batch, claim, completed, id, outcome, push, task, token};
use crate::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{Store, StoreRead};

/// A store with a completed, a running, a dead and a waiting task.
struct Scene {
    dir: TempDir,
    store: Option<SqliteStore>,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(SqliteOptions::new(dir.path().join("state.db"))).unwrap();
        let held = |n| token(store.epoch(), n);
        let mut large = task(4);
        large.payload = vec![b'x'; 5_000].into();
        let ops = vec![
            push(vec![task(1), task(2), task(3), large]),
            Op::Claim(claim(1, held(1), 1)),
            Op::Claim(claim(2, held(2), 1)),
            Op::Claim(claim(3, held(3), 1)),
            completed(1, held(1)),
            outcome(3, held(3), AttemptWord::Error, Next::Discarded(crate::DeadReason::Attempts)),
        ];
        let applied = store.commit(&[Batch { id_floor: Some(id(4)), ..batch(ops) }]).unwrap();
        assert_eq!(applied[0].refused, []);
        Self { dir, store: Some(store) }
    }

    fn db(&self) -> PathBuf {
        self.dir.path().join("state.db")
    }

    fn close(&mut self) {
        self.store = None;
    }

    fn open(&mut self) -> &mut SqliteStore {
        self.store = Some(SqliteStore::open(SqliteOptions::new(self.db())).unwrap());
        self.store()
    }

    fn store(&mut self) -> &mut SqliteStore {
        self.store.as_mut().unwrap()
    }

    fn raw(&self, sql: &str) {
        Connection::open(self.db()).unwrap().execute_batch(sql).unwrap();
    }
}

fn states(store: &SqliteStore) -> Vec<TaskState> {
    let mut reader = store.reader().unwrap();
    (1..=4).map(|n| reader.task(id(n)).unwrap().unwrap().state).collect()
}

const AS_MADE: [TaskState; 4] =
    [TaskState::Completed, TaskState::Running, TaskState::Discarded, TaskState::Available];

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_backup_beside_a_writer_is_one_moment() {
    let mut scene = Scene::new();
    let to = scene.dir.path().join("copy.db");
    let copied = backup(&scene.db(), &to, false).unwrap();
    assert_eq!((copied.unfinished, copied.finished), (2, 2));
    assert_eq!(copied.bytes, std::fs::metadata(&to).unwrap().len());
    // The writer went on meanwhile and still does.
    scene.store().commit(&[batch(vec![push(vec![task(5)])])]).unwrap();
    assert!(matches!(backup(&scene.db(), &to, false), Err(UpkeepError::Exists(_))));
    assert_eq!(backup(&scene.db(), &to, true).unwrap().unfinished, 3);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&to).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(names(scene.dir.path()).iter().filter(|n| n.contains("partial")).count(), 0);
}

#[test]
fn a_restored_store_never_reuses_tokens_or_ids() {
    let mut scene = Scene::new();
    let to = scene.dir.path().join("copy.db");
    backup(&scene.db(), &to, false).unwrap();
    // Three more openings, the last of which draws ids and ends the running task.
    for _ in 0..3 {
        scene.close();
        scene.open();
    }
    let epoch = scene.store().epoch();
    let later = Batch { id_floor: Some(id(900)), ..batch(vec![completed(2, token(1, 2))]) };
    scene.store().commit(&[later]).unwrap();
    scene.close();
    let restored = restore(&scene.db(), &to, "then").unwrap();
    assert_eq!((restored.epoch, restored.old_unreadable), (epoch, false));
    let store = scene.open();
    assert!(store.epoch() > epoch, "a token of any former opening is stale");
    assert_eq!(store.reader().unwrap().id_floor().unwrap(), Some(id(900)));
    assert_eq!(states(store), AS_MADE);
    let ghost = batch(vec![completed(2, token(epoch, 7))]);
    let applied = store.commit(&[ghost]).unwrap();
    assert_eq!(applied[0].refused[0].why, RefusedWhy::Stale(TaskState::Running));
    // What was there is kept, and is whole.
    let aside = restored.aside.unwrap();
    assert!(aside.ends_with("state.db.before-restore-then"));
    let kept = SqliteStore::open(SqliteOptions::new(&aside)).unwrap();
    assert_eq!(states(&kept)[1], TaskState::Completed);
}

#[test]
fn a_damaged_store_is_replaced_with_a_leap_of_the_epoch() {
    let mut scene = Scene::new();
    let to = scene.dir.path().join("copy.db");
    backup(&scene.db(), &to, false).unwrap();
    let epoch = scene.store().epoch();
    scene.close();
    std::fs::write(scene.db(), vec![7; 20_000]).unwrap();
    assert!(matches!(check(&scene.db()), Err(UpkeepError::NotOurs { .. })));
    let restored = restore(&scene.db(), &to, "then").unwrap();
    assert!(restored.old_unreadable && restored.epoch > epoch + 1_000_000);
    assert_eq!(std::fs::read(restored.aside.unwrap()).unwrap(), vec![7; 20_000]);
    assert_eq!(states(scene.open()), AS_MADE);
}

#[test]
fn only_whole_backups_of_ours_are_restored() {
    let mut scene = Scene::new();
    let db = scene.db();
    let file = scene.dir.path().join("x.db");
    assert!(matches!(restore(&db, &file, "t"), Err(UpkeepError::NotThere(_))));
    std::fs::write(&file, "not a database at all, and longer than a header").unwrap();
    assert!(matches!(restore(&db, &file, "t"), Err(UpkeepError::NotOurs { .. })));
    backup(&db, &file, true).unwrap();
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(restore(&db, &file, "t"), Err(UpkeepError::TooNew { found: 99, .. })));
    backup(&db, &file, true).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 4_096]).unwrap();
    let error = restore(&db, &file, "t").unwrap_err();
    assert!(error.to_string().contains("x.db"), "{error}");
    // Nothing of all that touched the store.
    scene.close();
    assert_eq!(states(scene.open()), AS_MADE);
    assert!(!names(scene.dir.path()).iter().any(|n| n.contains("restore")));
}

#[test]
fn a_check_finds_what_is_planted_and_a_repair_puts_it_right() {
    let mut scene = Scene::new();
    let found = check(&scene.db()).unwrap();
    assert_eq!((found.problems, found.unfinished, found.finished), (vec![], 2, 2));
    scene.close();
    for (plant, told) in [
        (
            "UPDATE counter SET n = 9 WHERE state = 1",
            "queue q counts 9 available tasks, there are 1",
        ),
        (
            "UPDATE counter SET n = 0 WHERE state = 4",
            "queue q counts 0 completed tasks, there are 1",
        ),
        ("DELETE FROM counter WHERE state = 6", "queue q counts 0 discarded tasks, there are 1"),
        (
            "UPDATE meta SET value = 7 WHERE name = 'done_rows'",
            "7 finished tasks are counted, there are 2",
        ),
        ("INSERT INTO body VALUES (77, 'x')", "1 payloads belong to no task"),
        (
            "INSERT INTO attempt VALUES (77, 1, 'w', 1, 1, 2, 'error', NULL)",
            "1 attempts belong to no task",
        ),
        ("INSERT INTO said VALUES (77, 1, '{}')", "1 words belong to no task"),
        (
            "UPDATE meta SET value = 3 WHERE name = 'id_floor'",
            "1 task ids lie above the highest one drawn",
        ),
    ] {
        scene.raw(plant);
        let found = check(&scene.db()).unwrap().problems;
        assert_eq!(found, [Problem { what: told.to_owned(), remedy: Remedy::Recount }], "{plant}");
        repair(&scene.db()).unwrap();
        assert_eq!(check(&scene.db()).unwrap().problems, [], "{plant}");
    }
    // More completed ones than rows is how it is once rows have left the history.
    scene.raw("UPDATE counter SET n = 50 WHERE state = 4");
    assert_eq!(check(&scene.db()).unwrap().problems, []);
    assert_eq!(states(scene.open()), AS_MADE);
}

#[test]
fn what_no_repair_can_know_asks_for_a_backup() {
    let mut scene = Scene::new();
    scene.close();
    scene.raw("DELETE FROM body WHERE id = 4");
    scene.raw("UPDATE task SET epoch = 1000 WHERE id = 2");
    let found = check(&scene.db()).unwrap().problems;
    let told: Vec<_> = found.iter().map(|p| (p.remedy, p.what.as_str())).collect();
    assert_eq!(
        told,
        [
            (Remedy::Restore, "1 running tasks carry a token that was never given out"),
            (Remedy::Restore, "1 tasks have lost their payload"),
        ]
    );
}

#[test]
fn a_vacuum_gives_space_back() {
    let mut scene = Scene::new();
    let mut bulky = |from: i64| {
        let tasks = (from..from + 500).map(|n| {
            let mut task = task(n);
            task.payload = vec![b'x'; 3_000].into();
            task
        });
        scene.store().commit(&[batch(vec![push(tasks.collect())])]).unwrap();
    };
    bulky(100);
    scene.close();
    scene.raw("DELETE FROM body WHERE id >= 100; DELETE FROM task WHERE id >= 100");
    repair(&scene.db()).unwrap();
    let free = size(&scene.db()).unwrap();
    assert!(free.free_bytes > 1_000_000, "{free:?}");
    let done = vacuum(&scene.db()).unwrap();
    assert!(done.after + 1_000_000 < done.before, "{done:?}");
    assert_eq!(size(&scene.db()).unwrap().free_bytes, 0);
    assert_eq!(check(&scene.db()).unwrap().problems, []);
    assert_eq!(states(scene.open()), AS_MADE);
}

#[test]
fn an_old_schema_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("state.db");
    let conn = Connection::open(&db).unwrap();
    conn.execute_batch(include_str!("../../../tests/fixtures/v1.sql")).unwrap();
    drop(conn);
    assert!(matches!(check(&db), Err(UpkeepError::TooOld { found: 1, .. })));
    // A backup that an older ganger made is restored all the same: the next daemon brings it up to date.
    let target = dir.path().join("new.db");
    restore(&target, &db, "t").unwrap();
    let store = SqliteStore::open(SqliteOptions::new(&target)).unwrap();
    assert_eq!(store.reader().unwrap().queues().unwrap().len(), 2);
}
