//! What the screen shows of a model: pure, but for the lines that are scrolled to.
//!
//! ```text
//! machine                    never left out
//! word                       that the daemon is away, what was done
//! services, pools, workers   what is left
//! queues                     from 14 lines on; at most a third
//! log                        while it is open; at most two fifths
//! the selected one           from 8 lines on
//! keys or question           never left out
//! ```

mod head;
mod help;
mod log;
mod paint;
mod processes;
mod queues;
#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::layout::Rect;

use crate::model::{Mode, Model};
pub(crate) use paint::Look;

/// A screen smaller than this shows only that it is too small.
const LEAST: (u16, u16) = (24, 5);
/// From this height on there is room for queues.
const WITH_QUEUES: u16 = 14;
/// And for a line about the selected one.
const WITH_SELECTED: u16 = 8;

pub(crate) fn draw(frame: &mut Frame<'_>, model: &mut Model, look: Look) {
    let whole = frame.area();
    let buf = frame.buffer_mut();
    if whole.width < LEAST.0 || whole.height < LEAST.1 {
        let text = format!("at least {}x{}", LEAST.0, LEAST.1);
        paint::put(buf, whole, whole.x, whole.y, &text, look.plain());
        return;
    }
    let mut rest = whole;
    head::machine(buf, from_top(&mut rest, 1), model, look);
    head::word(buf, from_top(&mut rest, 1), model, look);
    head::keys(buf, from_bottom(&mut rest, 1), model, look);
    if model.mode == Mode::Help {
        help::draw(buf, rest, look);
        return;
    }
    if whole.height >= WITH_SELECTED {
        head::selected(buf, from_bottom(&mut rest, 1), model, look);
    }
    if model.log.of.is_some() {
        let height = (rest.height * 2 / 5).max(2).min(rest.height.saturating_sub(2));
        log::draw(buf, from_bottom(&mut rest, height), model, look);
    }
    let queues = u16::try_from(model.queues().len()).unwrap_or(u16::MAX);
    if whole.height >= WITH_QUEUES && queues > 0 {
        let height = queues.saturating_add(1).min((rest.height / 3).max(2));
        queues::draw(buf, from_bottom(&mut rest, height), model, look);
    }
    processes::draw(buf, rest, model, look);
}

fn from_top(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    let cut = Rect { height, ..*rest };
    (rest.y, rest.height) = (rest.y + height, rest.height - height);
    cut
}

fn from_bottom(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    rest.height -= height;
    Rect { y: rest.y + rest.height, height, ..*rest }
}
