//! The daemon's one budget for restarts after failures: how many may start in a second over all services and workers.
//!
//! ```text
//! instance ─ Ask ─► (its services' owner: does a group restart?) ─► budget ─ permit ─► instance spawns
//!                                                                     │ none left: waits in line
//!                                                                     ▼
//!                       larger priority first; within one, services take turns; within a service, first come
//! ```
//!
//! First starts, and what a person starts, are not asked about: `up` of a thousand services is as fast as the keeper.
//! Where restarts are short, lower priorities wait until none of a higher one does: that is how load is shed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use ganger_core::{Bucket, Priority, Rate};
use tokio::sync::{mpsc, watch};

use crate::permit::{Ask, Permits};

/// Where nothing is said: a restart costs about 2 ms of processor time in all (spawn, records, last lines; estimated), so a
/// thousand programs that crash as they start take about a tenth of a core.
pub const RESTARTS: Rate = Rate { count: 50, per: Duration::from_secs(1), burst: 200 };

/// Who waits, and when the next may go. Pure; `T` is the wish.
#[derive(Debug)]
pub struct Budget<T> {
    rate: Rate,
    bucket: Bucket,
    lanes: BTreeMap<Priority, Lane<T>>,
}

#[derive(Debug)]
struct Lane<T> {
    /// Services with wishes, the next first.
    turns: VecDeque<String>,
    wishes: HashMap<String, VecDeque<T>>,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), wishes: HashMap::new() }
    }
}

/// What [`Budget::next`] says.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// This one may start.
    Go(T),
    /// Somebody waits, and may go then.
    At(Instant),
    /// Nobody waits.
    Idle,
}

impl<T> Budget<T> {
    /// A full bucket and nobody in line.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, bucket: Bucket::default(), lanes: BTreeMap::new() }
    }

    /// Another rate from now on.
    pub fn set_rate(&mut self, rate: Rate) {
        // The old rate's debt could be hours at the new one.
        (self.rate, self.bucket) = (rate, Bucket::default());
    }

    /// Puts a wish in line.
    pub fn push(&mut self, service: &str, priority: Priority, wish: T) {
        let lane = self.lanes.entry(priority).or_default();
        let wishes = lane.wishes.entry(service.to_owned()).or_default();
        if wishes.is_empty() {
            lane.turns.push_back(service.to_owned());
        }
        wishes.push_back(wish);
    }

    /// Who may go now. Wishes that are not `live` any more leave the line and cost nothing.
    pub fn next(&mut self, now: Instant, live: impl Fn(&T) -> bool) -> Next<T> {
        while let Some(mut lane) = self.lanes.last_entry() {
            let Some((_, wishes)) = lane.get_mut().first() else {
                lane.remove();
                continue;
            };
            match wishes.front() {
                Some(wish) if live(wish) => {}
                _ => {
                    wishes.pop_front();
                    lane.get_mut().settle(false);
                    continue;
                }
            }
            if let Some(at) = self.bucket.next(&self.rate, now) {
                return Next::At(at);
            }
            let wish = wishes.pop_front();
            lane.get_mut().settle(true);
            self.bucket.take(&self.rate, now);
            return wish.map_or(Next::Idle, Next::Go);
        }
        Next::Idle
    }
}

impl<T> Lane<T> {
    fn first(&mut self) -> Option<(&String, &mut VecDeque<T>)> {
        let name = self.turns.front()?;
        self.wishes.get_mut(name).map(|wishes| (name, wishes))
    }

    /// After a wish of the first service has left: a service without wishes leaves, one that had its `turn` goes last.
    fn settle(&mut self, turn: bool) {
        let Some(name) = self.turns.front() else { return };
        if self.wishes.get(name).is_none_or(VecDeque::is_empty) {
            self.wishes.remove(name);
            self.turns.pop_front();
        } else if turn {
            self.turns.rotate_left(1);
        }
    }
}

/// The budget's owner task: gives what to ask it with. Ends when nobody can ask any more.
pub async fn run(mut asks: mpsc::Receiver<Ask>, mut rate: watch::Receiver<Rate>) {
    let mut budget = Budget::new(*rate.borrow_and_update());
    loop {
        let next = match budget.next(now(), |ask: &Ask| !ask.is_void()) {
            Next::Go(ask) => {
                ask.permit();
                continue;
            }
            Next::At(at) => Some(tokio::time::Instant::from_std(at)),
            Next::Idle => None,
        };
        tokio::select! {
            ask = asks.recv() => match ask {
                Some(ask) => budget.push(&ask.id.name.clone(), ask.priority, ask),
                None => return,
            },
            Ok(()) = rate.changed() => budget.set_rate(*rate.borrow_and_update()),
            () = at(next) => {}
        }
    }
}

/// A budget and the way to ask it; the task is the caller's to run.
pub fn start(rate: watch::Receiver<Rate>) -> (Permits, impl Future<Output = ()> + Send + 'static) {
    let (permits, asks) = Permits::channel();
    (permits, run(asks, rate))
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn at(due: Option<tokio::time::Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
