//! The other side of a tick: doing what the engine answered.

use ganger_core::{Event, TaskState};
use ganger_queue::{Actions, Finished, Loaded, Read};
use ganger_store::DeadReason;

use super::DispatchStats;
use super::run::{Dispatcher, now};
use crate::attempt::Stop;

impl Dispatcher {
    /// Does everything the engine wants. Replies go first: a stream must know its tasks before they finish.
    pub(super) fn perform(&mut self) {
        let Actions { send, replies, finished, expired, cancels, returned, reads } =
            self.engine.actions();
        for reply in replies {
            self.on_reply(reply);
        }
        self.stats.sent += send.len() as u64;
        for attempt in send {
            if let Some(row) = self.workers.get_mut(&attempt.worker) {
                row.out.attempts.push(attempt);
            }
        }
        for stop in expired {
            let (id, token) = (stop.id, stop.token);
            self.stop(stop.worker, Stop { id, token, after: Some(stop.after) });
        }
        for stop in cancels {
            let (id, token) = (stop.id, stop.token);
            self.stop(stop.worker, Stop { id, token, after: None });
        }
        for claim in returned {
            if let Some(row) = self.workers.get_mut(&claim.worker) {
                row.holding = row.holding.saturating_sub(1);
            }
        }
        for read in reads {
            self.read(read);
        }
        for finished in finished {
            self.on_finished(finished);
        }
        self.flush_streams();
    }

    fn stop(&mut self, worker: u64, stop: Stop) {
        if let Some(row) = self.workers.get_mut(&worker) {
            row.out.stops.push(stop);
        }
    }

    fn read(&mut self, read: Read) {
        let readers = self.readers.clone();
        self.reads.spawn(async move {
            let asked = read.clone();
            let answer = readers.run(move |store| Ok(read.run(store))).await;
            answer.unwrap_or_else(|error| match asked {
                Read::Refill { queue, priority, .. } => {
                    Loaded::Refill { queue, priority, rows: Err(error) }
                }
                Read::Left { queue, group, priority, after_seq, .. } => {
                    let rows = Err(error);
                    Loaded::Left { queue, group, priority, after_seq, rows }
                }
                Read::Bytes { queue } => Loaded::Bytes { queue, bytes: Err(error) },
                Read::Due { .. } => Loaded::Due(Err(error)),
                Read::Limits { .. } => Loaded::Limits(Err(error)),
            })
        });
    }

    fn on_finished(&mut self, finished: Finished) {
        if let Some(waiting) = self.watchers.remove(&finished.id) {
            self.watching = self.watching.saturating_sub(waiting.len());
            for one in waiting {
                let _ = one.send(Ok(finished.state));
            }
        }
        if !self.listeners.is_empty() {
            self.listeners.remove(&finished.id);
        }
        if finished.state == TaskState::Discarded {
            self.tell_discarded(&finished);
        }
        if let Some(key) = self.in_stream.remove(&finished.id)
            && let Some(row) = self.streams.get_mut(&key)
        {
            row.out.push(finished);
        }
    }

    fn flush_streams(&mut self) {
        for row in self.streams.values_mut() {
            if !row.out.is_empty() {
                // There is room for one message per task a stream may have under way; closed means nobody reads any more.
                let _ = row.results.try_send(std::mem::take(&mut row.out));
            }
        }
    }

    fn tell_discarded(&self, finished: &Finished) {
        let why = finished.error.as_ref().map_or("", |e| e.message.as_str());
        let event = Event {
            seq: 0,
            ts_ms: now().wall_ms,
            kind: "task.discarded".into(),
            name: finished.queue.to_string(),
            slot: None,
            from: Some(TaskState::Running.to_string()),
            to: Some(TaskState::Discarded.to_string()),
            reason: match finished.reason {
                Some(DeadReason::Attempts) | None => {
                    format!("task {} after {} attempts: {why}", finished.id, finished.attempt)
                }
                Some(reason) => {
                    let (id, n) = (finished.id, finished.attempt);
                    format!("task {id} after {n} attempts ({reason}): {why}")
                }
            },
            exit: None,
        };
        crate::events::tell(&self.told, event);
    }

    pub(super) fn tell_drained(&mut self) {
        if self.draining.is_some() && self.workers.values().all(|row| row.holding == 0) {
            for one in self.draining.iter_mut().flat_map(|all| all.drain(..)) {
                let _ = one.send(());
            }
        }
    }

    pub(super) fn figures(&self) -> DispatchStats {
        DispatchStats {
            engine: self.engine.stats(),
            workers: self.workers.len() as u64,
            holding: self.workers.values().map(|row| u64::from(row.holding)).sum(),
            ..self.stats
        }
    }
}
