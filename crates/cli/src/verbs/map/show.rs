//! What a person sees while jobs run: a bar or the time that is left, on a terminal; warnings anywhere.

use std::io::IsTerminal;
use std::time::Duration;

use ganger_map::{Note, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text;
use crate::ui::Ui;

/// A screen is drawn so often at most.
const PER_SECOND: u8 = 10;

pub(super) struct Show<'a> {
    ui: &'a Ui,
    bar: Option<ProgressBar>,
    /// With a drawn bar, not numbers only.
    drawn: bool,
    /// Jobs write to the same terminal.
    shared: bool,
}

impl<'a> Show<'a> {
    pub(super) fn new(ui: &'a Ui, bar: bool, eta: bool) -> Self {
        let wanted = (bar || eta) && std::io::stderr().is_terminal();
        let bar_of = || {
            let shown = ProgressBar::no_length();
            shown.set_draw_target(ProgressDrawTarget::stderr_with_hz(PER_SECOND));
            shown.set_style(style(bar, false));
            shown
        };
        let shared = std::io::stdout().is_terminal();
        Self { ui, bar: wanted.then(bar_of), drawn: bar, shared }
    }

    pub(super) fn on(&mut self, note: Note<'_>) {
        match note {
            Note::Progress(progress) => self.progress(progress),
            Note::Output => {
                if let Some(bar) = self.bar.as_ref().filter(|_| self.shared) {
                    bar.suspend(|| ());
                }
            }
            Note::Warning(text) => {
                let say = || self.ui.talk(&format!("warning: {text}"));
                self.bar.as_ref().map_or_else(say, |bar| bar.suspend(say));
            }
        }
    }

    pub(super) fn over(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn progress(&self, now: Progress) {
        let Some(bar) = &self.bar else { return };
        if let Some(total) = now.total
            && bar.length().is_none()
        {
            bar.set_length(total);
            bar.set_style(style(self.drawn, true));
        }
        bar.set_message(words(&now));
        bar.set_position(now.done);
    }
}

/// `3 failed · 2 running · 12 s left`
fn words(now: &Progress) -> String {
    let mut words = Vec::new();
    if now.failed > 0 {
        words.push(format!("{} failed", now.failed));
    }
    words.push(format!("{} running", now.running));
    if let Some(left) = now.left.filter(|left| *left > Duration::ZERO) {
        words.push(format!("{} left", text::age(left)));
    }
    words.join(" · ")
}

fn style(bar: bool, total: bool) -> ProgressStyle {
    let template = match (bar, total) {
        (true, true) => "{percent:>3}% {wide_bar} {pos}/{len} {msg}",
        (false, true) => "{pos}/{len} {msg}",
        (_, false) => "{pos} {msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told() {
        let now = Progress {
            running: 2,
            done: 5,
            failed: 3,
            total: Some(9),
            left: Some(Duration::from_secs(12)),
        };
        assert!(words(&now).starts_with("3 failed · 2 running · 12"));
        assert_eq!(words(&Progress::default()), "0 running");
    }
}
