//! Splits a byte stream into lines, whatever the chunk boundaries, with a cap on one line.
//!
//! Splits on the byte 0x0A only: a chunk may end inside a UTF-8 sequence, and U+2028 is an ordinary character in JSON.

/// The longest line a worker may send, unless its pool says otherwise: 16 MiB, far above any sensible result
/// and small enough that one worker can't eat the daemon.
pub const LINE_MAX: usize = 16 << 20;

/// Room made for one read: more than a Unix socket's usual buffer would be wasted, less costs system calls.
pub const READ_CHUNK: usize = 64 << 10;

/// A buffer larger than this is given back once it is empty: one long line must not stay for ever.
const KEEP_CAPACITY: usize = 4 * READ_CHUNK;

/// A peer sent more bytes without a newline than it may. The stream can't be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line longer than {} (the limit of one message)", ganger_core::Size(*cap as u64))]
pub struct LineTooLong {
    /// The cap in bytes.
    pub cap: usize,
}

/// Cuts a stream into lines. Lines are lent from the inner buffer, nothing is copied.
#[derive(Debug)]
pub struct LineSplitter {
    buf: Vec<u8>,
    /// Where the first unread byte is.
    start: usize,
    /// Bytes before this one hold no newline (from `start`).
    scanned: usize,
    cap: usize,
}

impl Default for LineSplitter {
    fn default() -> Self {
        Self::new(LINE_MAX)
    }
}

impl LineSplitter {
    /// A splitter whose lines have at most `cap` bytes, not counting the newline.
    #[must_use]
    pub const fn new(cap: usize) -> Self {
        Self { buf: Vec::new(), start: 0, scanned: 0, cap }
    }

    /// The buffer to append newly read bytes to, with room for [`READ_CHUNK`]. Only append.
    pub fn space(&mut self) -> &mut Vec<u8> {
        if self.start == self.buf.len() {
            self.buf.clear();
            if self.buf.capacity() > KEEP_CAPACITY {
                self.buf.shrink_to(READ_CHUNK);
            }
            (self.start, self.scanned) = (0, 0);
        } else if self.start > 0 && self.start >= self.buf.len() / 2 {
            self.buf.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buf.reserve(READ_CHUNK);
        &mut self.buf
    }

    /// Appends a chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        self.space().extend_from_slice(chunk);
    }

    /// The next whole line without its newline, or `None` until more bytes come.
    ///
    /// # Errors
    /// [`LineTooLong`], again at each call: what follows can't be told from the rest of the long line.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        let found = memchr::memchr(b'\n', &self.buf[self.scanned..]).map(|at| self.scanned + at);
        let end = found.unwrap_or(self.buf.len());
        if end - self.start > self.cap {
            return Err(LineTooLong { cap: self.cap });
        }
        if found.is_none() {
            self.scanned = self.buf.len();
            return Ok(None);
        }
        let line = self.start..end;
        self.start = end + 1;
        self.scanned = self.start;
        Ok(Some(&self.buf[line]))
    }

    /// What came after the last newline.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.buf[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(splitter: &mut LineSplitter, into: &mut Vec<Vec<u8>>) -> Result<(), LineTooLong> {
        while let Some(line) = splitter.next_line()? {
            into.push(line.to_vec());
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn chunks_never_matter(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>().prop_filter("newline", |b| *b != b'\n'), 0..40), 0..20),
            tail in prop::collection::vec(any::<u8>().prop_filter("newline", |b| *b != b'\n'), 0..10),
            cuts in prop::collection::vec(1usize..30, 0..60),
        ) {
            let mut stream: Vec<u8> = lines.iter().flat_map(|l| l.iter().copied().chain([b'\n'])).collect();
            stream.extend_from_slice(&tail);
            let mut splitter = LineSplitter::new(40);
            let mut got = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                splitter.push(now);
                drain(&mut splitter, &mut got)?;
                rest = later;
            }
            splitter.push(rest);
            drain(&mut splitter, &mut got)?;
            prop_assert_eq!(got, lines);
            prop_assert_eq!(splitter.rest(), &tail[..]);
        }
    }

    #[test]
    fn an_overlong_line_is_refused_with_or_without_its_newline() {
        let mut splitter = LineSplitter::new(8);
        splitter.push(b"12345678\n123456789");
        assert_eq!(splitter.next_line().unwrap(), Some(&b"12345678"[..]));
        assert_eq!(splitter.next_line(), Err(LineTooLong { cap: 8 }));
        splitter.push(b"\nok\n");
        assert_eq!(splitter.next_line(), Err(LineTooLong { cap: 8 }));
        assert!(LineTooLong { cap: LINE_MAX }.to_string().contains("16"));
    }

    #[test]
    fn a_long_lines_memory_is_given_back() {
        let mut splitter = LineSplitter::new(LINE_MAX);
        splitter.push(&vec![b'x'; 2 << 20]);
        splitter.push(b"\n");
        assert_eq!(splitter.next_line().unwrap().map(<[u8]>::len), Some(2 << 20));
        splitter.push(b"y\n");
        assert_eq!(splitter.next_line().unwrap(), Some(&b"y"[..]));
        assert!(splitter.space().capacity() <= KEEP_CAPACITY);
    }
}
