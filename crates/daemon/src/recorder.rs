//! Records events: each becomes a row of the store, then is told to whoever listens.
//!
//! It owns the way of every event and of every exit's acknowledgement: an exit is confirmed to the keeper only after its
//! row is committed. When the store refuses (full disk, read-only), events are told at once without a number, kept up to
//! a bound, and committed when the store takes them again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::Event;
use ganger_store::{Batch, Op, StoreError, Writer};
use ganger_supervise::Told;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use crate::desired;

/// Rows of one commit: a thousand services that start at once make a few commits, not thousands.
const BATCH: usize = 512;
/// Events kept while the store refuses them. Exits among them stay with the keeper too, so none is lost with the rest.
const KEPT_MAX: usize = 8_192;
/// Events a slow listener may be behind before it has to read the store instead.
const LISTENER_MAX: usize = 1_024;
/// Between two tries while the store refuses.
const RETRY: Duration = Duration::from_secs(1);

/// How others tell events and listen to them.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    told: mpsc::Sender<Told>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Events {
    /// For supervision, which tells more than events.
    pub(crate) fn told(&self) -> mpsc::Sender<Told> {
        self.told.clone()
    }

    /// Tells an event of the daemon's own. Waits while the recorder is behind.
    pub(crate) async fn tell(&self, kind: &str, name: &str, reason: impl Into<String>) {
        let event = Event {
            seq: 0,
            ts_ms: ganger_api::Timestamp::now().0,
            kind: kind.to_owned(),
            name: name.to_owned(),
            slot: None,
            from: None,
            to: None,
            reason: reason.into(),
            exit: None,
        };
        self.tell_of(event).await;
    }

    /// Tells an event of the daemon's own; its `seq` is the store's to give.
    pub(crate) async fn tell_of(&self, event: Event) {
        // Without a recorder the daemon is going down, and nobody would read it.
        drop(self.told.send(Told { event, ack: None, resume: None }).await);
    }

    /// What happens from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.live.subscribe()
    }
}

/// Makes a recorder and the handle to it.
pub(crate) fn recorder(writer: Writer) -> (Events, Recorder) {
    let (told, inbox) = mpsc::channel(BATCH);
    let (live, _) = broadcast::channel(LISTENER_MAX);
    let recorder = Recorder {
        writer,
        inbox,
        live: live.clone(),
        waiting: VecDeque::new(),
        lost: 0,
        retry_at: None,
        poisoned: false,
    };
    (Events { told, live }, recorder)
}

/// One event on its way.
#[derive(Debug)]
struct Row {
    told: Told,
    /// Listeners have heard of it already, without a number.
    heard: bool,
}

/// The owner task's state.
#[derive(Debug)]
pub(crate) struct Recorder {
    writer: Writer,
    inbox: mpsc::Receiver<Told>,
    live: broadcast::Sender<Arc<Event>>,
    waiting: VecDeque<Row>,
    /// Events dropped at the bound.
    lost: u64,
    retry_at: Option<Instant>,
    poisoned: bool,
}

impl Recorder {
    /// Runs until every sender is gone, or `last` says that the rest has nothing to tell any more, and what could be
    /// committed is. Senders live in many hands, some of which end only with the keeper's socket.
    pub(crate) async fn run(mut self, mut last: oneshot::Receiver<()>) {
        let mut fresh = Vec::with_capacity(BATCH);
        let mut closed = false;
        loop {
            let retry = self.retry_at;
            let open = tokio::select! {
                biased;
                _ = &mut last, if !closed => {
                    closed = true;
                    self.inbox.close();
                    continue;
                }
                n = self.inbox.recv_many(&mut fresh, BATCH) => n > 0,
                () = until(retry) => true,
            };
            self.waiting.extend(fresh.drain(..).map(|told| Row { told, heard: false }));
            if open && self.retry_at.is_some_and(|at| Instant::now() < at) {
                self.hear_unrecorded();
                continue;
            }
            self.record().await;
            if !open {
                return;
            }
        }
    }

    /// Commits what waits, in commits of a bounded size.
    async fn record(&mut self) {
        self.retry_at = None;
        while !self.waiting.is_empty() {
            let rows = self.waiting.len().min(BATCH);
            let mut ops = Vec::with_capacity(rows + 8);
            for row in self.waiting.iter().take(rows) {
                ops.push(Op::Event(Box::new(row.told.event.clone())));
                ops.extend(row.told.resume.as_ref().map(desired::slot));
            }
            // Not fsynced: power loss ends keeper and children too, and with them what these rows are about.
            let batch = Batch { ops, ..Batch::default() };
            match self.writer.commit(batch).await.result {
                Ok(applied) => self.recorded(rows, applied.first_event_seq.unwrap_or(0)).await,
                Err(error) => return self.refused(&error),
            }
        }
    }

    async fn recorded(&mut self, rows: usize, first: u64) {
        for (row, seq) in self.waiting.drain(..rows).zip(first..) {
            if let Some(ack) = row.told.ack {
                ack.confirm().await;
            }
            if !row.heard {
                // Nobody listens: that is no error.
                drop(self.live.send(Arc::new(Event { seq, ..row.told.event })));
            }
        }
    }

    fn refused(&mut self, error: &StoreError) {
        if !self.poisoned {
            tracing::warn!(%error, waiting = self.waiting.len(), "events can't be recorded now");
        }
        self.poisoned = !error.is_passing();
        self.retry_at = Some(Instant::now() + RETRY);
        self.hear_unrecorded();
    }

    /// Tells listeners what can't be recorded now, and drops the oldest beyond the bound.
    fn hear_unrecorded(&mut self) {
        for row in self.waiting.iter_mut().filter(|row| !row.heard) {
            row.heard = true;
            drop(self.live.send(Arc::new(row.told.event.clone())));
        }
        while self.waiting.len() > KEPT_MAX {
            self.waiting.pop_front();
            self.lost += 1;
            if self.lost.is_power_of_two() {
                tracing::warn!(
                    lost = self.lost,
                    "events were dropped: the store has refused them for long"
                );
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
