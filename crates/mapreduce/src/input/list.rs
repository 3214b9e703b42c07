//! Which files a job reads, and what of them can be known before work starts.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::InputError;

/// How a file's bytes are packed. Told by its first bytes (RFC 1952, RFC 8878), not by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packing {
    /// As they are.
    Plain,
    /// gzip, one member or many.
    Gzip,
    /// Zstandard, one frame or many.
    Zstd,
}

/// The files of a job, in order. About 25 bytes and its path for each.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// All paths, one behind the other.
    paths: Vec<u8>,
    files: Vec<Listed>,
}

#[derive(Debug, Clone, Copy)]
struct Listed {
    /// Where its path ends in `paths`.
    path_end: usize,
    /// Bytes of it and of all files before it, as they lie on the disk.
    ends: u64,
    packing: Packing,
}

impl Inputs {
    /// Lists files by names and globs (`*`, `?`, `[…]`, `**` for folders at any depth). A name that exists is that file,
    /// whatever characters it has. The files of a glob come sorted by name; folders that it matches are passed over.
    ///
    /// # Errors
    /// The first pattern that matches nothing or is wrong, or the first file that can't be opened and read.
    pub fn list<P: AsRef<OsStr>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, InputError> {
        let mut inputs = Self::default();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            if Path::new(pattern).symlink_metadata().is_ok() {
                inputs.push(PathBuf::from(pattern), true)?;
            } else {
                inputs.push_glob(pattern)?;
            }
        }
        inputs.paths.shrink_to_fit();
        inputs.files.shrink_to_fit();
        Ok(inputs)
    }

    /// How many files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Bytes of all files, as they lie on the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.last().map_or(0, |file| file.ends)
    }

    /// The path of a file by its number. Panics at a number that is not below [`Inputs::len`].
    #[must_use]
    pub fn path(&self, file: usize) -> PathBuf {
        let start = file.checked_sub(1).map_or(0, |before| self.files[before].path_end);
        let bytes = self.paths[start..self.files[file].path_end].to_vec();
        PathBuf::from(std::ffi::OsString::from_vec(bytes))
    }

    /// How a file is packed. Panics as [`Inputs::path`] does.
    #[must_use]
    pub fn packing(&self, file: usize) -> Packing {
        self.files[file].packing
    }

    /// Where a file starts and ends when all are laid end to end.
    pub(crate) fn range(&self, file: usize) -> (u64, u64) {
        (file.checked_sub(1).map_or(0, |before| self.files[before].ends), self.files[file].ends)
    }

    /// The first file that ends behind `at`, which is [`Inputs::len`] if none does.
    pub(crate) fn file_at(&self, at: u64) -> usize {
        self.files.partition_point(|file| file.ends <= at)
    }

    /// Bytes of memory that the list takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.paths.capacity() + self.files.capacity() * size_of::<Listed>()
    }

    fn push_glob(&mut self, pattern: &OsStr) -> Result<(), InputError> {
        let shown = pattern.to_string_lossy();
        let wrong = |why: String| InputError::BadPattern { pattern: shown.to_string(), why };
        let text = pattern
            .to_str()
            .ok_or_else(|| wrong("no file has this name, and a glob must be UTF-8".to_owned()))?;
        let found = glob::glob(text).map_err(|error| wrong(error.to_string()))?;
        let before = self.files.len();
        for path in found {
            let path = path.map_err(|error| {
                InputError::io("list", error.path().to_path_buf())(error.into())
            })?;
            self.push(path, false)?;
        }
        if self.files.len() == before {
            return Err(InputError::NoMatch { pattern: shown.to_string() });
        }
        Ok(())
    }

    /// `named`: a folder is an error, not passed over.
    fn push(&mut self, path: PathBuf, named: bool) -> Result<(), InputError> {
        let meta = std::fs::metadata(&path).map_err(InputError::io("look at", &path))?;
        if meta.is_dir() && !named {
            return Ok(());
        }
        if !meta.is_file() {
            return Err(InputError::NotAFile { path });
        }
        let packing = packing_of(&path)?;
        self.paths.extend_from_slice(path.as_os_str().as_bytes());
        let ends = self.bytes() + meta.len();
        self.files.push(Listed { path_end: self.paths.len(), ends, packing });
        Ok(())
    }
}

/// Opens the file, so that one that can't be read is known before work starts.
fn packing_of(path: &Path) -> Result<Packing, InputError> {
    let file = File::open(path).map_err(InputError::io("open", path))?;
    let mut first = [0; 4];
    let read = file.read_at(&mut first, 0).map_err(InputError::io("read", path))?;
    let packing = match &first[..read] {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Packing::Zstd,
        _ => Packing::Plain,
    };
    let named = match path.extension().and_then(OsStr::to_str) {
        Some("gz") => Some((Packing::Gzip, "gzip")),
        Some("zst") => Some((Packing::Zstd, "zstd")),
        _ => None,
    };
    match named {
        Some((named, name)) if named != packing => {
            Err(InputError::NotPacked { path: path.to_path_buf(), packing: name })
        }
        _ => Ok(packing),
    }
}
