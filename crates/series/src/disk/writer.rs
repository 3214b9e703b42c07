//! Writes a tier: appends groups to its last segment, begins the next.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::frame;
use crate::index::{Builder, Index};
use crate::key::{Key, Tick};
use crate::segment::{self, Stream, Tail};
use crate::view::Found;

/// Bytes at which a segment ends. Retention goes by segments, so a small bound on a tier makes small segments.
pub(super) const SEGMENT_MAX: u64 = 16 << 20;
/// Segments that a bound on bytes is cut into, at least.
const SEGMENTS_LEAST: u64 = 8;

#[derive(Debug)]
pub(super) struct Writer {
    stream: Stream,
    folder: PathBuf,
    number: u64,
    tail: Option<Tail>,
    builder: Builder,
    segment_max: u64,
    /// Seconds after which a segment ends: old samples go a segment at a time.
    reach: Tick,
    /// Frames of the group that is put together.
    frame: Vec<u8>,
}

impl Writer {
    pub(super) fn open(
        folder: &Path,
        stream: Stream,
        max_bytes: u64,
        reach: Tick,
        found: Option<Found>,
    ) -> io::Result<Self> {
        let mut writer = Self {
            stream,
            folder: folder.to_path_buf(),
            number: 1,
            tail: None,
            builder: Builder::default(),
            segment_max: (max_bytes / SEGMENTS_LEAST).clamp(4 << 10, SEGMENT_MAX),
            reach,
            frame: Vec::new(),
        };
        if let Some(Found { number, path, builder, end }) = found {
            writer.number = number;
            writer.tail = Some(Tail::open(&path, end)?);
            writer.builder = builder;
        }
        Ok(writer)
    }

    /// Appends a group: all of it or nothing.
    pub(super) fn append(&mut self, key: &Key, first: Tick, payload: &[u8]) -> io::Result<()> {
        self.frame.clear();
        frame::put(&mut self.frame, payload);
        let tail = match &mut self.tail {
            Some(tail) => tail,
            None => {
                let path = self.folder.join(segment::name(self.stream, self.number));
                self.tail.insert(Tail::open(&path, 0)?)
            }
        };
        let offset = tail.len;
        tail.append(&self.frame)?;
        self.builder.add(key.clone(), first, offset);
        Ok(())
    }

    /// Makes sure of what was appended, and puts the segment's index into `list`, in place of an older one of the same segment. Ends the
    /// segment if it is long enough.
    pub(super) fn settle(&mut self, list: &mut Vec<Arc<Index>>) -> io::Result<()> {
        let Some(tail) = &self.tail else { return Ok(()) };
        let path = self.folder.join(segment::name(self.stream, self.number));
        let index = Arc::new(self.builder.index(self.number, &path, tail.len));
        match list.last_mut() {
            Some(last) if last.number == self.number => *last = index,
            _ => list.push(index),
        }
        let synced = tail.sync();
        let is_old =
            self.builder.span().is_some_and(|(oldest, newest)| newest - oldest >= self.reach);
        if tail.len >= self.segment_max || is_old {
            self.tail = None;
            self.builder = Builder::default();
            self.number += 1;
        }
        synced
    }

    /// The number of the segment that is appended to: retention leaves it.
    pub(super) fn current(&self) -> Option<u64> {
        self.tail.as_ref().map(|_| self.number)
    }
}
