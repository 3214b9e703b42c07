//! Opening the file: settings asserted, log brought home, schema migrated, epoch raised.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault::{classify, now_ms};
use crate::error::{OpenError, StoreError};

/// Schema versions in order; version 1 is the first. Old ones stay as they are.
const SCHEMAS: &[&str] = &[include_str!("schema/v1.sql"), include_str!("schema/v2.sql")];
/// The newest of them: what this program works with.
pub const SCHEMA: u32 = 2;
const _: () = assert!(SCHEMAS.len() == SCHEMA as usize, "each schema has a number");
/// Page cache of the writer: the hot tables of a normal day fit, and it counts towards the daemon's memory.
const CACHE_KIB: i64 = 16 * 1024;
/// A reader walks indexes that the writer and the page cache keep warm.
const READER_CACHE_KIB: i64 = 2 * 1024;
/// What a reset log file keeps on disk: overwriting is three times as fast as growing.
const LOG_KEPT_BYTES: i64 = 64 * 1024 * 1024;
/// How long opening waits for another process to let go.
const OPEN_WAIT: Duration = Duration::from_secs(2);

/// A write connection that is ready, and its epoch.
pub(super) fn open(path: &Path) -> Result<(Connection, u32), OpenError> {
    let failed = |step: &'static str| {
        move |source: StoreError| OpenError::Failed { path: path.to_owned(), step, source }
    };
    make_private(path).map_err(|e| {
        failed("creating the file")(StoreError::Other { step: "create", why: e.to_string() })
    })?;
    let mut conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|e| failed("opening")(classify("open", &e)))?;
    settings(&conn, path)?;
    bring_home(&conn, path)?;
    migrate(&mut conn, path)?;
    let epoch =
        raise_epoch(&mut conn).map_err(|e| failed("raising the epoch")(classify("epoch", &e)))?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok((conn, epoch))
}

/// A connection that can only query.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let fail = |e: rusqlite::Error| classify("opening a read connection", &e);
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(fail)?;
    conn.busy_timeout(OPEN_WAIT).map_err(fail)?;
    conn.execute_batch(&format!(
        "PRAGMA query_only = 1; PRAGMA mmap_size = 0; PRAGMA cache_size = -{READER_CACHE_KIB};"
    ))
    .map_err(fail)?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}

/// Results and environments are in it: nobody else reads it, whatever the umask.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// Distributions change SQLite's compiled-in defaults, so nothing is taken for granted.
fn settings(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let fail = |e: rusqlite::Error| OpenError::Failed {
        path: path.to_owned(),
        step: "settings",
        source: classify("settings", &e),
    };
    conn.busy_timeout(OPEN_WAIT).map_err(fail)?;
    let mode: String =
        conn.query_row("PRAGMA journal_mode = WAL", [], |r| r.get(0)).map_err(fail)?;
    expect(path, "journal_mode = wal", mode == "wal", || mode.clone())?;
    conn.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = MEMORY;"
    ))
    .map_err(fail)?;
    for (setting, wanted, ask) in [
        ("synchronous = FULL", 2, "PRAGMA synchronous"),
        ("mmap_size = 0", 0, "PRAGMA mmap_size = 0"),
        ("wal_autocheckpoint = 0", 0, "PRAGMA wal_autocheckpoint = 0"),
    ] {
        let got: i64 = conn.query_row(ask, [], |r| r.get(0)).map_err(fail)?;
        expect(path, setting, got == wanted, || got.to_string())?;
    }
    conn.query_row(&format!("PRAGMA journal_size_limit = {LOG_KEPT_BYTES}"), [], |_| Ok(()))
        .map_err(fail)
}

fn expect(
    path: &Path,
    setting: &'static str,
    holds: bool,
    got: impl Fn() -> String,
) -> Result<(), OpenError> {
    if holds {
        return Ok(());
    }
    Err(OpenError::Setting { path: path.to_owned(), setting, got: got() })
}

/// After an unclean end, perhaps a failed fsync, what the log holds must reach the file before anybody is served.
fn bring_home(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let busy: i64 =
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get(0)).map_err(|e| {
            OpenError::Failed {
                path: path.to_owned(),
                step: "bringing the write-ahead log home",
                source: classify("checkpoint", &e),
            }
        })?;
    if busy == 0 { Ok(()) } else { Err(OpenError::InUse { path: path.to_owned() }) }
}

fn migrate(conn: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let fail = |e: rusqlite::Error| OpenError::Failed {
        path: path.to_owned(),
        step: "migrating the schema",
        source: classify("migration", &e),
    };
    let found: u32 = conn.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(fail)?;
    let known = SCHEMA;
    if found > known {
        return Err(OpenError::TooNew { path: path.to_owned(), found, known });
    }
    if found == known {
        return Ok(());
    }
    // All steps in one transaction: a crash, or a backup taken meanwhile, has the old schema or the new one, never
    // one in between.
    let tx =
        conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(fail)?;
    for (version, schema) in (1..=known).zip(SCHEMAS).skip(found as usize) {
        tx.execute_batch(schema).map_err(fail)?;
        tx.execute(
            "INSERT INTO migration VALUES (?1, ?2, ?3)",
            (version, now_ms(), concat!("ganger ", env!("CARGO_PKG_VERSION"))),
        )
        .map_err(fail)?;
    }
    tx.pragma_update(None, "user_version", known).map_err(fail)?;
    tx.commit().map_err(fail)
}

/// Durable before anything is claimed: tokens of this opening beat all earlier ones.
fn raise_epoch(conn: &mut Connection) -> rusqlite::Result<u32> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let epoch = tx.query_row(
        "UPDATE meta SET value = value + 1 WHERE name = 'epoch' RETURNING value",
        [],
        |r| r.get(0),
    )?;
    tx.commit()?;
    Ok(epoch)
}
