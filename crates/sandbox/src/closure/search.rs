//! Where a library is found, in the order of ld.so(8).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::cache;

pub(super) const CACHE: &str = "/etc/ld.so.cache";
/// What the loaders of the usual systems look through last. musl's list stands in `/etc/ld-musl-ARCH.path`, by default these too.
const DEFAULTS: [&str; 8] = [
    #[cfg(target_arch = "x86_64")]
    "/lib/x86_64-linux-gnu",
    #[cfg(target_arch = "x86_64")]
    "/usr/lib/x86_64-linux-gnu",
    #[cfg(target_arch = "aarch64")]
    "/lib/aarch64-linux-gnu",
    #[cfg(target_arch = "aarch64")]
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/local/lib64",
];

/// What is the same for every library.
#[derive(Debug)]
pub(super) struct Search {
    cache: BTreeMap<Vec<u8>, PathBuf>,
}

impl Search {
    pub(super) fn of_this_machine() -> Self {
        Self { cache: std::fs::read(CACHE).map(|bytes| cache::parse(&bytes)).unwrap_or_default() }
    }

    /// The path by which the loader opens this library: DT_RPATHs, DT_RUNPATH, the cache, the default folders.
    pub(super) fn find(
        &self,
        name: &[u8],
        rpaths: &[PathBuf],
        runpath: &[PathBuf],
    ) -> Option<PathBuf> {
        let file = Path::new(OsStr::from_bytes(name));
        if name.contains(&b'/') {
            return (file.is_absolute() && file.is_file()).then(|| file.to_path_buf());
        }
        let within = |folder: &Path| Some(folder.join(file)).filter(|path| path.is_file());
        let given = rpaths.iter().chain(runpath).find_map(|folder| within(folder));
        given
            .or_else(|| self.cache.get(name).filter(|path| path.is_file()).cloned())
            .or_else(|| DEFAULTS.iter().find_map(|folder| within(Path::new(folder))))
    }
}
