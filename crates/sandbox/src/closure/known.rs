//! Closures that were read before, as long as none of their files has changed: a program that starts often is read once.
//!
//! What is not noticed: a library that appears in a folder that comes before the one where it was found, without the cache of ld.so
//! being written. Then the one that was found before is shown, and the loader finds that.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Closure, ClosureError, search};

/// More different programs than a machine starts walled again and again; one more forgets all.
const KNOWN_MAX: usize = 256;

/// What changes when a file is written, replaced or touched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    file: Option<[i64; 6]>,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let file = path.metadata().ok().map(|meta| {
            let number = |n: u64| n.cast_signed();
            let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
            [number(meta.dev()), number(meta.ino()), times[0], times[1], times[2], times[3]]
        });
        Self { path: path.to_path_buf(), file }
    }

    fn holds(&self) -> bool {
        *self == Self::of(&self.path)
    }
}

type Known = BTreeMap<PathBuf, (Vec<Stamp>, Closure)>;

static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());

impl Closure {
    /// As [`Closure::of`], remembered.
    ///
    /// # Errors
    /// As there; failures are not remembered.
    pub fn known(program: &Path) -> Result<Self, ClosureError> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((stamps, closure)) = known.get(program)
            && stamps.iter().all(Stamp::holds)
        {
            return Ok(closure.clone());
        }
        // Before the files are read: one that changes meanwhile is read again the next time.
        let cache = Stamp::of(Path::new(search::CACHE));
        let closure = Self::of(program)?;
        let stamps = closure.files().map(Stamp::of).chain([cache]).collect();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(program.to_path_buf(), (stamps, closure.clone()));
        Ok(closure)
    }
}
