//! Where things lie: `NAME/SLOT/STREAM/<20-digit offset of the first byte>.{seg,idx}`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ganger_core::Stream;

/// Held by the one mover of a logs folder (flock).
pub(crate) const LOCK: &str = ".lock";
const SEGMENT: &str = ".seg";
const INDEX: &str = ".idx";
/// u64::MAX has 20 digits, so names sort as numbers do.
const DIGITS: usize = 20;
/// NAME_MAX of every Linux filesystem.
const NAME_MAX: usize = 255;

/// Can `name` be a folder's name here? Names come from config, which is stricter; this keeps paths inside the folder.
pub(crate) fn name_is_safe(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && !name.starts_with('.')
        && !name.contains(['/', '\0'])
}

pub(crate) fn stream_dir(root: &Path, name: &str, slot: u32, stream: Stream) -> PathBuf {
    root.join(name).join(slot.to_string()).join(stream.to_string())
}

pub(crate) fn segment_path(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("{start:0DIGITS$}{SEGMENT}"))
}

pub(crate) fn index_path(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("{start:0DIGITS$}{INDEX}"))
}

/// First offsets of the segments in a stream's folder, ascending. A folder that isn't there has none.
pub(crate) fn segment_starts(dir: &Path) -> io::Result<Vec<u64>> {
    let mut starts = Vec::new();
    for name in entries(dir)? {
        let digits = name.strip_suffix(SEGMENT).filter(|digits| digits.len() == DIGITS);
        if let Some(start) = digits.and_then(|digits| digits.parse().ok()) {
            starts.push(start);
        }
    }
    starts.sort_unstable();
    Ok(starts)
}

/// One stream that has a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamKey {
    pub(crate) name: String,
    pub(crate) slot: u32,
    pub(crate) stream: Stream,
}

impl StreamKey {
    pub(crate) fn dir(&self, root: &Path) -> PathBuf {
        stream_dir(root, &self.name, self.slot, self.stream)
    }
}

/// Names that have a folder, sorted.
pub(crate) fn names(root: &Path) -> io::Result<Vec<String>> {
    let mut names = entries(root)?;
    names.retain(|name| name_is_safe(name) && root.join(name).is_dir());
    names.sort_unstable();
    Ok(names)
}

/// Slots of a name, ascending.
pub(crate) fn slots(root: &Path, name: &str) -> io::Result<Vec<u32>> {
    let names = entries(&root.join(name))?;
    let mut slots: Vec<u32> = names.iter().filter_map(|slot| slot.parse().ok()).collect();
    slots.sort_unstable();
    Ok(slots)
}

/// Names of a folder's entries; none when there is no such folder. Names that are no UTF-8 are not ours.
fn entries(dir: &Path) -> io::Result<Vec<String>> {
    let list = match fs::read_dir(dir) {
        Ok(list) => list,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(e),
    };
    let mut names = Vec::new();
    for entry in list {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_folder() {
        for bad in ["", ".", "..", ".lock", "a/b", "a\0b"] {
            assert!(!name_is_safe(bad), "{bad:?}");
        }
        assert!(name_is_safe("web-1.x"));
    }

    #[test]
    fn only_segments_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        for start in [7, 1_000_000] {
            fs::write(segment_path(dir.path(), start), "").unwrap();
            fs::write(index_path(dir.path(), start), "").unwrap();
        }
        fs::write(dir.path().join("1.seg"), "").unwrap();
        assert_eq!(segment_starts(dir.path()).unwrap(), [7, 1_000_000]);
        assert!(segment_starts(&dir.path().join("none")).unwrap().is_empty());
    }
}
