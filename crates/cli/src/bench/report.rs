//! What is printed of a figure.

use ganger_api::V1;
use serde::Serialize;

use crate::error::CliError;
use crate::table::{Table, Tone, left, right};
use crate::ui::Ui;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Line {
    v: V1,
    name: String,
    /// Median of `runs`.
    value: f64,
    unit: &'static str,
    /// Median of what the machine does without ganger, in the same unit; 0 is unknown.
    limit: f64,
    limit_name: &'static str,
    /// `value / limit`.
    ratio: f64,
    runs: Vec<f64>,
}

impl Line {
    pub(super) fn new(
        name: String,
        unit: &'static str,
        limit_name: &'static str,
        runs: Vec<f64>,
        limits: Vec<f64>,
    ) -> Self {
        let (value, limit) = (median(runs.clone()), median(limits));
        let ratio = if limit > 0.0 { value / limit } else { 0.0 };
        Self { v: V1, name, value, unit, limit, limit_name, ratio, runs }
    }
}

/// Prints lines as they come: JSON at once, the table at the end with a word on stderr meanwhile.
#[derive(Debug)]
pub(super) struct Report<'a> {
    ui: &'a Ui,
    json: bool,
    table: Table,
}

impl<'a> Report<'a> {
    pub(super) fn new(ui: &'a Ui, json: bool) -> Self {
        let table = Table::new(&[
            left("WHAT", 0),
            right("MEDIAN", 0),
            left("UNIT", 0),
            right("MIN", 2),
            right("MAX", 2),
            right("LIMIT", 1),
            right("RATIO", 1),
            left("LIMIT IS", 3),
        ]);
        Self { ui, json, table }
    }

    pub(super) fn add(&mut self, line: Line) -> Result<(), CliError> {
        if self.json {
            let mut out = self.ui.out();
            out.json_line(&line)?;
            return out.done();
        }
        self.ui.talk(&format!("{}: {} {}", line.name, number(line.value), line.unit));
        let least = line.runs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = line.runs.iter().copied().fold(0.0, f64::max);
        let cells = vec![
            line.name,
            number(line.value),
            line.unit.to_owned(),
            number(least),
            number(most),
            number(line.limit),
            format!("{:.2}", line.ratio),
            line.limit_name.to_owned(),
        ];
        self.table.row(Tone::Plain, cells);
        Ok(())
    }

    pub(super) fn done(self) -> Result<(), CliError> {
        if self.json {
            return Ok(());
        }
        let mut out = self.ui.out();
        out.line(&self.table.render(self.ui.width(), self.ui.data_is_coloured()))?;
        out.done()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Three digits are enough for any of them.
fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_its_ratio() {
        let line = Line::new("x".into(), "tasks/s", "y", vec![3.0, 1.0, 2.0], vec![4.0]);
        assert_eq!(serde_json::to_value(&line).unwrap()["value"], 2.0);
        assert!((line.ratio - 0.5).abs() < 1e-9);
    }
}
