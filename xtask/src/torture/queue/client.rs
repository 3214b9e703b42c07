//! The clients of the tortured queue: one pushes, one looks at its tasks until each is done. Both keep what they were told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use crate::ganger::Ganger;
use crate::torture::http::Http;
use crate::torture::ledger::now_ns;
use crate::torture::pusher::push;

/// Tasks of one push.
const BATCH: u64 = 40;
/// Open tasks from which on the pusher waits: some seconds of work, so that a dead daemon never leaves workers idle.
const OPEN_MAX: u64 = 600;
/// Between two looks when nothing was new, and between two pushes.
const PAUSE: Duration = Duration::from_millis(40);
/// Unfinished tasks looked at in one round.
const LOOKS: usize = 200;

/// A task the client was told is stored.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) n: u64,
    pub(crate) id: String,
    /// CLOCK_MONOTONIC after the answer was read.
    pub(crate) at_ns: u64,
}

/// A completion as the client saw it first.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// After the answer.
    pub(crate) at_ns: u64,
    pub(crate) result: serde_json::Value,
}

/// What the clients know.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    pub(crate) acknowledged: Vec<Acknowledged>,
    pub(crate) seen: HashMap<String, Seen>,
    /// Pushes answered "no daemon": nothing was acknowledged, nothing can be lost.
    pub(crate) refused: u64,
    /// Pushes that failed in another way.
    pub(crate) failed: Vec<String>,
}

/// What both clients share.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    knowledge: Mutex<Knowledge>,
    open: AtomicU64,
    /// Push no more.
    pub(crate) enough: AtomicBool,
    /// End as soon as possible.
    pub(crate) stop: AtomicBool,
}

/// One task, as `GET /tasks/ID` tells it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Told {
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) result: serde_json::Value,
}

impl Clients {
    pub(crate) fn known(&self) -> MutexGuard<'_, Knowledge> {
        self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pushes until enough, never more than [`OPEN_MAX`] ahead of what is done.
    pub(crate) fn push(&self, ganger: &Ganger, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut next = 1;
        while !self.enough.load(Ordering::Relaxed) && !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(PAUSE);
            if self.open.load(Ordering::Relaxed) >= OPEN_MAX {
                continue;
            }
            let numbers: Vec<u64> = (next..next + BATCH).collect();
            next += BATCH;
            match push(ganger, &numbers, 1..=20, &mut random) {
                Ok(ids) => {
                    let at_ns = now_ns();
                    self.open.fetch_add(BATCH, Ordering::Relaxed);
                    let new = numbers.iter().zip(ids);
                    let new = new.map(|(n, id)| Acknowledged { n: *n, id, at_ns });
                    self.known().acknowledged.extend(new);
                }
                // Nobody there, or cut off with the power: an honest refusal.
                Err(push) if push.nobody_there || push.cut => self.known().refused += 1,
                Err(push) => self.known().failed.push(push.said),
            }
        }
    }

    /// Looks at unfinished tasks, oldest first, until all acknowledged ones are done and no more come.
    pub(crate) fn look(&self, state_dir: &std::path::Path) {
        let mut waiting: Vec<Acknowledged> = Vec::new();
        let mut taken = 0;
        let mut http = None;
        while !self.stop.load(Ordering::Relaxed) {
            {
                let known = self.known();
                waiting.extend_from_slice(&known.acknowledged[taken..]);
                taken = known.acknowledged.len();
            }
            if waiting.is_empty() && self.enough.load(Ordering::Relaxed) {
                return;
            }
            let news = self.round(&mut waiting, &mut http, state_dir);
            if !news {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// One look at the oldest. True if something was done.
    fn round(
        &self,
        waiting: &mut Vec<Acknowledged>,
        http: &mut Option<Http>,
        state_dir: &std::path::Path,
    ) -> bool {
        let mut done = Vec::new();
        for (at, task) in waiting.iter().enumerate().take(LOOKS) {
            if http.is_none() {
                *http = Http::connect(state_dir).ok();
            }
            let Some(connection) = http.as_mut() else { break };
            match connection.get::<Told>(&format!("/tasks/{}", task.id)) {
                Ok(told) if told.state == "completed" => {
                    let seen = Seen { at_ns: now_ns(), result: told.result };
                    self.known().seen.insert(task.id.clone(), seen);
                    self.open.fetch_sub(1, Ordering::Relaxed);
                    done.push(at);
                }
                Ok(_) => {}
                Err(error) if error.to_string().contains(" 404 ") => {
                    // After a power cut it may be gone; the oracle asks whether it might.
                    self.open.fetch_sub(1, Ordering::Relaxed);
                    done.push(at);
                }
                Err(_) => {
                    *http = None;
                    break;
                }
            }
        }
        for at in done.iter().rev() {
            waiting.remove(*at);
        }
        !done.is_empty()
    }
}
