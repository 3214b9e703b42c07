//! Which files a configuration was made from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A file and what it held when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Absolute.
    pub path: PathBuf,
    /// SHA-256 in hex.
    pub sha256: String,
}

impl SourceFile {
    /// Notes what a file holds.
    #[must_use]
    pub fn of(path: &Path, bytes: &[u8]) -> Self {
        let hash = Sha256::digest(bytes);
        let sha256 = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { path: path.to_owned(), sha256 }
    }

    /// True while the file still holds the same.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        std::fs::read(&self.path).is_ok_and(|bytes| Self::of(&self.path, &bytes) == *self)
    }
}
