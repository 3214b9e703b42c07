//! Reads from the store: the next part of a lane, and tasks whose time has come.
//!
//! Only the earliest due time is kept here; the tasks themselves stay in the store until they are due. One due read is
//! under way at a time, and none before the promotions of the last one are settled, or it would find them again.

use std::sync::Arc;
use std::time::Duration;

use ganger_core::{Priority, TaskId};
use ganger_store::{Due, Op, ReadyRow, StoreError};

use super::lane::{WINDOW_BYTES, WINDOW_MAX};
use super::{Engine, Now, QueueIx};
use crate::actions::{Loaded, Read};

/// Due tasks of one read.
const DUE_MAX: usize = if cfg!(test) { 4 } else { 1_024 };
/// How long a failed read waits for its repetition.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// When to look for due tasks.
#[derive(Debug, Default)]
pub(super) struct DueReads {
    next_ms: Option<u64>,
    reading: bool,
    /// The earliest due time committed since the read under way was asked for: it may not have seen that.
    since: Option<u64>,
    /// The batch that carries the last promotions.
    held_by: Option<u64>,
    /// Tasks that got another priority while a read was under way.
    moved: Vec<(TaskId, Priority)>,
}

fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

impl DueReads {
    pub(super) fn look_now(&mut self) {
        self.next_ms = Some(0);
    }

    /// A task that is due then was committed.
    pub(super) fn lower(&mut self, at_ms: u64) {
        self.next_ms = earlier(self.next_ms, Some(at_ms));
        if self.reading {
            self.since = earlier(self.since, Some(at_ms));
        }
    }

    pub(super) fn settled(&mut self, batch: u64) {
        if self.held_by == Some(batch) {
            self.held_by = None;
        }
    }

    /// When the next read is due; `None` while one is under way.
    pub(super) fn next_ms(&self) -> Option<u64> {
        if self.reading || self.held_by.is_some() { None } else { self.next_ms }
    }

    /// True when a read shall be made; it is under way then.
    fn ask(&mut self, now_ms: u64) -> bool {
        if self.next_ms().is_none_or(|at| at > now_ms) {
            return false;
        }
        self.reading = true;
        self.since = None;
        true
    }

    /// What a read under way says of this task's priority is old.
    pub(super) fn forget_read(&mut self, id: TaskId, priority: Priority) {
        if self.reading {
            self.moved.push((id, priority));
        }
    }

    pub(super) fn answered(&mut self, next_ms: Option<u64>, held_by: Option<u64>) {
        self.reading = false;
        self.next_ms = earlier(next_ms, self.since.take());
        self.held_by = held_by;
    }
}

impl Engine {
    /// Asks for the next part of every lane of a queue that runs low.
    pub(super) fn refill(&mut self, ix: QueueIx) {
        let row = &mut self.queues[ix.0 as usize];
        let queue = Arc::clone(&row.name);
        row.ask(|priority, after_seq| {
            self.actions.reads.push(Read::Refill {
                queue: Arc::clone(&queue),
                priority,
                after_seq,
                limit: WINDOW_MAX,
                max_bytes: WINDOW_BYTES,
            });
        });
    }

    pub(super) fn look_for_due(&mut self, now: Now) {
        if self.due.ask(now.wall_ms) {
            self.actions.reads.push(Read::Due { now_ms: now.wall_ms, limit: DUE_MAX });
        }
    }

    pub(super) fn look_for_limits(&mut self, now: Now) {
        if self.limits.ask(now.wall_ms) {
            self.actions.reads.push(Read::Limits { now_ms: now.wall_ms, limit: DUE_MAX });
        }
    }

    /// The answer to a read.
    pub fn loaded(&mut self, loaded: Loaded, now: Now) {
        self.clock = now;
        match loaded {
            Loaded::Refill { queue, priority, rows } => self.refilled(&queue, priority, rows, now),
            Loaded::Limits(limits) => self.limits_loaded(limits, now),
            Loaded::Left { queue, group, priority, after_seq, rows } => {
                self.left_loaded(&queue, (group, priority, after_seq), rows, now);
            }
            Loaded::Bytes { queue, bytes } => self.bytes_loaded(&queue, bytes, now),
            Loaded::Due(Ok(due)) => self.promote(due),
            Loaded::Due(Err(error)) => {
                tracing::warn!(%error, "looking for due tasks failed");
                let again = now.wall_ms + u64::try_from(AGAIN.as_millis()).unwrap_or(0);
                self.due.answered(Some(again), None);
            }
        }
    }

    fn refilled(
        &mut self,
        queue: &str,
        priority: Priority,
        rows: Result<(Vec<ReadyRow>, bool), StoreError>,
        now: Now,
    ) {
        let Some(ix) = self.queue(queue) else { return };
        let (running, promoting) = (&self.running, &self.promoting);
        let row = &mut self.queues[ix.0 as usize];
        match rows {
            Ok((rows, cut)) => {
                let last = rows.last().map(|row| row.seq);
                // The store may be ahead of the answers that have reached us.
                let limits = row.limits.take();
                let aside = |id| limits.as_ref().is_some_and(|limits| limits.holds(id).is_some());
                let new = rows.into_iter().filter(|row| {
                    !running.contains_key(&row.id)
                        && !promoting.contains_key(&row.id)
                        && !aside(row.id)
                });
                row.lane_mut(priority).refilled(new, last, cut);
                row.limits = limits;
                row.mark(priority);
                self.refill(ix);
            }
            Err(error) => {
                tracing::warn!(queue, %error, "refilling the window failed");
                row.lane_mut(priority).not_refilled();
                self.reads_again_at = Some(now.at + AGAIN);
            }
        }
    }

    pub(super) fn read_again(&mut self) {
        self.reads_again_at = None;
        self.read_all_left(true);
        for ix in std::mem::take(&mut self.bytes_again) {
            self.ask_bytes(ix);
        }
        for at in 0..self.queues.len() {
            self.refill(QueueIx(u32::try_from(at).unwrap_or(u32::MAX)));
        }
    }

    /// Due tasks become available. Those of queues that are not configured too, or they would be found for ever.
    fn promote(&mut self, due: Due) {
        let held_by = (!due.rows.is_empty()).then_some(self.batch.no);
        self.due.answered(due.next_ms, held_by);
        let moved = std::mem::take(&mut self.due.moved);
        for mut found in due.rows {
            if let Some((_, priority)) = moved.iter().rev().find(|(id, _)| *id == found.row.id) {
                found.row.priority = *priority;
            }
            let seq = self.draw().raw();
            let id = found.row.id;
            if let Some(ix) = self.queue(&found.queue) {
                let row = ReadyRow { seq, ..found.row };
                self.promoting.insert(id, (ix, found.from, row));
            }
            self.batch.ops.push(Op::Promote { id, queue: found.queue, seq });
        }
    }
}
