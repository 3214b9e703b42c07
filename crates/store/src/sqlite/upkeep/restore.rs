//! A backup takes the place of the database; what was there is kept aside.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::backup::{Copied, bring_home, copy, no_log_left, whole};
use super::{UpkeepError, beside, open_any, sync_folder_of, version};

/// By how much the fencing epoch rises when the old one can't be read: more openings than any state folder has seen.
const EPOCH_LEAP: u32 = 1 << 24;

/// A backup that was put in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What it holds.
    pub content: Copied,
    /// Where the former database is now; `None` when there was none.
    pub aside: Option<PathBuf>,
    /// The former database could not be read; the fencing epoch was raised by a leap instead of above it.
    pub old_unreadable: bool,
    /// The fencing epoch the next daemon begins above.
    pub epoch: u32,
}

/// What must never be drawn or used again.
#[derive(Debug, Clone, Copy)]
struct Marks {
    epoch: u32,
    id_floor: i64,
}

/// Puts a backup in the place of `db`. The caller holds the state folder's lock, so no daemon runs and none starts.
///
/// Tokens and task ids that were given out after the backup was taken stay used up: epoch and id floor are the higher of
/// both files'. Tasks that were finished after it run again.
///
/// # Errors
/// The former database is still in its place.
pub fn restore(db: &Path, from: &Path, stamp: &str) -> Result<Restored, UpkeepError> {
    let source = open_any(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    version(&source, from)?;
    whole(from)?;
    let new = beside(db, ".restore");
    let placed = copy(&source, &new).and_then(|content| {
        let (marks, old_unreadable) = raise(db, &new)?;
        let aside = if db.is_file() { Some(put_aside(db, stamp)?) } else { None };
        fs::rename(&new, db).map_err(UpkeepError::io("replacing", db))?;
        sync_folder_of(db)?;
        Ok(Restored { content, aside, old_unreadable, epoch: marks.epoch })
    });
    if placed.is_err() {
        drop(fs::remove_file(&new));
    }
    placed
}

/// Lifts the copy's marks above the former database's.
fn raise(db: &Path, new: &Path) -> Result<(Marks, bool), UpkeepError> {
    let fail = UpkeepError::sql("raising the epoch of", new);
    let conn = open_any(new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let backed = marks(&conn).map_err(&fail)?;
    let (old, unreadable) = if db.is_file() {
        match former(db) {
            Ok(old) => (old, false),
            Err(_) => (Marks { epoch: backed.epoch.saturating_add(EPOCH_LEAP), ..backed }, true),
        }
    } else {
        (backed, false)
    };
    let marks =
        Marks { epoch: backed.epoch.max(old.epoch), id_floor: backed.id_floor.max(old.id_floor) };
    conn.execute_batch(&format!(
        "PRAGMA synchronous = FULL; BEGIN IMMEDIATE; \
         UPDATE meta SET value = {} WHERE name = 'epoch'; \
         UPDATE meta SET value = {} WHERE name = 'id_floor'; COMMIT",
        marks.epoch, marks.id_floor
    ))
    .map_err(&fail)?;
    // Nothing may be left in a log or journal under the copy's passing name.
    conn.close().map_err(|(_, e)| fail(e))?;
    no_log_left(new)?;
    Ok((marks, unreadable))
}

/// The former database's marks, its log brought home.
fn former(db: &Path) -> Result<Marks, UpkeepError> {
    let conn = open_any(db, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    bring_home(&conn, db)?;
    marks(&conn).map_err(UpkeepError::sql("reading the epoch of", db))
}

fn marks(conn: &Connection) -> rusqlite::Result<Marks> {
    let get = "SELECT value FROM meta WHERE name = ?1";
    Ok(Marks {
        epoch: conn.query_row(get, ["epoch"], |r| r.get(0))?,
        id_floor: conn.query_row(get, ["id_floor"], |r| r.get(0))?,
    })
}

/// A second name for the former file, so that at no moment there is no database: the rename that follows replaces the
/// first name. A log that could not be brought home goes with it, and first: it must never meet the new file.
fn put_aside(db: &Path, stamp: &str) -> Result<PathBuf, UpkeepError> {
    let aside = beside(db, &format!(".before-restore-{stamp}"));
    for ending in ["-wal", "-shm"] {
        let part = beside(db, ending);
        if part.exists() {
            fs::rename(&part, beside(&aside, ending))
                .map_err(UpkeepError::io("putting aside", &part))?;
        }
    }
    fs::hard_link(db, &aside).map_err(UpkeepError::io("putting aside", db))?;
    sync_folder_of(db)?;
    Ok(aside)
}
