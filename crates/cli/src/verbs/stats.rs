//! `ganger stats`: what services, workers and the machine cost over a window, with percentiles and sparklines.

use std::process::ExitCode;

use ganger_api::{Figures, Stats, StatsQuery};
use ganger_core::Dur;

use super::Json;
use crate::error::CliError;
use crate::link;
use crate::table::{Table, Tone, left, right};
use crate::target::Target;
use crate::text;
use crate::ui::Ui;

/// The machine's name in the API.
const HOST: &str = ":host";
/// How wide a sparkline is.
const POINTS: u32 = 24;
/// Newest marks below a table.
const MARKS: usize = 10;

/// Flags.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A service or pool, one slot of it as in web#2, or `host`; all when absent
    target: Option<Target>,
    /// The window, up to now: 5m, 6h, 30d
    #[arg(long, value_name = "TIME", default_value = "5m")]
    range: Dur,
    /// Only this metric: cpu, memory, fds, …
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    #[command(flatten)]
    out: Json,
}

/// Does it.
pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let query = StatsQuery {
        range_s: Some(args.range.0.as_secs().max(1)),
        slot: args.target.as_ref().and_then(|target| target.slot),
        metric: args.metric.clone(),
        points: Some(POINTS),
    };
    match &args.target {
        Some(target) => {
            let name = if target.name == "host" { HOST } else { &target.name };
            let found = link::session(ui, async |client| Ok(client.stats(name, &query).await?))?;
            if args.out.json { ui.json(&found)? } else { one(&found, ui)? }
        }
        None => {
            let found = link::session(ui, async |client| Ok(client.all_stats(&query).await?))?;
            if args.out.json { ui.json(&found)? } else { all(&found.objects, ui)? }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for each object.
fn all(objects: &[Stats], ui: &Ui) -> Result<(), CliError> {
    let columns = [
        left("NAME", 0),
        right("CPU", 0),
        right("P95", 2),
        left("CPU OVER TIME", 4),
        right("MEMORY", 0),
        right("MOST", 1),
        left("MEMORY OVER TIME", 5),
        right("FDS", 3),
    ];
    let mut table = Table::new(&columns);
    for object in objects {
        let cell = |metric: &str, of: fn(&Figures) -> Option<f64>| {
            let figures = object.series.get(metric);
            figures.and_then(|f| Some(value(of(f)?, &f.unit))).unwrap_or_default()
        };
        let spark = |metric: &str| {
            object.series.get(metric).map_or_else(String::new, |f| sparkline(&f.graph))
        };
        let count = object.instances.len();
        let name = match count {
            0 | 1 => shown(&object.name).to_owned(),
            _ => format!("{} ({count})", object.name),
        };
        table.row(
            Tone::Plain,
            vec![
                name,
                cell("cpu", |f| Some(f.mean)),
                cell("cpu", |f| f.percentiles.map(|p| p.p95)),
                spark("cpu"),
                cell("memory", |f| Some(f.last)),
                cell("memory", |f| Some(f.max)),
                spark("memory"),
                cell("fds", |f| Some(f.last)),
            ],
        );
    }
    print(&table, ui)
}

/// A line for each metric.
fn one(stats: &Stats, ui: &Ui) -> Result<(), CliError> {
    let columns = [
        left("METRIC", 0),
        right("NOW", 0),
        right("MEAN", 1),
        right("P50", 3),
        right("P95", 1),
        right("P99", 4),
        right("MAX", 0),
        left("OVER TIME", 2),
    ];
    let mut table = Table::new(&columns);
    for (name, figures) in &stats.series {
        let value = |number: f64| value(number, &figures.unit);
        let at = |of: fn(&ganger_api::Percentiles) -> f64| {
            figures.percentiles.as_ref().map_or_else(String::new, |all| value(of(all)))
        };
        table.row(
            Tone::Plain,
            vec![
                name.clone(),
                value(figures.last),
                value(figures.mean),
                at(|all| all.p50),
                at(|all| all.p95),
                at(|all| all.p99),
                value(figures.max),
                sparkline(&figures.graph),
            ],
        );
    }
    print(&table, ui)?;
    if stats.instances.len() > 1 {
        let count = text::count(stats.instances.len(), "instance");
        ui.talk(&format!("of {count} together, second by second; {}#1 shows one", stats.name));
    }
    let skipped = stats.marks.len().saturating_sub(MARKS);
    for mark in &stats.marks[skipped..] {
        let slot = mark.slot.map_or_else(String::new, |slot| format!("#{slot}"));
        ui.talk(&format!(
            "{} {}{slot} {}: {}",
            text::clock(mark.at.0),
            shown(&stats.name),
            mark.what,
            text::printable(&mark.text)
        ));
    }
    Ok(())
}

fn print(table: &Table, ui: &Ui) -> Result<(), CliError> {
    let mut out = ui.out();
    out.line(&table.render(ui.width(), ui.data_is_coloured()))?;
    out.done()
}

fn shown(name: &str) -> &str {
    name.strip_prefix(':').unwrap_or(name)
}

/// A number in its unit, as short as it is still told apart.
fn value(number: f64, unit: &str) -> String {
    match unit {
        "percent" => format!("{}%", short(number)),
        "bytes" => text::bytes(number.max(0.0) as u64),
        "bytes_per_second" => format!("{}/s", text::bytes(number.max(0.0) as u64)),
        "per_second" => format!("{}/s", short(number)),
        _ => short(number),
    }
}

fn short(number: f64) -> String {
    match number.abs() {
        x if x >= 100.0 || x.fract() == 0.0 => format!("{number:.0}"),
        x if x >= 1.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// Eight heights from the least to the most; a blank where nothing is known.
fn sparkline(graph: &[Option<f64>]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let known = || graph.iter().flatten().copied();
    let (least, most) = (known().fold(f64::MAX, f64::min), known().fold(f64::MIN, f64::max));
    let bar = |value: f64| match most - least {
        // Flat: neither high nor low.
        range if range <= f64::EPSILON * most.abs() => BARS[if most > 0.0 { 3 } else { 0 }],
        range => BARS[((value - least) / range * 7.0).round() as usize % BARS.len()],
    };
    graph.iter().map(|value| value.map_or(' ', bar)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short_and_have_their_unit() {
        assert_eq!(value(12.345, "percent"), "12.3%");
        assert_eq!(value(0.0123, "percent"), "0.01%");
        assert_eq!(value(1536.0, "bytes"), "1.5KiB");
        assert_eq!(value(2048.0, "bytes_per_second"), "2KiB/s");
        assert_eq!(value(7.0, ""), "7");
    }

    #[test]
    fn sparklines_reach_from_the_least_to_the_most() {
        assert_eq!(sparkline(&[Some(0.0), Some(5.0), None, Some(10.0)]), "▁▅ █");
        assert_eq!(sparkline(&[Some(3.0), Some(3.0)]), "▄▄");
        assert_eq!(sparkline(&[Some(0.0)]), "▁");
        assert_eq!(sparkline(&[]), "");
    }
}
