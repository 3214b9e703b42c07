//! A stream of bytes and descriptors, cut into messages that own their descriptors.
//!
//! A read gives bytes, and the descriptors that came with some of them. A descriptor comes with the first byte of its message, and the kernel lets a
//! read that took descriptors end with what was sent with them, while what it took before that may be earlier messages. So the owner
//! is a message that **starts in that read**: the first one that says `NODE_HANDLE`. A descriptor that no such message claims is closed
//! and told.

use std::collections::VecDeque;
use std::ops::Range;

use super::{FRAME_MAX, Kind, Refused};

/// Room made for one read, in bytes, while a peer's reads fill it.
const READ_CHUNK: usize = 64 << 10;

/// Room made for one read of a peer that says little: the room is zeroed before each read, and most reads are one short message.
const READ_SMALL: usize = 4 << 10;

/// Descriptors that may wait for the end of their message. One read brings at most 253, and nobody but a broken peer has more
/// than a few messages begun and not ended.
const FDS_MAX: usize = 256;

/// A larger empty buffer is given back.
const KEEP_CAPACITY: usize = 4 * READ_CHUNK;

/// Bytes of an `advanced` frame's length.
const LENGTH: usize = 4;

/// How messages are written on a channel (`NODE_CHANNEL_SERIALIZATION_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Serialization {
    /// Lines of JSON.
    #[default]
    Json,
    /// Values of V8's serializer behind their length.
    Advanced,
}

impl Serialization {
    /// The value of `NODE_CHANNEL_SERIALIZATION_MODE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Advanced => "advanced",
        }
    }
}

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<D> {
    /// Without its newline or length.
    pub body: Vec<u8>,
    /// What it is for.
    pub kind: Kind,
    /// The descriptor that came with it; `None` for a [`Kind::Handle`] means that it was lost on the way.
    pub handle: Option<D>,
}

/// Cuts a channel's stream. `D` is a descriptor.
#[derive(Debug)]
pub struct Frames<D> {
    serialization: Serialization,
    cap: usize,
    buf: Vec<u8>,
    /// Where the first unread byte is in `buf`.
    start: usize,
    /// No newline before this one.
    scanned: usize,
    /// Where `buf` begins in the stream.
    offset: u64,
    /// Room for the next read.
    room: usize,
    /// Where the bytes of the last read begin in the stream.
    read_from: u64,
    /// Waiting descriptors, each with the place of its read in the stream.
    fds: VecDeque<(Range<u64>, D)>,
    /// Bytes of a message that is too long, skipped so far.
    skipped: Option<Skipped>,
    told: VecDeque<Refused>,
}

/// A message that is too long.
#[derive(Debug, Clone, Copy)]
struct Skipped {
    begun_at: u64,
    len: u64,
    /// What is still to come, where the message said so.
    left: Option<u64>,
    /// That its end may never come has been told.
    told: bool,
}

/// A line that is so many times too long is told before its end: that may never come.
const ENDLESS: u64 = 4;

impl<D> Frames<D> {
    /// Takes messages of up to [`FRAME_MAX`].
    #[must_use]
    pub const fn new(serialization: Serialization) -> Self {
        Self::with_cap(serialization, FRAME_MAX)
    }

    /// Takes messages of up to `cap` bytes.
    #[must_use]
    pub const fn with_cap(serialization: Serialization, cap: usize) -> Self {
        Self {
            serialization,
            cap,
            buf: Vec::new(),
            start: 0,
            scanned: 0,
            offset: 0,
            room: READ_SMALL,
            read_from: 0,
            fds: VecDeque::new(),
            skipped: None,
            told: VecDeque::new(),
        }
    }

    /// The serialization of this stream.
    #[must_use]
    pub const fn serialization(&self) -> Serialization {
        self.serialization
    }

    /// What one read gave.
    pub fn push(&mut self, chunk: &[u8], fds: impl IntoIterator<Item = D>) {
        self.space().extend_from_slice(chunk);
        self.arrived(fds);
    }

    /// The buffer to append one read's bytes to, with room for a read. [`Self::arrived`] must follow.
    pub(super) fn space(&mut self) -> &mut Vec<u8> {
        if self.start == self.buf.len() || self.start >= self.buf.len() / 2 {
            self.offset += self.start as u64;
            self.buf.drain(..self.start);
            self.scanned = self.scanned.saturating_sub(self.start);
            self.start = 0;
        }
        if self.buf.is_empty() && self.buf.capacity() > KEEP_CAPACITY {
            self.buf.shrink_to(READ_CHUNK);
        }
        self.buf.reserve(self.room);
        self.read_from = self.offset + self.buf.len() as u64;
        &mut self.buf
    }

    /// How much to read at once.
    pub(super) const fn room(&self) -> usize {
        self.room
    }

    /// A read took so much of [`Self::room`].
    pub(super) fn took(&mut self, bytes: usize) {
        self.room = if bytes == self.room { READ_CHUNK } else { READ_SMALL };
    }

    /// The descriptors of the bytes appended last.
    pub(super) fn arrived(&mut self, fds: impl IntoIterator<Item = D>) {
        let read = self.read_from..self.offset + self.buf.len() as u64;
        for fd in fds {
            if self.fds.len() < FDS_MAX {
                self.fds.push_back((read.clone(), fd));
            } else {
                self.told.push_back(Refused::TooManyHandles { most: FDS_MAX });
            }
        }
    }

    /// Descriptors of the bytes appended last could not be had.
    pub(super) fn lost_handles(&mut self) {
        self.told.push_back(Refused::HandlesLost);
    }

    /// The next message, or what was refused in its place; `None` until more comes.
    pub fn next_frame(&mut self) -> Option<Result<Frame<D>, Refused>> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(Err(told));
            }
            if let Some(skipped) = self.skipped {
                self.skip(skipped)?;
                continue;
            }
            let begun_at = self.offset + self.start as u64;
            self.drop_strays(begun_at);
            if !self.told.is_empty() {
                continue;
            }
            let cut = match self.serialization {
                Serialization::Json => self.cut_line(),
                Serialization::Advanced => self.cut_value(),
            };
            let Some((from, to)) = cut else {
                // Either too long, or all of it is not there yet.
                self.skipped?;
                continue;
            };
            let body = self.buf[from..to].to_vec();
            return Some(self.owned(body, begun_at));
        }
    }

    /// What came after the last whole message: at the end of a stream, what was cut off.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.buf[self.start..]
    }

    fn owned(&mut self, body: Vec<u8>, begun_at: u64) -> Result<Frame<D>, Refused> {
        let kind = Kind::of(&body, self.serialization)?;
        let handle = match kind {
            Kind::Handle => self.claim(begun_at),
            _ => None,
        };
        Ok(Frame { body, kind, handle })
    }

    fn claim(&mut self, begun_at: u64) -> Option<D> {
        let first = self.fds.front().is_some_and(|(read, _)| read.contains(&begun_at));
        if first { self.fds.pop_front().map(|(_, fd)| fd) } else { None }
    }

    /// Descriptors of reads that ended before a message that begins at `at`: that message is not theirs, nor is a later one.
    fn drop_strays(&mut self, at: u64) {
        while self.fds.front().is_some_and(|(read, _)| read.end <= at) {
            self.fds.pop_front();
            self.told.push_back(Refused::UnsolicitedHandle);
        }
    }

    /// The bounds of the line at the front, past which `start` then stands.
    fn cut_line(&mut self) -> Option<(usize, usize)> {
        let found = memchr::memchr(b'\n', &self.buf[self.scanned..]).map(|at| self.scanned + at);
        let end = found.unwrap_or(self.buf.len());
        self.scanned = end;
        // Bun puts this before internal messages.
        let from = self.start + usize::from(self.buf.get(self.start) == Some(&0x02));
        if end.saturating_sub(from) > self.cap {
            let begun_at = self.offset + self.start as u64;
            self.skipped =
                Some(Skipped { begun_at, len: (end - from) as u64, left: None, told: false });
            self.start = end;
            return None;
        }
        found?;
        self.start = end + 1;
        self.scanned = self.start;
        Some((from, end))
    }

    fn cut_value(&mut self) -> Option<(usize, usize)> {
        let head = self.buf[self.start..].first_chunk::<LENGTH>()?;
        let length = u32::from_be_bytes(*head) as usize;
        let from = self.start + LENGTH;
        if length > self.cap {
            let begun_at = self.offset + self.start as u64;
            let len = length as u64;
            self.skipped = Some(Skipped { begun_at, len, left: Some(len), told: false });
            self.start = from;
            return None;
        }
        let to = from + length;
        (to <= self.buf.len()).then(|| {
            self.start = to;
            (from, to)
        })
    }

    /// Goes on skipping; `None` until more comes.
    fn skip(&mut self, mut skipped: Skipped) -> Option<()> {
        let here = self.buf.len() - self.start;
        let (took, done) = match skipped.left {
            Some(left) => {
                let took = here.min(usize::try_from(left).unwrap_or(usize::MAX));
                skipped.left = Some(left - took as u64);
                (took, skipped.left == Some(0))
            }
            None => match memchr::memchr(b'\n', &self.buf[self.start..]) {
                Some(at) => {
                    skipped.len += at as u64;
                    (at + 1, true)
                }
                None => {
                    skipped.len += here as u64;
                    (here, false)
                }
            },
        };
        self.start += took;
        self.scanned = self.start;
        if !done {
            let most = (self.cap as u64).saturating_mul(ENDLESS);
            let endless = !skipped.told && skipped.left.is_none() && skipped.len > most;
            if endless {
                skipped.told = true;
                self.told.push_back(Refused::Endless { cap: self.cap });
            }
            self.skipped = Some(skipped);
            if endless {
                return Some(());
            }
            // Descriptors that came after its first byte may be anybody's: they are told once it has ended.
            return None;
        }
        self.skipped = None;
        self.told.push_back(Refused::TooLong { len: skipped.len, cap: self.cap });
        self.drop_strays(skipped.begun_at);
        Some(())
    }
}
