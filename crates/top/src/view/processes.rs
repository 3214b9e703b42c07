//! The table of services, pools and their instances.

use std::time::Duration;

use ganger_core::InstanceKind;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::paint::{Look, heading, put, scrolled};
use crate::model::{Model, Pane, Row, RowId, Sort};
use crate::text;

/// A column: what it is called, how wide, and how soon it has to go when there is no room (0: never).
struct Column {
    title: &'static str,
    width: u16,
    rank: u8,
    right: bool,
    sort: Option<Sort>,
    cell: fn(&Row, &Model) -> String,
}

const fn column(
    title: &'static str,
    width: u16,
    rank: u8,
    right: bool,
    sort: Option<Sort>,
    cell: fn(&Row, &Model) -> String,
) -> Column {
    Column { title, width, rank, right, sort, cell }
}

/// Behind the name, which takes what is left.
const COLUMNS: [Column; 11] = [
    column("STATE", 9, 0, false, Some(Sort::State), state),
    column("CPU%", 6, 1, true, Some(Sort::Cpu), |row, _| {
        row.cpu.map_or_else(String::new, text::number)
    }),
    column("", 10, 5, false, None, |row, model| {
        let trace = model.trace.cpu_of(row.id.name(), &row.slots);
        // A processor is the scale; who uses more sets his own.
        let most = trace.iter().copied().fold(100.0, f64::max);
        text::sparkline(trace.into_iter(), 10, most)
    }),
    column("MEM", 6, 2, true, Some(Sort::Memory), |row, _| {
        row.memory.map_or_else(String::new, text::bytes)
    }),
    column("RST", 4, 3, true, Some(Sort::Restarts), |row, _| text::count(row.restarts)),
    column("AGE", 5, 4, true, Some(Sort::Age), |row, model| {
        let age = row.started_ms.map(|at| Duration::from_millis(model.now_ms.saturating_sub(at)));
        age.map_or_else(String::new, text::age)
    }),
    column("PID", 8, 6, true, None, |row, _| {
        row.pid.map_or_else(String::new, |pid| pid.to_string())
    }),
    column("FDS", 5, 8, true, None, |row, _| row.fds.map_or_else(String::new, text::count)),
    column("THR", 5, 9, true, None, |row, _| row.threads.map_or_else(String::new, text::count)),
    column("READ/s", 6, 10, true, None, |row, model| disk(row, model, |(read, _)| read)),
    column("WRITE/s", 7, 11, true, None, |row, model| disk(row, model, |(_, written)| written)),
];
/// Narrower a name tells nothing.
const NAME_MIN: u16 = 16;
/// Wider than names are; the rest is for reasons.
const NAME_MAX: u16 = 28;
/// Less of a reason is not worth a column.
const REASON_MIN: u16 = 16;

fn state(row: &Row, _: &Model) -> String {
    let ready = row.ready || row.state != ganger_core::InstanceState::Running;
    if row.slots.len() > 1 && row.ready_count < row.slots.len() && ready {
        return format!("{} {}/{}", short(row), row.ready_count, row.slots.len());
    }
    if ready { row.state.to_string() } else { "not ready".to_owned() }
}

/// Of several: so short that the numbers stand beside it.
fn short(row: &Row) -> &'static str {
    match row.state {
        ganger_core::InstanceState::Running => "run",
        ganger_core::InstanceState::Starting => "start",
        ganger_core::InstanceState::Stopping => "stop",
        ganger_core::InstanceState::Backoff => "back",
        ganger_core::InstanceState::Failed => "fail",
        ganger_core::InstanceState::Stopped => "off",
    }
}

fn disk(row: &Row, model: &Model, of: fn((f64, f64)) -> f64) -> String {
    let rates =
        row.slots.iter().filter_map(|slot| model.trace.instance(row.id.name(), *slot)?.disk);
    let sum = rates.map(of).fold(None, |sum: Option<f64>, rate| Some(sum.unwrap_or(0.0) + rate));
    sum.map_or_else(String::new, |rate| text::bytes(rate as u64))
}

/// Columns that fit, and how wide name and reason are.
fn fitting(width: u16) -> (Vec<&'static Column>, u16, u16) {
    let mut shown: Vec<&'static Column> = COLUMNS.iter().collect();
    let taken = |shown: &[&Column]| shown.iter().map(|one| one.width + 1).sum::<u16>();
    while taken(&shown) + NAME_MIN > width {
        let Some(first) = shown.iter().enumerate().max_by_key(|(_, one)| one.rank) else { break };
        let at = first.0;
        shown.remove(at);
    }
    let rest = width.saturating_sub(taken(&shown));
    let name = rest.min(NAME_MAX);
    let reason = rest.saturating_sub(name + 1);
    (shown, name, if reason < REASON_MIN { 0 } else { reason })
}

pub(super) fn draw(buf: &mut Buffer, area: Rect, model: &mut Model, look: Look) {
    let active = model.pane == Pane::Processes;
    let (columns, name, reason) = fitting(area.width);
    let name = if reason == 0 {
        area.width - columns.iter().map(|c| c.width + 1).sum::<u16>().min(area.width)
    } else {
        name
    };
    titles(buf, area, model, look, (&columns, name, reason));
    let height = usize::from(area.height.saturating_sub(1));
    let at = model.selected_at().unwrap_or(0);
    model.offset = scrolled(model.offset, at, height, model.rows.len());
    if model.rows.is_empty() && model.data.is_some() {
        let why = match model.choice.filter.is_empty() {
            true => "nothing is configured: `ganger up` starts what ganger.toml says",
            false => "nothing fits the filter; Esc clears it",
        };
        put(buf, area, area.x + 1, area.y + 1, why, look.dim());
    }
    for (n, row) in model.rows.iter().enumerate().skip(model.offset).take(height) {
        let y = area.y + 1 + (n - model.offset) as u16;
        line(buf, Rect { y, height: 1, ..area }, model, look, row, (&columns, name, reason));
        if n == at {
            buf.set_style(Rect { y, height: 1, ..area }, look.selected(active));
        }
    }
}

type Fit<'a> = (&'a [&'static Column], u16, u16);

fn titles(
    buf: &mut Buffer,
    area: Rect,
    model: &Model,
    look: Look,
    (columns, name, reason): Fit<'_>,
) {
    let sorted = |sort: Option<Sort>| sort == Some(model.choice.sort);
    let arrow = if model.choice.reversed { "▴" } else { "▾" };
    let active = model.pane == Pane::Processes;
    heading(buf, Rect { height: 1, ..area }, "", active, look);
    buf.set_string(
        area.x + 1,
        area.y,
        " ".repeat(usize::from(area.width.saturating_sub(1))),
        look.plain(),
    );
    let mark = |title: &str, sort| {
        if sorted(sort) { format!("{title}{arrow}") } else { title.to_owned() }
    };
    put(buf, area, area.x + 1, area.y, &mark("NAME", Some(Sort::Name)), look.title());
    let mut x = area.x + name;
    for column in columns {
        let title = mark(column.title, column.sort);
        cell(buf, area, (x + 1, area.y), column, &title, look.title());
        x += column.width + 1;
    }
    if reason > 0 {
        put(buf, area, x + 1, area.y, "WHY", look.title());
    }
}

fn cell(
    buf: &mut Buffer,
    area: Rect,
    (x, y): (u16, u16),
    column: &Column,
    text: &str,
    style: ratatui::style::Style,
) {
    let width = column.width;
    let place = Rect { width: width.min(area.right().saturating_sub(x)), x, ..area };
    let long = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
    let from = if column.right { x + width.saturating_sub(long) } else { x };
    put(buf, place, from, y, text, style);
}

fn line(
    buf: &mut Buffer,
    area: Rect,
    model: &Model,
    look: Look,
    row: &Row,
    (columns, name, reason): Fit<'_>,
) {
    let label = label(row, model);
    let style = match row.kind {
        InstanceKind::Service => look.plain(),
        _ => look.graph(),
    };
    put(buf, Rect { width: name.min(area.width), ..area }, area.x, area.y, &label, style);
    let mut x = area.x + name;
    for column in columns {
        let style = match column.sort {
            Some(Sort::State) => look.state(row.state, row.ready),
            None if column.title.is_empty() => look.graph(),
            _ => look.plain(),
        };
        cell(buf, area, (x + 1, area.y), column, &(column.cell)(row, model), style);
        x += column.width + 1;
    }
    if reason > 0 {
        put(buf, area, x + 1, area.y, &row.reason, look.dim());
    }
}

/// Services and pools with what they are; instances below them.
fn label(row: &Row, model: &Model) -> String {
    match &row.id {
        RowId::Slot(_, slot) => {
            let at = model.rows.iter().position(|one| one.id == row.id).unwrap_or(0);
            let last = model.rows.get(at + 1).is_none_or(|next| matches!(next.id, RowId::Name(_)));
            format!("   {} #{slot}", if last { "└" } else { "├" })
        }
        RowId::Name(name) => {
            let mark = match (row.slots.len(), row.folded) {
                (0 | 1, _) => " ",
                (_, true) => "▸",
                (_, false) => "▾",
            };
            let count =
                if row.slots.len() > 1 { format!(" ×{}", row.slots.len()) } else { String::new() };
            format!(" {mark} {name}{count}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_least_goes_first_and_something_is_always_left() {
        for width in 0..400 {
            let (columns, name, reason) = fitting(width);
            let taken: u16 = columns.iter().map(|one| one.width + 1).sum();
            assert!(width < NAME_MIN || taken + name <= width, "{width}");
            assert!(reason == 0 || taken + name + 1 + reason <= width, "{width}");
        }
        let titles = |width| fitting(width).0.iter().map(|one| one.title).collect::<Vec<_>>();
        assert_eq!(titles(80), ["STATE", "CPU%", "", "MEM", "RST", "AGE", "PID", "FDS"]);
        assert_eq!(titles(30), ["STATE"]);
        assert!(fitting(140).2 > 0);
    }
}
