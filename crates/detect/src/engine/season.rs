//! What is usual at this time of the day and of the week.
//!
//! Two sets of cells: half hours of the day, and hours of the week. A cell speaks once it has seen two periods; the week's, once it
//! does, is asked before the day's. Until then there is "not enough history", and nobody is told a season.

use serde::{Deserialize, Serialize};

/// Seconds of a day.
const DAY: i64 = 86_400;
/// 1970-01-01 was a Thursday: so many seconds bring the week's start to a Monday.
const TO_MONDAY: i64 = 3 * DAY;
/// Periods that a cell must have seen.
const PERIODS: u16 = 2;
/// How much a new value moves a cell, at least: the last dozen values count.
const RATE: f32 = 0.15;

/// Which season a value was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Season {
    /// Time of the day, in half hours.
    Day,
    /// Hour of the week.
    Week,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Cell {
    mean: f32,
    /// Values seen, counted up to where the rate no longer changes.
    values: u8,
    periods: u16,
    last_period: i32,
}

/// Cells appear when time reaches them: a series of an hour costs two.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Seasons {
    day: Vec<Cell>,
    week: Vec<Cell>,
}

impl Seasons {
    /// The usual value at local time `at` (seconds), if enough history exists.
    pub(crate) fn usual(&self, at: i64) -> Option<(f64, Season)> {
        let cell = |cells: &[Cell], slot: usize, season| {
            let cell = cells.get(slot).filter(|cell| cell.periods >= PERIODS)?;
            Some((f64::from(cell.mean), season))
        };
        cell(&self.week, week_slot(at), Season::Week)
            .or_else(|| cell(&self.day, day_slot(at), Season::Day))
    }

    pub(crate) fn add(&mut self, at: i64, value: f64) {
        put(&mut self.day, day_slot(at), at.div_euclid(DAY), value);
        put(&mut self.week, week_slot(at), (at + TO_MONDAY).div_euclid(7 * DAY), value);
    }
}

fn day_slot(at: i64) -> usize {
    (at.rem_euclid(DAY) / 1_800) as usize
}

fn week_slot(at: i64) -> usize {
    ((at + TO_MONDAY).rem_euclid(7 * DAY) / 3_600) as usize
}

fn put(cells: &mut Vec<Cell>, slot: usize, period: i64, value: f64) {
    if cells.len() <= slot {
        cells.resize(slot + 1, Cell::default());
    }
    let cell = &mut cells[slot];
    let period = period as i32;
    if cell.values == 0 || cell.last_period != period {
        cell.periods = cell.periods.saturating_add(1);
        cell.last_period = period;
    }
    cell.values = cell.values.saturating_add(1);
    let rate = (1.0 / f32::from(cell.values)).max(RATE);
    cell.mean += rate * (value as f32 - cell.mean);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mondays are quiet, other days are busy from noon.
    fn load(at: i64) -> f64 {
        let monday = (at + TO_MONDAY).rem_euclid(7 * DAY) < DAY;
        if !monday && at.rem_euclid(DAY) >= DAY / 2 { 10.0 } else { 1.0 }
    }

    #[test]
    fn the_day_is_known_after_two_and_the_week_after_two() {
        let mut seasons = Seasons::default();
        let noon = DAY / 2 + 60;
        for at in (0..DAY + DAY / 2).step_by(300) {
            seasons.add(at, load(at));
        }
        assert_eq!(seasons.usual(2 * DAY + noon), None, "one noon is not enough history");
        for at in (DAY + DAY / 2..2 * DAY).step_by(300) {
            seasons.add(at, load(at));
        }
        let (value, season) = seasons.usual(2 * DAY + noon).unwrap();
        assert_eq!((value.round(), season), (10.0, Season::Day));
        for at in (2 * DAY..22 * DAY).step_by(300) {
            seasons.add(at, load(at));
        }
        // Day 25 is a Monday.
        let (value, season) = seasons.usual(25 * DAY + noon).unwrap();
        assert_eq!((value.round(), season), (1.0, Season::Week));
        assert_eq!(seasons.usual(26 * DAY + noon).unwrap().0.round(), 10.0);
    }

    #[test]
    fn it_never_grows_beyond_a_week() {
        let mut seasons = Seasons::default();
        (0..100 * DAY).step_by(600).for_each(|at| seasons.add(at, 1.0));
        seasons.add(-5, 1.0);
        assert_eq!((seasons.day.len(), seasons.week.len()), (48, 168));
    }
}
