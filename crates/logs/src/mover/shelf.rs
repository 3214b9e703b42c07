//! All segments of one stream: which is written, when the next begins, which are removed.
//!
//! The cap is kept strictly and counts the index too: the oldest segment is removed *before* a byte is moved that would
//! exceed it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::segment::{Segment, remove};
use crate::layout::{index_path, segment_path, segment_starts};
use crate::stamp::modified_ns;

/// The cap is cut into this many segments, so that removing one keeps at least eight.
const SEGMENTS_PER_CAP: u64 = 10;
/// Longest segment: removing one costs the filesystem a few milliseconds, and a huge cap should not mean huge files.
const SEGMENT_MAX: u64 = 16 << 20;
/// Less than this can't be kept in files with any sense (a block is 4 KiB); smaller caps count as this.
pub(crate) const CAP_MIN: u64 = 64 << 10;
/// Most segments of a stream, whatever their size: a disk that is full on and off makes many short ones.
const SEGMENTS_MAX: usize = 1_024;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) cap: u64,
    pub(crate) segment: u64,
    pub(crate) age: Option<Duration>,
}

impl Limits {
    pub(crate) fn new(max_bytes: u64, max_age_s: u64) -> Self {
        let cap = max_bytes.max(CAP_MIN);
        let segment = (cap / SEGMENTS_PER_CAP).min(SEGMENT_MAX);
        Self { cap, segment, age: (max_age_s > 0).then(|| Duration::from_secs(max_age_s)) }
    }

    fn age_ns(&self) -> Option<u64> {
        self.age.map(|age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A segment that is not being written.
#[derive(Debug)]
struct Closed {
    start: u64,
    weight: u64,
    newest_ns: u64,
}

/// The segments of one stream. Touches the disk only when asked for room or to expire.
#[derive(Debug)]
pub(crate) struct Shelf {
    dir: PathBuf,
    pub(crate) limits: Limits,
    closed: VecDeque<Closed>,
    open: Option<Segment>,
    /// Where the next byte of the stream stands; known once loaded.
    next: u64,
    newest_ns: u64,
    loaded: bool,
}

/// Where bytes can go now.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    pub(crate) file: &'a File,
    /// At most so many.
    pub(crate) bytes: u64,
    /// A segment was begun or reopened for it.
    pub(crate) opened: bool,
}

impl Shelf {
    pub(crate) fn new(dir: PathBuf, limits: Limits) -> Self {
        Self {
            dir,
            limits,
            closed: VecDeque::new(),
            open: None,
            next: 0,
            newest_ns: 0,
            loaded: false,
        }
    }

    /// Finds what an earlier mover left. The last segment becomes the open one at the first byte.
    fn load(&mut self) -> io::Result<()> {
        if self.loaded {
            return Ok(());
        }
        self.closed.clear();
        for start in segment_starts(&self.dir)? {
            let file = File::open(segment_path(&self.dir, start))?;
            let len = file.metadata()?.len();
            let index = std::fs::metadata(index_path(&self.dir, start)).map_or(0, |m| m.len());
            let newest_ns = modified_ns(&file)?;
            self.closed.push_back(Closed { start, weight: len + index, newest_ns });
            self.next = self.next.max(start + len);
        }
        self.loaded = true;
        Ok(())
    }

    /// Makes room for up to `want` bytes that came at `now_ns`, and stamps them. `alone`: no other stream spoke since.
    pub(crate) fn room(&mut self, want: u64, now_ns: u64, alone: bool) -> io::Result<Room<'_>> {
        self.load()?;
        let now_ns = now_ns.max(self.newest_ns);
        let full = self.open.as_ref().is_some_and(|open| {
            open.weight_with(1) > self.limits.segment
                || !open.is_sound()
                || self.is_old(open, now_ns)
        });
        if full {
            self.close();
        }
        let opened = self.open.is_none();
        let open = match self.open.take() {
            Some(open) => open,
            None => self.begin(now_ns)?,
        };
        let limit = self.limits.segment.saturating_sub(open.weight_with(0)).max(1);
        let bytes = want.min(limit);
        let weight = open.weight_with(bytes);
        let open = self.open.insert(open);
        let mut kept: u64 = self.closed.iter().map(|closed| closed.weight).sum();
        while !self.closed.is_empty()
            && (kept + weight > self.limits.cap || self.closed.len() >= SEGMENTS_MAX)
        {
            remove(&self.dir, self.closed[0].start)?;
            kept -= self.closed[0].weight;
            self.closed.pop_front();
        }
        // Reopening may have told of a newer time.
        self.newest_ns = now_ns.max(self.newest_ns);
        open.stamp(self.newest_ns, alone)?;
        Ok(Room { file: &open.file, bytes, opened })
    }

    /// The open segment spans so much time that its first bytes would outstay the age limit by far.
    fn is_old(&self, open: &Segment, now_ns: u64) -> bool {
        let span = self.limits.age_ns().map(|age| age / SEGMENTS_PER_CAP);
        span.zip(open.oldest_ns).is_some_and(|(span, oldest)| now_ns.saturating_sub(oldest) > span)
    }

    /// Opens the last segment again if the stream goes on in it and it has room, else begins a new one.
    fn begin(&mut self, now_ns: u64) -> io::Result<Segment> {
        while let Some(last) = self.closed.back() {
            let open = Segment::open(&self.dir, last.start)?;
            let (start, end) = (last.start, last.start + open.len);
            let fits = open.weight_with(1) <= self.limits.segment && !self.is_old(&open, now_ns);
            if end == self.next && (fits || open.len == 0) {
                self.newest_ns = self.newest_ns.max(open.newest_ns().unwrap_or(0));
                self.closed.pop_back();
                return Ok(open);
            }
            if open.len > 0 {
                self.newest_ns = self.newest_ns.max(open.newest_ns().unwrap_or(0));
                break;
            }
            // Begun on a full disk and never written: its offset is not the stream's any more.
            remove(&self.dir, start)?;
            self.closed.pop_back();
        }
        Segment::open(&self.dir, self.next)
    }

    /// `bytes` were moved into the room given last.
    pub(crate) fn wrote(&mut self, bytes: u64) {
        self.next += bytes;
        if let Some(open) = &mut self.open {
            open.len += bytes;
        }
    }

    /// `bytes` of the stream are lost: the next segment begins after them, so that readers can count them.
    pub(crate) fn skip(&mut self, bytes: u64) {
        self.next += bytes;
        self.close();
    }

    /// Closes the files; the next byte opens them again.
    pub(crate) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.closed.push_back(Closed {
                start: open.start,
                weight: open.len + open.index_len(),
                newest_ns: self.newest_ns,
            });
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Removes segments whose newest byte is older than the age limit. The last one is replaced by an empty one, so that
    /// the stream's offset is remembered. Gives the moment of the next removal, if any is in sight.
    pub(crate) fn expire(&mut self, now_ns: u64) -> io::Result<Option<u64>> {
        let Some(age) = self.limits.age_ns() else { return Ok(None) };
        self.load()?;
        let due = |newest: u64| newest.saturating_add(age);
        if self.open.as_ref().is_some_and(|open| open.len > 0) && due(self.newest_ns) <= now_ns {
            self.close();
        }
        while let Some(oldest) = self.closed.front() {
            let empty = oldest.start == self.next;
            if empty || due(oldest.newest_ns) > now_ns {
                break;
            }
            if self.closed.len() == 1 && self.open.is_none() {
                drop(Segment::open(&self.dir, self.next)?);
                let marker = Closed { start: self.next, weight: 0, newest_ns: now_ns };
                self.closed.push_back(marker);
            }
            remove(&self.dir, self.closed[0].start)?;
            self.closed.pop_front();
        }
        let oldest = self.closed.front().filter(|closed| closed.start != self.next);
        let oldest = oldest.map(|closed| closed.newest_ns);
        let open = self.open.as_ref().filter(|open| open.len > 0).map(|_| self.newest_ns);
        Ok(oldest.or(open).map(due))
    }
}
