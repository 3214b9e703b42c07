//! What is shown of a log: the newest lines, and how far somebody has gone back.

use std::collections::VecDeque;

use ganger_api::LogLine;

use super::rows::RowId;

/// Lines that can be gone back to; `ganger logs` has all.
pub(crate) const LINES: usize = 2_000;
/// Bytes kept of a line: wider than any screen.
const LINE_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Whose, while the pane is open.
    pub(crate) of: Option<RowId>,
    pub(crate) lines: VecDeque<LogLine>,
    /// So many lines from the end; 0 follows.
    pub(crate) back: usize,
    /// Why nothing comes.
    pub(crate) broken: Option<String>,
}

impl Log {
    /// Opens it on somebody, or leaves it there.
    pub(crate) fn show(&mut self, of: RowId) {
        if self.of.as_ref() != Some(&of) {
            *self = Self { of: Some(of), ..Self::default() };
        }
    }

    pub(crate) fn close(&mut self) {
        *self = Self::default();
    }

    /// A stream begins, with lines that were there before.
    pub(crate) fn begin(&mut self) {
        (self.back, self.broken) = (0, None);
        self.lines.clear();
    }

    pub(crate) fn push(&mut self, mut line: LogLine) {
        if line.line.len() > LINE_MAX {
            line.line.truncate(line.line.floor_char_boundary(LINE_MAX));
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        if self.back > 0 {
            // Who reads goes on reading.
            self.scroll(1);
        }
    }

    /// Back by so many lines, or forth.
    pub(crate) fn scroll(&mut self, lines: isize) {
        let most = self.lines.len().saturating_sub(1);
        self.back = self.back.saturating_add_signed(lines).min(most);
    }

    /// The lines of a pane so high.
    pub(crate) fn window(&self, height: usize) -> impl Iterator<Item = &LogLine> {
        let end = self.lines.len() - self.back.min(self.lines.len());
        self.lines.range(end.saturating_sub(height)..end)
    }
}
