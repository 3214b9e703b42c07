//! Tables that fit: columns go by priority when the terminal is narrow, the last one is cut.

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table as Layout, Width,
};

use crate::text;

/// A column. `keep` 0 is never dropped; the highest number goes first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    keep: u8,
    right: bool,
}

/// A column of text.
pub(crate) const fn left(title: &'static str, keep: u8) -> Column {
    Column { title, keep, right: false }
}

/// A column of numbers.
pub(crate) const fn right(title: &'static str, keep: u8) -> Column {
    Column { title, keep, right: true }
}

/// How a row looks where colour is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As usual.
    Plain,
    /// Not in use.
    Dim,
    /// In between, or soon again.
    Warn,
    /// Broken.
    Bad,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\x1b[2m",
            Self::Warn => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// Blank columns between two table columns.
const GAP: usize = 2;
/// Rather than cut the last column below this, other columns go.
const SHORTEST_TAIL: usize = 30;
/// The last column is never cut below this.
const SHORTEST_CUT: usize = 8;

/// Rows under titles.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<(Tone, Vec<String>)>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with one cell per column.
    pub(crate) fn row(&mut self, tone: Tone, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a row has one cell per column");
        self.rows.push((tone, cells.iter().map(|cell| text::printable(cell)).collect()));
    }

    /// The table in at most `width` columns, without a newline at its end.
    pub(crate) fn render(&self, width: usize, coloured: bool) -> String {
        let shown = self.fitting(width);
        let mut layout = self.layout(&shown);
        if width != usize::MAX {
            cut_tail(&mut layout, width);
        }
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        for (at, line) in layout.lines().enumerate() {
            let code = match at {
                0 => "\x1b[1m",
                _ => self.rows.get(at - 1).map_or("", |(tone, _)| tone.code()),
            };
            let line = line.trim_end();
            if coloured && !code.is_empty() {
                lines.push(format!("{code}{line}\x1b[0m"));
            } else {
                lines.push(line.to_owned());
            }
        }
        lines.join("\n")
    }

    /// Indexes of the columns that fit. Empty columns of low worth (nothing to tell) are left out too.
    fn fitting(&self, width: usize) -> Vec<usize> {
        let empty = |at: usize| self.rows.iter().all(|(_, cells)| cells[at].is_empty());
        let mut shown: Vec<usize> = (0..self.columns.len())
            .filter(|at| self.columns[*at].keep == 0 || self.rows.is_empty() || !empty(*at))
            .collect();
        loop {
            let widths = self.layout(&shown).column_max_content_widths();
            let last = widths.len().saturating_sub(1);
            let needed: usize = widths
                .iter()
                .enumerate()
                .map(|(at, w)| {
                    let w = usize::from(*w);
                    if at == last { w.min(SHORTEST_TAIL) } else { w + GAP }
                })
                .sum();
            let worst = shown.iter().copied().max_by_key(|at| self.columns[*at].keep);
            match worst {
                Some(at) if needed > width && self.columns[at].keep > 0 => {
                    shown.retain(|other| *other != at);
                }
                _ => return shown,
            }
        }
    }

    fn layout(&self, shown: &[usize]) -> Layout {
        let mut layout = Layout::new();
        layout.load_style(comfy_table::presets::NOTHING);
        layout.set_content_arrangement(ContentArrangement::Disabled);
        layout.set_header(shown.iter().map(|at| self.cell(*at, self.columns[*at].title)));
        for (_, cells) in &self.rows {
            layout.add_row(shown.iter().map(|at| self.cell(*at, &cells[*at])));
        }
        for column in layout.column_iter_mut() {
            column.set_padding((0, 2));
        }
        layout
    }

    fn cell(&self, at: usize, content: &str) -> Cell {
        let side = if self.columns[at].right { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(content).set_alignment(side)
    }
}

/// Makes the last column end at the right edge; what doesn't fit becomes `…`.
fn cut_tail(layout: &mut Layout, width: usize) {
    let widths = layout.column_max_content_widths();
    let Some((tail, before)) = widths.split_last() else { return };
    let used: usize = before.iter().map(|w| usize::from(*w) + GAP).sum();
    let room = width.saturating_sub(used).max(SHORTEST_CUT);
    if usize::from(*tail) <= room {
        return;
    }
    let room = u16::try_from(room + GAP).unwrap_or(u16::MAX);
    layout.set_content_arrangement(ContentArrangement::Dynamic);
    layout.set_truncation_indicator("…");
    if let Some(column) = layout.column_mut(before.len()) {
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(room)));
    }
    for row in layout.row_iter_mut() {
        row.max_height(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[
            left("NAME", 0),
            left("STATE", 0),
            right("PID", 2),
            right("UP", 1),
            left("REASON", 0),
        ]);
        let long = "exited with code 1, then 2 more times; next try in 3.2s";
        for (tone, cells) in [
            (Tone::Plain, ["web#1", "running", "4711", "12m", ""]),
            (Tone::Warn, ["a-longer-name#12", "backoff", "", "", long]),
        ] {
            table.row(tone, cells.map(str::to_owned).to_vec());
        }
        table
    }

    #[test]
    fn wide_shows_all() {
        insta::assert_snapshot!(sample().render(usize::MAX, false));
    }

    #[test]
    fn narrow_drops_by_priority_and_cuts_the_tail() {
        let text = sample().render(48, false);
        assert!(text.lines().all(|line| line.chars().count() <= 48), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn colour_wraps_whole_rows() {
        let text = sample().render(usize::MAX, true);
        assert!(text.lines().nth(2).unwrap().starts_with("\x1b[33ma-longer"));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&[left("A", 0)]);
        table.row(Tone::Plain, vec!["x\x1b[2J\ny".into()]);
        assert_eq!(table.render(usize::MAX, false), "A\nx [2J y");
    }
}
