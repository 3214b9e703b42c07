//! One log pipe: moving what is in it, or reading it away when the disk refuses.
//!
//! ```text
//!            disk says no                    RETRY_AFTER is over and bytes come
//! writing ───────────────▶ refusing (bytes ──────────────────────────────────────▶ writing in a new segment,
//!                          are counted)                                             or refusing again
//! ```

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ganger_core::logwire::LogReply;
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, splice};

use super::shelf::Shelf;
use crate::layout::StreamKey;

/// Bytes per turn of a stream, so that a loud one can't hold up the others for more than a millisecond or so.
const TURN: u64 = 1 << 20;
/// What a pipe is grown to when it was seen full: the most an unprivileged process may ask for (pipe(7), pipe-max-size).
const PIPE_GROWN: usize = 1 << 20;
/// A disk that refused is asked again after this: often enough to go on soon, seldom enough to cost nothing.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Between two reports of dropped bytes of one stream.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How a turn went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Bytes went to the segment, or away.
    Moved {
        bytes: u64,
        /// A segment was opened for them.
        opened: bool,
    },
    /// The pipe is empty.
    Empty,
    /// Nobody can write to it any more.
    HungUp,
    /// No file descriptors left: others should be closed and the turn taken again.
    NoDescriptors,
}

/// A stream that has a pipe.
#[derive(Debug)]
pub(crate) struct LogStream {
    pub(crate) key: StreamKey,
    pub(crate) pipe: OwnedFd,
    pub(crate) shelf: Shelf,
    /// Counts the mover's turns; the stream with the smallest is idle longest.
    pub(crate) last_turn: u64,
    pipe_size: u64,
    refused_until: Option<Instant>,
    dropped: u64,
    why: String,
    reported_at: Option<Instant>,
}

impl LogStream {
    pub(crate) fn new(key: StreamKey, pipe: OwnedFd, shelf: Shelf) -> Self {
        // 0 when the descriptor is no pipe; then it is never grown.
        let pipe_size = fcntl_getpipe_size(&pipe).unwrap_or(0) as u64;
        Self {
            key,
            pipe,
            shelf,
            last_turn: 0,
            pipe_size,
            refused_until: None,
            dropped: 0,
            why: String::new(),
            reported_at: None,
        }
    }

    /// Moves what is there, up to a turn's share. Never waits for bytes.
    pub(crate) fn turn(&mut self, null: &File, now: Instant, now_ns: u64, alone: bool) -> Turn {
        if self.refused_until.is_some_and(|until| now < until) {
            return self.read_away(null);
        }
        let room = match self.shelf.room(TURN, now_ns, alone) {
            Ok(room) => room,
            Err(error) => return self.refused(&error, null, now),
        };
        let (opened, bytes) = (room.opened, usize::try_from(room.bytes).unwrap_or(usize::MAX));
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        match splice(&self.pipe, None, room.file, None, bytes, flags) {
            Ok(0) => Turn::HungUp,
            Ok(moved) => {
                let moved = moved as u64;
                self.shelf.wrote(moved);
                self.refused_until = None;
                self.grow(moved);
                Turn::Moved { bytes: moved, opened }
            }
            Err(Errno::AGAIN | Errno::INTR) => Turn::Empty,
            Err(error) => self.refused(&error.into(), null, now),
        }
    }

    fn refused(&mut self, error: &io::Error, null: &File, now: Instant) -> Turn {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        if matches!(errno, Some(Errno::MFILE | Errno::NFILE)) && self.refused_until.is_none() {
            self.refused_until = Some(now);
            return Turn::NoDescriptors;
        }
        self.refused_until = Some(now + RETRY_AFTER);
        self.why = error.to_string();
        self.read_away(null)
    }

    fn read_away(&mut self, null: &File) -> Turn {
        let share = usize::try_from(TURN).unwrap_or(usize::MAX);
        match splice(&self.pipe, None, null, None, share, SpliceFlags::NONBLOCK) {
            Ok(0) => Turn::HungUp,
            Ok(gone) => {
                self.dropped += gone as u64;
                self.shelf.skip(gone as u64);
                Turn::Moved { bytes: gone as u64, opened: false }
            }
            Err(_) => Turn::Empty,
        }
    }

    /// A pipe that gave half of what it can hold may have been full, so that its writer waited: a write that doesn't fit
    /// in the last page begins another (pipe_write in fs/pipe.c), so two pages hold one page's worth at least. Tried
    /// once: a refusal (EPERM above the user's soft limit, pipe(7)) costs speed only.
    fn grow(&mut self, moved: u64) {
        if self.pipe_size > 0 && 2 * moved >= self.pipe_size && self.pipe_size < PIPE_GROWN as u64 {
            self.pipe_size = fcntl_setpipe_size(&self.pipe, PIPE_GROWN).unwrap_or(0) as u64;
        }
    }

    /// Moves what is in the pipe at this moment, and stops there even if more keeps coming.
    pub(crate) fn drain(&mut self, null: &File, now_ns: u64) {
        let mut left = rustix::io::ioctl_fionread(self.pipe.as_fd()).unwrap_or(0);
        while left > 0 {
            match self.turn(null, Instant::now(), now_ns, false) {
                Turn::Moved { bytes, .. } => left = left.saturating_sub(bytes),
                // Asked again it reads away: a stream that ends can't wait for descriptors.
                Turn::NoDescriptors => {}
                Turn::Empty | Turn::HungUp => break,
            }
        }
    }

    /// When the next report of dropped bytes may be sent; `None` when there is nothing to tell.
    pub(crate) fn report_due(&self, now: Instant) -> Option<Instant> {
        let earliest = self.reported_at.map_or(now, |at| at + REPORT_EVERY);
        (self.dropped > 0).then_some(earliest)
    }

    /// The report, and the count starts again.
    pub(crate) fn take_report(&mut self, now: Instant) -> LogReply {
        self.reported_at = Some(now);
        LogReply::Dropped {
            name: self.key.name.clone(),
            slot: self.key.slot,
            stream: self.key.stream,
            bytes: std::mem::take(&mut self.dropped),
            why: self.why.clone(),
        }
    }
}
