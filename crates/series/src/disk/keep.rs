//! What is kept: bounds of bytes and of age for each tier, and the file of marks.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Disk;
use super::writer::SEGMENT_MAX;
use crate::counts::Counters;
use crate::index::Index;
use crate::key::Tick;
use crate::options::{Keep, Options};
use crate::segment::{self, Stream, Tail};
use crate::view::{DAY, HOUR};

/// Bytes of a segment of marks.
const MARKS_SEGMENT: u64 = 1 << 20;

impl Disk {
    /// Removes the oldest segments of each tier until its bounds hold. The one that is written stays.
    pub(super) fn retain(&mut self) {
        let now = self.now;
        let Options { fine, minute, hour, .. } = &self.options;
        let view = &mut self.view;
        let mut gone = cut(&mut view.fine, fine, now, HOUR, self.fine.current());
        gone += cut(&mut view.minute, minute, now, HOUR, self.minute.current());
        gone += cut(&mut view.hour, hour, now, DAY, self.hour.current());
        if gone > 0 {
            Counters::add(&self.counters.segments_removed, gone);
            self.publish();
        }
    }
}

/// `reach`: seconds that the newest group of a segment may go beyond its first tick.
fn cut(
    list: &mut Vec<Arc<Index>>,
    keep: &Keep,
    now: Tick,
    reach: Tick,
    current: Option<u64>,
) -> u64 {
    let mut bytes: u64 = list.iter().map(|index| index.bytes).sum();
    let oldest = now.saturating_sub(keep.age_s());
    let mut gone = 0;
    list.retain(|index| {
        let is_old = index.span.is_none_or(|(_, newest)| newest.saturating_add(reach) < oldest);
        if Some(index.number) == current || !(is_old || bytes > keep.max_bytes) {
            return true;
        }
        match fs::remove_file(&index.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => true,
            _ => {
                bytes -= index.bytes;
                gone += 1;
                false
            }
        }
    });
    gone
}

/// The file of marks.
#[derive(Debug)]
pub(super) struct Marks {
    number: u64,
    tail: Tail,
}

impl Marks {
    /// Goes on with the last file.
    pub(super) fn open(options: &Options) -> io::Result<Self> {
        let listed = segment::list(&options.folder, Stream::Marks)?;
        let Some((number, path)) = listed.into_iter().last() else {
            return Self::begin(options, 1);
        };
        let scan = crate::frame::scan(&fs::File::open(&path)?, true, |_, _| {})?;
        Ok(Self { number, tail: Tail::open(&path, scan.end)? })
    }

    fn begin(options: &Options, number: u64) -> io::Result<Self> {
        let path = options.folder.join(segment::name(Stream::Marks, number));
        Ok(Self { number, tail: Tail::open(&path, 0)? })
    }

    /// Writes marks and waits for the disk: all of them or none.
    pub(super) fn write(
        &mut self,
        options: &Options,
        payloads: &[Vec<u8>],
        now: Tick,
    ) -> io::Result<()> {
        if self.tail.len >= MARKS_SEGMENT.min(options.marks.max_bytes / 4).min(SEGMENT_MAX) {
            *self = Self::begin(options, self.number + 1)?;
            self.retain(options, now)?;
        }
        let mut frames = Vec::new();
        for payload in payloads {
            crate::frame::put(&mut frames, payload);
        }
        let before = self.tail.len;
        self.tail.append(&frames)?;
        self.tail.sync().or_else(|error| {
            // Nobody was told that they are there.
            self.tail.back_to(before)?;
            Err(error)
        })
    }

    /// A file's age is that of its last write.
    fn retain(&self, options: &Options, now: Tick) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        let mut files: Vec<(PathBuf, u64, Tick)> = Vec::new();
        for (_, path) in segment::list(&options.folder, Stream::Marks)? {
            let meta = fs::metadata(&path)?;
            files.push((path, meta.len(), meta.mtime()));
        }
        files.pop();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (path, len, written) in files {
            if bytes > options.marks.max_bytes
                || written < now.saturating_sub(options.marks.age_s())
            {
                fs::remove_file(path)?;
                bytes -= len;
            }
        }
        Ok(())
    }
}
