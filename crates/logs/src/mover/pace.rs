//! Letting bytes gather when they come in many small pieces.

use std::time::{Duration, Instant};

/// A chatty child would wake the mover for every line, at several times the cost of the line itself. After this many
/// rounds in a row that came quickly and brought little, the mover lets bytes gather; single lines move at once.
const QUICK_ROUNDS: u32 = 8;
/// How long it lets them gather, and what counts as quick.
const GATHER: Duration = Duration::from_millis(1);
/// What counts as little: a quarter of a pipe as it comes, so that no writer waits because of it.
const LITTLE: u64 = 16 << 10;

/// How quickly rounds follow each other.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes moved in this round.
    pub(super) moved: u64,
    quick: u32,
    began: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { moved: 0, quick: 0, began: Instant::now() }
    }

    /// Called after the work of a round that began at `now`; waits if there were many quick ones.
    pub(super) fn round(&mut self, now: Instant) {
        let quick = now.duration_since(self.began) < 2 * GATHER && self.moved < LITTLE;
        self.quick = if quick { self.quick + 1 } else { 0 };
        (self.moved, self.began) = (0, now);
        if self.quick > QUICK_ROUNDS {
            std::thread::sleep(GATHER);
        }
    }
}
