//! Colours, or none; and lines cut to their places.

use ganger_core::InstanceState;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

/// With colours or without (NO_COLOR): then words, weight and reversal say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) colour: bool,
}

impl Look {
    fn with(self, colour: Color, else_: Modifier) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new().add_modifier(else_) }
    }

    pub(super) const fn plain(self) -> Style {
        Style::new()
    }

    pub(super) fn dim(self) -> Style {
        self.with(Color::DarkGray, Modifier::DIM)
    }

    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn good(self) -> Style {
        self.with(Color::Green, Modifier::empty())
    }

    pub(super) fn warn(self) -> Style {
        self.with(Color::Yellow, Modifier::BOLD)
    }

    pub(super) fn bad(self) -> Style {
        self.with(Color::Red, Modifier::BOLD).add_modifier(Modifier::BOLD)
    }

    pub(super) fn graph(self) -> Style {
        self.with(Color::Cyan, Modifier::empty())
    }

    /// What must be read now.
    pub(super) fn alarm(self) -> Style {
        let style = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
        if self.colour { style.fg(Color::Red) } else { style }
    }

    pub(super) fn selected(self, active: bool) -> Modifier {
        if active { Modifier::REVERSED } else { Modifier::UNDERLINED }
    }

    /// Of a state's word. Colour is never all that tells it.
    pub(super) fn state(self, state: InstanceState, ready: bool) -> Style {
        match state {
            InstanceState::Running if ready => self.good(),
            InstanceState::Running | InstanceState::Starting | InstanceState::Stopping => {
                self.warn()
            }
            InstanceState::Backoff | InstanceState::Failed => self.bad(),
            InstanceState::Stopped => self.dim(),
        }
    }
}

/// Writes from `x` on, at most up to the end of `area`; the column behind what was written.
pub(super) fn put(buf: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    let end = area.right();
    if x >= end || y >= area.bottom() {
        return x.min(end);
    }
    // Control characters would move the cursor; ratatui leaves them out, a tab becomes a blank here.
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    buf.set_stringn(x, y, clean, usize::from(end - x), style).0
}

/// A title over a pane: bold, with the pane that has the keys marked.
pub(super) fn heading(buf: &mut Buffer, area: Rect, text: &str, active: bool, look: Look) {
    let mark = if active { "▌" } else { " " };
    let x = put(buf, area, area.x, area.y, mark, look.graph());
    let x = put(buf, area, x, area.y, text, look.title());
    let rule = "─".repeat(usize::from(area.right().saturating_sub(x + 1)));
    put(buf, area, x + 1, area.y, &rule, look.dim());
}

/// The first line that is shown, so that `at` is in sight and nothing is scrolled further than needed.
pub(super) fn scrolled(offset: usize, at: usize, height: usize, len: usize) -> usize {
    let height = height.max(1);
    let offset = offset.min(at).max((at + 1).saturating_sub(height));
    offset.min(len.saturating_sub(height))
}
