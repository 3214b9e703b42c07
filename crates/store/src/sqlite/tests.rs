//! What only this backend does, and the conformance suite.

use std::path::Path;

use ganger_core::{Priority, TaskState};
use rusqlite::ErrorCode;

use super::fault::classify;
use crate::batch::{AttemptWord, Next, Op, RefusedWhy};
use crate::conformance::{batch, claim, completed, id, outcome, push, task, token};
use crate::error::{OpenError, StoreError};
use crate::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{Store, StoreRead};

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(SqliteOptions::new(dir.join("state.db"))).unwrap()
}

crate::conformance::conformance!(open);

fn from_fixture(dir: &Path) -> SqliteStore {
    let conn = rusqlite::Connection::open(dir.join("state.db")).unwrap();
    conn.execute_batch(include_str!("../../tests/fixtures/v1.sql")).unwrap();
    drop(conn);
    open(dir)
}

#[test]
fn schema_1_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = from_fixture(dir.path());
    assert_eq!(store.epoch(), 5);
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.id_floor().unwrap(), Some(id(900)));
    let queues = reader.queues().unwrap();
    assert_eq!(
        queues.iter().map(|q| (&*q.name, q.gate.paused)).collect::<Vec<_>>(),
        [("images", false), ("mail", true)]
    );
    assert_eq!(queues[0].counts.unfinished(), 4);
    let running = reader.running().unwrap();
    assert_eq!((running[0].token, running[0].pid), (token(4, 77), 4711));
    let task = reader.task(id(12)).unwrap().unwrap();
    assert_eq!(
        task.attempts.iter().map(|a| a.outcome).collect::<Vec<_>>(),
        [Some(AttemptWord::Error), None]
    );
    assert_eq!(task.attempts[0].error.as_ref().unwrap().stderr, ["a", "b"]);
    let task = reader.task(id(14)).unwrap().unwrap();
    assert_eq!(
        (task.state, task.result.as_deref()),
        (TaskState::Completed, Some(&b"{\"ok\":true}"[..]))
    );
    let task = reader.task(id(15)).unwrap().unwrap();
    assert_eq!(
        (task.state, task.error.unwrap().message.as_str()),
        (TaskState::Discarded, "timed out after 1s")
    );
    let (rows, cut) = reader.refill("images", Priority::HIGH, -1, 9, 1 << 20).unwrap();
    assert_eq!((rows[0].id, &rows[0].payload[..], cut), (id(11), &b"{\"n\":11}"[..], false));
    assert_eq!(rows[0].options.as_ref().unwrap().max_attempts, Some(9));
    let due = reader.due(1_795_368_000_600, 9).unwrap();
    assert_eq!((due.rows[0].row.id, due.next_ms), (id(10), Some(1_795_368_000_900)));
    assert_eq!(reader.pushed_under("images", "key-1").unwrap(), Some(vec![id(10), id(11)]));
    assert_eq!(reader.events(0, 9).unwrap()[0].seq, 5);
    assert_eq!(reader.desired("config").unwrap().as_deref(), Some(&b"{\"version\":1}"[..]));
    let done =
        crate::batch::Outcome { queue: "images".into(), ..unbox(completed(12, token(4, 77))) };
    let applied = store.commit(&[batch(vec![Op::Outcome(Box::new(done))])]).unwrap();
    assert_eq!(applied[0].refused, []);
}

fn unbox(op: Op) -> crate::batch::Outcome {
    let Op::Outcome(outcome) = op else { panic!("an outcome") };
    *outcome
}

/// What a released version left is brought to our schema in one transaction: when a step fails, it is as it was.
#[test]
fn a_failed_migration_leaves_the_old_schema() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(include_str!("../../tests/fixtures/v1.sql")).unwrap();
    conn.execute_batch("CREATE TABLE keep (in_the_way INTEGER)").unwrap();
    let version = |conn: &rusqlite::Connection| -> (u32, u32, u32) {
        let sql = "SELECT (SELECT user_version FROM pragma_user_version), \
                   (SELECT max(version) FROM migration), \
                   (SELECT count(*) FROM pragma_table_info('done') WHERE name = 'bytes')";
        conn.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).unwrap()
    };
    let error = SqliteStore::open(SqliteOptions::new(&path)).unwrap_err();
    assert!(matches!(error, OpenError::Failed { step: "migrating the schema", .. }), "{error}");
    assert_eq!(version(&conn), (1, 1, 0));
    conn.execute_batch("DROP TABLE keep").unwrap();
    drop(conn);
    let store = open(dir.path());
    assert_eq!(version(&store.conn), (2, 2, 1));
}

#[test]
fn the_fixture_is_what_the_schema_makes() {
    let shape = |conn: &rusqlite::Connection| -> Vec<(String, String)> {
        conn.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .unwrap()
            .query_map([], |r| Ok((r.get(0)?, r.get::<_, String>(1)?)))
            .unwrap()
            .map(|row| row.map(|(n, sql)| (n, sql.split_whitespace().collect())).unwrap())
            .collect()
    };
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (old, new) = (from_fixture(old.path()), open(new.path()));
    assert_eq!(shape(&old.conn), shape(&new.conn));
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let conn = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let error = SqliteStore::open(SqliteOptions::new(dir.path().join("state.db"))).unwrap_err();
    assert!(matches!(error, OpenError::TooNew { found: 99, .. }), "{error}");
}

#[test]
fn the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let mode = std::fs::metadata(dir.path().join("state.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// SQLite says SQLITE_FULL for a bound of its own just as for ENOSPC.
#[test]
fn a_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.commit(&[batch(vec![push(vec![task(1)])])]).unwrap();
    let pages: i64 = store.conn.query_row("PRAGMA page_count", [], |r| r.get(0)).unwrap();
    let limit = |store: &SqliteStore, pages: i64| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        store.conn.query_row(&sql, [], |_| Ok(())).unwrap();
    };
    limit(&store, pages + 8);
    let many = |from: i64| batch(vec![push((from..from + 2_000).map(task).collect())]);
    let error = store.commit(&[many(100)]).unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert!(error.is_passing());
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.queue("q").unwrap().unwrap().counts.get(TaskState::Available), 1);
    // What fits still goes, and so does everything once there is space.
    let held = token(store.epoch(), 1);
    store.commit(&[batch(vec![Op::Claim(claim(1, held, 1)), completed(1, held)])]).unwrap();
    limit(&store, 1_000_000);
    store.commit(&[many(100)]).unwrap();
    assert_eq!(reader.queue("q").unwrap().unwrap().counts.get(TaskState::Available), 2_000);
}

#[test]
fn io_errors_poison_and_others_do_not() {
    let failure = |code, extended_code| {
        let error = rusqlite::ffi::Error { code, extended_code };
        classify("commit", &rusqlite::Error::SqliteFailure(error, None))
    };
    let fsync = failure(ErrorCode::SystemIoFailure, rusqlite::ffi::SQLITE_IOERR_FSYNC);
    assert!(matches!(fsync, StoreError::Poisoned(_)), "{fsync}");
    let damaged = failure(ErrorCode::DatabaseCorrupt, 11);
    assert!(matches!(damaged, StoreError::Poisoned(_)), "{damaged}");
    assert!(matches!(failure(ErrorCode::ReadOnly, 8), StoreError::ReadOnly(_)));
    assert!(matches!(failure(ErrorCode::DatabaseBusy, 5), StoreError::Other { .. }));
}

#[test]
fn histories_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        history_rows: 50,
        event_rows: 10,
        ..SqliteOptions::new(dir.path().join("state.db"))
    };
    let mut store = SqliteStore::open(options).unwrap();
    for n in 1..=200_i64 {
        let held = token(store.epoch(), n.unsigned_abs());
        let mut new = task(n);
        new.payload = vec![b'x'; 2_000].into();
        let event = ganger_core::Event {
            seq: 0,
            ts_ms: 1,
            kind: "x".into(),
            name: String::new(),
            slot: None,
            from: None,
            to: None,
            reason: String::new(),
            exit: None,
        };
        let ops = vec![
            push(vec![new]),
            Op::Claim(claim(n, held, 1)),
            outcome(n, held, AttemptWord::Error, Next::Discarded(crate::DeadReason::Attempts)),
            Op::Event(Box::new(event)),
        ];
        store.commit(&[batch(ops)]).unwrap();
        store.tend(false).unwrap();
    }
    while store.wants_tending() {
        store.tend(true).unwrap();
    }
    let count = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        store.conn.query_row(&sql, [], |r| r.get(0)).unwrap()
    };
    assert_eq!(["done", "attempt", "body", "event"].map(count), [50, 50, 50, 10]);
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.task(id(150)).unwrap(), None);
    assert!(reader.task(id(151)).unwrap().is_some());
    let late = batch(vec![
        completed(3, token(1, 3)),
        Op::Retry { id: id(3), seq: 999, attempt: None, payload: None, req: 0 },
    ]);
    let applied = store.commit(&[late]).unwrap();
    assert_eq!(
        applied[0].refused.iter().map(|r| r.why).collect::<Vec<_>>(),
        [RefusedWhy::NotFound; 2]
    );
}

#[test]
fn the_log_comes_home() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let log = || std::fs::metadata(dir.path().join("state.db-wal")).unwrap().len();
    for round in 0..60_i64 {
        let tasks = (0..500).map(|n| task(1 + round * 500 + n)).collect();
        store.commit(&[batch(vec![push(tasks)])]).unwrap();
        store.tend(false).unwrap();
    }
    // 30,000 rows are more than 4 MiB of log; without its way home it would hold them all.
    assert!(log() < 12 * 1024 * 1024, "the log has {} bytes", log());
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.queue("q").unwrap().unwrap().counts.get(TaskState::Available), 30_000);
}

/// A reader that holds a snapshot, as a backup or a forgotten shell does.
#[test]
fn a_pinned_reader_is_told_and_bounds_the_log() {
    const MIB: u64 = 1024 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let (log_told, log_max) = (6 * MIB, 12 * MIB);
    let options = SqliteOptions { log_told, log_max, ..SqliteOptions::new(&path) };
    let mut store = SqliteStore::open(options).unwrap();
    store.commit(&[batch(vec![push(vec![task(1)])])]).unwrap();
    let pin = rusqlite::Connection::open(&path).unwrap();
    pin.execute_batch("BEGIN; SELECT count(*) FROM task").unwrap();
    let mut from = 2;
    let error = loop {
        let tasks = (from..from + 1_000).map(task).collect();
        match store.commit(&[batch(vec![push(tasks)])]) {
            Ok(_) => from += 1_000,
            Err(error) => break error,
        }
        store.tend(false).unwrap();
    };
    let StoreError::LogFull { bytes, max, holders } = &error else { panic!("{error}") };
    // One group may overrun the bound, never more.
    assert!((log_max..log_max + MIB).contains(bytes) && *max == log_max, "{error}");
    assert!(holders.contains(&std::process::id().to_string()), "{error}");
    assert!(error.is_passing());
    // What runs goes on, and the reader still sees its own moment.
    let held = token(store.epoch(), 1);
    store.commit(&[batch(vec![Op::Claim(claim(1, held, 1)), completed(1, held)])]).unwrap();
    let seen: i64 = pin.query_row("SELECT count(*) FROM task", [], |r| r.get(0)).unwrap();
    assert_eq!(seen, 1);
    // Once it lets go the log comes home by itself and the next push is taken.
    pin.execute_batch("COMMIT").unwrap();
    store.commit(&[batch(vec![push(vec![task(from)])])]).unwrap();
    assert!(store.log_bytes() < MIB, "{} bytes", store.log_bytes());
    let mut reader = store.reader().unwrap();
    let waiting = reader.queue("q").unwrap().unwrap().counts.get(TaskState::Available);
    assert_eq!(waiting, from.unsigned_abs() - 1);
}
