//! The lines around: the machine above, what goes on below.

use std::time::Duration;

use ganger_core::{InstanceKind, InstanceState};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::paint::{Look, put};
use crate::model::{Mode, Model};
use crate::text;

/// Points of the machine's sparkline.
const SPARK: usize = 16;
/// Older than this what is shown is said to be old: three of the feed's steps.
const OLD: Duration = Duration::from_secs(3);

/// The first line: the machine, and how many are how.
pub(super) fn machine(buf: &mut Buffer, area: Rect, model: &Model, look: Look) {
    let mut x = put(buf, area, area.x + 1, area.y, "ganger top", look.title()) + 2;
    let mut say = |text: &str, style| x = put(buf, area, x, area.y, text, style) + 1;
    let Some(data) = &model.data else { return };
    if let Some(host) = data.costs.as_ref().map(|costs| &costs.host) {
        let busy = model.trace.host.newest().map_or_else(|| "–".to_owned(), text::number);
        say(&format!("cpu {busy}%"), look.plain());
        let graph = text::sparkline(model.trace.host.iter(), SPARK, 100.0);
        say(graph.trim_start(), look.graph());
        let used = host.memory_total_bytes.saturating_sub(host.memory_available_bytes);
        let memory = format!("mem {}/{}", text::bytes(used), text::bytes(host.memory_total_bytes));
        say(&memory, look.plain());
        say(&format!("load {:.2}", host.load), look.plain());
    }
    let count = |kind| data.instances.iter().filter(|one| one.kind == kind).count();
    let words =
        format!("{} serve, {} work", count(InstanceKind::Service), count(InstanceKind::Worker));
    say(&words, look.plain());
    let ill =
        |state: InstanceState| matches!(state, InstanceState::Failed | InstanceState::Backoff);
    match data.instances.iter().filter(|one| ill(one.state)).count() {
        0 => {}
        n => say(&format!("{n} down"), look.bad()),
    }
}

/// The second line: that the daemon is away, or what can't be shown, or what was done last.
pub(super) fn word(buf: &mut Buffer, area: Rect, model: &Model, look: Look) {
    let (text, style) = match (&model.away, &model.notice, &model.data) {
        (Some((since, why)), _, data) => {
            let away = text::age(Duration::from_millis(model.now_ms.saturating_sub(*since)));
            let old = match data {
                Some(_) => format!("below is of {}", text::clock(model.fresh_ms)),
                None => "nothing is known yet".to_owned(),
            };
            (format!(" DAEMON AWAY for {away}; {old}; tried each second: {why} "), look.alarm())
        }
        (None, Some(notice), _) => {
            let style = if notice.bad { look.bad() } else { look.good() };
            (format!(" {}", notice.text), style)
        }
        (None, None, None) => (" asking the daemon …".to_owned(), look.dim()),
        (None, None, Some(data)) => {
            let old = Duration::from_millis(model.now_ms.saturating_sub(model.fresh_ms));
            match (&data.costs, &data.queues) {
                _ if old > OLD => {
                    (format!(" the daemon is slow: this is {} old", text::age(old)), look.warn())
                }
                (None, _) => (
                    " no figures: nothing watches what processes cost; the daemon's log says why"
                        .to_owned(),
                    look.warn(),
                ),
                (_, None) => (
                    " no queues: the daemon has no store now; `ganger status` says why".to_owned(),
                    look.warn(),
                ),
                _ => (String::new(), look.plain()),
            }
        }
    };
    put(buf, area, area.x, area.y, &text, style);
}

/// The last line: a question, a filter, or the keys.
pub(super) fn keys(buf: &mut Buffer, area: Rect, model: &Model, look: Look) {
    match &model.mode {
        Mode::Confirm(action) => {
            let question = format!(" {action}? y does it, any other key doesn't ");
            put(buf, area, area.x, area.y, &question, look.alarm());
        }
        Mode::Filter => {
            let x = put(buf, area, area.x + 1, area.y, "/", look.title());
            let x = put(buf, area, x, area.y, &model.choice.filter, look.plain());
            put(buf, area, x, area.y, "█  Enter keeps it, Esc clears it", look.dim());
        }
        Mode::Help | Mode::Browse => {
            let mut x = area.x + 1;
            if !model.choice.filter.is_empty() {
                let filter = format!("/{} ", model.choice.filter);
                x = put(buf, area, x, area.y, &filter, look.warn());
            }
            let order = format!("o order: {}", model.choice.sort.title());
            let all = [
                "? keys",
                "/ filter",
                &order,
                "Enter log",
                "r restart",
                "x stop",
                "s start",
                "+ - scale",
                "q end",
            ];
            put(buf, area, x, area.y, &all.join("  "), look.dim());
        }
    }
}

/// The line above it: all that is known of why the selected one is as it is.
pub(super) fn selected(buf: &mut Buffer, area: Rect, model: &Model, look: Look) {
    let Some(row) = model.selected_row() else { return };
    let x = put(buf, area, area.x + 1, area.y, &row.id.to_string(), look.title()) + 1;
    let word = if row.reason.is_empty() { row.state.as_str() } else { &row.reason };
    put(buf, area, x, area.y, word, look.state(row.state, row.ready));
}
