//! The index beside a segment: when which bytes came.
//!
//! A stamp `(offset, time)` says: the byte at `offset`, and those up to the next stamp, came at `time`. It is written
//! *before* its bytes are moved, so that a kill in between leaves a stamp without bytes (overwritten by the next one)
//! and never bytes without a stamp. Only a power cut or a full disk can lose stamps; [`complete`] mends what it can.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// One record: offset u64 LE, unix nanoseconds u64 LE.
pub(crate) const STAMP_BYTES: u64 = 16;

/// From `offset` on, bytes came at `ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) offset: u64,
    pub(crate) ns: u64,
}

impl Stamp {
    pub(crate) fn encode(self) -> [u8; STAMP_BYTES as usize] {
        let mut bytes = [0; STAMP_BYTES as usize];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..].copy_from_slice(&self.ns.to_le_bytes());
        bytes
    }

    /// `bytes` is one record; anything shorter is none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let offset = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
        let ns = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
        Some(Self { offset, ns })
    }

    pub(crate) fn read(index: &File, number: u64) -> io::Result<Self> {
        let mut bytes = [0; STAMP_BYTES as usize];
        index.read_exact_at(&mut bytes, number * STAMP_BYTES)?;
        Ok(Self::decode(&bytes).expect("the buffer is one record long"))
    }

    pub(crate) fn write(self, index: &File, number: u64) -> io::Result<()> {
        index.write_all_at(&self.encode(), number * STAMP_BYTES)
    }
}

/// When a file was last written, unix nanoseconds.
pub(crate) fn modified_ns(file: &File) -> io::Result<u64> {
    let meta = file.metadata()?;
    let seconds = u64::try_from(meta.mtime()).unwrap_or(0);
    Ok(seconds * 1_000_000_000 + u64::try_from(meta.mtime_nsec()).unwrap_or(0))
}

/// Makes an index fit its segment of `[start, end)` after a crash: cuts a torn record and stamps of bytes that are not
/// there, and stamps with the segment's own time what has none. Gives the number of stamps and the last one.
pub(crate) fn complete(
    index: &File,
    segment: &File,
    start: u64,
    end: u64,
) -> io::Result<(u64, Option<Stamp>)> {
    let mut count = index.metadata()?.len() / STAMP_BYTES;
    while count > 0 && Stamp::read(index, count - 1)?.offset > end {
        count -= 1;
    }
    index.set_len(count * STAMP_BYTES)?;
    if count == 0 && end > start {
        let stamp = Stamp { offset: start, ns: modified_ns(segment)? };
        stamp.write(index, 0)?;
        return Ok((1, Some(stamp)));
    }
    let last = if count == 0 { None } else { Some(Stamp::read(index, count - 1)?) };
    Ok((count, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_index_is_made_to_fit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let segment = tempfile::tempfile_in(dir.path()).unwrap();
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let of = |stamps: &[(u64, u64)], torn: usize| {
            let mut bytes: Vec<u8> =
                stamps.iter().flat_map(|&(offset, ns)| Stamp { offset, ns }.encode()).collect();
            bytes.extend(std::iter::repeat_n(9, torn));
            std::fs::write(&path, bytes).unwrap();
            open()
        };
        let kept = complete(&of(&[(10, 1), (20, 2), (40, 3)], 5), &segment, 10, 30).unwrap();
        assert_eq!(kept, (2, Some(Stamp { offset: 20, ns: 2 })));
        assert_eq!(open().metadata().unwrap().len(), 32);

        let mtime = modified_ns(&segment).unwrap();
        let made = complete(&of(&[], 3), &segment, 10, 30).unwrap();
        assert_eq!(made, (1, Some(Stamp { offset: 10, ns: mtime })));
        assert_eq!(complete(&of(&[], 0), &segment, 10, 10).unwrap(), (0, None));
    }
}
