//! What only this backend does, and the conformance suite.

use std::path::Path;

use crate::sqlite::{SqliteOptions, SqliteStore};

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(SqliteOptions::new(dir.join("state.db"))).unwrap()
}

crate::conformance::conformance!(open);
