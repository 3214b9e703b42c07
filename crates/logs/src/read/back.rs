//! The lines of one stream, newest first, as ranges of offsets: for `-n`.

use std::io;
use std::path::PathBuf;

use memchr::{memchr, memrchr};

use super::forward::LINE_MAX;
use super::tape::{Got, Tape};

/// Read at a time while looking for line ends.
const BLOCK: usize = 64 << 10;

/// A line or piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    /// Without the line end.
    pub(super) end: u64,
    pub(super) continued: bool,
}

/// Walks back from an end to a floor.
#[derive(Debug)]
pub(super) struct Back {
    floor: u64,
    /// Lines from here on were given.
    end: u64,
    /// The line that is being given, in pieces: its start, and the end of the pieces left.
    line: Option<(u64, u64)>,
    block: Vec<u8>,
    block_start: u64,
}

impl Back {
    pub(super) fn new(floor: u64, end: u64) -> Self {
        Self { floor, end, line: None, block: Vec::new(), block_start: 0 }
    }

    /// The line before the one given last.
    pub(super) fn previous(&mut self, tape: &mut Tape) -> io::Result<Option<Span>> {
        if self.line.is_none() && !self.next_line(tape)? {
            return Ok(None);
        }
        let Some((start, end)) = self.line else { return Ok(None) };
        // Pieces are counted from the line's start, as the forward reader cuts them.
        let pieces = (end - start).div_ceil(LINE_MAX as u64).max(1);
        let piece = start + (pieces - 1) * LINE_MAX as u64;
        self.line = (piece > start).then_some((start, piece));
        Ok(Some(Span { start: piece, end, continued: piece > start }))
    }

    fn next_line(&mut self, tape: &mut Tape) -> io::Result<bool> {
        // A gap right before: go on at the end of what is kept before it.
        while self.end > self.floor && self.byte_before(tape, self.end)?.is_none() {
            match tape.kept_before(self.end) {
                Some(end) => self.end = end,
                None => return Ok(false),
            }
        }
        if self.end <= self.floor {
            return Ok(false);
        }
        let run = tape.run_start(self.end).max(self.floor);
        let newline = self.byte_before(tape, self.end)? == Some(b'\n');
        let content_end = self.end - u64::from(newline);
        let mut at = content_end;
        while at > run {
            if !self.load(tape, at)? {
                break;
            }
            let inside = usize::try_from(at - self.block_start).unwrap_or(0);
            if let Some(found) = memrchr(b'\n', &self.block[..inside]) {
                at = self.block_start + found as u64 + 1;
                break;
            }
            at = self.block_start;
        }
        let start = at.max(run);
        self.line = Some((start, content_end));
        self.end = start;
        Ok(true)
    }

    fn byte_before(&mut self, tape: &mut Tape, offset: u64) -> io::Result<Option<u8>> {
        if !self.load(tape, offset)? {
            return Ok(None);
        }
        let at = usize::try_from(offset - self.block_start).unwrap_or(0);
        Ok(at.checked_sub(1).and_then(|at| self.block.get(at)).copied())
    }

    /// Has in memory the bytes right before `offset`, within their run; false when that byte is not kept.
    fn load(&mut self, tape: &mut Tape, offset: u64) -> io::Result<bool> {
        let loaded = self.block_start..=self.block_start + self.block.len() as u64;
        if offset > self.block_start && loaded.contains(&offset) {
            return Ok(true);
        }
        let start = offset.saturating_sub(BLOCK as u64).max(tape.run_start(offset));
        self.block.resize(usize::try_from(offset - start).unwrap_or(0), 0);
        self.block_start = start;
        let mut filled = 0;
        while filled < self.block.len() {
            match tape.read_at(start + filled as u64, &mut self.block[filled..])? {
                Got::Bytes(n) => filled += n,
                Got::Gap(_) | Got::End => {
                    self.block.clear();
                    return Ok(false);
                }
            }
        }
        Ok(filled > 0)
    }
}

/// First start of a line at or after `offset`, which itself counts as one only if a line end stands before it.
/// Without a line end within a line's longest piece it is `offset`: rather a cut line than none.
pub(super) fn line_start(tape: &mut Tape, offset: u64) -> io::Result<u64> {
    let head = offset == tape.start();
    if offset == 0 || (!head && tape.run_start(offset) == offset) {
        // The stream's very beginning, or the first byte after a gap.
        return Ok(offset);
    }
    let mut at = if head { offset } else { offset - 1 };
    let mut block = vec![0; BLOCK];
    while at < offset + LINE_MAX as u64 {
        match tape.read_at(at, &mut block)? {
            Got::Bytes(n) => match memchr(b'\n', &block[..n]) {
                Some(found) => return Ok(at + found as u64 + 1),
                None => at += n as u64,
            },
            Got::Gap(next) => return Ok(next),
            Got::End => return Ok(if head { offset } else { at }),
        }
    }
    Ok(offset)
}

/// All lines of [`tail`] together.
const TAIL_BYTES: u64 = 64 << 10;

/// The last `n` lines of a stream, oldest first.
pub(super) fn tail(dir: PathBuf, n: usize) -> io::Result<Vec<String>> {
    let mut tape = Tape::open(dir, true)?;
    let first = tape.start();
    let floor = line_start(&mut tape, first)?;
    let mut back = Back::new(floor, tape.end());
    let mut lines = Vec::new();
    let mut left = TAIL_BYTES;
    while lines.len() < n && left > 0 {
        let Some(span) = back.previous(&mut tape)? else { break };
        let bytes = tape.read_range(span.start, span.end.min(span.start + left))?;
        left -= bytes.len() as u64;
        lines.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    lines.reverse();
    Ok(lines)
}
