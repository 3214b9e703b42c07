//! Alerts at work: rules of the configuration are looked at every few seconds, and people are told.
//!
//! ```text
//! configuration ─▶ rules ┐                                        ┌▶ events `alert.firing`, `alert.resolved`, `alert.flapping`
//! monitor's last look ───┤                                        ├▶ View: list, /metrics
//! series (windows) ──────┼─▶ evaluate, each 5 s ─▶ Core (blocking) ┤
//! services, pools, queues┤                            │           └▶ outbox on disk ─▶ webhook, exec (by the keeper); log
//! findings of detectors ─┘                            └▶ alerts/state.json
//! ```
//!
//! One task owns all of it; what blocks (series, logs, files) runs on a blocking thread that the state moves to and comes back from.
//! Without rules and messages it waits for the configuration and costs nothing.

mod core;
mod facts;
mod findings;
mod look;
mod send;
mod shelf;
#[cfg(test)]
mod tests;
mod view;
pub(crate) mod vocabulary;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ganger_alert::notify::message;
use ganger_alert::{Change, Replayed, Rule, Silence, SilenceError, StateName, Time};
use ganger_api::Timestamp;
use ganger_core::Event;
use ganger_monitor::Monitor;
use ganger_pool::Tasks;
use ganger_process::Processes;
use ganger_supervise::Snapshot;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

pub(crate) use findings::Findings;
pub(crate) use view::{View, row, state_word};

use self::core::Core;
use crate::desired::Desired;
use crate::recorder::Events;
use look::{Needs, Now};
use send::Sends;

/// Between two evaluations: half of the detectors' step. A condition holds or not for at least as long as it takes to be sampled.
const EVERY: Duration = Duration::from_secs(5);
/// Asks that wait: people and their scripts.
const ASKS: usize = 64;
/// The logger moves what is in its pipes within milliseconds; nobody waits for a stuck one to be told.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// What the task is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) state_dir: PathBuf,
    pub(crate) desired: watch::Receiver<Arc<Desired>>,
    pub(crate) monitor: Option<Monitor>,
    pub(crate) services: watch::Receiver<Arc<Snapshot>>,
    pub(crate) workers: watch::Receiver<Arc<Snapshot>>,
    pub(crate) tasks: Tasks,
    pub(crate) findings: watch::Receiver<Arc<Findings>>,
    pub(crate) events: Events,
    /// For receivers that are programs.
    pub(crate) processes: Processes,
    /// Told when the daemon ends.
    pub(crate) ending: watch::Receiver<Option<Duration>>,
}

/// What a person wants of it.
#[derive(Debug)]
enum Ask {
    Silence(Silence, oneshot::Sender<Result<(), SilenceError>>),
    Expire(String, oneshot::Sender<bool>),
    Show(String, oneshot::Sender<Vec<String>>),
    Test { rule: Box<Rule>, from: Time, step: Duration, reply: oneshot::Sender<Option<Replayed>> },
}

/// The task has ended with the daemon.
#[derive(Debug)]
pub(crate) struct Gone;

/// Handle; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Alerting {
    asks: mpsc::Sender<Ask>,
    view: watch::Receiver<Arc<View>>,
}

impl Alerting {
    /// As of the last evaluation or change.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Sets a silence; it counts when this returns.
    pub(crate) async fn silence(&self, silence: Silence) -> Result<Result<(), SilenceError>, Gone> {
        self.ask(|reply| Ask::Silence(silence, reply)).await
    }

    /// Ends a silence; false: there is none.
    pub(crate) async fn expire(&self, id: String) -> Result<bool, Gone> {
        self.ask(|reply| Ask::Expire(id, reply)).await
    }

    /// What is told of each alert of a rule, with all that is known now.
    pub(crate) async fn show(&self, rule: String) -> Result<Vec<String>, Gone> {
        self.ask(|reply| Ask::Show(rule, reply)).await
    }

    /// What a rule would have said since then; `None`: samples are not kept.
    pub(crate) async fn test(
        &self,
        rule: Rule,
        from: Time,
        step: Duration,
    ) -> Result<Option<Replayed>, Gone> {
        self.ask(|reply| Ask::Test { rule: Box::new(rule), from, step, reply }).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }
}

/// What of a rule the past does not know: it is missing in [`Alerting::test`].
pub(crate) fn forgotten(rule: &Rule) -> Vec<String> {
    look::forgotten(rule)
}

/// The handle, and the task to be run.
pub(crate) fn start(parts: Parts) -> (Alerting, impl Future<Output = ()> + Send) {
    let (asks, inbox) = mpsc::channel(ASKS);
    let (publish, view) = watch::channel(Arc::default());
    (Alerting { asks, view }, run(parts, inbox, publish))
}

async fn run(mut parts: Parts, inbox: mpsc::Receiver<Ask>, publish: watch::Sender<Arc<View>>) {
    let desired = parts.desired.borrow_and_update().clone();
    let sends = Sends::new(parts.processes.clone());
    let mut owner = Owner { core: None, desired, sends, parts, publish };
    owner.with(|_| ()).await;
    owner.run(inbox).await;
}

struct Owner {
    /// Away only while a blocking thread has it; lost if that broke, and read again.
    core: Option<Core>,
    desired: Arc<Desired>,
    sends: Sends,
    parts: Parts,
    publish: watch::Sender<Arc<View>>,
}

impl Owner {
    async fn run(&mut self, mut inbox: mpsc::Receiver<Ask>) {
        let mut ending = self.parts.ending.clone();
        let mut look_at = Instant::now() + EVERY;
        loop {
            let next = self.core.as_ref().and_then(Core::next);
            let send_at = next.filter(|_| self.sends.room() > 0).map(|at| {
                Instant::now() + Duration::from_millis(at.saturating_sub(Timestamp::now().0))
            });
            let idle = self.core.as_ref().is_some_and(|core| core.rules.is_empty());
            let busy = self.sends.is_busy();
            tokio::select! {
                _ = ending.changed() => return,
                Ok(()) = self.parts.desired.changed() => {
                    self.wanted().await;
                    // What was just applied is looked at at once.
                    look_at = Instant::now();
                }
                done = self.sends.turn(), if busy => {
                    if let Some((entry, outcome)) = done {
                        let now = Timestamp::now().0;
                        self.with(move |core| core.done(&entry, outcome, now)).await;
                    }
                }
                () = until(send_at), if send_at.is_some() => self.send().await,
                () = tokio::time::sleep_until(look_at), if !idle || self.has_left() => {
                    self.evaluate().await;
                    look_at = (look_at + EVERY).max(Instant::now());
                }
                ask = inbox.recv() => match ask {
                    Some(ask) => self.answer(ask).await,
                    None => return,
                },
            }
        }
    }

    /// Groups that are not empty have somebody to tell, also without rules.
    fn has_left(&self) -> bool {
        self.core.as_ref().is_none_or(Core::has_left)
    }

    /// Does it on a blocking thread.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Core) -> T + Send + 'static,
    ) -> Option<T> {
        let core = self.core.take();
        let (dir, desired) = (self.parts.state_dir.clone(), Arc::clone(&self.desired));
        let done = tokio::task::spawn_blocking(move || {
            let open = || Core::open(&dir, &desired.config.alerting, Timestamp::now().0);
            let mut core = core.unwrap_or_else(open);
            let value = work(&mut core);
            let view = core.view(Timestamp::now().0);
            (core, view, value)
        });
        match done.await {
            Ok((core, view, value)) => {
                self.core = Some(core);
                self.publish.send_replace(Arc::new(view));
                Some(value)
            }
            Err(error) => {
                tracing::error!(%error, "alerts: what was being done is done again from what was stored");
                None
            }
        }
    }

    /// The configuration, or something else that is desired, has changed.
    async fn wanted(&mut self) {
        let new = self.parts.desired.borrow_and_update().clone();
        let old = std::mem::replace(&mut self.desired, Arc::clone(&new));
        if old.config == new.config {
            return;
        }
        let now = Timestamp::now().0;
        let changes = self.with(move |core| core.wanted(&old, &new, now)).await;
        self.record(changes.unwrap_or_default()).await;
    }

    async fn evaluate(&mut self) {
        if self.desired.down {
            return;
        }
        let needs = self.core.as_ref().map(|core| look::needs(&core.rules)).unwrap_or_default();
        let now = self.gather(needs).await;
        let Some((now, (changes, told))) = self
            .with(move |core| {
                let did = core.evaluate(&now);
                (now, did)
            })
            .await
        else {
            return;
        };
        self.record(changes).await;
        if told.is_empty() {
            return;
        }
        // Log lines and series only for who is told.
        drop(timeout(FLUSH_WAIT, self.parts.processes.flush_logs()).await);
        let at = now.at;
        let all = self.gather(Needs { series: true, queues: true }).await;
        let now = Now { at, ..all };
        self.with(move |core| core.tell(&told, &now)).await;
    }

    async fn gather(&self, needs: Needs) -> Now {
        let series = match &self.parts.monitor {
            Some(monitor) if needs.series => monitor.reader().await.ok(),
            _ => None,
        };
        let queues = if needs.queues { self.parts.tasks.queues().await.ok() } else { None };
        Now {
            at: Timestamp::now().0,
            desired: Arc::clone(&self.desired),
            tick: self.parts.monitor.as_ref().map(Monitor::newest),
            services: self.parts.services.borrow().clone(),
            workers: self.parts.workers.borrow().clone(),
            queues: queues.unwrap_or_default(),
            series,
            findings: self.parts.findings.borrow().clone(),
        }
    }

    async fn send(&mut self) {
        let (now, room) = (Timestamp::now().0, self.sends.room());
        let due = self.with(move |core| core.due(now, room)).await;
        for (entry, channel) in due.unwrap_or_default() {
            self.sends.begin(entry, channel, now);
        }
    }

    async fn answer(&mut self, ask: Ask) {
        let now = Timestamp::now().0;
        match ask {
            Ask::Silence(silence, reply) => {
                let done = self.with(move |core| core.silence(silence, now)).await;
                send(reply, done);
            }
            Ask::Expire(id, reply) => {
                let done = self.with(move |core| core.expire(&id, now)).await;
                send(reply, done);
            }
            Ask::Show(name, reply) => {
                let now = self.gather(Needs { series: true, queues: true }).await;
                let texts = self.with(move |core| core.texts(&name, &now)).await;
                send(reply, texts);
            }
            Ask::Test { rule, from, step, reply } => {
                let now = self.gather(Needs { series: true, queues: false }).await;
                // On a thread of its own: a week takes seconds, and alerts go on.
                drop(tokio::task::spawn_blocking(move || {
                    send(reply, Some(Core::replay(*rule, &now, from, step)));
                }));
            }
        }
    }

    /// Into the event log: what people would look for later.
    async fn record(&self, changes: Vec<Change>) {
        for change in changes {
            let kind = match change.to {
                StateName::Firing => "alert.firing",
                StateName::Resolved => "alert.resolved",
                StateName::Flapping => "alert.flapping",
                _ => continue,
            };
            self.parts.events.tell_of(event(kind, &change)).await;
        }
    }
}

/// Answers; without an answer the asker hears that.
fn send<T>(reply: oneshot::Sender<T>, answer: Option<T>) {
    if let Some(answer) = answer {
        // Who no longer waits needs none.
        let _gone = reply.send(answer);
    }
}

fn event(kind: &str, change: &Change) -> Event {
    let mut reason = change.object.to_string();
    if let Some(text) = change.evidence.as_ref().map(message::evidence) {
        reason.push_str(": ");
        reason.push_str(&text);
    }
    if let Some(why) = change.ended {
        reason.push_str("; ");
        reason.push_str(message::ended(why));
    }
    Event {
        seq: 0,
        ts_ms: change.at,
        kind: kind.to_owned(),
        name: change.rule.clone(),
        slot: None,
        from: Some(state_word(change.from).to_owned()),
        to: Some(state_word(change.to).to_owned()),
        reason,
        exit: None,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
