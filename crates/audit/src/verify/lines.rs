//! Lines of a segment, one after the other, through one buffer.

use std::io::{self, Read};

use crate::LINE_MAX;

/// Bytes read at once: a hundred usual lines. It grows to [`BUFFER_MAX`] where a line is longer.
const BUFFER: usize = 64 << 10;
/// Holds the longest line.
const BUFFER_MAX: usize = 2 * LINE_MAX;

/// A piece of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A line with its newline.
    Line(&'a [u8]),
    /// Bytes behind the last newline: a line that is being written, or that a crash left.
    Torn(usize),
    /// More than [`LINE_MAX`] bytes without a newline.
    TooLong,
}

#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffer: vec![0; BUFFER], start: 0, end: 0 }
    }

    /// The next piece; none at the end. After [`Piece::Torn`] more may come once the file has grown.
    pub(crate) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        let mut searched = 0;
        loop {
            let open = &self.buffer[self.start + searched..self.end];
            if let Some(at) = memchr::memchr(b'\n', open) {
                let from = self.start;
                self.start += searched + at + 1;
                return Ok(Some(Piece::Line(&self.buffer[from..self.start])));
            }
            searched = self.end - self.start;
            if searched > LINE_MAX {
                return Ok(Some(Piece::TooLong));
            }
            if self.fill()? == 0 {
                return Ok((searched > 0).then_some(Piece::Torn(searched)));
            }
        }
    }

    /// Forgets what was read beyond the last whole line, and hands back where it was read from.
    pub(crate) const fn forget(&mut self) -> &mut R {
        (self.start, self.end) = (0, 0);
        &mut self.from
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize((self.buffer.len() * 2).min(BUFFER_MAX), 0);
        }
        loop {
            match self.from.read(&mut self.buffer[self.end..]) {
                Ok(got) => {
                    self.end += got;
                    return Ok(got);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_length_come_whole() {
        let lengths =
            [0, 1, LINE_MAX - 1, 7, LINE_MAX - 1, LINE_MAX - 1, LINE_MAX - 1, LINE_MAX - 1, 3];
        let mut text = Vec::new();
        for length in lengths {
            text.extend(std::iter::repeat_n(b'x', length));
            text.push(b'\n');
        }
        text.extend_from_slice(b"torn");
        let mut lines = Lines::new(&text[..]);
        for length in lengths {
            let Some(Piece::Line(line)) = lines.next().unwrap() else { panic!("no line") };
            assert_eq!(line.len(), length + 1);
        }
        assert_eq!(lines.next().unwrap(), Some(Piece::Torn(4)));
        let long = vec![b'x'; LINE_MAX + 2];
        assert_eq!(Lines::new(&long[..]).next().unwrap(), Some(Piece::TooLong));
    }
}
