//! SQLite's errors as ours.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::ErrorCode;

use crate::error::StoreError;

/// What an SQLite error means for the store.
///
/// An I/O error (`SQLITE_IOERR_FSYNC`, `_WRITE`, …) or a damaged file is final: after a failed fsync the kernel may drop
/// dirty pages and report success the next time (fsync(2), "fsyncgate"), so only a restart that checks the file can tell
/// what is there. ENOSPC comes as `SQLITE_FULL`.
pub(super) fn classify(step: &'static str, error: &rusqlite::Error) -> StoreError {
    let why = error.to_string();
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return StoreError::Other { step, why };
    };
    match failure.code {
        ErrorCode::DiskFull => StoreError::Full(why),
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            StoreError::ReadOnly(why)
        }
        ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            StoreError::Poisoned(format!("{step}: {why} (SQLite code {})", failure.extended_code))
        }
        _ => StoreError::Other { step, why },
    }
}

/// Wall clock, milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
