//! Sealing a window: the minutes of an object become one group, packed as well as it goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Disk, journal_path, window_of};
use crate::body::{ABSENT, WINDOW};
use crate::counts::Counters;
use crate::fold::Point;
use crate::group::{self, Column};
use crate::key::{Key, Schema, Tick};
use crate::minute::Minute;
use crate::view::View;

/// A window that is being sealed.
#[derive(Debug)]
pub(super) struct Seal {
    pub(super) window: Tick,
    minutes: Vec<Arc<Minute>>,
    /// Objects that are left, the next one last.
    keys: Vec<Key>,
}

impl Seal {
    pub(super) fn of(window: Tick, view: &View) -> Self {
        let mine = view.recent.iter().filter(|minute| window_of(minute.start) == window);
        let minutes: Vec<Arc<Minute>> = mine.cloned().collect();
        let keys: BTreeSet<&Key> = minutes.iter().flat_map(|minute| minute.keys()).collect();
        let keys = keys.into_iter().rev().cloned().collect();
        Self { window, minutes, keys }
    }

    /// All samples of an object, as ticks that rise and a column each.
    fn rows(&self, key: &Key) -> Option<(Schema, Vec<Tick>, Vec<Vec<i64>>)> {
        let mut columns: Vec<Column<Point>> = Vec::new();
        for minute in &self.minutes {
            for (metric, points) in minute.samples(key, None).unwrap_or_default() {
                match columns.iter_mut().find(|(known, _)| known.name() == metric.name()) {
                    Some((known, column)) => {
                        *known = metric;
                        column.extend(points);
                    }
                    None => columns.push((metric, points)),
                }
            }
        }
        let ticks: BTreeSet<Tick> =
            columns.iter().flat_map(|(_, points)| points.iter().map(|(at, _)| *at)).collect();
        let ticks: Vec<Tick> = ticks.into_iter().collect();
        let schema =
            Schema::new(columns.iter().map(|(metric, _)| metric.clone()).collect()).ok()?;
        let values = columns.iter().map(|(_, points)| {
            let mut column = vec![ABSENT; ticks.len()];
            // Of two with the same tick the later written comes later.
            for (at, value) in points {
                if let Ok(place) = ticks.binary_search(at) {
                    column[place] = *value;
                }
            }
            column
        });
        let values = values.collect();
        (!ticks.is_empty()).then_some((schema, ticks, values))
    }
}

impl Disk {
    /// Seals one object; none when the window is done.
    pub(super) fn seal(&mut self, mut seal: Seal) -> Option<Seal> {
        let Some(key) = seal.keys.pop() else {
            self.end_seal(&seal);
            return None;
        };
        let Some((schema, ticks, columns)) = seal.rows(&key) else { return Some(seal) };
        let first = ticks[0];
        // Written before a kill, or while the journal could not be removed.
        if self.view.fine.iter().any(|index| index.has(&key, first)) {
            return Some(seal);
        }
        let mut payload = Vec::new();
        group::put_samples(&mut payload, &key, &schema, &ticks, &columns);
        let samples = columns.iter().flatten().filter(|value| **value != ABSENT).count() as u64;
        match self.fine.append(&key, first, &payload) {
            Ok(()) => Counters::add(&self.counters.samples_sealed, samples),
            Err(_) => Counters::add(&self.counters.samples_dropped, samples),
        }
        Some(seal)
    }

    fn end_seal(&mut self, seal: &Seal) {
        self.rolls_rest = false;
        let settled = self.fine.settle(&mut self.view.fine);
        self.view.recent.retain(|minute| window_of(minute.start) != seal.window);
        self.publish();
        // Samples that are nowhere else stay in the journal when the disk can't promise to have them.
        if settled.is_err() {
            Counters::add(&self.counters.sync_failed, 1);
            return;
        }
        if self.journal.as_ref().is_some_and(|journal| journal.window == seal.window) {
            self.journal = None;
        }
        let path = journal_path(&self.options.folder, seal.window);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a sealed journal could not be removed");
        }
        self.begin_marks(seal.window * WINDOW);
    }
}
