//! What is printed of a figure.

use std::fmt;

use ganger_api::V1;
use serde::Serialize;

use super::numbers::percentile;
use crate::error::CliError;
use crate::table::{Table, Tone, left, right};
use crate::ui::Ui;

/// What a figure is meant to reach, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(goal) => value >= goal,
            Self::AtMost(goal) => value <= goal,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(goal) => write!(f, ">= {}", number(*goal)),
            Self::AtMost(goal) => write!(f, "<= {}", number(*goal)),
        }
    }
}

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
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<Goal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    goal_met: Option<bool>,
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
        let (goal, goal_met) = (None, None);
        Self { v: V1, name, value, unit, limit, limit_name, ratio, goal, goal_met, runs }
    }

    /// One with no limit of the machine's beside it.
    pub(super) fn alone(name: String, unit: &'static str, runs: Vec<f64>) -> Self {
        Self::new(name, unit, "", runs, Vec::new())
    }

    pub(super) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self.goal_met = Some(goal.is_met(self.value));
        self
    }

    /// With the goal that what the machine does gives.
    pub(super) fn goal_by_limit(self, goal: impl FnOnce(f64) -> Goal) -> Self {
        let goal = goal(self.limit);
        self.goal(goal)
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
            right("GOAL", 1),
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
        let tone = if line.goal_met == Some(false) { Tone::Warn } else { Tone::Plain };
        let has_limit = line.limit > 0.0;
        let cells = vec![
            line.name,
            number(line.value),
            line.unit.to_owned(),
            number(least),
            number(most),
            if has_limit { number(line.limit) } else { String::new() },
            if has_limit { format!("{:.2}", line.ratio) } else { String::new() },
            line.goal.map_or_else(String::new, |goal| goal.to_string()),
            line.limit_name.to_owned(),
        ];
        self.table.row(tone, cells);
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
    percentile(&mut values, 50)
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

    #[test]
    fn goals_are_met_or_not() {
        let line = |goal| Line::alone("x".into(), "us", vec![5.0]).goal(goal);
        assert_eq!(line(Goal::AtLeast(5.0)).goal_met, Some(true));
        assert_eq!(line(Goal::AtLeast(6.0)).goal_met, Some(false));
        assert_eq!(line(Goal::AtMost(4.0)).goal_met, Some(false));
        let json = serde_json::to_value(line(Goal::AtMost(7.0))).unwrap();
        assert_eq!((&json["goal"]["at_most"], &json["goal_met"]), (&7.0.into(), &true.into()));
        let relative = Line::new("x".into(), "us", "y", vec![5.0], vec![4.0]);
        assert_eq!(relative.goal_by_limit(|limit| Goal::AtMost(limit + 1.0)).goal_met, Some(true));
    }
}
