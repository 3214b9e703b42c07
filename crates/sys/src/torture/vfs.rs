//! SQLite's own Unix file system with four of its calls looked at: write, truncate, sync and delete.
//!
//! A copy of the default `sqlite3_vfs` becomes the default. Its `xOpen` is SQLite's, after which the file's table of methods is
//! replaced by a copy in which three are ours; each of ours calls the one it replaced. Locks, shared memory and reads stay what
//! they are, so the store's readers and writer work together as always.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libsqlite3_sys as sqlite;
use sqlite::{sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

use super::disk::Cache;
use super::points::reach;

/// Which of the two files that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Database,
    Log,
}

/// An open file.
#[derive(Debug, Clone)]
struct Open {
    kind: Kind,
    path: PathBuf,
    /// The methods it would have without us.
    real: &'static sqlite3_io_methods,
}

/// The default file system that all of ours ends in.
static REAL: OnceLock<sqlite3_vfs_copy> = OnceLock::new();
/// Open files by the address of SQLite's structure.
static OPEN: Mutex<Option<HashMap<usize, Open>>> = Mutex::new(None);
/// Caches by path; absent: nothing is forgotten, only places are reached.
static CACHES: Mutex<Option<HashMap<PathBuf, Cache>>> = Mutex::new(None);

/// SQLite's structure, which is never written again once it is copied.
#[expect(non_camel_case_types, reason = "it is SQLite's structure in a coat")]
struct sqlite3_vfs_copy(sqlite3_vfs);

// SAFETY: the copy is only read, and what its pointers lead to (a name, the locking style's finder) is static in SQLite.
unsafe impl Send for sqlite3_vfs_copy {}
// SAFETY: as above.
unsafe impl Sync for sqlite3_vfs_copy {}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes it the file system of every connection that is opened from now on.
pub(super) fn register(unsynced: bool) -> io::Result<()> {
    // SAFETY: null asks for the default file system; SQLite initialises itself first.
    let found = unsafe { sqlite::sqlite3_vfs_find(std::ptr::null()) };
    // SAFETY: SQLite's structures live as long as the process.
    let Some(real) = (unsafe { found.as_ref() }) else {
        return Err(io::Error::other("SQLite has no file system"));
    };
    if REAL.set(sqlite3_vfs_copy(*real)).is_err() {
        // A daemon that tries the store again.
        return Ok(());
    }
    if unsynced {
        *locked(&CACHES) = Some(HashMap::new());
    }
    *locked(&OPEN) = Some(HashMap::new());
    let mut ours = *real;
    ours.zName = c"torture".as_ptr();
    ours.pNext = std::ptr::null_mut();
    ours.xOpen = Some(open);
    ours.xDelete = Some(delete);
    let ours = Box::leak(Box::new(ours));
    // SAFETY: a complete structure that is never freed.
    let code = unsafe { sqlite::sqlite3_vfs_register(ours, 1) };
    if code == sqlite::SQLITE_OK { Ok(()) } else { Err(io::Error::other("SQLite refused it")) }
}

/// Does `what` with the cache of `path`, where there are caches.
fn cached(path: &Path, what: impl FnOnce(&mut Cache) -> io::Result<()>) -> c_int {
    let mut caches = locked(&CACHES);
    let Some(caches) = caches.as_mut() else { return sqlite::SQLITE_OK };
    let cache = caches.entry(path.to_owned()).or_insert_with(|| Cache::of(path));
    match what(cache) {
        Ok(()) => sqlite::SQLITE_OK,
        Err(_) => sqlite::SQLITE_IOERR,
    }
}

fn file_of(file: *mut sqlite3_file) -> Option<Open> {
    locked(&OPEN).as_ref()?.get(&(file as usize)).cloned()
}

/// A path as SQLite hands it over.
fn path_of(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite's names are null-terminated and live during the call.
    Some(PathBuf::from(unsafe { CStr::from_ptr(name) }.to_str().ok()?))
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: sqlite::sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let Some(real) = REAL.get().and_then(|real| real.0.xOpen) else { return sqlite::SQLITE_ERROR };
    // SAFETY: SQLite's own arguments, to the function that SQLite would have called.
    let code = unsafe { real(vfs, name, file, flags, out) };
    let kind = match flags {
        f if f & sqlite::SQLITE_OPEN_MAIN_DB != 0 => Kind::Database,
        f if f & sqlite::SQLITE_OPEN_WAL != 0 => Kind::Log,
        _ => return code,
    };
    let Some(path) = path_of(name).filter(|_| code == sqlite::SQLITE_OK) else { return code };
    // SAFETY: an open file begins with the pointer to its methods, which are static in SQLite.
    let Some(real) = (unsafe { (*file).pMethods.as_ref() }) else { return code };
    let mut ours = *real;
    ours.xWrite = Some(write);
    ours.xTruncate = Some(truncate);
    ours.xSync = Some(sync);
    ours.xClose = Some(close);
    if let Some(open) = locked(&OPEN).as_mut() {
        open.insert(file as usize, Open { kind, path, real });
    }
    // A table is leaked per opened file: a daemon opens a handful.
    // SAFETY: the structure is SQLite's, and it is not used before this call returns.
    unsafe { (*file).pMethods = Box::leak(Box::new(ours)) };
    code
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    let Some(real) = REAL.get().and_then(|real| real.0.xDelete) else {
        return sqlite::SQLITE_ERROR;
    };
    if let Some(path) = path_of(name) {
        let code = cached(&path, Cache::delete);
        if code != sqlite::SQLITE_OK {
            return code;
        }
    }
    // SAFETY: SQLite's own arguments, to the function that SQLite would have called.
    unsafe { real(vfs, name, sync) }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    n: c_int,
    at: sqlite::sqlite3_int64,
) -> c_int {
    let Some(open) = file_of(file) else { return sqlite::SQLITE_IOERR };
    let Some(real) = open.real.xWrite else { return sqlite::SQLITE_IOERR };
    reach(if open.kind == Kind::Log { "wal.write" } else { "db.write" });
    // SAFETY: SQLite's own arguments, to the function that SQLite would have called.
    let code = unsafe { real(file, bytes, n, at) };
    if code != sqlite::SQLITE_OK {
        return code;
    }
    // SAFETY: SQLite hands over `n` readable bytes.
    let bytes =
        unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), n.unsigned_abs() as usize) };
    cached(&open.path, |cache| {
        cache.write(at.unsigned_abs(), bytes);
        Ok(())
    })
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite::sqlite3_int64) -> c_int {
    let Some(open) = file_of(file) else { return sqlite::SQLITE_IOERR };
    let Some(real) = open.real.xTruncate else { return sqlite::SQLITE_IOERR };
    reach(if open.kind == Kind::Log { "wal.truncate" } else { "db.truncate" });
    // SAFETY: SQLite's own arguments, to the function that SQLite would have called.
    let code = unsafe { real(file, size) };
    if code != sqlite::SQLITE_OK {
        return code;
    }
    cached(&open.path, |cache| {
        cache.truncate(size.unsigned_abs());
        Ok(())
    })
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let Some(open) = file_of(file) else { return sqlite::SQLITE_IOERR };
    let Some(real) = open.real.xSync else { return sqlite::SQLITE_IOERR };
    let (before, after) = match open.kind {
        Kind::Log => ("wal.sync", "wal.synced"),
        Kind::Database => ("db.sync", "db.synced"),
    };
    reach(before);
    // SAFETY: SQLite's own arguments, to the function that SQLite would have called.
    let code = unsafe { real(file, flags) };
    if code != sqlite::SQLITE_OK {
        return code;
    }
    let code = cached(&open.path, Cache::sync);
    reach(after);
    code
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let open = locked(&OPEN).as_mut().and_then(|open| open.remove(&(file as usize)));
    let Some(real) = open.and_then(|open| open.real.xClose) else { return sqlite::SQLITE_IOERR };
    // SAFETY: SQLite's own argument, to the function that SQLite would have called.
    unsafe { real(file) }
}
