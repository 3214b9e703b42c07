//! What readers see: one immutable picture of files and recent minutes, replaced as a whole by the thread that writes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::body::WINDOW;
use crate::fold::Point;
use crate::frame;
use crate::index::{Builder, Index};
use crate::key::{Key, Schema, Tick};
use crate::minute::Minute;
use crate::segment::{self, Stream};

/// Seconds of an hour: what a group of minutes covers.
pub(crate) const HOUR: Tick = 3_600;
/// Seconds of a day: what a group of hours covers.
pub(crate) const DAY: Tick = 86_400;

pub(crate) fn floor(at: Tick, step: Tick) -> Tick {
    at - at.rem_euclid(step)
}

/// A picture.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) folder: PathBuf,
    pub(crate) fine: Vec<Arc<Index>>,
    pub(crate) minute: Vec<Arc<Index>>,
    pub(crate) hour: Vec<Arc<Index>>,
    /// Minutes that are journalled and not sealed.
    pub(crate) recent: Vec<Arc<Minute>>,
    /// Hours before this tick are in `minute`; from it on they are computed from samples.
    pub(crate) minute_mark: Tick,
    /// Days before this tick are in `hour`; from it on they are computed from minutes.
    pub(crate) hour_mark: Tick,
    /// The last minute that the owner handed over and that is in here.
    pub(crate) taken: u64,
    /// Frames that were not as they were written, found at opening.
    pub(crate) damaged: u64,
}

/// A segment as it was found.
pub(crate) struct Found {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) builder: Builder,
    /// Where its last whole frame ends.
    pub(crate) end: u64,
}

/// A picture, the last segment of each tier, and journals' windows with their ends.
pub(crate) type Loaded = (View, [Option<Found>; 3], Vec<(u64, u64)>);

impl View {
    /// Reads what a folder has. Also gives the last segment of each tier, to go on with, and the journals with their ends.
    pub(crate) fn load(folder: &Path) -> io::Result<Loaded> {
        let mut view = Self { folder: folder.to_path_buf(), ..Self::default() };
        let mut tails = [None, None, None];
        for (n, stream) in [Stream::Fine, Stream::Minute, Stream::Hour].into_iter().enumerate() {
            let listed = segment::list(folder, stream)?;
            let last = listed.len().saturating_sub(1);
            let mut indices = Vec::with_capacity(listed.len());
            for (at, (number, path)) in listed.into_iter().enumerate() {
                // Only the last one can have been torn; damage in others shows when they are read.
                let (builder, scan) = match Builder::load(&path, at == last) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    loaded => loaded?,
                };
                view.damaged += scan.damaged;
                indices.push(Arc::new(builder.index(number, &path, scan.end)));
                tails[n] = Some(Found { number, path, builder, end: scan.end });
            }
            match stream {
                Stream::Fine => view.fine = indices,
                Stream::Minute => view.minute = indices,
                _ => view.hour = indices,
            }
        }
        let journals = view.load_journals()?;
        view.find_marks();
        Ok((view, tails, journals))
    }

    fn load_journals(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let mut journals = Vec::new();
        for (window, path) in segment::list(&self.folder, Stream::Journal)? {
            let file = match std::fs::File::open(&path) {
                // Sealed in the meantime, by a writer that is alive: a reader that came late.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            let mut strange = 0;
            let recent = &mut self.recent;
            let scan =
                frame::scan(&file, true, |_, payload| match Minute::read(payload.to_vec()) {
                    Some(minute) => recent.push(Arc::new(minute)),
                    None => strange += 1,
                })?;
            self.damaged += scan.damaged + strange;
            journals.push((window, scan.end));
        }
        Ok(journals)
    }

    /// Where tiers go on: at the group that was written last, because a writer that was killed may have left it without some objects.
    fn find_marks(&mut self) {
        let newest = |list: &[Arc<Index>]| list.iter().filter_map(|i| Some(i.span?.1)).max();
        let oldest = |list: &[Arc<Index>]| list.iter().filter_map(|i| Some(i.span?.0)).min();
        let first = self.recent.iter().map(|minute| minute.start).min();
        let first = oldest(&self.fine).into_iter().chain(first).min();
        self.minute_mark = newest(&self.minute)
            .or_else(|| first.map(|first| floor(first, HOUR)))
            .unwrap_or(Tick::MIN);
        self.hour_mark = newest(&self.hour)
            .or_else(|| {
                let first = oldest(&self.minute).into_iter().chain(first).min();
                first.map(|first| floor(first, DAY))
            })
            .unwrap_or(Tick::MIN);
    }

    /// The first hour or day from `mark` on for which `list` has something.
    pub(crate) fn next_with(list: &[Arc<Index>], mark: Tick, step: Tick) -> Option<Tick> {
        let spans = list.iter().filter_map(|index| index.span);
        // A group reaches over the ticks behind its first one.
        let later = spans.filter(|(_, newest)| newest + WINDOW.max(step) > mark);
        later.map(|(oldest, _)| floor(oldest, step).max(mark)).min()
    }

    /// Bytes of memory, about.
    pub(crate) fn weight(&self) -> usize {
        let indices = self.fine.iter().chain(&self.minute).chain(&self.hour);
        indices.map(|index| index.weight()).sum::<usize>()
            + self.recent.iter().map(|minute| minute.weight()).sum::<usize>()
    }
}

/// Where the writing thread puts its pictures and readers take them from. Held for a pointer's copy only.
#[derive(Debug, Default)]
pub(crate) struct Published(Mutex<Arc<View>>);

impl Published {
    pub(crate) fn get(&self) -> Arc<View> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn put(&self, view: Arc<View>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }
}

/// The rows of an object since the minute began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) ticks: Vec<Tick>,
    /// Row by row.
    pub(crate) values: Vec<i64>,
}

impl Rows {
    /// Column by column.
    pub(crate) fn columns(&self, width: usize) -> Vec<Vec<i64>> {
        (0..width).map(|n| self.values.iter().skip(n).step_by(width).copied().collect()).collect()
    }

    /// The samples of one column that are there.
    pub(crate) fn column(&self, n: usize, width: usize) -> impl Iterator<Item = Point> {
        let column = self.values.iter().skip(n).step_by(width);
        let points = self.ticks.iter().copied().zip(column.copied());
        points.filter(|(_, value)| *value != crate::body::ABSENT)
    }
}

/// An object's rows as a snapshot has them.
#[derive(Debug, Clone)]
pub(crate) struct OpenRows {
    pub(crate) key: Key,
    pub(crate) schema: Schema,
    pub(crate) rows: Arc<Rows>,
}
