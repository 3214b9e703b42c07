//! Queues with limits: what claims are counted under, what is set aside, and what is read back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_core::{Priority, TaskId};
use ganger_store::{Batch, Op, ReadyRow, StoreError};

use super::lane::{WINDOW_BYTES, Waiting};
use super::{Engine, Now, Phase, QueueIx};
use crate::actions::Read;
use crate::limits::{Demand, Group, KEY_HELD_MAX, Limits};

/// Longer than any rate's time.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);

impl Engine {
    /// Builds a queue's limits after its configuration came or changed. Claims under way are counted, what was set aside
    /// waits in its lanes again.
    pub(super) fn limit_anew(&mut self, ix: QueueIx) {
        let row = &mut self.queues[ix.0 as usize];
        let rules = &row.config.limits;
        let same = match &row.limits {
            Some(limits) => limits.rules() == rules,
            None => rules.is_none(),
        };
        if same {
            return;
        }
        let new =
            (!rules.is_none()).then(|| Box::new(Limits::new(rules.clone(), !row.is_memory())));
        if let Some(old) = std::mem::replace(&mut row.limits, new) {
            let (held, left) = old.dissolve();
            for waiting in held {
                row.admit_back(waiting);
            }
            for (priority, after, last) in left {
                row.rewind(priority, after, last);
            }
        }
        self.limited.retain(|other| *other != ix);
        if row.limits.is_some() {
            self.limited.push(ix);
        }
        for run in self.running.values_mut().filter(|run| run.ix == ix) {
            let limits = row.limits.as_mut().filter(|_| run.phase != Phase::Ending);
            run.demand = limits.map(|limits| limits.count(&run.row));
        }
        self.refill(ix);
    }

    /// A claim of an earlier epoch counts.
    pub(super) fn count_resumed(&mut self, ix: QueueIx, row: &ReadyRow) -> Option<Box<Demand>> {
        self.row_mut(ix).limits.as_mut().map(|limits| limits.count(row))
    }

    /// The buckets of a durable queue as the last commit left them: what they are of, and when they would be full again (wall
    /// clock, milliseconds since 1970). After `configure`, before the first claim.
    pub fn restore_buckets(&mut self, ix: QueueIx, buckets: Vec<(Arc<str>, u64)>, now: Now) {
        let Some(limits) = self.row_mut(ix).limits.as_mut() else { return };
        for (of, full_at_ms) in buckets {
            let wait = Duration::from_millis(full_at_ms.saturating_sub(now.wall_ms));
            let group = match of.split_once('/') {
                Some(("kind", name)) => Some(Group::Kind(name.into())),
                Some(("key", name)) => Some(Group::Key(name.into())),
                _ => None,
            };
            if !wait.is_zero() {
                // Further than a clock reaches: the bound of what is restored holds anyway.
                let full_at = now.at.checked_add(wait).unwrap_or(now.at + FAR);
                limits.restore_bucket(group.as_ref(), full_at, now.at);
            }
        }
    }

    /// Puts the buckets that this batch's claims took from beside them.
    pub(super) fn store_buckets(&mut self, batch: &mut Batch) {
        let now = self.clock;
        for ix in &self.limited {
            let row = &mut self.queues[ix.0 as usize];
            if row.is_memory() {
                continue;
            }
            let spent = row.limits.as_mut().map(|limits| limits.spent(now.at)).unwrap_or_default();
            if spent.is_empty() {
                continue;
            }
            let stored = |(group, at): (Option<Group>, Instant)| {
                let of: Arc<str> = match group {
                    None => "".into(),
                    Some(Group::Kind(name)) => format!("kind/{name}").into(),
                    Some(Group::Key(name)) => format!("key/{name}").into(),
                };
                // Rounded up: a token late rather than one too many.
                let wait = at.saturating_duration_since(now.at).as_millis() as u64 + 1;
                (of, now.wall_ms + wait)
            };
            let full_at = spent.into_iter().map(stored).collect();
            batch.ops.push(Op::Buckets { queue: Arc::clone(&row.name), full_at });
        }
    }

    /// Counts a task that is about to be claimed; or sets it aside, and gives nothing back.
    pub(super) fn count_or_hold(
        &mut self,
        ix: QueueIx,
        waiting: Waiting,
        now: Now,
    ) -> Option<(Waiting, Option<Box<Demand>>)> {
        let settled = self.settled_no;
        let Some(limits) = self.row_mut(ix).limits.as_mut() else { return Some((waiting, None)) };
        let mut demand = limits.demand(&waiting.row);
        if let Some(group) = limits.blocked_by(&demand, now.at) {
            limits.hold(&group, waiting, settled, now.at);
            self.read_left(ix);
            return None;
        }
        limits.take(&mut demand, now.at);
        Some((waiting, Some(Box::new(demand))))
    }

    /// The end of a claim is confirmed; `unused`: it came to nothing.
    pub(super) fn uncount(&mut self, id: TaskId, unused: bool) {
        let Some(run) = self.running.get_mut(&id) else { return };
        let (ix, demand) = (run.ix, run.demand.take());
        self.release(ix, demand, unused);
    }

    pub(super) fn release(&mut self, ix: QueueIx, demand: Option<Box<Demand>>, unused: bool) {
        let now = self.clock.at;
        if let Some(demand) = demand
            && let Some(limits) = self.row_mut(ix).limits.as_mut()
        {
            limits.release(&demand, unused, now);
            self.read_left(ix);
        }
    }

    /// Asks for tasks that were left to the store because too many were set aside.
    pub(super) fn read_left(&mut self, ix: QueueIx) {
        let settled = self.settled_no;
        let row = &mut self.queues[ix.0 as usize];
        let Some(limits) = row.limits.as_mut() else { return };
        while let Some((group, priority, after_seq)) = limits.ask(settled) {
            self.actions.reads.push(Read::Left {
                queue: row.name.clone(),
                group,
                priority,
                after_seq,
                limit: KEY_HELD_MAX,
                max_bytes: WINDOW_BYTES,
            });
        }
    }

    /// The answer to such a read.
    pub(super) fn left_loaded(
        &mut self,
        queue: &str,
        (group, priority, after_seq): (Group, Priority, i64),
        rows: Result<(Vec<ReadyRow>, bool), StoreError>,
        now: Now,
    ) {
        let Some(ix) = self.queue(queue) else { return };
        let row = &mut self.queues[ix.0 as usize];
        let Some(mut limits) = row.limits.take() else { return };
        match rows {
            Ok(rows) => {
                let known = |found: &ReadyRow| {
                    self.running.contains_key(&found.id)
                        || self.promoting.contains_key(&found.id)
                        || self.cancelling.contains_key(&found.id)
                        || row.lane(priority).is_some_and(|lane| lane.has(found.seq))
                };
                limits.loaded((&group, priority, after_seq), rows, known, now.at);
            }
            Err(error) => {
                tracing::warn!(queue, %error, "reading tasks that were set aside failed");
                limits.not_loaded(&group);
                self.reads_again_at = Some(now.at + super::reads::AGAIN);
            }
        }
        row.limits = Some(limits);
        self.read_left(ix);
    }

    /// When a token comes that a waiting task needs.
    pub(super) fn next_token(&self) -> Option<Instant> {
        let rows = self.limited.iter().map(|ix| self.row(*ix)).filter(|row| !row.gate.paused);
        rows.filter_map(|row| row.next_token(self.clock.at)).min()
    }

    /// Time has passed: tokens came.
    pub(super) fn tick_limits(&mut self, now: Now) {
        for at in 0..self.limited.len() {
            let ix = self.limited[at];
            if let Some(limits) = self.row_mut(ix).limits.as_mut() {
                limits.tick(now.at);
                self.read_left(ix);
            }
        }
    }

    /// Commits were answered, or failed reads may be tried again.
    pub(super) fn read_all_left(&mut self, again: bool) {
        let now = self.clock.at;
        for at in 0..self.limited.len() {
            let ix = self.limited[at];
            if let Some(limits) = self.row_mut(ix).limits.as_mut().filter(|_| again) {
                limits.read_again(now);
            }
            self.read_left(ix);
        }
    }
}
