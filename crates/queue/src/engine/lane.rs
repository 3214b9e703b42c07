//! One lane: the waiting tasks of one priority of one queue, in order of their places.
//!
//! ```text
//!            window (in memory, ≤ WINDOW_MAX)            tail (in the store only)
//!   take ◄── [seq 3][seq 4][seq 7] … [seq 4099] │ seq 4100 … seq 1,000,000
//!                                          cursor┘          ▲ spilled: the highest place left to the store
//!                                                           ▲ readable: the highest of those that is committed
//! ```
//!
//! While there is a tail, new tasks go to the store only and a read fetches the next part behind the cursor, which
//! never goes back. Places are drawn in the order of commits, so a read that finds one finds all before it. A task that
//! comes back to an older place is the exception: it always enters the window, because a read may have passed it. That
//! does not move the cursor, and a task that is then read again is known by its place or by its claim.

use std::collections::VecDeque;

use ganger_core::TaskId;
use ganger_store::{AttemptRow, ReadyRow};

/// Tasks of a durable lane kept in memory: at 300 bytes each 1.2 MB, and half of it lasts longer than a read takes.
/// Tests use a small one, so that they reach its end.
pub(crate) const WINDOW_MAX: usize = if cfg!(test) { 8 } else { 4_096 };
/// Payload bytes of a durable lane kept in memory.
pub(crate) const WINDOW_BYTES: usize = 8 * 1024 * 1024;

/// Where the enqueue of a task is that may not have left yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) batch: u64,
    pub(crate) op: usize,
    pub(crate) task: usize,
}

/// A task that may be claimed.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) row: ReadyRow,
    /// Failed attempts; kept here for tasks of memory queues only.
    pub(crate) history: Vec<AttemptRow>,
    pub(crate) birth: Option<Birth>,
}

impl Waiting {
    pub(crate) const fn stored(row: ReadyRow) -> Self {
        Self { row, history: Vec::new(), birth: None }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    window: VecDeque<Waiting>,
    bytes: usize,
    cursor: i64,
    tail: bool,
    spilled: i64,
    readable: i64,
    /// What was readable when the last read was asked for.
    asked: i64,
    reading: bool,
    /// Tasks that left for another lane or a later place while a read was under way: it may still bring them from places
    /// below this one.
    gone: Vec<(TaskId, i64)>,
    /// The next read begins here at the latest.
    rewound: Option<i64>,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            window: VecDeque::new(),
            bytes: 0,
            cursor: -1,
            tail: false,
            spilled: -1,
            readable: -1,
            asked: -1,
            reading: false,
            gone: Vec::new(),
            rewound: None,
        }
    }
}

impl Lane {
    /// A lane of which only the store knows; all its places are below this one.
    pub(crate) fn in_store(below: i64) -> Self {
        Self { tail: true, spilled: below, readable: below, ..Self::default() }
    }

    pub(crate) fn head_seq(&self) -> Option<i64> {
        self.window.front().map(|w| w.row.seq)
    }

    pub(crate) fn len(&self) -> usize {
        self.window.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.window.iter()
    }

    /// Takes a task in, or leaves it to the store. `committed`: a read could find it already.
    pub(crate) fn admit(&mut self, waiting: Waiting, bounded: bool, committed: bool) -> bool {
        let seq = waiting.row.seq;
        let full = self.window.len() >= WINDOW_MAX || self.bytes >= WINDOW_BYTES;
        let newest = seq > self.cursor && seq > self.spilled;
        if bounded && newest && (self.tail || full) {
            self.tail = true;
            self.spilled = self.spilled.max(seq);
            if committed {
                self.readable = self.readable.max(seq);
            }
            return false;
        }
        if !self.tail {
            self.cursor = self.cursor.max(seq);
        }
        self.insert(waiting);
        true
    }

    pub(crate) fn insert(&mut self, waiting: Waiting) {
        let seq = waiting.row.seq;
        let bytes = waiting.row.payload.len();
        if self.window.back().is_none_or(|last| last.row.seq < seq) {
            self.window.push_back(waiting);
        } else {
            let at = self.window.partition_point(|w| w.row.seq < seq);
            if self.window.get(at).is_some_and(|w| w.row.seq == seq) {
                return;
            }
            self.window.insert(at, waiting);
        }
        self.bytes += bytes;
    }

    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.window.pop_front()?;
        self.bytes -= waiting.row.payload.len();
        Some(waiting)
    }

    /// Takes a task out of the middle.
    pub(crate) fn remove(&mut self, id: ganger_core::TaskId) -> Option<Waiting> {
        // A task that was never retried has its id as its place.
        let guess = self.window.partition_point(|w| w.row.seq < id.raw());
        let at = if self.window.get(guess).is_some_and(|w| w.row.id == id) {
            guess
        } else {
            self.window.iter().position(|w| w.row.id == id)?
        };
        let waiting = self.window.remove(at)?;
        self.bytes -= waiting.row.payload.len();
        Some(waiting)
    }

    /// A task of this place is in the window.
    pub(crate) fn has(&self, seq: i64) -> bool {
        let at = self.window.partition_point(|w| w.row.seq < seq);
        self.window.get(at).is_some_and(|w| w.row.seq == seq)
    }

    /// A push with a task of this place was committed.
    pub(crate) fn committed(&mut self, seq: i64) {
        if self.tail && seq > self.cursor {
            self.readable = self.readable.max(seq);
        }
    }

    pub(crate) const fn has_tail(&self) -> bool {
        self.tail
    }

    /// The place to read on from, when it is time for it.
    pub(crate) fn ask(&mut self) -> Option<i64> {
        let low = self.window.len() < WINDOW_MAX / 2 && self.bytes < WINDOW_BYTES / 2;
        let more = self.readable > self.asked || self.rewound.is_some();
        if !(self.tail && !self.reading && low && more) {
            return None;
        }
        if let Some(to) = self.rewound.take() {
            self.cursor = self.cursor.min(to);
        }
        self.reading = true;
        self.asked = self.readable;
        Some(self.cursor)
    }

    /// The next part of the tail. `cut`: there may be more behind it.
    pub(crate) fn refilled(
        &mut self,
        rows: impl Iterator<Item = ReadyRow>,
        last: Option<i64>,
        cut: bool,
    ) {
        self.reading = false;
        let gone = std::mem::take(&mut self.gone);
        for row in
            rows.filter(|row| !gone.iter().any(|(id, below)| *id == row.id && row.seq < *below))
        {
            self.insert(Waiting::stored(row));
        }
        if let Some(last) = last {
            self.cursor = self.cursor.max(last);
        }
        if cut {
            self.asked = -1;
            return;
        }
        if self.rewound.is_none() && self.spilled <= self.asked.max(self.cursor) {
            self.tail = false;
        }
    }

    /// What a read under way says of this task is old, if it has it from a place below this one.
    pub(crate) fn forget_read(&mut self, id: TaskId, below: i64) {
        if self.reading {
            self.gone.push((id, below));
        }
    }

    /// Tasks between these places are only in the store; the next read begins behind `after`.
    pub(crate) fn rewind(&mut self, after: i64, last: i64) {
        self.tail = true;
        self.rewound = Some(self.rewound.map_or(after, |to| to.min(after)));
        self.spilled = self.spilled.max(last).max(self.cursor);
        self.readable = self.readable.max(last);
    }

    /// The read failed; it may be asked for again.
    pub(crate) fn not_refilled(&mut self) {
        self.reading = false;
        self.gone.clear();
        self.asked = -1;
    }
}
