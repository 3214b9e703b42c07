//! What is to be sent, until it was taken or is given up. Pure but for the [`Shelf`] that its owner keeps it on.
//!
//! ```text
//!   push ──▶ waiting ──due──▶ sending ──taken──▶ gone
//!               ▲                │ again: backoff 1 s × 2 up to 10 min, with jitter
//!               └────────────────┤
//!                                └ refused, or 24 h old ──▶ dead letter (the newest 1,000 are kept)
//! ```
//!
//! An entry is on the shelf before it is sent and leaves it after it was taken: a daemon that dies in between sends it again, under the same
//! `Idempotency-Key`. At least once, in order of their times.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ganger_core::Backoff;
use serde::{Deserialize, Serialize};

use crate::state::ms;
use crate::values::Time;

/// Entries that wait; when one more comes, the oldest becomes a dead letter.
pub const WAITING_MAX: usize = 1_000;
/// Dead letters kept.
pub const DEAD_MAX: usize = 1_000;
/// An entry that nobody took for so long is given up: nobody acts on an alert of yesterday.
pub const AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Longest body, as of alerts and log lines that are bounded each.
pub const BODY_MAX: usize = 1 << 20;

/// One message to one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Of the notification; with `receiver` it is unique.
    pub id: String,
    /// NAME of `[notify.NAME]`.
    pub receiver: String,
    /// What is sent.
    pub body: String,
    /// When it was pushed.
    pub born: Time,
    /// Tries that failed.
    pub failures: u32,
    /// Not before then.
    pub next: Time,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// How a try went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Taken,
    /// It may go better later: no connection, 408, 429, 5xx; the receiver may have said how long to wait.
    Again(String, Option<Duration>),
    /// It will never go: another 4xx, an address that is refused.
    Refused(String),
}

/// Where entries outlive the daemon. Each call is durable when it returns.
pub trait Shelf {
    /// What can go wrong.
    type Error;

    /// Keeps the entry, or its newer form.
    ///
    /// # Errors
    /// It may not be there after a crash.
    fn put(&mut self, entry: &Entry) -> Result<(), Self::Error>;

    /// Forgets it.
    ///
    /// # Errors
    /// It may be sent again after a crash.
    fn remove(&mut self, entry: &Entry) -> Result<(), Self::Error>;

    /// Moves it to the dead letters, of which the newest [`DEAD_MAX`] are kept.
    ///
    /// # Errors
    /// It may be tried again after a crash.
    fn bury(&mut self, entry: &Entry) -> Result<(), Self::Error>;
}

type Key = (String, String);

/// See the module.
#[derive(Debug)]
pub struct Outbox<S> {
    shelf: S,
    waiting: BTreeMap<Key, Entry>,
    sending: BTreeMap<Key, Entry>,
    dead: VecDeque<Entry>,
}

impl<S: Shelf> Outbox<S> {
    /// With what was on the shelf: entries and dead letters, oldest first.
    pub fn new(shelf: S, entries: Vec<Entry>, dead: Vec<Entry>) -> Self {
        let keyed = entries.into_iter().map(|entry| (key(&entry), entry));
        let skipped = dead.len().saturating_sub(DEAD_MAX);
        let dead = dead.into_iter().skip(skipped).collect();
        Self { shelf, waiting: keyed.collect(), sending: BTreeMap::new(), dead }
    }

    /// Takes a message; one that is there already is not taken twice.
    ///
    /// # Errors
    /// The shelf's; the message is in memory nevertheless.
    pub fn push(
        &mut self,
        id: &str,
        receiver: &str,
        body: String,
        now: Time,
    ) -> Result<(), S::Error> {
        let (id, receiver) = (id.to_owned(), receiver.to_owned());
        let entry = Entry { id, receiver, body, born: now, failures: 0, next: now, error: None };
        let key = key(&entry);
        if self.waiting.contains_key(&key) || self.sending.contains_key(&key) {
            return Ok(());
        }
        if entry.body.len() > BODY_MAX {
            return self.bury(entry, format!("the body is longer than {BODY_MAX} bytes"));
        }
        let mut dropped = Ok(());
        if self.waiting.len() >= WAITING_MAX {
            let oldest = self.waiting.values().min_by_key(|entry| entry.born).map(self::key);
            if let Some(oldest) = oldest.and_then(|key| self.waiting.remove(&key)) {
                dropped = self.bury(oldest, "newer ones needed the room".to_owned());
            }
        }
        let kept = self.shelf.put(&entry);
        self.waiting.insert(key, entry);
        dropped.and(kept)
    }

    /// What is to be sent now, oldest first, at most `most`. Each must come back through [`Outbox::done`].
    pub fn due(&mut self, now: Time, most: usize) -> Vec<Entry> {
        let mut due: Vec<&Entry> = self.waiting.values().filter(|e| e.next <= now).collect();
        due.sort_by_key(|entry| (entry.born, entry.next));
        let due: Vec<Entry> = due.into_iter().take(most).cloned().collect();
        for entry in &due {
            self.waiting.remove(&key(entry));
            self.sending.insert(key(entry), entry.clone());
        }
        due
    }

    /// When the next entry is due; `None`: nothing waits.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.waiting.values().map(|entry| entry.next).min()
    }

    /// How the try went. `unit` is a random number in [0, 1) for the jitter.
    ///
    /// # Errors
    /// The shelf's; in memory it is done nevertheless.
    pub fn done(
        &mut self,
        sent: &Entry,
        outcome: Outcome,
        now: Time,
        unit: f64,
    ) -> Result<(), S::Error> {
        let Some(mut entry) = self.sending.remove(&key(sent)) else { return Ok(()) };
        entry.failures += 1;
        match outcome {
            Outcome::Taken => self.shelf.remove(&entry),
            Outcome::Refused(why) => self.bury(entry, why),
            Outcome::Again(why, wait) => {
                // Half of the wait is certain, so that a receiver that is down is not asked at once again.
                let delay = Backoff::TASK.delay(entry.failures, 0.5 + unit / 2.0);
                entry.next = now.saturating_add(ms(delay.max(wait.unwrap_or_default())));
                if entry.next.saturating_sub(entry.born) > ms(AGE_MAX) {
                    return self.bury(entry, format!("given up after a day: {why}"));
                }
                entry.error = Some(why);
                let kept = self.shelf.put(&entry);
                self.waiting.insert(key(&entry), entry);
                kept
            }
        }
    }

    /// Dead letters, oldest first.
    pub fn dead(&self) -> impl Iterator<Item = &Entry> {
        self.dead.iter()
    }

    /// Messages that wait or are being sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len() + self.sending.len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it is kept.
    pub fn shelf(&self) -> &S {
        &self.shelf
    }

    fn bury(&mut self, mut entry: Entry, why: String) -> Result<(), S::Error> {
        entry.error = Some(why);
        let kept = self.shelf.bury(&entry);
        if self.dead.len() == DEAD_MAX {
            self.dead.pop_front();
        }
        self.dead.push_back(entry);
        kept
    }
}

fn key(entry: &Entry) -> Key {
    (entry.receiver.clone(), entry.id.clone())
}
