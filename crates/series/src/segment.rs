//! The files of a folder of series: their names, their order, what is appended to them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stream {
    /// Minutes of a window that is not sealed; numbered by the window.
    Journal,
    /// Sealed samples.
    Fine,
    /// Summaries of minutes.
    Minute,
    /// Summaries of hours.
    Hour,
    /// Marks.
    Marks,
}

impl Stream {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Fine => "fine",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Marks => "marks",
        }
    }
}

/// `fine-000000000001.seg`: names sort as numbers do.
pub(crate) fn name(stream: Stream, number: u64) -> String {
    format!("{}-{number:012}.seg", stream.name())
}

fn number_of(stream: Stream, file: &str) -> Option<u64> {
    let number = file.strip_prefix(stream.name())?.strip_prefix('-')?.strip_suffix(".seg")?;
    let number = number.parse().ok()?;
    (name(stream, number) == file).then_some(number)
}

/// The segments of a stream in order; none where there is no folder.
pub(crate) fn list(folder: &Path, stream: Stream) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(|file| number_of(stream, file)) {
            found.push((number, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A segment that is written.
#[derive(Debug)]
pub(crate) struct Tail {
    file: File,
    /// Bytes of it; what lies beyond is a write that failed and could not be taken back.
    pub(crate) len: u64,
}

impl Tail {
    /// Opens a segment at `len`, where its last whole frame ends, and cuts off what a torn write left behind it.
    pub(crate) fn open(path: &Path, len: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(path)?;
        let there = file.metadata()?.len();
        if there > len {
            file.set_len(len)?;
        }
        if there == 0
            && let Some(folder) = path.parent()
        {
            // So that a power cut does not take the name away from what will be synced in it.
            File::open(folder)?.sync_all()?;
        }
        Ok(Self { file, len })
    }

    /// Appends whole frames: all of them, or none.
    pub(crate) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(frames, self.len) {
            // A full disk takes a part. Readers would go by it, but it need not stay.
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += frames.len() as u64;
        Ok(())
    }

    /// Waits until all of it is on disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Takes back what was appended beyond `len`.
    pub(crate) fn back_to(&mut self, len: u64) -> io::Result<()> {
        self.len = len;
        self.file.set_len(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_count() {
        assert_eq!(name(Stream::Fine, 7), "fine-000000000007.seg");
        assert_eq!(number_of(Stream::Fine, "fine-000000000007.seg"), Some(7));
        for other in ["fine-7.seg", "fine-000000000007.seg.bak", "minute-000000000007.seg", "lock"]
        {
            assert_eq!(number_of(Stream::Fine, other), None, "{other}");
        }
    }

    #[test]
    fn a_torn_end_is_cut_off_and_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"whole torn").unwrap();
        let mut tail = Tail::open(&path, 5).unwrap();
        tail.append(b"new").unwrap();
        tail.sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"wholenew");
        tail.back_to(5).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }
}
