//! The files of a log: their names and their order.

use std::io;
use std::path::{Path, PathBuf};

/// A segment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
}

/// `000000000001.jsonl`: names sort as numbers do.
pub(crate) fn name(number: u64) -> String {
    format!("{number:012}.jsonl")
}

fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".jsonl")?.parse().ok()?;
    (self::name(number) == name).then_some(number)
}

/// All segments of the folder in order; none where there is no folder.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(number_of) {
            found.push(Segment { number, path: entry.path() });
        }
    }
    found.sort_unstable_by_key(|segment| segment.number);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_count() {
        assert_eq!(number_of(&name(7)), Some(7));
        assert_eq!(name(7), "000000000007.jsonl");
        for other in ["7.jsonl", "000000000007.jsonl.bak", "head", "+00000000007.jsonl"] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }
}
