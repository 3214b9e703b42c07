//! Charts as SVG within the page: they need no script, take the page's colours and print.

use crate::model::Slot;
use crate::page::Page;
use crate::sections::{Bar, minute};

/// Units of the drawing; the page scales it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 150.0;
/// Height of a bar with its gap.
const BAR: f64 = 22.0;
/// Where bars begin: room for their names.
const NAMES: f64 = 120.0;
/// Room for what is written beside a bar.
const BESIDE: f64 = 110.0;

/// Runs, denials and stops over the period.
pub(crate) fn timeline(slots: &[Slot], page: &mut Page) {
    let most = slots.iter().map(|slot| slot.runs + slot.denied).max().unwrap_or(0).max(1);
    let step = WIDTH / slots.len().max(1) as f64;
    let scale = (HEIGHT - 30.0) / most as f64;
    page.raw("<svg role=\"img\" aria-label=\"Runs and denials over the period\" viewBox=\"0 0 720 150\">");
    page.raw("<line class=\"axis\" x1=\"0\" y1=\"130\" x2=\"720\" y2=\"130\"/>");
    for (at, slot) in slots.iter().enumerate() {
        if slot.runs + slot.denied + slot.stopped == 0 {
            continue;
        }
        let x = at as f64 * step;
        page.raw("<g><title>").text(&format!(
            "{}: {} runs, {} denied, {} stopped",
            minute(&slot.from),
            slot.runs,
            slot.denied,
            slot.stopped
        ));
        page.raw("</title>");
        let runs = slot.runs as f64 * scale;
        let denied = slot.denied as f64 * scale;
        // What was stopped began as a run: it is drawn over the runs.
        let stopped = (slot.stopped.min(slot.runs)) as f64 * scale;
        column(page, "plain", x, step, 130.0 - runs, runs);
        column(page, "bad", x, step, 130.0 - stopped, stopped);
        column(page, "warn", x, step, 130.0 - runs - denied, denied);
        page.raw("</g>");
    }
    let first = slots.first().map_or_else(String::new, |slot| minute(&slot.from));
    let last = slots.last().map_or_else(String::new, |slot| minute(&slot.from));
    page.raw("<text x=\"0\" y=\"145\">").text(&first).raw("</text>");
    page.raw("<text class=\"end\" x=\"720\" y=\"145\">").text(&last).raw("</text>");
    page.raw("<text x=\"0\" y=\"8\">").text(&format!("at most {most}")).raw("</text></svg>");
    page.raw("<p class=\"legend\"><span class=\"plain\">runs</span> <span class=\"warn\">denied</span> <span class=\"bad\">stopped</span></p>");
}

fn column(page: &mut Page, class: &str, x: f64, width: f64, y: f64, height: f64) {
    if height <= 0.0 {
        return;
    }
    page.raw("<rect class=\"").text(class).raw("\" x=\"").number(x + width * 0.1);
    page.raw("\" y=\"").number(y).raw("\" width=\"").number(width * 0.8);
    page.raw("\" height=\"").number(height.max(0.5)).raw("\"/>");
}

/// A bar for each value; `most` is as long as there is room.
pub(crate) fn bars(label: &str, most: Option<u64>, bars: &[Bar], page: &mut Page) {
    let most = most.or_else(|| bars.iter().map(|(_, _, value, _)| *value).max());
    let most = most.unwrap_or(0).max(1);
    let scale = (WIDTH - NAMES - BESIDE) / most as f64;
    page.raw("<svg role=\"img\" aria-label=\"").text(label).raw("\" viewBox=\"0 0 720 ");
    page.number(bars.len() as f64 * BAR).raw("\">");
    for (at, (tone, name, value, beside)) in bars.iter().enumerate() {
        let y = at as f64 * BAR;
        let width = *value as f64 * scale;
        page.raw("<text x=\"0\" y=\"").number(y + 15.0).raw("\">").text(name).raw("</text>");
        page.raw("<rect class=\"").text(tone.class()).raw("\" x=\"").number(NAMES);
        page.raw("\" y=\"").number(y + 3.0).raw("\" width=\"").number(width.max(1.0));
        page.raw("\" height=\"").number(BAR - 6.0).raw("\"/>");
        page.raw("<text x=\"").number(NAMES + width + 6.0).raw("\" y=\"").number(y + 15.0);
        page.raw("\">").text(beside).raw("</text>");
    }
    page.raw("</svg>");
}
