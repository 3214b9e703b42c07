//! Incidents: what the rules of detection make of the records of commands.
//!
//! ```text
//! records on disk ─▶ detector ─▶ raised ─▶ audit log ─▶ event `incident` ─▶ hook
//!                       └▶ locks: the executor asks them before it decides
//! ```
//!
//! One task. It begins with what the log has: all that is said of incidents, and the records of the last day, so that a
//! daemon that starts knows what goes on, tells nothing twice, and records what its predecessor found and could not record.
//! Without commands it waits for the first one and costs nothing.

mod history;
mod hook;
mod locks;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ganger_audit::{Append, Entry, Event, Hash, Record};
use ganger_exec::{Executor, Seen};
use ganger_incident::{Detector, Raised, Settings};
use ganger_process::{Child, Processes};
use tokio::sync::{broadcast, watch};

pub(crate) use locks::Locks;

use crate::recorder::Events;
use hook::Hooks;

/// Event: somebody dealt with an incident, and that is in force.
pub(crate) const STATE: &str = "incident.state";

/// What the task is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Where incidents are recorded.
    pub(crate) exec: Executor,
    /// Records as they come, from before the first one.
    pub(crate) seen: broadcast::Receiver<Arc<Seen>>,
    /// The log's folder.
    pub(crate) folder: PathBuf,
    pub(crate) events: Events,
    pub(crate) settings: watch::Receiver<Settings>,
    pub(crate) locks: Locks,
    /// For hooks.
    pub(crate) processes: Processes,
    /// Hooks that a former daemon left.
    pub(crate) left: Vec<Child>,
    /// Told when the daemon ends.
    pub(crate) ending: watch::Receiver<Option<Duration>>,
}

/// Watches until the daemon ends.
pub(crate) async fn watch(parts: Parts) {
    let Parts { exec, seen, folder, events, settings, locks, processes, left, ending } = parts;
    let detector = Detector::new(settings.borrow().clone());
    let hooks = Hooks::new(processes, events.clone(), left);
    let mut watcher = Watcher { exec, folder, events, locks, hooks, detector, last: 0 };
    watcher.begin().await;
    watcher.run(seen, settings, ending).await;
}

struct Watcher {
    exec: Executor,
    folder: PathBuf,
    events: Events,
    locks: Locks,
    hooks: Hooks,
    detector: Detector,
    /// The last record that was looked at.
    last: u64,
}

impl Watcher {
    async fn run(
        mut self,
        mut seen: broadcast::Receiver<Arc<Seen>>,
        mut settings: watch::Receiver<Settings>,
        mut ending: watch::Receiver<Option<Duration>>,
    ) {
        let mut faults = self.exec.faults();
        loop {
            tokio::select! {
                record = seen.recv() => match record {
                    Ok(record) => self.see(&record).await,
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "incidents are behind the records of commands; the log is read");
                        self.catch_up().await;
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Ok(()) = faults.changed() => {
                    let fault = faults.borrow_and_update().clone();
                    // It can't be recorded: the event and the hook tell it.
                    let raised = fault.map(|why| self.detector.fault(&why)).unwrap_or_default();
                    self.raise(raised).await;
                }
                Ok(()) = settings.changed() => {
                    self.detector.set(settings.borrow_and_update().clone());
                }
                () = self.hooks.turn(), if self.hooks.is_busy() => {}
                _ = ending.changed() => return,
            }
        }
    }

    /// Looks at what the log has.
    async fn begin(&mut self) {
        let (folder, settings) = (self.folder.clone(), self.detector.settings().clone());
        let read = tokio::task::spawn_blocking(move || history::read(&folder, settings));
        match read.await {
            Ok(Ok(history)) => {
                self.detector = history.detector;
                self.last = history.last;
                self.locks.set(self.detector.locked());
                self.raise(history.unrecorded).await;
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "incidents begin without what the audit log has")
            }
            Err(error) => tracing::error!(%error, "incidents begin without what the audit log has"),
        }
    }

    /// Reads what was missed.
    async fn catch_up(&mut self) {
        let (folder, last) = (self.folder.clone(), self.last);
        let mut detector = std::mem::take(&mut self.detector);
        let read = tokio::task::spawn_blocking(move || {
            let read = history::since(&folder, last, &mut detector);
            (detector, read)
        });
        match read.await {
            Ok((detector, Ok((last, raised)))) => {
                (self.detector, self.last) = (detector, last);
                self.locks.set(self.detector.locked());
                self.raise(raised).await;
            }
            Ok((detector, Err(error))) => {
                self.detector = detector;
                tracing::warn!(%error, "some records of commands were not looked at for incidents");
            }
            Err(error) => tracing::error!(%error, "records of commands were not looked at"),
        }
    }

    async fn see(&mut self, record: &Seen) {
        if record.seq <= self.last {
            return;
        }
        self.last = record.seq;
        let raised = self.detector.see(&entry(record));
        self.locks.set(self.detector.locked());
        if let Record::IncidentState(changed) = &record.append.record {
            // What it ends has ended by now.
            self.events.tell(STATE, &changed.id, changed.state.as_str()).await;
        }
        self.raise(raised).await;
    }

    /// Records, tells, and calls the hook.
    async fn raise(&mut self, raised: Vec<Raised>) {
        for raised in raised {
            let incident = &raised.incident;
            let append = Append {
                run: None,
                principal: raised.principal.clone(),
                record: Record::Incident(Box::new(incident.clone())),
            };
            if let Err(error) = self.exec.record(append).await {
                // The next daemon finds it again, in the records that it comes from.
                tracing::error!(%error, id = incident.id, "an incident is not recorded");
            }
            self.events.tell("incident", &incident.id, sentence(&raised)).await;
            if let Some(hook) =
                self.detector.settings().hook.clone().filter(|hook| hook.wants(&raised))
            {
                self.hooks.call(&hook, &raised);
            }
        }
    }
}

/// `high: environment injection by eve: …`.
fn sentence(raised: &Raised) -> String {
    let incident = &raised.incident;
    let severity = serde_json::to_value(incident.severity).ok();
    let severity = severity.as_ref().and_then(|word| word.as_str()).unwrap_or("unknown");
    let title = incident.rule.parse::<ganger_incident::Rule>().map_or("", |rule| rule.title());
    let by =
        raised.principal.as_ref().map(|who| format!(" by {}", ganger_incident::Who::from(who)));
    let text = format!("{severity}: {title}{}: {}", by.unwrap_or_default(), incident.message);
    ganger_incident::plain(&text)
}

/// A record as one that was read.
fn entry(seen: &Seen) -> Entry {
    Entry {
        seq: seen.seq,
        ts: ganger_api::Timestamp::now().to_string(),
        mono_ns: seen.mono_ns,
        prev: Hash::START,
        run: seen.append.run,
        principal: seen.append.principal.clone(),
        event: Event::Record(seen.append.record.clone()),
    }
}
