//! The handle to the thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use ganger_core::Usage;
use ganger_sampler::{Sampler, SamplerError};
use ganger_series::{Mark, Reader};
use tokio::sync::{oneshot, watch};

use crate::thread::{Ask, Settings, Thread, Tick};

/// Asks that may wait for the thread: a second of exits on a machine where everything crashes.
const ASKS_MAX: usize = 4_096;

/// An instance to be watched, with or without a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The service's or pool's name.
    pub name: String,
    /// Its slot.
    pub slot: u32,
    /// Its process, while it has one.
    pub pid: Option<u32>,
    /// When that was started, in milliseconds since the Unix epoch: another start is another process even under the same number.
    pub started_ms: u64,
    /// Its cgroup's folder (v2), where there is one.
    pub cgroup: Option<PathBuf>,
    /// `NAME=value` that only its processes have in their environment.
    pub mark: Option<String>,
}

/// Why something was not done or told.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// Nothing can be looked at.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    /// No thread could be started.
    #[error("the monitor's thread could not be started: {0}")]
    Thread(std::io::Error),
    /// Samples are not kept, and why.
    #[error("samples are not kept: {0}")]
    NotKept(Arc<str>),
    /// It has more to do than it can.
    #[error("the monitor is {ASKS_MAX} requests behind; ask again")]
    Busy,
    /// It has ended with the daemon.
    #[error("the monitor has ended")]
    Gone,
}

/// Handle to the monitor; cheap to clone. With the last one it ends.
#[derive(Debug, Clone)]
pub struct Monitor {
    wanted: watch::Sender<Arc<Vec<Watched>>>,
    newest: watch::Receiver<Arc<Tick>>,
    asks: SyncSender<Ask>,
}

impl Monitor {
    /// Starts the thread. It opens the series itself: this doesn't block.
    ///
    /// # Errors
    /// `/proc` can't be read, or there is no thread to be had.
    pub fn start(settings: Settings) -> Result<(Self, JoinHandle<()>), MonitorError> {
        let sampler = Sampler::new(settings.sampler.clone(), Instant::now())?;
        let (wanted, list) = watch::channel(Arc::default());
        let (tell, newest) = watch::channel(Arc::default());
        let (asks, inbox) = sync_channel(ASKS_MAX);
        let thread = std::thread::Builder::new()
            .name("monitor".into())
            .spawn(move || Thread::new(settings, sampler, list, tell).run(&inbox))
            .map_err(MonitorError::Thread)?;
        Ok((Self { wanted, newest, asks }, thread))
    }

    /// Who is there now: all of them, with and without processes. Who is not in the list is forgotten; its history stays.
    pub fn watch(&self, list: Vec<Watched>) {
        self.wanted.send_if_modified(|before| {
            let changed = **before != list;
            if changed {
                *before = Arc::new(list);
            }
            changed
        });
    }

    /// When a watched process was started, in milliseconds since the Unix epoch; `None` for one that the newest list doesn't have.
    #[must_use]
    pub fn started_ms(&self, name: &str, slot: u32, pid: u32) -> Option<u64> {
        let list = self.wanted.borrow();
        let is = |one: &&Watched| (one.slot, one.pid) == (slot, Some(pid)) && one.name == name;
        list.iter().find(is).map(|one| one.started_ms)
    }

    /// What the last look has seen.
    #[must_use]
    pub fn newest(&self) -> Arc<Tick> {
        self.newest.borrow().clone()
    }

    /// Told at each look.
    #[must_use]
    pub fn ticks(&self) -> watch::Receiver<Arc<Tick>> {
        self.newest.clone()
    }

    /// A picture of all series. Reading it blocks: use it on a blocking thread. Dropped, nothing happens.
    ///
    /// # Errors
    /// Samples are not kept, the thread is behind or gone.
    pub async fn reader(&self) -> Result<Reader, MonitorError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Reader(reply))?;
        let reader = answer.await.map_err(|_| MonitorError::Gone)?;
        reader.ok_or_else(|| {
            let why = self.newest().not_kept.clone();
            MonitorError::NotKept(why.unwrap_or_else(|| "they could not be opened".into()))
        })
    }

    /// Puts a mark on the time axis.
    ///
    /// # Errors
    /// The thread is behind or gone: the mark is lost.
    pub fn mark(&self, mark: Mark) -> Result<(), MonitorError> {
        self.ask(Ask::Mark(Box::new(mark)))
    }

    /// The exact cost of a process that has ended, so that what no look has seen is counted too.
    ///
    /// # Errors
    /// The thread is behind or gone.
    pub fn ended(&self, name: &str, slot: u32, pid: u32, usage: Usage) -> Result<(), MonitorError> {
        self.ask(Ask::Ended { name: name.to_owned(), slot, pid, usage })
    }

    fn ask(&self, ask: Ask) -> Result<(), MonitorError> {
        use std::sync::mpsc::TrySendError;
        self.asks.try_send(ask).map_err(|error| match error {
            TrySendError::Full(_) => MonitorError::Busy,
            TrySendError::Disconnected(_) => MonitorError::Gone,
        })
    }
}
