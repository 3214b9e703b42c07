//! Looking after a database file from outside: copies, checks, repairs. Needs no daemon.
//!
//! | what | with a daemon | without |
//! | --- | --- | --- |
//! | `backup`, `check` | yes: one snapshot beside its writer | yes |
//! | `restore`, `repair`, `vacuum` | no: the caller holds the state folder's lock | yes |
//!
//! Every new file is written beside the place it is for, synced, and only then given its name, so that a crash at any
//! moment leaves the old file or the new one, whole.

mod backup;
mod check;
mod repair;
mod restore;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub use backup::{Copied, Vacuumed, backup, vacuum};
pub use check::{Check, Problem, Remedy, check};
pub use repair::{Repaired, repair};
pub use restore::{Restored, restore};

use super::open::SCHEMA;
use crate::rows::StoreSize;

/// How long another process may keep the file locked (a checkpoint, another copy) before it is an error.
const WAIT: Duration = Duration::from_secs(10);

/// Looking after a database failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpkeepError {
    /// There is no such file.
    #[error("there is no database {}", .0.display())]
    NotThere(PathBuf),
    /// The target exists.
    #[error("{} is there already and stays as it is", .0.display())]
    Exists(PathBuf),
    /// The file is something else.
    #[error("{} is not a ganger database: {why}", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Written by a newer ganger.
    #[error("{} has schema {found}, this ganger knows up to {known}: use the newer ganger", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It is an old schema, which only a daemon that opens it brings up to date.
    #[error("{} still has schema {found} (this ganger's is {known}): `ganger up` brings it up to date", path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The file is damaged, so it is not taken for a copy.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found first.
        why: String,
    },
    /// The system or SQLite refused.
    #[error("{step} {}: {why}", path.display())]
    Failed {
        /// What was being done.
        step: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl UpkeepError {
    fn sql(step: &'static str, path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Failed { step, path: path.clone(), why: error.to_string() }
    }

    fn io(step: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Failed { step, path: path.clone(), why: error.to_string() }
    }
}

/// Sizes of a database's files, as the file system and SQLite tell them.
///
/// # Errors
/// When it is missing or no ganger database.
pub fn size(db: &Path) -> Result<StoreSize, UpkeepError> {
    let conn = open(db)?;
    super::read::size_of(&conn, db).map_err(UpkeepError::sql("reading the size of", db))
}

/// A connection to a database that must be there and ours. It can write, or SQLite could not read a log that a killed
/// daemon left; callers that only look don't.
fn open(path: &Path) -> Result<Connection, UpkeepError> {
    let conn = open_any(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let found = version(&conn, path)?;
    if found < SCHEMA {
        return Err(UpkeepError::TooOld { path: path.to_owned(), found, known: SCHEMA });
    }
    Ok(conn)
}

fn open_any(path: &Path, access: OpenFlags) -> Result<Connection, UpkeepError> {
    if !path.is_file() {
        return Err(UpkeepError::NotThere(path.to_owned()));
    }
    let conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(UpkeepError::sql("opening", path))?;
    conn.busy_timeout(WAIT).map_err(UpkeepError::sql("opening", path))?;
    Ok(conn)
}

/// The schema's version, of a file that is a ganger database.
fn version(conn: &Connection, path: &Path) -> Result<u32, UpkeepError> {
    let not_ours = |why: String| UpkeepError::NotOurs { path: path.to_owned(), why };
    let ours: bool = conn
        .query_row(
            "SELECT count(*) = 3 FROM sqlite_schema WHERE name IN ('meta', 'migration', 'task')",
            [],
            |r| r.get(0),
        )
        .map_err(|e| not_ours(e.to_string()))?;
    if !ours {
        return Err(not_ours("it has other tables".to_owned()));
    }
    let found: u32 = conn
        .query_row("PRAGMA user_version", [], |r| r.get(0))
        .map_err(|e| not_ours(e.to_string()))?;
    if found > SCHEMA {
        return Err(UpkeepError::TooNew { path: path.to_owned(), found, known: SCHEMA });
    }
    Ok(found)
}

/// `state.db` with an ending: its log, or a file beside it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Renames and new names are durable after this.
fn sync_folder_of(path: &Path) -> Result<(), UpkeepError> {
    let folder = folder_of(path);
    File::open(folder).and_then(|f| f.sync_all()).map_err(UpkeepError::io("syncing", folder))
}

#[cfg(test)]
mod tests;
