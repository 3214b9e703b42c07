//! The terminal while it is ours, and given back however that ends.

use std::io::{self, Stdout, stdout};
use std::sync::Once;

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect};

use crate::model::Model;
use crate::view::{Look, draw};

/// The terminal in raw mode, on its second screen. Dropped, it is as it was.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    look: Look,
}

impl Screen {
    /// # Errors
    /// The terminal refuses raw mode, or can't be written to.
    pub(crate) fn take(look: Look) -> io::Result<Self> {
        restore_at_panic();
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        let mut screen = Self { terminal, look };
        screen.renew()?;
        Ok(screen)
    }

    /// Takes it again, after a stop in which the shell had it; draws everything anew.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        self.clear()
    }

    /// So that the next drawing draws all. Not `Terminal::clear`: that asks the terminal where its cursor is, and the answer comes
    /// among the keys, or never.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }

    pub(crate) fn show(&mut self, model: &mut Model) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, model, self.look)).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Doing it twice does no harm; a terminal that is gone needs nothing.
fn restore() {
    drop(disable_raw_mode());
    drop(execute!(stdout(), LeaveAlternateScreen, Show));
}

/// So that what a panic says is on the screen that stays.
fn restore_at_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}
