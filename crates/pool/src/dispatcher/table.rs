//! The dispatcher's table of workers, and small maps by id.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use ganger_queue::{QueueIx, Worker};
use tokio::sync::mpsc;

use crate::attempt::{Answers, ToWorker};
use crate::pace::Room;

/// One worker as the dispatcher sees it.
#[derive(Debug)]
pub(crate) struct Row {
    pub worker: Worker,
    pub queue_names: Vec<Arc<str>>,
    pub queues: Vec<QueueIx>,
    pub lanes: u32,
    /// What it may have; nothing when it takes nothing.
    pub room: Room,
    /// Claims of its queues need commits.
    pub commits: bool,
    /// What it holds or is about to be sent.
    pub holding: u32,
    /// Attempts that ended or came back, ever.
    pub done: u64,
    pub to: mpsc::Sender<ToWorker>,
    /// What goes out at the end of the tick.
    pub out: ToWorker,
    /// All answers it has told of.
    pub answers: Answers,
    /// It went away; the row stays until the last attempt is accounted for.
    pub leaving: bool,
}

impl Row {
    /// How many more it may be given.
    pub(crate) const fn free(&self) -> u32 {
        let most = if self.commits { self.room.reach } else { self.room.credit };
        if self.leaving { 0 } else { most.saturating_sub(self.holding) }
    }

    /// Sends what is collected, if anything. What does not fit waits for the next tick.
    pub(crate) fn deliver(&mut self) {
        if self.out.is_empty() {
            return;
        }
        match self.to.try_send(std::mem::take(&mut self.out)) {
            Ok(()) => {}
            Err(
                mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back),
            ) => {
                self.out = back;
            }
        }
    }
}

/// Multiplies once: ids are unique numbers of our own making, nobody can choose colliding ones.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        // 2^64 / golden ratio (Knuth, TAOCP 6.4): spreads consecutive numbers. The fold brings the high bits down.
        let mixed = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn write_i64(&mut self, n: i64) {
        self.write_u64(n.cast_unsigned());
    }
}

pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;
