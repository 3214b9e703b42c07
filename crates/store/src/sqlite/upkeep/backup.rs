//! Whole copies: a backup beside a running daemon, and the same copy put in the file's place.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{UpkeepError, beside, open, open_any, sync_folder_of};

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of the new file.
    pub bytes: u64,
    /// Tasks in it that are not finished.
    pub unfinished: u64,
    /// Finished tasks in it.
    pub finished: u64,
}

/// What a vacuum gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vacuumed {
    /// Bytes of the file before.
    pub before: u64,
    /// Bytes of it now.
    pub after: u64,
}

/// Copies the database as it is at one moment into a new file, compact and without a log, checked and synced before it
/// gets its name. A daemon may go on writing: until the copy is done its write-ahead log can't shrink.
///
/// # Errors
/// [`UpkeepError::Exists`] unless `replace`; then an old file stays until the new one is whole.
pub fn backup(db: &Path, to: &Path, replace: bool) -> Result<Copied, UpkeepError> {
    if !replace && to.symlink_metadata().is_ok() {
        return Err(UpkeepError::Exists(to.to_owned()));
    }
    let source = open(db)?;
    let partial = beside(to, ".partial");
    let copied = copy(&source, &partial).and_then(|copied| {
        fs::rename(&partial, to).map_err(UpkeepError::io("naming", to))?;
        sync_folder_of(to)?;
        Ok(copied)
    });
    if copied.is_err() {
        // What is half written is of no use; that it can't be removed is told by the next try.
        drop(fs::remove_file(&partial));
    }
    copied
}

/// Gives free space back to the file system: a compact copy takes the file's place. The caller holds the state folder's
/// lock. Needs as much free space as the file has content.
///
/// # Errors
/// The old file is still in its place.
pub fn vacuum(db: &Path) -> Result<Vacuumed, UpkeepError> {
    let before = file_bytes(db)?;
    let source = open(db)?;
    bring_home(&source, db)?;
    let partial = beside(db, ".vacuum");
    let copied = copy(&source, &partial);
    drop(source);
    let swapped = copied.and_then(|copied| {
        no_log_left(db)?;
        fs::rename(&partial, db).map_err(UpkeepError::io("replacing", db))?;
        sync_folder_of(db)?;
        Ok(copied)
    });
    if swapped.is_err() {
        drop(fs::remove_file(&partial));
    }
    Ok(Vacuumed { before, after: swapped?.bytes })
}

/// `VACUUM INTO` a new private file, read back and synced.
pub(super) fn copy(source: &Connection, to: &Path) -> Result<Copied, UpkeepError> {
    match fs::remove_file(to) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(UpkeepError::io("replacing", to)(e));
        }
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(UpkeepError::io("creating", to))?;
    let name = to.to_str().ok_or_else(|| {
        UpkeepError::io("naming", to)(std::io::Error::other("the name is not UTF-8"))
    })?;
    source.execute("VACUUM INTO ?1", [name]).map_err(UpkeepError::sql("copying", to))?;
    let copied = whole(to)?;
    File::open(to).and_then(|f| f.sync_all()).map_err(UpkeepError::io("syncing", to))?;
    Ok(copied)
}

/// What a copy holds, when all its pages can be read.
pub(super) fn whole(path: &Path) -> Result<Copied, UpkeepError> {
    let conn = open_any(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let fail = UpkeepError::sql("reading back", path);
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |r| r.get(0)).map_err(&fail)?;
    if found != "ok" {
        return Err(UpkeepError::Damaged { path: path.to_owned(), why: found });
    }
    let rows = |sql: &str| conn.query_row(sql, [], |r| r.get::<_, i64>(0)).map_err(&fail);
    Ok(Copied {
        bytes: file_bytes(path)?,
        unfinished: rows("SELECT count(*) FROM task")?.unsigned_abs(),
        finished: rows("SELECT count(*) FROM done")?.unsigned_abs(),
    })
}

pub(super) fn file_bytes(path: &Path) -> Result<u64, UpkeepError> {
    fs::metadata(path).map(|m| m.len()).map_err(UpkeepError::io("looking at", path))
}

/// All of the log into the file.
pub(super) fn bring_home(conn: &Connection, db: &Path) -> Result<(), UpkeepError> {
    let busy: i64 = conn
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get(0))
        .map_err(UpkeepError::sql("bringing home the write-ahead log of", db))?;
    if busy == 0 {
        return Ok(());
    }
    Err(UpkeepError::Failed {
        step: "bringing home the write-ahead log of",
        path: db.to_owned(),
        why: "another process reads the database; end it first (`fuser` names it)".to_owned(),
    })
}

/// A log with content beside a file it does not belong to would be played into it.
pub(super) fn no_log_left(db: &Path) -> Result<(), UpkeepError> {
    let log = beside(db, "-wal");
    let left = fs::metadata(&log).map_or(0, |m| m.len());
    if left == 0 {
        return Ok(());
    }
    Err(UpkeepError::Failed {
        step: "putting away",
        path: log,
        why: "another process has written meanwhile".to_owned(),
    })
}
