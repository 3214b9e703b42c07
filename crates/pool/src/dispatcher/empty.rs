//! Callers that wait for a queue to be empty, and queues that are drained.

use ganger_core::Event;
use ganger_queue::{IN_FLIGHT_MAX, QueueIx};

use super::Answer;
use super::run::{Dispatcher, now};
use crate::error::TaskError;

/// Callers that may wait for queues at a time: each is a person or a script.
const WATCHES_MAX: usize = 1_024;

/// One caller.
#[derive(Debug)]
pub(super) struct EmptyWatch {
    ix: QueueIx,
    /// The queue is empty once the batch of this number is settled: the last outcomes are in it or before it.
    after: Option<u64>,
    reply: Answer<()>,
}

impl Dispatcher {
    pub(super) fn on_watch_empty(&mut self, queue: &str, reply: Answer<()>) {
        self.empties.retain(|watch| !watch.reply.is_closed());
        let ix = match self.queue_ix(queue) {
            Ok(_) if self.empties.len() >= WATCHES_MAX => {
                Err(TaskError::TooManyWaiters(WATCHES_MAX))
            }
            other => other,
        };
        match ix {
            Ok(ix) => self.empties.push(EmptyWatch { ix, after: None, reply }),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Looks at the watches at the end of a tick; nearly always there is none.
    pub(super) fn tell_empty(&mut self) {
        if self.empties.is_empty() {
            return;
        }
        let all_flushed = self.out.len() < IN_FLIGHT_MAX;
        let (oldest, newest) = (self.out.front().map(|o| o.0), self.out.back().map(|o| o.0));
        for mut watch in std::mem::take(&mut self.empties) {
            if self.engine.counts(watch.ix).unfinished() > 0 {
                watch.after = None;
            } else if watch.after.is_none() && all_flushed {
                watch.after = Some(newest.unwrap_or(0));
            }
            match watch.after {
                Some(after) if oldest.is_none_or(|oldest| oldest > after) => {
                    // Who no longer waits needs no answer.
                    drop(watch.reply.send(Ok(())));
                }
                _ => self.empties.push(watch),
            }
        }
    }

    /// A queue's gate has changed: when it drains, its end is told.
    pub(super) fn watch_drain(&mut self, ix: QueueIx) {
        self.drains.retain(|other| *other != ix);
        if self.engine.gate(ix).draining {
            self.drains.push(ix);
        }
    }

    /// Tells of queues that are drained; nearly always there is none.
    pub(super) fn tell_drained_queues(&mut self) {
        if self.drains.is_empty() || !self.out.is_empty() {
            return;
        }
        let engine = &self.engine;
        let (done, rest) = self.drains.iter().partition(|ix| engine.counts(**ix).unfinished() == 0);
        self.drains = rest;
        let done: Vec<QueueIx> = done;
        for ix in done {
            let event = Event {
                seq: 0,
                ts_ms: now().wall_ms,
                kind: "queue.drained".into(),
                name: self.engine.name(ix).to_string(),
                slot: None,
                from: None,
                to: None,
                reason: "it takes nothing new, and what it had is finished".into(),
                exit: None,
            };
            crate::events::tell(&self.told, event);
        }
    }
}
