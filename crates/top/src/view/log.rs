//! The pane with what somebody says.

use ganger_core::Stream;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::paint::{Look, heading, put};
use crate::model::{Model, Pane, RowId};
use crate::text;

pub(super) fn draw(buf: &mut Buffer, area: Rect, model: &Model, look: Look) {
    let log = &model.log;
    let Some(of) = &log.of else { return };
    let what = match (&log.broken, log.back) {
        (Some(why), _) => format!("LOG of {of}: {why}"),
        (None, 0) => format!("LOG of {of}"),
        (None, back) => format!("LOG of {of}, {back} lines back; f follows"),
    };
    heading(buf, Rect { height: 1, ..area }, &what, model.pane == Pane::Log, look);
    let height = usize::from(area.height.saturating_sub(1));
    if log.lines.is_empty() && log.broken.is_none() {
        put(buf, area, area.x + 1, area.y + 1, "nothing was said yet", look.dim());
    }
    for (n, line) in log.window(height).enumerate() {
        let y = area.y + 1 + n as u16;
        let mut x = put(buf, area, area.x, y, &text::clock(line.ts.0), look.dim()) + 1;
        if matches!(of, RowId::Name(_))
            && model.selected_row().is_some_and(|row| row.slots.len() > 1)
        {
            x = put(buf, area, x, y, &format!("#{}", line.slot), look.graph()) + 1;
        }
        let style = if line.stream == Stream::Stderr { look.warn() } else { look.plain() };
        put(buf, area, x, y, &line.line, style);
    }
}
