//! `/etc/ld.so.cache`: where libraries are, by name. The layout is `struct cache_file_new` of glibc's dl-cache.h.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// FLAG_ELF_LIBC6 with the machine: only libraries of the native ABI.
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0x0303;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0x0a03;

/// Path by name. Variants for some processors (glibc-hwcaps) are left out: the plain one is always there too, and the loader takes it
/// when the other can't be opened.
pub(super) fn parse(bytes: &[u8]) -> BTreeMap<Vec<u8>, PathBuf> {
    // Older systems put the table of an older format in front; offsets count from the magic.
    let start = bytes.windows(MAGIC.len()).position(|window| window == MAGIC);
    let Some(bytes) = start.and_then(|start| bytes.get(start..)) else { return BTreeMap::new() };
    let count = word(bytes, MAGIC.len()).unwrap_or_default() as usize;
    let entries = bytes.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY).take(count);
    let mut found = BTreeMap::new();
    for entry in entries {
        let hwcap = entry.get(16..24).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0));
        if word(entry, 0) != Some(NATIVE) || hwcap {
            continue;
        }
        let text = |at: usize| word(entry, at).and_then(|offset| string(bytes, offset as usize));
        if let (Some(name), Some(path)) = (text(4), text(8)) {
            found.entry(name.to_vec()).or_insert_with(|| PathBuf::from(OsStr::from_bytes(path)));
        }
    }
    found
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn string(bytes: &[u8], at: usize) -> Option<&[u8]> {
    bytes.get(at..)?.split(|byte| *byte == 0).next()
}
