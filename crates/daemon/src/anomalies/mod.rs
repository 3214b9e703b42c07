//! Anomalies: what the detectors make of the monitor's looks, of ends and of queues.
//!
//! ```text
//! monitor, each second ─▶ Sample of each instance ─▶ Watch ─┐
//! each ten seconds ─▶ progress of each pool ────────▶ Watch ─┼─▶ Change ─▶ events `anomaly.opened|worse|again|closed`
//!                    siblings of each name ─────▶ Siblings ─┘        └──▶ Board (list, /metrics), Findings (conditions of alerts)
//! events: ends that nobody asked for, starts, reloads ─▶ Watch
//! ```
//!
//! One task; the detectors' work (some microseconds an instance and second) is done on a blocking thread that the state moves to. The state is
//! written every quarter of an hour and at the end: a restarted daemon knows what is usual.

mod board;
mod crew;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::{End, Event, TaskState};
use ganger_detect::{Mark, Progress};
use ganger_monitor::{Monitor, Tick};
use ganger_pool::Tasks;
use tokio::sync::{broadcast, watch};

pub(crate) use board::{Board, of};

use crate::alerts::Findings;
use crate::desired::Desired;
use crate::recorder::Events;
use crew::{Crew, Happened, Look};

/// Looks between two at queues and siblings, in seconds: the step of the engine under the detectors.
const STEP: u64 = 10;
/// Between two times that the state is written, in looks: an engine's memory is of hours.
const SAVE: u64 = 900;
/// Ends whose reason is not known yet: a second of ends on a machine where everything crashes.
const ENDS_MAX: usize = 4_096;

/// What the task is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) state_dir: PathBuf,
    pub(crate) desired: watch::Receiver<Arc<Desired>>,
    pub(crate) monitor: Monitor,
    pub(crate) tasks: Tasks,
    pub(crate) events: Events,
    pub(crate) board: watch::Sender<Arc<Board>>,
    pub(crate) findings: watch::Sender<Arc<Findings>>,
    /// Told when the daemon ends.
    pub(crate) ending: watch::Receiver<Option<Duration>>,
}

/// Watches until the daemon ends.
pub(crate) async fn watch(parts: Parts) {
    let path = store::path(&parts.state_dir);
    let read = tokio::task::spawn_blocking(move || store::read(&path)).await;
    let crew = read.ok().flatten().unwrap_or_default();
    let heard = parts.events.listen();
    let mut owner = Owner { parts, crew, happened: Vec::new(), ends: HashMap::new(), looks: 0 };
    owner.run(heard).await;
    owner.save().await;
}

struct Owner {
    parts: Parts,
    crew: Crew,
    happened: Vec<Happened>,
    /// Ends that are not known to be asked for or not: when, how long it ran, how.
    ends: HashMap<(String, u32), (u64, u64, End)>,
    looks: u64,
}

impl Owner {
    async fn run(&mut self, mut heard: broadcast::Receiver<Arc<Event>>) {
        let mut ticks = self.parts.monitor.ticks();
        let mut ending = self.parts.ending.clone();
        loop {
            tokio::select! {
                _ = ending.changed() => return,
                event = heard.recv() => match event {
                    Ok(event) => self.hear(&event),
                    // What is missed here are ends and starts: detectors rest on samples.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                changed = ticks.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let tick = ticks.borrow_and_update().clone();
                    self.look(tick).await;
                }
            }
        }
    }

    /// What detectors should know of an event.
    fn hear(&mut self, event: &Event) {
        let Some(slot) = event.slot else {
            if event.kind == "service.reload" {
                self.happened.push(Happened::mark(event, None, Mark::Reload));
            }
            return;
        };
        let key = (event.name.clone(), slot);
        if let Some(exit) = &event.exit {
            let started = self.parts.monitor.started_ms(&event.name, slot, exit.pid);
            let ran = started.map_or(0, |started| event.ts_ms.saturating_sub(started));
            if self.ends.len() < ENDS_MAX {
                self.ends.insert(key, (event.ts_ms, ran, exit.end.clone()));
            }
            return;
        }
        let is =
            |word: &Option<String>, any: &[&str]| word.as_deref().is_some_and(|w| any.contains(&w));
        if event.kind != "instance.state" {
            return;
        }
        if is(&event.to, &["starting"]) {
            self.ends.remove(&key);
            self.happened.push(Happened::mark(event, Some(slot), Mark::Start));
        } else if is(&event.to, &["stopping", "stopped"]) {
            self.ends.remove(&key);
        } else if is(&event.to, &["backoff", "failed"])
            && !is(&event.from, &["stopping"])
            && let Some((at_ms, ran_ms, end)) = self.ends.remove(&key)
        {
            self.happened.push(Happened::end(event, slot, (at_ms, ran_ms), end));
        }
    }

    async fn look(&mut self, tick: Arc<Tick>) {
        self.looks += 1;
        let step = self.looks.is_multiple_of(STEP);
        let desired = self.parts.desired.borrow().clone();
        let progress = if step { self.progress(&desired).await } else { Vec::new() };
        let look =
            Look { tick, desired, progress, step, happened: std::mem::take(&mut self.happened) };
        let mut crew = std::mem::take(&mut self.crew);
        let done = tokio::task::spawn_blocking(move || {
            let changes = crew.look(&look);
            (crew, changes)
        });
        let changes = match done.await {
            Ok((crew, changes)) => {
                self.crew = crew;
                changes
            }
            Err(error) => return tracing::error!(%error, "detectors begin anew"),
        };
        for (name, slot, change) in changes {
            self.parts.events.tell_of(board::event(&name, slot, &change)).await;
        }
        if let Some((board, findings)) = self.crew.news() {
            self.parts.board.send_replace(Arc::new(board));
            self.parts.findings.send_replace(Arc::new(findings));
        }
        if self.looks.is_multiple_of(SAVE) {
            self.save().await;
        }
    }

    /// How the work of each pool goes on. A pool that nobody wants to work has none.
    async fn progress(&self, desired: &Desired) -> Vec<(String, Progress)> {
        let working = |name: &String| {
            !desired.down && !desired.stopped.contains(name) && desired.replicas(name) != Some(0)
        };
        let pools: Vec<_> = desired.config.pools.iter().filter(|(name, _)| working(name)).collect();
        if pools.is_empty() {
            return Vec::new();
        }
        let Ok(looks) = self.parts.tasks.queues().await else { return Vec::new() };
        let of = |pool: &crate::config::Pool| {
            let mine =
                looks.iter().filter(|look| pool.queues.iter().any(|q| **q == *look.row.name));
            let (mut queued, mut done) = (0, 0);
            for look in mine {
                let count = |state| look.row.counts.get(state);
                if !look.row.gate.paused {
                    queued += count(TaskState::Available) + count(TaskState::Running);
                }
                done += count(TaskState::Completed)
                    + count(TaskState::Discarded)
                    + count(TaskState::Cancelled);
            }
            Progress { queued, done }
        };
        pools.into_iter().map(|(name, pool)| (name.clone(), of(pool))).collect()
    }

    async fn save(&mut self) {
        let path = store::path(&self.parts.state_dir);
        let crew = std::mem::take(&mut self.crew);
        let done = tokio::task::spawn_blocking(move || {
            if let Err(error) = store::write(&path, &crew) {
                tracing::warn!(%error, "what is usual could not be stored");
            }
            crew
        });
        if let Ok(crew) = done.await {
            self.crew = crew;
        }
    }
}
