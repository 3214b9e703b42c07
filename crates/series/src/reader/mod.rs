//! Reading: samples, tiers, statistics, graphs, marks. A [`Reader`] is one moment's picture and can be used on any thread.
//!
//! Every call here but [`Reader::objects`] reads files, so an async task calls them from a blocking thread. What is damaged is left
//! out and counted ([`Reader::damaged`]); a segment that retention removed in the meantime is simply not there.
//!
//! ```text
//! samples   sealed groups ∪ recent minutes ∪ the open minute        later writes win where ticks are the same
//! minutes   stored before the mark ∪ computed from samples after it
//! hours     stored before the mark ∪ computed from minutes after it
//! ```

mod graph;
mod stats;

pub use graph::Bar;
pub use stats::Stats;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::body::WINDOW;
use crate::fold::{self, LOOKBACK, Point};
use crate::frame;
use crate::group::{self, Column};
use crate::index::Index;
use crate::key::{Key, Metric, Tick};
use crate::mark::Mark;
use crate::minute::{MINUTE, Minute};
use crate::segment::{self, Stream};
use crate::summary::Cell;
use crate::view::{DAY, HOUR, OpenRows, View};

/// Steps of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
}

impl Tier {
    /// Seconds of a step.
    #[must_use]
    pub const fn step(self) -> Tick {
        match self {
            Self::Minute => MINUTE,
            Self::Hour => HOUR,
        }
    }
}

/// One moment's picture of all series.
#[derive(Debug, Clone)]
pub struct Reader {
    view: Arc<View>,
    /// Minutes on their way to the disk.
    flying: Vec<Arc<Minute>>,
    open: Vec<OpenRows>,
    damaged: Arc<AtomicU64>,
}

/// Puts `more` into the column of its metric.
fn extend<T>(columns: &mut Vec<Column<T>>, more: Vec<Column<T>>) {
    for (metric, values) in more {
        match columns.iter_mut().find(|(known, _)| known.name() == metric.name()) {
            // The later kind is the right one: a program's new version may have said it better.
            Some((known, column)) => {
                column.extend(values);
                *known = metric;
            }
            None => columns.push((metric, values)),
        }
    }
}

/// Keeps what is in `range`, in order; of two with the same tick the later written.
fn settle<T>(values: &mut Vec<(Tick, T)>, range: &Range<Tick>) {
    values.retain(|(at, _)| range.contains(at));
    if values.is_sorted_by(|a, b| a.0 < b.0) {
        return;
    }
    // Stable: what was written later stays later.
    values.sort_by_key(|(at, _)| *at);
    values.reverse();
    values.dedup_by_key(|(at, _)| *at);
    values.reverse();
}

impl Reader {
    pub(crate) fn new(view: Arc<View>, flying: Vec<Arc<Minute>>, open: Vec<OpenRows>) -> Self {
        let damaged = Arc::new(AtomicU64::new(view.damaged));
        Self { view, flying, open, damaged }
    }

    /// Looks at a folder that this process does not write: without a daemon, or beside one. Up to a minute of samples are in the memory of
    /// who writes. Reads every segment's heads; blocks.
    ///
    /// # Errors
    /// The folder's files can't be read. A folder that is not there is empty.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self::new(Arc::new(View::load(folder)?.0), Vec::new(), Vec::new()))
    }

    /// All objects of which anything is left.
    #[must_use]
    pub fn objects(&self) -> Vec<Key> {
        let View { fine, minute, hour, recent, .. } = &*self.view;
        let stored = fine.iter().chain(minute).chain(hour).flat_map(|index| index.keys());
        let recent = recent.iter().chain(&self.flying).flat_map(|minute| minute.keys());
        let open = self.open.iter().map(|open| &open.key);
        let all: BTreeSet<&Key> = stored.chain(recent).chain(open).collect();
        all.into_iter().cloned().collect()
    }

    /// Frames that were not as they were written, up to now.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The metrics of an object, as it had them last.
    #[must_use]
    pub fn metrics(&self, key: &Key) -> Vec<Metric> {
        if let Some(open) = self.open.iter().find(|open| open.key == *key) {
            return open.schema.metrics().to_vec();
        }
        let View { fine, minute, hour, recent, .. } = &*self.view;
        let names = |columns: Vec<Column<Point>>| columns.into_iter().map(|(m, _)| m).collect();
        let minutes = self.flying.iter().rev().chain(recent.iter().rev());
        if let Some(columns) = minutes.filter_map(|minute| minute.samples(key, None)).next() {
            return names(columns);
        }
        let read = |index: &Arc<Index>| self.last_group(index, key);
        if let Some(payload) = fine.iter().rev().find_map(read) {
            return group::samples(&payload, key, None).map(names).unwrap_or_default();
        }
        let payload = minute.iter().rev().chain(hour.iter().rev()).find_map(read);
        let cells = payload.and_then(|payload| group::cells(&payload, key, MINUTE, None));
        cells.into_iter().flatten().map(|(metric, _)| metric).collect()
    }

    fn last_group(&self, index: &Arc<Index>, key: &Key) -> Option<Vec<u8>> {
        let (_, offset) = index.of(key).last()?;
        let file = File::open(&index.path).ok()?;
        let mut buffer = Vec::new();
        frame::read(&file, offset, &mut buffer).ok()??;
        Some(buffer)
    }

    /// The samples of a metric, one a second at most, in order. `range` is seconds since the epoch, its end not included.
    ///
    /// # Errors
    /// A segment can't be read.
    pub fn samples(
        &self,
        key: &Key,
        metric: &str,
        range: Range<Tick>,
    ) -> io::Result<Vec<(Tick, i64)>> {
        let columns = self.points(key, Some(metric), &range)?;
        Ok(columns.into_iter().next().map(|(_, points)| points).unwrap_or_default())
    }

    /// The summaries of a metric by minute or hour, in order, of the steps that begin in `range`.
    ///
    /// # Errors
    /// A segment can't be read.
    pub fn cells(
        &self,
        key: &Key,
        metric: &str,
        tier: Tier,
        range: Range<Tick>,
    ) -> io::Result<Vec<(Tick, Cell)>> {
        let columns = self.steps(key, Some(metric), tier, &range)?;
        Ok(columns.into_iter().next().map(|(_, cells)| cells).unwrap_or_default())
    }

    /// Marks in a range of seconds, of one object's name or of all, in order of time.
    ///
    /// # Errors
    /// A segment can't be read.
    pub fn marks(&self, name: Option<&str>, range: Range<Tick>) -> io::Result<Vec<Mark>> {
        let mut found = Vec::new();
        for (_, path) in segment::list(&self.view.folder, Stream::Marks)? {
            let Some(file) = open(&path)? else { continue };
            let scan = frame::scan(&file, true, |_, payload| {
                found.extend(Mark::read(payload).filter(|mark| {
                    range.contains(&mark.at_ms.div_euclid(1_000))
                        && name.is_none_or(|name| name == mark.name)
                }));
            })?;
            self.damaged.fetch_add(scan.damaged, Ordering::Relaxed);
        }
        found.sort_by_key(|mark| mark.at_ms);
        Ok(found)
    }

    /// Reads the groups of an object that begin less than `reach` before the range ends and begins.
    fn groups<T>(
        &self,
        indices: &[Arc<Index>],
        key: &Key,
        range: &Range<Tick>,
        reach: Tick,
        read: impl Fn(&[u8]) -> Option<Vec<Column<T>>>,
    ) -> io::Result<Vec<Column<T>>> {
        let mut columns = Vec::new();
        let mut buffer = Vec::new();
        for index in indices {
            let mut mine = index
                .of(key)
                .filter(|(first, _)| {
                    *first < range.end && first.saturating_add(reach) > range.start
                })
                .peekable();
            if mine.peek().is_none() {
                continue;
            }
            let Some(file) = open(&index.path)? else { continue };
            for (_, offset) in mine {
                let good = frame::read(&file, offset, &mut buffer)?;
                match good.and_then(|()| read(&buffer)) {
                    Some(more) => extend(&mut columns, more),
                    None => {
                        self.damaged.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
        Ok(columns)
    }

    /// Samples of one or all metrics.
    pub(crate) fn points(
        &self,
        key: &Key,
        want: Option<&str>,
        range: &Range<Tick>,
    ) -> io::Result<Vec<Column<Point>>> {
        let read = |payload: &[u8]| group::samples(payload, key, want);
        let mut columns = self.groups(&self.view.fine, key, range, WINDOW, read)?;
        for minute in self.view.recent.iter().chain(&self.flying) {
            if minute.start < range.end && minute.start + MINUTE > range.start {
                extend(&mut columns, minute.samples(key, want).unwrap_or_default());
            }
        }
        for open in self.open.iter().filter(|open| open.key == *key) {
            let width = open.schema.metrics().len();
            for (n, metric) in open.schema.metrics().iter().enumerate() {
                if want.is_none_or(|want| want == metric.name()) {
                    let points = open.rows.column(n, width).collect();
                    extend(&mut columns, vec![(metric.clone(), points)]);
                }
            }
        }
        for (_, points) in &mut columns {
            settle(points, range);
        }
        Ok(columns)
    }

    /// Summaries of one or all metrics.
    pub(crate) fn steps(
        &self,
        key: &Key,
        want: Option<&str>,
        tier: Tier,
        range: &Range<Tick>,
    ) -> io::Result<Vec<Column<(Tick, Cell)>>> {
        let (indices, mark, reach) = match tier {
            Tier::Minute => (&self.view.minute, self.view.minute_mark, HOUR),
            Tier::Hour => (&self.view.hour, self.view.hour_mark, DAY),
        };
        let stored = range.start..range.end.min(mark);
        let mut columns = Vec::new();
        if !stored.is_empty() {
            let read = |payload: &[u8]| group::cells(payload, key, tier.step(), want);
            columns = self.groups(indices, key, &stored, reach, read)?;
            for (_, cells) in &mut columns {
                settle(cells, &stored);
            }
        }
        let rest = range.start.max(mark)..range.end;
        if !rest.is_empty() {
            extend(&mut columns, self.computed(key, want, tier, &rest)?);
        }
        Ok(columns)
    }

    /// Steps of a tier that are not stored yet. Those that begin in `range` are computed whole.
    fn computed(
        &self,
        key: &Key,
        want: Option<&str>,
        tier: Tier,
        range: &Range<Tick>,
    ) -> io::Result<Vec<Column<(Tick, Cell)>>> {
        let up = |at: Tick| at.saturating_add((-at).rem_euclid(tier.step()));
        let range = up(range.start)..up(range.end);
        match tier {
            Tier::Minute => {
                let wide = range.start.saturating_sub(LOOKBACK)..range.end;
                let columns = self.points(key, want, &wide)?.into_iter();
                Ok(columns
                    .map(|(metric, points)| {
                        let cells = fold::steps(&metric, &points, &range, MINUTE);
                        (metric, cells)
                    })
                    .collect())
            }
            Tier::Hour => {
                let columns = self.steps(key, want, Tier::Minute, &range)?.into_iter();
                Ok(columns.map(|(metric, cells)| (metric, fold::coarser(&cells, HOUR))).collect())
            }
        }
    }

    /// First tick of the oldest samples that are kept of anything; none if there are none.
    fn oldest_sample(&self) -> Option<Tick> {
        oldest(&self.view.fine)
            .into_iter()
            .chain(self.view.recent.iter().chain(&self.flying).map(|minute| minute.start))
            .chain(self.open.iter().filter_map(|open| open.rows.ticks.first().copied()))
            .min()
    }

    /// The same for minutes.
    fn oldest_minute(&self) -> Option<Tick> {
        oldest(&self.view.minute).into_iter().chain(self.oldest_sample()).min()
    }
}

fn oldest(indices: &[Arc<Index>]) -> Option<Tick> {
    indices.iter().filter_map(|index| Some(index.span?.0)).min()
}

/// Opens a segment that may be gone: retention does not wait for readers.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
