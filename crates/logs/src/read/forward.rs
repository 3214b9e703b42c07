//! The lines of one stream, oldest first.

use std::io;

use memchr::memchr;

use super::tape::{Got, Tape};

/// Longest piece of a line. Longer lines come in pieces marked `continued`, so that memory stays bounded.
pub(super) const LINE_MAX: usize = 1 << 20;

/// A line or piece of one, in its reader's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw {
    /// Of its first byte.
    pub(super) offset: u64,
    pub(super) ts_ns: u64,
    pub(super) continued: bool,
    pub(super) lost_before: u64,
    len: usize,
    /// Its line end, 0 or 1.
    newline: usize,
}

/// Reads on from an offset.
#[derive(Debug)]
pub(super) struct Forward {
    tape: Tape,
    /// Bytes from `offset` on are `buf[from..]`.
    buf: Vec<u8>,
    from: usize,
    offset: u64,
    /// How far `buf[from..]` was searched for a line end.
    searched: usize,
    /// Not beyond this offset; lines that begin before it are read to their end.
    until: u64,
    block: usize,
    continued: bool,
    lost: u64,
    line: Option<Raw>,
}

impl Forward {
    /// Reads from `offset` lines that begin before `until`, `block` bytes at a time.
    pub(super) fn new(tape: Tape, offset: u64, until: u64, block: usize) -> Self {
        let lost = tape.lost_before(offset);
        Self {
            tape,
            buf: Vec::new(),
            from: 0,
            offset,
            searched: 0,
            until,
            block,
            continued: lost > 0,
            lost,
            line: None,
        }
    }

    /// What is read next is not the start of a line.
    pub(super) fn continuing(mut self, continued: bool) -> Self {
        self.continued |= continued;
        self
    }

    pub(super) fn tape(&mut self) -> &mut Tape {
        &mut self.tape
    }

    /// The line found last; it stays until [`Forward::take`].
    pub(super) fn peek(&self) -> Option<Raw> {
        self.line
    }

    /// The bytes of the line found last.
    pub(super) fn bytes(&self) -> &[u8] {
        let len = self.line.map_or(0, |line| line.len);
        &self.buf[self.from..self.from + len]
    }

    /// Done with the line found last.
    pub(super) fn take(&mut self) {
        if let Some(line) = self.line.take() {
            let gone = line.len + line.newline;
            self.from += gone;
            self.offset += gone as u64;
            self.searched = 0;
            self.continued = line.newline == 0;
            self.lost = 0;
        }
    }

    /// Finds the next line. `rest`: a last line without its end counts too.
    pub(super) fn find(&mut self, rest: bool) -> io::Result<bool> {
        loop {
            if self.line.is_some() {
                return Ok(true);
            }
            let unread = &self.buf[self.from..];
            if self.offset >= self.until {
                return Ok(false);
            }
            let window = unread.len().min(LINE_MAX + 1);
            if let Some(at) = memchr(b'\n', &unread[self.searched.min(window)..window]) {
                return self.found(self.searched + at, 1);
            }
            self.searched = window;
            if window > LINE_MAX {
                return self.found(LINE_MAX, 0);
            }
            match self.fill()? {
                Got::Bytes(_) => {}
                Got::Gap(_) if window > 0 => return self.found(window, 0),
                Got::Gap(next) => self.jump(next),
                Got::End if rest && window > 0 => return self.found(window, 0),
                Got::End => return Ok(false),
            }
        }
    }

    fn found(&mut self, len: usize, newline: usize) -> io::Result<bool> {
        self.line = Some(Raw {
            offset: self.offset,
            ts_ns: self.tape.time_at(self.offset)?,
            continued: self.continued,
            lost_before: self.lost,
            len,
            newline,
        });
        Ok(true)
    }

    fn fill(&mut self) -> io::Result<Got> {
        self.buf.drain(..self.from);
        self.from = 0;
        let old = self.buf.len();
        if old == 0 {
            // After a long line the buffer goes back to its usual size.
            self.buf.shrink_to(self.block);
        }
        self.buf.resize(old + self.block, 0);
        let got = self.tape.read_at(self.offset + old as u64, &mut self.buf[old..]);
        let n = if let Ok(Got::Bytes(n)) = got { n } else { 0 };
        self.buf.truncate(old + n);
        got
    }

    fn jump(&mut self, next: u64) {
        self.lost += next - self.offset;
        self.offset = next;
        self.continued = true;
    }

    /// Follows a folder that was emptied and begun anew at a lower offset.
    pub(super) fn rewind_if_restarted(&mut self) {
        let (start, end) = (self.tape.start(), self.tape.end());
        if end > start && end < self.offset {
            (self.buf, self.from, self.searched) = (Vec::new(), 0, 0);
            (self.offset, self.continued, self.line) = (start, start > 0, None);
        }
    }
}
