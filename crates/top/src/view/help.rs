//! The keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget};

use super::paint::{Look, put};

const KEYS: [(&str, &str); 17] = [
    ("↑ ↓ j k PgUp PgDn g G", "go to a line"),
    ("Tab", "to the next pane: processes, queues, log"),
    ("← → Space", "fold and unfold a service's instances"),
    ("/", "show only lines with this text; Enter keeps it, Esc clears it"),
    ("o O", "order by the next column; the other way round"),
    ("Enter l", "open and close the log of the selected line"),
    ("f", "follow the log again after going back in it"),
    ("r", "restart, after a y"),
    ("x", "stop, after a y"),
    ("s", "start, after a y"),
    ("+ -", "one process more or fewer, after a y"),
    ("p", "in the queues: pause or go on, after a y"),
    ("Esc", "out of a pane, a filter, the log"),
    ("Ctrl-L", "draw everything anew"),
    ("q Ctrl-C", "end; ganger and its processes go on"),
    ("CPU%", "of one processor; the graph is the last seconds"),
    ("any key", "closes this"),
];
/// Width of the keys' column.
const LEFT: u16 = 23;

pub(super) fn draw(buf: &mut Buffer, area: Rect, look: Look) {
    Clear.render(area, buf);
    put(buf, area, area.x + 1, area.y, "KEYS", look.title());
    // Where there is no room for both columns the keys stay.
    for (n, (keys, what)) in
        KEYS.iter().enumerate().take(usize::from(area.height.saturating_sub(1)))
    {
        let y = area.y + 1 + n as u16;
        put(buf, area, area.x + 1, y, keys, look.graph());
        put(buf, area, area.x + 1 + LEFT, y, what, look.plain());
    }
}
