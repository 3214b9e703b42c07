//! The log as its users hold it: append and wait until the record is on disk.

mod open;
mod retention;
mod state;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ganger_core::Dur;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::AuditError;
use crate::hash::{Hash, LogId};
use crate::keys::{PublicKey, SecretDigests};
use crate::line::Prepared;
use crate::record::Append;
use state::State;

/// Appends under way at once. Each holds at most one line, so this bounds memory at 1 GiB for an attacker with the longest
/// lines and near 4 MiB for everybody else; whoever comes beyond it waits.
const WAITING_MAX: usize = 4_096;
/// Bytes of a segment: small enough to copy and to verify in seconds, large enough that a year is not a million files.
const SEGMENT_MAX: u64 = 64 << 20;
/// Records between checkpoints: what a power cut of log **and** heads leaves unsigned at most.
const CHECKPOINT_RECORDS: u64 = 1_000;
/// Time between the first record after a checkpoint and the next checkpoint.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(10);
/// How long an append may wait for the disk: a healthy one takes milliseconds, a caller behind a hanging one should hear so.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where and how to write.
#[derive(Debug, Clone)]
pub struct Options {
    /// The log's folder; made with mode 0700.
    pub folder: PathBuf,
    /// Where copies of checkpoints and of the head go: another file system, out of reach of who could write here.
    pub witness: Option<PathBuf>,
    /// A segment that would grow beyond so many bytes ends, and the next begins.
    pub segment_max: u64,
    /// Records between checkpoints, at most.
    pub checkpoint_records: u64,
    /// Time from a record to its checkpoint, at most.
    pub checkpoint_after: Duration,
    /// How long [`Log::append`] waits for the disk.
    pub deadline: Duration,
    /// What is kept.
    pub retention: Retention,
}

/// What is kept of old segments. Only whole segments go, the oldest first, and only after a record says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Bytes of all segments; none: no bound.
    pub max_bytes: Option<u64>,
    /// Age of a segment's last record; none: no bound.
    pub max_age: Option<Duration>,
}

impl Options {
    /// With the usual bounds, without witness, all kept.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            witness: None,
            segment_max: SEGMENT_MAX,
            checkpoint_records: CHECKPOINT_RECORDS,
            checkpoint_after: CHECKPOINT_AFTER,
            deadline: DEADLINE,
            retention: Retention::default(),
        }
    }
}

/// A record is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its number.
    pub seq: u64,
    /// Hash of its line: whoever keeps it can prove later that the record was there.
    pub hash: Hash,
}

/// What the log did since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Number of the last record on disk.
    pub seq: u64,
    /// Records appended and acknowledged.
    pub records: u64,
    /// Group commits: one write and one fdatasync each.
    pub groups: u64,
    /// Appends that failed.
    pub failed: u64,
}

/// Handle to the log's writer thread. Cheap to clone; when the last one is dropped the log is closed in order.
#[derive(Debug, Clone)]
pub struct Log {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

/// What handles and thread both see.
#[derive(Debug)]
struct Shared {
    id: LogId,
    key: PublicKey,
    digests: SecretDigests,
    deadline: Duration,
    permits: Arc<Semaphore>,
    is_down: AtomicBool,
    why_down: Mutex<Option<String>>,
    seq: AtomicU64,
    records: AtomicU64,
    groups: AtomicU64,
    failed: AtomicU64,
}

type Reply<T> = oneshot::Sender<Result<T, AuditError>>;

/// What the thread is asked for.
#[derive(Debug)]
enum Job {
    Append(Pending),
    Reopen { reply: Reply<()> },
    Close { reply: Reply<()> },
}

/// An append that waits for its group.
#[derive(Debug)]
struct Pending {
    prepared: Prepared,
    reply: Reply<Receipt>,
    /// Given back when it is answered.
    #[expect(dead_code, reason = "held for its drop")]
    permit: OwnedSemaphorePermit,
}

impl Log {
    /// Opens the log of a folder, or begins one. Blocks: it reads and checks the last segment.
    ///
    /// After a crash the torn last line is cut off, and a `recovered` record tells of it.
    ///
    /// # Errors
    /// The log is another process's, is not as it was written, lacks its key, or the disk fails.
    pub fn open(options: Options) -> Result<Self, AuditError> {
        let state = State::open(options)?;
        let shared = Arc::new(Shared {
            id: state.log(),
            key: state.public(),
            digests: state.digests(),
            deadline: state.options.deadline,
            permits: Arc::new(Semaphore::new(WAITING_MAX)),
            is_down: AtomicBool::new(false),
            why_down: Mutex::new(None),
            seq: AtomicU64::new(state.seq()),
            records: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let (jobs, inbox) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let folder = state.options.folder.clone();
        std::thread::Builder::new()
            .name("audit-writer".into())
            .spawn(move || writer::run(state, &inbox, &theirs))
            .map_err(AuditError::io("starting the writer thread of", folder))?;
        Ok(Self { jobs, shared })
    }

    /// Appends a record and waits until it is on disk: only then may what it announces be done.
    ///
    /// Cancel safe: a dropped call may leave the record, which says then what did not happen.
    ///
    /// # Errors
    /// The record is not on disk, or nobody knows ([`AuditError::Slow`]): what it announces must not be done.
    pub async fn append(&self, append: &Append) -> Result<Receipt, AuditError> {
        let result = self.within(self.submit(append)).await;
        if result.is_err() {
            self.shared.failed.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// The line is made when there is room for it: who waits holds none.
    async fn submit(&self, append: &Append) -> Result<Receipt, AuditError> {
        self.shared.up()?;
        let permits = Arc::clone(&self.shared.permits);
        let permit = permits.acquire_owned().await.map_err(|_| AuditError::Closed)?;
        // It may have gone down meanwhile.
        self.shared.up()?;
        let prepared = Prepared::new(append)?;
        self.ask(|reply| Job::Append(Pending { prepared, reply, permit })).await
    }

    /// Opens a log that is down again, in place: all handles work again afterwards.
    ///
    /// # Errors
    /// As [`Log::open`]; the log stays down.
    pub async fn reopen(&self) -> Result<(), AuditError> {
        self.ask(|reply| Job::Reopen { reply }).await
    }

    /// Closes the log in order: a last checkpoint, heads on disk, the lock released. Later appends are refused.
    ///
    /// # Errors
    /// The last checkpoint could not be written.
    pub async fn close(self) -> Result<(), AuditError> {
        self.within(self.ask(|reply| Job::Close { reply })).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, AuditError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).map_err(|_| AuditError::Closed)?;
        answer.await.unwrap_or(Err(AuditError::Closed))
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, AuditError>>,
    ) -> Result<T, AuditError> {
        let deadline = self.shared.deadline;
        tokio::time::timeout(deadline, work).await.unwrap_or(Err(AuditError::Slow(Dur(deadline))))
    }

    /// The log's id.
    #[must_use]
    pub fn id(&self) -> LogId {
        self.shared.id
    }

    /// The key that its seals verify with.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.shared.key
    }

    /// For the digests of secret arguments.
    #[must_use]
    pub fn digests(&self) -> SecretDigests {
        self.shared.digests.clone()
    }

    /// Why nothing is accepted; none when all is well.
    #[must_use]
    pub fn down(&self) -> Option<String> {
        self.shared.why()
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        LogStats {
            seq: get(&self.shared.seq),
            records: get(&self.shared.records),
            groups: get(&self.shared.groups),
            failed: get(&self.shared.failed),
        }
    }
}

impl Shared {
    fn up(&self) -> Result<(), AuditError> {
        if self.is_down.load(Ordering::Acquire) {
            return Err(AuditError::Down { why: self.why().unwrap_or_default() });
        }
        Ok(())
    }

    fn why(&self) -> Option<String> {
        self.why_down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_down(&self, why: Option<String>) {
        let down = why.is_some();
        *self.why_down.lock().unwrap_or_else(PoisonError::into_inner) = why;
        self.is_down.store(down, Ordering::Release);
    }
}
