//! The owner's side: rows go in, nothing waits.
//!
//! ```text
//! begin(tick) ─▶ push(object, row)… ─▶ begin(tick + 1) … ─▶ a minute is over: encoded, handed to the writing thread
//! ```
//!
//! None of these touches a file. [`Series::open`] and [`Series::close`] block; marks are written by the thread, and their tickets can
//! be awaited, or waited for, or dropped.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::counts::{Counters, Counts};
use crate::disk::{Disk, Job, MarkError, OpenError};
use crate::key::{Key, Schema, Tick};
use crate::mark::Mark;
use crate::minute::{Builder, MINUTE, Minute};
use crate::options::Options;
use crate::reader::Reader;
use crate::view::{OpenRows, Published, Rows};

/// Jobs that may wait for the disk: a minute is one, a mark is one. Beyond it minutes are dropped and counted, marks refused.
pub(crate) const JOBS_MAX: usize = 1_024;

/// An object that is written. Of a forgotten one it means nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectId {
    place: u32,
    generation: u32,
}

/// An object or a row that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More series than [`Options::series_max`].
    #[error(
        "there are {0} series, and no more are kept; raise `series_max` or watch fewer objects"
    )]
    Full(usize),
    /// No such object any more.
    #[error("the object was forgotten")]
    Gone,
    /// The row has not one value for each metric of the schema.
    #[error("a row has {expected} values, and this one {given}")]
    Width {
        /// Metrics of the schema.
        expected: usize,
        /// Values given.
        given: usize,
    },
    /// The tick was not later than the one before: the clock was set back.
    #[error("the tick is not later than the one before")]
    Late,
}

/// A written object.
#[derive(Debug)]
struct Object {
    key: Key,
    schema: Schema,
    rows: Arc<Rows>,
    generation: u32,
    /// Goes when its minute is over.
    is_forgotten: bool,
}

/// All series of a folder, owned by one task.
#[derive(Debug)]
pub struct Series {
    objects: Vec<Option<Object>>,
    by_key: HashMap<Key, u32>,
    free: Vec<u32>,
    generation: u32,
    tick: Tick,
    /// The tick was refused, and so are its rows.
    is_late: bool,
    /// Minutes handed over.
    number: u64,
    /// Those that the thread has not got into its picture.
    flying: Vec<(u64, Arc<Minute>)>,
    jobs: SyncSender<Job>,
    published: Arc<Published>,
    counters: Arc<Counters>,
    counts: Counts,
    series_max: usize,
}

impl Series {
    /// Opens the series of a folder, or begins them, and starts the thread that writes. `now`: seconds since the epoch. Blocks: heads of
    /// all segments and the whole of the last ones are read.
    ///
    /// # Errors
    /// Another process writes them; files can't be read or written.
    pub fn open(options: Options, now: Tick) -> Result<Self, OpenError> {
        let series_max = options.series_max;
        let counters = Arc::new(Counters::default());
        let (disk, published) = Disk::open(options, now, Arc::clone(&counters))?;
        let (jobs, queue) = sync_channel(JOBS_MAX);
        std::thread::Builder::new()
            .name("series".into())
            .spawn(move || disk.run(&queue))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            objects: Vec::new(),
            by_key: HashMap::new(),
            free: Vec::new(),
            generation: 0,
            tick: Tick::MIN,
            is_late: false,
            number: 0,
            flying: Vec::new(),
            jobs,
            published,
            counters,
            counts: Counts::default(),
            series_max,
        })
    }

    /// Begins a tick: rows that follow are of this second. At the end of a minute its rows are encoded (2 to 10 ms for 1,000
    /// objects) and handed to the thread.
    ///
    /// # Errors
    /// [`Refused::Late`]: the clock was set back. Rows are refused and counted until it is where it was.
    pub fn begin(&mut self, now: Tick) -> Result<(), Refused> {
        self.is_late = now <= self.tick;
        if self.is_late {
            return Err(Refused::Late);
        }
        if self.tick.div_euclid(MINUTE) != now.div_euclid(MINUTE) && self.tick != Tick::MIN {
            self.end_minute(now);
        }
        self.tick = now;
        Ok(())
    }

    /// The place of an object; known ones keep theirs if the schema is the same, else they go on with the new one.
    ///
    /// # Errors
    /// [`Refused::Full`], which is counted.
    pub fn object(&mut self, key: &Key, schema: &Schema) -> Result<ObjectId, Refused> {
        if let Some(place) = self.by_key.get(key).copied() {
            let known = self.objects[place as usize].as_mut();
            if let Some(object) = known.filter(|object| object.schema == *schema) {
                object.is_forgotten = false;
                return Ok(ObjectId { place, generation: object.generation });
            }
            self.retire(place);
        }
        let width = schema.width();
        if self.counts.series as usize + width > self.series_max {
            self.counts.objects_refused += 1;
            return Err(Refused::Full(self.counts.series as usize));
        }
        self.generation = self.generation.wrapping_add(1);
        let rows = Rows {
            ticks: Vec::with_capacity(MINUTE as usize),
            values: Vec::with_capacity(MINUTE as usize * width),
        };
        let object = Object {
            key: key.clone(),
            schema: schema.clone(),
            rows: Arc::new(rows),
            generation: self.generation,
            is_forgotten: false,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.objects.push(None);
            (self.objects.len() - 1) as u32
        });
        self.objects[place as usize] = Some(object);
        self.by_key.insert(key.clone(), place);
        self.counts.series += width as u64;
        Ok(ObjectId { place, generation: self.generation })
    }

    /// A row of this tick: a value for each metric of the schema, or [`ABSENT`](crate::ABSENT). A second row of the same tick replaces the first.
    ///
    /// # Errors
    /// The object was forgotten, the row has another width, or the tick was refused.
    pub fn push(&mut self, id: ObjectId, row: &[i64]) -> Result<(), Refused> {
        let object = self.objects.get_mut(id.place as usize).and_then(Option::as_mut);
        let object = object
            .filter(|object| object.generation == id.generation && !object.is_forgotten)
            .ok_or(Refused::Gone)?;
        let width = object.schema.width();
        if row.len() != width {
            return Err(Refused::Width { expected: width, given: row.len() });
        }
        if self.is_late || self.tick == Tick::MIN {
            self.counts.samples_late += width as u64;
            return Err(Refused::Late);
        }
        // Copied only if a snapshot still looks at it.
        let rows = Arc::make_mut(&mut object.rows);
        if rows.ticks.last() == Some(&self.tick) {
            rows.values.truncate(rows.values.len() - width);
        } else {
            rows.ticks.push(self.tick);
            self.counts.samples += width as u64;
        }
        rows.values.extend_from_slice(row);
        Ok(())
    }

    /// The object is no more: its place is free when its minute is over, its history stays until retention takes it.
    pub fn forget(&mut self, id: ObjectId) {
        let object = self.objects.get_mut(id.place as usize).and_then(Option::as_mut);
        if let Some(object) = object.filter(|object| object.generation == id.generation) {
            object.is_forgotten = true;
        }
    }

    /// Writes a mark: the ticket says when it is on disk. A ticket that is dropped changes nothing.
    pub fn mark(&self, mark: &Mark) -> MarkTicket {
        let (told, ticket) = oneshot::channel();
        let job = Job::Mark { payload: mark.payload(), told };
        match self.jobs.try_send(job) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(job)) => {
                Counters::add(&self.counters.marks_failed, 1);
                if let Job::Mark { told, .. } = job {
                    let _ = told.send(Err(MarkError::Busy(JOBS_MAX)));
                }
            }
        }
        MarkTicket(ticket)
    }

    /// A picture of everything up to this tick. Takes some 20 µs for 1,000 objects; what it shows of the open minute is copied when
    /// the next row comes.
    #[must_use]
    pub fn snapshot(&mut self) -> Reader {
        // First the picture, then what is not in it: nothing is in neither.
        let view = self.published.get();
        self.flying.retain(|(number, _)| *number > view.taken);
        let flying = self.flying.iter().map(|(_, minute)| Arc::clone(minute)).collect();
        let objects = self.objects.iter().flatten();
        let open = objects.filter(|object| !object.rows.ticks.is_empty()).map(|object| OpenRows {
            key: object.key.clone(),
            schema: object.schema.clone(),
            rows: Arc::clone(&object.rows),
        });
        Reader::new(view, flying, open.collect())
    }

    /// Hands over the open minute as it is. The ticket resolves when it is on disk and everything that is over is sealed and rolled up: up to
    /// a second for 1,000 objects. None while the disk's queue is full.
    pub fn settle(&mut self) -> Option<SettleTicket> {
        if self.tick != Tick::MIN {
            self.end_minute(self.tick);
        }
        let (done, ticket) = oneshot::channel();
        self.jobs.try_send(Job::Settle { done }).ok()?;
        Some(SettleTicket(ticket))
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Counts { series, objects_refused, samples, samples_late, samples_dropped, .. } =
            self.counts;
        let told = Counts::of(&self.counters);
        let samples_dropped = samples_dropped + told.samples_dropped;
        Counts { series, objects_refused, samples, samples_late, samples_dropped, ..told }
    }

    /// Hands over the open minute and ends the thread when all is on disk. The ticket is awaited or waited for; dropped, it all happens as
    /// well, if the process lives long enough.
    pub fn close(mut self) -> SettleTicket {
        if self.tick != Tick::MIN {
            self.end_minute(self.tick);
        }
        let (done, ticket) = oneshot::channel();
        // A queue that is full drains; a thread waits for that, not this task.
        if let Err(TrySendError::Full(job)) = self.jobs.try_send(Job::Close { done }) {
            let jobs = self.jobs.clone();
            let waiting = std::thread::Builder::new().spawn(move || jobs.send(job));
            if let Err(error) = waiting {
                tracing::warn!(%error, "series end without a word from the disk");
            }
        }
        SettleTicket(ticket)
    }

    /// Encodes the minute that is over and hands it over.
    fn end_minute(&mut self, now: Tick) {
        let mut builder = Builder::new(self.tick - self.tick.rem_euclid(MINUTE));
        for place in 0..self.objects.len() {
            let Some(object) = &mut self.objects[place] else { continue };
            if !object.rows.ticks.is_empty() {
                let columns = object.rows.columns(object.schema.width());
                builder.add(&object.key, &object.schema, &object.rows.ticks, &columns);
                let rows = Arc::make_mut(&mut object.rows);
                rows.ticks.clear();
                rows.values.clear();
            }
            if object.is_forgotten {
                self.free(place as u32);
            }
        }
        let parts: Vec<Arc<Minute>> = builder.finish().into_iter().map(Arc::new).collect();
        self.hand_over(now, parts);
    }

    fn hand_over(&mut self, now: Tick, parts: Vec<Arc<Minute>>) {
        self.number += 1;
        let number = self.number;
        let samples: u64 = parts.iter().map(|part| part.samples).sum();
        match self.jobs.try_send(Job::Minute { number, now, parts: parts.clone() }) {
            Ok(()) => {
                let taken = self.published.get().taken;
                self.flying.retain(|(number, _)| *number > taken);
                self.flying.extend(parts.into_iter().map(|part| (number, part)));
            }
            Err(_) => self.counts.samples_dropped += samples,
        }
    }

    /// An object goes on with another schema: its rows so far are a minute of their own.
    fn retire(&mut self, place: u32) {
        if let Some(object) = &self.objects[place as usize]
            && !object.rows.ticks.is_empty()
        {
            let columns = object.rows.columns(object.schema.width());
            let mut builder = Builder::new(self.tick - self.tick.rem_euclid(MINUTE));
            builder.add(&object.key, &object.schema, &object.rows.ticks, &columns);
            let parts = builder.finish().into_iter().map(Arc::new).collect();
            self.hand_over(self.tick, parts);
        }
        self.free(place);
    }

    fn free(&mut self, place: u32) {
        if let Some(object) = self.objects[place as usize].take() {
            self.counts.series -= object.schema.width() as u64;
            self.by_key.remove(&object.key);
            self.free.push(place);
        }
    }
}

/// Resolves when a mark is on disk.
#[derive(Debug)]
pub struct MarkTicket(oneshot::Receiver<Result<(), MarkError>>);

impl MarkTicket {
    /// Blocks until the mark is on disk: for threads that are not async.
    ///
    /// # Errors
    /// It could not be written.
    pub fn wait(self) -> Result<(), MarkError> {
        self.0.blocking_recv().unwrap_or(Err(MarkError::Closed))
    }
}

impl Future for MarkTicket {
    type Output = Result<(), MarkError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|told| told.unwrap_or(Err(MarkError::Closed)))
    }
}

/// Resolves when the series are settled or closed.
#[derive(Debug)]
pub struct SettleTicket(oneshot::Receiver<()>);

impl SettleTicket {
    /// Blocks until they are: for threads that are not async.
    pub fn wait(self) {
        // An error is a thread that ended already.
        let _ = self.0.blocking_recv();
    }
}

impl Future for SettleTicket {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}
