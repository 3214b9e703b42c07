//! Rolling up: when an hour is over its minutes are stored, when a day is over its hours. The same as a reader computes before
//! that, so nobody sees when it happens.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Disk, Work, window_of};
use crate::body::WINDOW;
use crate::counts::Counters;
use crate::group;
use crate::index::Index;
use crate::key::{Key, Tick};
use crate::reader::{Reader, Tier};
use crate::view::{DAY, HOUR, View, floor};

/// A group of summaries for each object that has something in it.
#[derive(Debug)]
pub(super) struct Roll {
    tier: Tier,
    /// Start of the hour whose minutes, or of the day whose hours are stored.
    first: Tick,
    /// Objects that are left, the next one last.
    keys: Vec<Key>,
    reader: Reader,
}

/// Seconds that a group covers.
const fn reach(tier: Tier) -> Tick {
    match tier {
        Tier::Minute => HOUR,
        Tier::Hour => DAY,
    }
}

impl Disk {
    /// Tiers begin where samples do.
    pub(super) fn begin_marks(&mut self, first: Tick) {
        if self.view.minute_mark == Tick::MIN {
            self.view.minute_mark = floor(first, HOUR);
        }
        if self.view.hour_mark == Tick::MIN {
            self.view.hour_mark = floor(first, DAY);
        }
    }

    /// What is to be rolled up next; windows that wait to be sealed come first.
    pub(super) fn next_roll(&mut self) -> Option<Work> {
        if !self.due.is_empty() || self.rolls_rest {
            return None;
        }
        let unsealed = self.view.recent.iter().map(|minute| window_of(minute.start) * WINDOW);
        let sealed_to = unsealed.min().unwrap_or(Tick::MAX).min(self.now);
        self.next_of(Tier::Minute, sealed_to)
            .or_else(|| self.next_of(Tier::Hour, self.view.minute_mark))
            .map(Work::Roll)
    }

    fn next_of(&mut self, tier: Tier, below_to: Tick) -> Option<Roll> {
        let reach = reach(tier);
        let (mark, below) = match tier {
            Tier::Minute => (&mut self.view.minute_mark, &self.view.fine),
            Tier::Hour => (&mut self.view.hour_mark, &self.view.minute),
        };
        if *mark == Tick::MIN || floor(below_to, reach) <= *mark {
            return None;
        }
        let end = floor(below_to, reach);
        // Spans without anything, while no daemon ran, are not gone through.
        let first = View::next_with(below, *mark, reach).filter(|first| *first < end);
        *mark = first.unwrap_or(end);
        let first = first?;
        let keys: BTreeSet<&Key> = below
            .iter()
            .filter(|index| overlaps(index, first, reach))
            .flat_map(|index| index.keys())
            .collect();
        let keys = keys.into_iter().rev().cloned().collect();
        Some(Roll { tier, first, keys, reader: self.reader() })
    }

    /// Rolls up one object; none when the span is done, or can't be for now.
    pub(super) fn roll(&mut self, mut roll: Roll) -> Option<Work> {
        let Some(key) = roll.keys.pop() else {
            self.end_roll(&roll);
            return None;
        };
        let list = match roll.tier {
            Tier::Minute => &self.view.minute,
            Tier::Hour => &self.view.hour,
        };
        if list.iter().any(|index| index.has(&key, roll.first)) {
            return Some(Work::Roll(roll));
        }
        if let Err(error) = self.write_cells(&roll, &key) {
            // Samples are there for hours yet: tried again after the next window.
            Counters::add(&self.counters.summaries_failed, 1);
            tracing::warn!(%error, object = key.name(), "summaries could not be written");
            self.settle(roll.tier);
            self.rolls_rest = true;
            return None;
        }
        Some(Work::Roll(roll))
    }

    fn write_cells(&mut self, roll: &Roll, key: &Key) -> std::io::Result<()> {
        let range = roll.first..roll.first + reach(roll.tier);
        let mut columns = roll.reader.steps(key, None, roll.tier, &range)?;
        columns.retain(|(_, cells)| !cells.is_empty());
        if columns.is_empty() {
            return Ok(());
        }
        let mut payload = Vec::new();
        group::put_cells(&mut payload, key, roll.first, roll.tier.step(), &columns);
        self.tier(roll.tier).append(key, roll.first, &payload)
    }

    fn settle(&mut self, tier: Tier) {
        let settled = match tier {
            Tier::Minute => self.minute.settle(&mut self.view.minute),
            Tier::Hour => self.hour.settle(&mut self.view.hour),
        };
        if settled.is_err() {
            Counters::add(&self.counters.sync_failed, 1);
        }
    }

    fn end_roll(&mut self, roll: &Roll) {
        self.settle(roll.tier);
        let end = roll.first + reach(roll.tier);
        match roll.tier {
            Tier::Minute => self.view.minute_mark = end,
            Tier::Hour => self.view.hour_mark = end,
        }
        self.publish();
    }
}

fn overlaps(index: &Arc<Index>, first: Tick, reach: Tick) -> bool {
    // A group of samples that began in the hour before may reach into this one.
    index.span.is_some_and(|(oldest, newest)| oldest < first + reach && newest + reach > first)
}
