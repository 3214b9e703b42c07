//! The kept bytes of one stream, addressed by offset, over all its segments.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::times::Times;
use crate::layout::{segment_path, segment_starts};

/// A segment's range of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing is kept here; the next byte stands at this offset.
    Gap(u64),
    /// Nothing here or after, as far as known.
    End,
}

/// The segments as they were at the last [`Tape::refresh`].
#[derive(Debug)]
pub(super) struct Tape {
    dir: PathBuf,
    ranges: Vec<Range>,
    /// The segment read last. It stays readable after its removal.
    open: Option<(u64, File)>,
    keep_open: bool,
    times: Times,
}

impl Tape {
    /// `keep_open`: hold a descriptor between reads (off when there are very many streams).
    pub(super) fn open(dir: PathBuf, keep_open: bool) -> io::Result<Self> {
        let times = Times::new(dir.clone());
        let mut tape = Self { dir, ranges: Vec::new(), open: None, keep_open, times };
        tape.refresh()?;
        Ok(tape)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Looks at the folder again.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        self.ranges.clear();
        for start in segment_starts(&self.dir)? {
            match std::fs::metadata(segment_path(&self.dir, start)) {
                Ok(meta) => self.ranges.push(Range { start, end: start + meta.len() }),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// First kept offset; 0 when nothing was ever kept.
    pub(super) fn start(&self) -> u64 {
        self.ranges.first().map_or(0, |range| range.start)
    }

    /// Offset after the last kept byte.
    pub(super) fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.end)
    }

    /// The segment with the byte at `offset`, or the last one before it.
    fn range_at(&self, offset: u64) -> Option<Range> {
        let after = self.ranges.partition_point(|range| range.start <= offset);
        after.checked_sub(1).map(|at| self.ranges[at])
    }

    /// Start of the unbroken run of segments that holds the byte before `offset`.
    pub(super) fn run_start(&self, offset: u64) -> u64 {
        let mut start = offset;
        for range in self.ranges.iter().rev().filter(|range| range.start < offset) {
            if range.end < start {
                break;
            }
            start = range.start;
        }
        start
    }

    /// End of what is kept before `offset`, across a gap.
    pub(super) fn kept_before(&self, offset: u64) -> Option<u64> {
        let kept = self.ranges.iter().rev().filter(|range| range.start < range.end);
        kept.map(|range| range.end).find(|end| *end < offset)
    }

    /// Bytes missing between what is kept before `offset` and it. What was before the first kept byte doesn't count.
    pub(super) fn lost_before(&self, offset: u64) -> u64 {
        if offset == self.start() || self.run_start(offset) < offset {
            return 0;
        }
        self.kept_before(offset).map_or(0, |end| offset - end)
    }

    /// The bytes of a range, or as many of them as are kept in one piece.
    pub(super) fn read_range(&mut self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            let Got::Bytes(n) = self.read_at(start + filled as u64, &mut bytes[filled..])? else {
                break;
            };
            filled += n;
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Reads at `offset` within one segment.
    pub(super) fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<Got> {
        if let Some(range) = self.range_at(offset).filter(|range| offset < range.end) {
            let room = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(buf.len());
            match self.read_segment(range.start, offset - range.start, &mut buf[..room]) {
                Ok(n) if n > 0 => return Ok(Got::Bytes(n)),
                // Shorter than it was: truncated by someone. What follows is all there is.
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        // Where the byte is not: removed meanwhile, or a hole between segments.
        let next = self.ranges.iter().find(|range| range.start > offset && range.end > range.start);
        Ok(next.map_or(Got::End, |range| Got::Gap(range.start)))
    }

    fn read_segment(&mut self, start: u64, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != start) {
            self.open = None;
            self.open = Some((start, File::open(segment_path(&self.dir, start))?));
        }
        let (_, file) = self.open.as_ref().expect("opened just above");
        let n = file.read_at(buf, at)?;
        if !self.keep_open {
            self.open = None;
        }
        Ok(n)
    }

    /// When the byte at `offset` came, unix nanoseconds.
    pub(super) fn time_at(&mut self, offset: u64) -> io::Result<u64> {
        match self.range_at(offset) {
            Some(range) => self.times.at(range.start, range.end, offset),
            None => Ok(0),
        }
    }

    /// First offset whose byte came at `ns` or later; the end when there is none.
    pub(super) fn first_since(&mut self, ns: u64) -> io::Result<u64> {
        // Times never go back within a stream: the answer lies in the last segment that begins before `ns`.
        let (mut low, mut high) = (0, self.ranges.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let Range { start, end } = self.ranges[middle];
            if self.times.at(start, end, start)? < ns { low = middle + 1 } else { high = middle }
        }
        let Some(range) = low.checked_sub(1).map(|at| self.ranges[at]) else {
            return Ok(self.start());
        };
        let inside = self.times.first_since(range.start, ns)?;
        let next = self.ranges.get(low).map_or(self.end(), |range| range.start);
        Ok(inside.unwrap_or(next).min(next))
    }
}
