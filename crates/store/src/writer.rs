//! The writer: one thread that has the store and turns everything that waits into one commit.
//!
//! There is no waiting window: a batch that arrives while nothing happens is committed at once; what arrives during
//! that commit (an fsync takes 0.2-10 ms) forms the next group by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::batch::{Applied, Batch};
use crate::error::StoreError;
use crate::store::Store;

/// Batches that may wait. The dispatcher has at most two under way, the rest is desired state and events.
pub const WAITING_MAX: usize = 256;
/// Rows of one group: at 3 µs a row this keeps a commit near 50 ms, so that nobody waits long behind a bulk push.
pub const GROUP_ROWS_MAX: usize = 16_384;
/// How long nothing must have arrived before housekeeping that takes longer.
const IDLE_AFTER: Duration = Duration::from_millis(500);

/// A batch with its answer. The batch comes back so that its submitter needs no second copy.
#[derive(Debug)]
pub struct Settled {
    /// As submitted.
    pub batch: Batch,
    /// What became of it.
    pub result: Result<Applied, StoreError>,
}

type Reply = Box<dyn FnOnce(Settled) + Send>;

struct Job {
    batch: Batch,
    reply: Reply,
}

/// What the writer did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Transactions committed.
    pub commits: u64,
    /// Batches in them.
    pub batches: u64,
    /// Rows in them.
    pub rows: u64,
    /// Transactions that failed.
    pub failures: u64,
    /// How long the last commit took, in microseconds.
    pub last_commit_us: u64,
    /// Refused operations: stale attempts and wrong states.
    pub refused: u64,
    /// Commits that took up to each of [`COMMIT_BUCKETS_US`] and longer than the one before; the last: longer than all.
    pub commit_buckets: [u64; COMMIT_BUCKETS_US.len() + 1],
    /// All commits together, in microseconds.
    pub commit_total_us: u64,
    /// Bytes in the write-ahead log after the last commit.
    pub log_bytes: u64,
    /// Dead letters dropped for the bounds of histories.
    pub letters_pruned: u64,
}

/// Bounds of the commit latency histogram in microseconds: from a fast NVMe drive's fdatasync to a disk in trouble.
pub const COMMIT_BUCKETS_US: [u64; 11] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000];

#[derive(Debug, Default)]
struct Meter {
    commit_buckets: [AtomicU64; COMMIT_BUCKETS_US.len() + 1],
    commit_total_us: AtomicU64,
    commits: AtomicU64,
    batches: AtomicU64,
    rows: AtomicU64,
    failures: AtomicU64,
    last_commit_us: AtomicU64,
    refused: AtomicU64,
    log_bytes: AtomicU64,
    letters_pruned: AtomicU64,
}

/// Handle to the writer thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    jobs: SyncSender<Job>,
    meter: Arc<Meter>,
    epoch: u32,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("batch", &self.batch.no).finish_non_exhaustive()
    }
}

/// Waits for the writer thread to end. It ends when every [`Writer`] is dropped.
#[derive(Debug)]
pub struct WriterThread(JoinHandle<()>);

impl WriterThread {
    /// Blocks until everything submitted is settled and the file is tidied up. Drop all [`Writer`]s first.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the store's writer thread panicked");
        }
    }
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start<S: Store>(store: S) -> std::io::Result<(Self, WriterThread)> {
        let (jobs, inbox) = mpsc::sync_channel(WAITING_MAX);
        let meter = Arc::new(Meter::default());
        let epoch = store.epoch();
        let writer = Self { jobs, meter: Arc::clone(&meter), epoch };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || Loop { store, inbox, meter, poison: None }.run())?;
        Ok((writer, WriterThread(thread)))
    }

    /// The fencing epoch of this opening of the store.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Hands a batch over; never blocks. `reply` is called exactly once, on the writer thread after the commit, or at
    /// once on this thread when nothing was accepted ([`StoreError::Busy`], [`StoreError::Closed`]). It must be short:
    /// send the answer on a channel.
    pub fn submit(&self, batch: Batch, reply: impl FnOnce(Settled) + Send + 'static) {
        let (job, error) = match self.jobs.try_send(Job { batch, reply: Box::new(reply) }) {
            Ok(()) => return,
            Err(TrySendError::Full(job)) => (job, StoreError::Busy(WAITING_MAX)),
            Err(TrySendError::Disconnected(job)) => (job, StoreError::Closed),
        };
        (job.reply)(Settled { batch: job.batch, result: Err(error) });
    }

    /// Hands a batch over and waits for its commit.
    ///
    /// Cancel safe: a dropped call leaves the batch on its way.
    pub async fn commit(&self, batch: Batch) -> Settled {
        let no = batch.no;
        let (tell, told) = tokio::sync::oneshot::channel();
        self.submit(batch, move |settled| {
            // A caller that went away does not want the answer.
            drop(tell.send(settled));
        });
        told.await.unwrap_or_else(|_| Settled {
            batch: Batch { no, ..Batch::default() },
            result: Err(StoreError::Closed),
        })
    }

    /// What the writer did so far.
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        WriterStats {
            commits: get(&self.meter.commits),
            batches: get(&self.meter.batches),
            rows: get(&self.meter.rows),
            failures: get(&self.meter.failures),
            last_commit_us: get(&self.meter.last_commit_us),
            refused: get(&self.meter.refused),
            commit_buckets: self.meter.commit_buckets.each_ref().map(get),
            commit_total_us: get(&self.meter.commit_total_us),
            log_bytes: get(&self.meter.log_bytes),
            letters_pruned: get(&self.meter.letters_pruned),
        }
    }
}

/// What the thread owns.
struct Loop<S> {
    store: S,
    inbox: Receiver<Job>,
    meter: Arc<Meter>,
    poison: Option<StoreError>,
}

impl<S: Store> Loop<S> {
    fn run(mut self) {
        let mut batches = Vec::new();
        let mut replies = Vec::new();
        while let Some(first) = self.next() {
            let mut rows = first.batch.weight();
            batches.push(first.batch);
            replies.push(first.reply);
            while rows < GROUP_ROWS_MAX {
                match self.inbox.try_recv() {
                    Ok(job) => {
                        rows += job.batch.weight();
                        batches.push(job.batch);
                        replies.push(job.reply);
                    }
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            self.settle(&mut batches, &mut replies, rows);
            let _ = self.tend(false);
        }
        let _ = self.tend(true);
    }

    /// The next job; `None` when every handle is gone. Idle moments go into housekeeping until that is done (or fails),
    /// so an idle store wakes nobody.
    fn next(&mut self) -> Option<Job> {
        // Once it is idle, step follows step; whoever comes waits for one step at most.
        let mut wait = IDLE_AFTER;
        while self.poison.is_none() && self.store.wants_tending() {
            match self.inbox.recv_timeout(wait) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.tend(true) => wait = Duration::ZERO,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        self.inbox.recv().ok()
    }

    fn settle(&mut self, batches: &mut Vec<Batch>, replies: &mut Vec<Reply>, rows: usize) {
        let began = Instant::now();
        let group = self.commit(batches);
        let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        match group {
            Ok(applied) => {
                let refused: usize = applied.iter().map(|a| a.refused.len()).sum();
                self.meter.commits.fetch_add(1, Ordering::Relaxed);
                self.meter.batches.fetch_add(applied.len() as u64, Ordering::Relaxed);
                self.meter.rows.fetch_add(rows as u64, Ordering::Relaxed);
                self.meter.refused.fetch_add(refused as u64, Ordering::Relaxed);
                self.meter.last_commit_us.store(us, Ordering::Relaxed);
                self.meter.log_bytes.store(self.store.log_bytes(), Ordering::Relaxed);
                self.meter.commit_total_us.fetch_add(us, Ordering::Relaxed);
                let bucket = COMMIT_BUCKETS_US.partition_point(|bound| *bound < us);
                self.meter.commit_buckets[bucket].fetch_add(1, Ordering::Relaxed);
                for ((batch, reply), applied) in
                    batches.drain(..).zip(replies.drain(..)).zip(applied)
                {
                    reply(Settled { batch, result: Ok(applied) });
                }
            }
            Err(error) if batches.len() > 1 && !matches!(error, StoreError::Poisoned(_)) => {
                // One batch may be what does not fit: the others must not suffer for it.
                for (batch, reply) in batches.drain(..).zip(replies.drain(..)) {
                    let result = self.commit(std::slice::from_ref(&batch));
                    let result = result.and_then(|mut a| a.pop().ok_or(StoreError::Closed));
                    reply(Settled { batch, result });
                }
            }
            Err(error) => {
                for (batch, reply) in batches.drain(..).zip(replies.drain(..)) {
                    reply(Settled { batch, result: Err(error.clone()) });
                }
            }
        }
    }

    fn commit(&mut self, batches: &[Batch]) -> Result<Vec<Applied>, StoreError> {
        if let Some(error) = &self.poison {
            return Err(error.clone());
        }
        self.store.commit(batches).inspect_err(|error| self.failed(error))
    }

    /// True when it went well.
    fn tend(&mut self, idle: bool) -> bool {
        if self.poison.is_some() {
            return false;
        }
        let tended = self.store.tend(idle).inspect_err(|error| self.failed(error)).is_ok();
        self.meter.letters_pruned.store(self.store.letters_pruned(), Ordering::Relaxed);
        tended
    }

    fn failed(&mut self, error: &StoreError) {
        self.meter.failures.fetch_add(1, Ordering::Relaxed);
        if matches!(error, StoreError::Poisoned(_)) {
            tracing::error!(%error, "the store stops");
            self.poison = Some(error.clone());
        } else {
            tracing::warn!(%error, "the store refused a commit");
        }
    }
}
