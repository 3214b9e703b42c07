//! The table of queues.

use std::time::Duration;

use ganger_api::Queue;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::paint::{Look, heading, put, scrolled};
use crate::model::{Model, Pane};
use crate::text;

/// Width of a queue's name.
const NAME: u16 = 16;
/// Points of a depth's sparkline.
const SPARK: usize = 20;

pub(super) fn draw(buf: &mut Buffer, area: Rect, model: &mut Model, look: Look) {
    let active = model.pane == Pane::Queues;
    heading(buf, Rect { height: 1, ..area }, "QUEUES", active, look);
    let height = usize::from(area.height.saturating_sub(1));
    model.queue_offset = scrolled(model.queue_offset, model.queue, height, model.queues().len());
    for (n, queue) in model.queues().iter().enumerate().skip(model.queue_offset).take(height) {
        let y = area.y + 1 + (n - model.queue_offset) as u16;
        let place = Rect { y, height: 1, ..area };
        line(buf, place, queue, model, look);
        if active && n == model.queue {
            buf.set_style(place, look.selected(true));
        }
    }
}

fn line(buf: &mut Buffer, area: Rect, queue: &Queue, model: &Model, look: Look) {
    let past = model.trace.queue(&queue.name);
    let counts = &queue.counts;
    let name = Rect { width: NAME.min(area.width), ..area };
    put(buf, name, area.x + 1, area.y, &queue.name, look.plain());
    let mut x = area.x + NAME + 1;
    let mut say = |text: &str, style| x = put(buf, area, x, area.y, text, style) + 1;
    let style = if counts.available > 0 { look.title() } else { look.plain() };
    say(&format!("{:>6} wait", text::count(counts.available)), style);
    say(&format!("{:>5} run", text::count(counts.running)), look.plain());
    let rate = past.and_then(|past| past.ended.newest());
    say(
        &format!(
            "{:>7}",
            rate.map_or_else(|| "–/s".to_owned(), |n| format!("{}/s", text::number(n)))
        ),
        look.plain(),
    );
    let oldest = queue.oldest_age_s.map(|age| Duration::from_secs_f64(age.0.clamp(0.0, 1e9)));
    say(&format!("oldest {:>4}", oldest.map_or_else(|| "–".to_owned(), text::age)), look.plain());
    let word = match (queue.paused, queue.draining) {
        (true, _) => Some("paused"),
        (_, true) => Some("draining"),
        _ => None,
    };
    if let Some(word) = word {
        say(word, look.warn());
    }
    if let Some(past) = past {
        let most = past.open.iter().fold(1.0, f64::max);
        say(text::sparkline(past.open.iter(), SPARK, most).trim_start(), look.graph());
    }
    let others = [
        ("later", counts.scheduled, look.plain()),
        ("retry", counts.retryable, look.warn()),
        ("dead", counts.discarded, look.bad()),
        ("done", counts.completed, look.dim()),
    ];
    for (word, n, style) in others.into_iter().filter(|(_, n, _)| *n > 0) {
        say(&format!("{} {word}", text::count(n)), style);
    }
}
