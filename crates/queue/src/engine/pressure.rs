//! Back-pressure: what a queue refuses to take, and when to try again.

use std::time::{Duration, Instant};

use super::row::QueueState;
use super::{Engine, Now, QueueIx};
use crate::actions::Read;
use crate::config::{MEMORY_LEN_MAX, NewTask, PushError};
use ganger_store::StoreError;

/// A hint is never shorter: a pusher that comes back at once only adds to the load.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// A hint is never longer: what is guessed from the last minutes may be wrong.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// The hint while nothing is known of the queue's speed.
const RETRY_UNKNOWN: Duration = Duration::from_secs(5);
/// How much the newest end counts in the means.
const NEWEST: f32 = 1.0 / 16.0;

/// How fast a queue's tasks end; means that forget (exponentially weighted).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// How long an attempt takes, milliseconds.
    service_ms: f32,
    /// Time between two ends, seconds.
    gap_s: f32,
    last: Option<Instant>,
}

impl Pace {
    /// An attempt ended after this time.
    pub(crate) fn ended(&mut self, took_ms: u64, now: Instant) {
        let took = took_ms as f32;
        match self.last.replace(now) {
            None => self.service_ms = took,
            Some(last) => {
                let gap = now.saturating_duration_since(last).as_secs_f32();
                self.gap_s += (gap - self.gap_s) * NEWEST;
                self.service_ms += (took - self.service_ms) * NEWEST;
            }
        }
    }

    /// How long an attempt takes; `None` before the first ended.
    pub(crate) fn service(&self) -> Option<Duration> {
        self.last.map(|_| Duration::from_secs_f32((self.service_ms / 1e3).clamp(0.0, 1e9)))
    }

    /// When so many more will have ended, as a hint for who wants to try again.
    fn hint(&self, ends: u64) -> Duration {
        if self.last.is_none() || self.gap_s <= 0.0 {
            return RETRY_UNKNOWN;
        }
        let wait = Duration::try_from_secs_f32(self.gap_s * ends as f32).unwrap_or(RETRY_MAX);
        wait.clamp(RETRY_MIN, RETRY_MAX)
    }
}

impl Engine {
    /// Whether a push of these would be taken: for callers that push several times and want all or nothing. What is
    /// said holds until the engine is told something else.
    ///
    /// # Errors
    /// [`PushError`]
    pub fn may_push<'a>(
        &self,
        ix: QueueIx,
        n: usize,
        tasks: impl Iterator<Item = &'a NewTask>,
    ) -> Result<(), PushError> {
        let row = self.row(ix);
        let queue = || row.name.clone();
        if n == 0 {
            return Err(PushError::Nothing { queue: queue() });
        }
        let max = row.config.payload_max;
        let keys = !row.config.limits.per_key.is_none();
        let mut bytes = 0;
        for (index, task) in tasks.enumerate() {
            let len = task.payload.len();
            bytes += len as u64;
            if len > max {
                return Err(PushError::PayloadTooLarge { queue: queue(), index, len, max });
            }
            let key = task.options.as_ref().is_some_and(|o| o.concurrency_key.is_some());
            if key && !keys {
                return Err(PushError::NoKeyLimit { queue: queue(), index });
            }
        }
        self.has_room(row, n as u64, bytes)
    }

    fn has_room(&self, row: &QueueState, more: u64, bytes: u64) -> Result<(), PushError> {
        let queue = || row.name.clone();
        if row.gate.draining {
            return Err(PushError::Draining { queue: queue() });
        }
        let unsure = self.hold_until.is_some() || self.in_flight > 0 || !self.batch.is_empty();
        if let Some(full @ StoreError::Full(_)) = self.held.as_ref().filter(|_| unsure)
            && !row.is_memory()
        {
            return Err(PushError::StoreFull { queue: queue(), error: full.clone() });
        }
        let len = row.unfinished();
        let bound = row.config.max_len.or(row.is_memory().then_some(MEMORY_LEN_MAX));
        if let Some(max) = bound.filter(|max| len + more > *max) {
            let retry_after = row.pace.hint(len + more - max);
            return Err(PushError::QueueFull { queue: queue(), len, more, max, retry_after });
        }
        if let Some(max) = row.config.max_bytes.filter(|max| row.bytes + bytes > *max) {
            let over = row.bytes + bytes - max;
            let mean = (row.bytes / len.max(1)).max(1);
            let retry_after = row.pace.hint(over.div_ceil(mean));
            let (len, more) = (row.bytes, bytes);
            return Err(PushError::BytesFull { queue: queue(), len, more, max, retry_after });
        }
        if let Some(max) = row.config.max_age
            && let Some(since_ms) = row.oldest_ms()
        {
            let age = Duration::from_millis(self.clock.wall_ms.saturating_sub(since_ms));
            if age > max {
                let retry_after = row.pace.hint(1);
                return Err(PushError::TooOld { queue: queue(), age, max, retry_after });
            }
        }
        Ok(())
    }

    /// Asks how many bytes a queue holds, when it is bounded by them.
    pub(super) fn ask_bytes(&mut self, ix: QueueIx) {
        let row = self.row(ix);
        if row.config.max_bytes.is_some() && !row.is_memory() && row.unfinished() > 0 {
            let queue = row.name.clone();
            self.actions.reads.push(Read::Bytes { queue });
        }
    }

    pub(super) fn bytes_loaded(&mut self, queue: &str, bytes: Result<u64, StoreError>, now: Now) {
        let Some(ix) = self.queue(queue) else { return };
        match bytes {
            // What was on its way meanwhile is a small error, and gone when the queue is empty next.
            Ok(bytes) => self.row_mut(ix).bytes = bytes,
            Err(error) => {
                tracing::warn!(queue, %error, "adding up the bytes of a queue failed");
                self.bytes_again.push(ix);
                self.reads_again_at = Some(now.at + super::reads::AGAIN);
            }
        }
    }
}
