//! Watch mode at work: a service whose files have changed is reloaded where it can be, else restarted.
//!
//! What a person has stopped stays so, and what waits for a dependency or for its first connection starts with the new
//! files by itself. What has failed, waits in backoff or is done with its work starts again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::{Event, InstanceState};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::handle::{GroupTicket, Reloading};
use super::owner::Owner;
use super::service::{Service, Slot};
use crate::instance::wall_ms;
use crate::watch::{Fire, Saw, Watch, watch};

/// Words of watched services on their way: each has one restart under way at most.
const SAWS: usize = 64;
/// A restart that takes longer to get ready holds up the next one no more: the change that comes may be what it lacks.
const PATIENCE: Duration = Duration::from_secs(3);
/// From so many restarts in a row on that each began with a change during the one before, the service is suspected.
const ROW: u32 = 4;

/// What a service's watch says.
type Word = (String, Saw);

/// Who watches. Without a watched service there is nothing.
#[derive(Debug, Default)]
pub(super) struct Watches {
    running: BTreeMap<String, (Arc<Watch>, AbortHandle)>,
    ways: Option<(mpsc::Sender<Word>, mpsc::Receiver<Word>)>,
}

impl Watches {
    /// What a watched service's task says. Cancel safe.
    pub(super) async fn next(&mut self) -> Word {
        if let Some((_, hear)) = &mut self.ways
            && let Some(saw) = hear.recv().await
        {
            return saw;
        }
        std::future::pending().await
    }
}

impl Service {
    /// The slots that a change of files concerns.
    fn concerned(&self) -> Vec<&Slot> {
        let stopped = |slot: &Slot| {
            let view = slot.view.as_ref();
            view.is_some_and(|v| v.state == InstanceState::Stopped && !v.completed)
        };
        let out = |slot: &Slot| slot.leaving || slot.waiting || slot.dozing || stopped(slot);
        self.slots.values().filter(|slot| !out(slot)).collect()
    }
}

impl Owner {
    /// Has the services watched that say so, and no others.
    pub(super) fn keep_watches(&mut self) {
        let services = &self.services;
        let wanted = |name: &str| {
            let there = services.get(name).filter(|service| service.leaving.is_none());
            there.and_then(|service| service.spec.watch.clone())
        };
        self.watches.running.retain(|name, (now, task)| {
            let stays = wanted(name).as_ref() == Some(now);
            if !stays {
                task.abort();
            }
            stays
        });
        for (name, service) in &self.services {
            let Some(spec) = service.spec.watch.clone() else { continue };
            if self.watches.running.contains_key(name) || service.leaving.is_some() {
                continue;
            }
            let (say, _) = self.watches.ways.get_or_insert_with(|| mpsc::channel(SAWS));
            let state_dir = self.around.run_dir.parent().map(ToOwned::to_owned);
            let task = watch(name.clone(), Arc::clone(&spec), state_dir, say.clone());
            self.watches.running.insert(name.clone(), (spec, self.tasks.spawn(task)));
        }
    }

    pub(super) async fn on_saw(&mut self, name: String, saw: Saw) {
        let Some((watch, _)) = self.watches.running.get(&name) else { return };
        match saw {
            Saw::Watching { folders } => {
                let reason = match folders {
                    1 => "1 folder".to_owned(),
                    n => format!("{n} folders"),
                };
                self.tell_watch(&name, "watching", reason);
            }
            Saw::Trouble(why) => {
                tracing::warn!(service = name, why, "not all that is to be watched is");
                self.tell_watch(&name, "limited", why);
            }
            Saw::Changed { fire, over } => {
                let why = why(watch, &fire);
                self.renew_all(&name, why, fire, over).await;
            }
        }
    }

    /// Files of a service have changed.
    async fn renew_all(&mut self, name: &str, why: String, fire: Fire, over: oneshot::Sender<()>) {
        if self.going_down.is_some() {
            return;
        }
        if self.is_rolling(name) {
            // Which files its new instances have read nobody knows: once more when it is over.
            let (Ok(rolling), Some(say)) = (self.reload(name).await, self.say()) else { return };
            let name = name.to_owned();
            self.tasks.spawn(async move {
                let _any_end = rolling.done().await;
                // Without the owner nobody is restarted.
                let _gone = say.send((name, Saw::Changed { fire, over })).await;
            });
            return;
        }
        let Some(service) = self.services.get(name) else { return };
        let concerned = service.concerned();
        if concerned.is_empty() {
            return;
        }
        let ready = |slot: &&Slot| slot.view.as_ref().is_some_and(|view| view.ready);
        if service.spec.rolls() && concerned.iter().any(ready) {
            self.tell_watch(name, "reload", why);
            if let Ok(reloading) = self.reload(name).await {
                self.tasks.spawn(over_with(reloading, over));
            }
            return;
        }
        let mut tickets = vec![];
        for slot in concerned {
            tickets.push(slot.handle.restart().await);
        }
        self.tell_watch(name, "restart", why);
        self.tasks.spawn(over_with(Reloading::Restarts(GroupTicket(tickets)), over));
    }

    fn tell_watch(&mut self, name: &str, to: &str, reason: String) {
        let event = Event {
            seq: 0,
            ts_ms: wall_ms(),
            kind: "service.watch".to_owned(),
            name: name.to_owned(),
            slot: None,
            from: None,
            to: Some(to.to_owned()),
            reason,
            exit: None,
        };
        self.tell_event(event);
    }

    fn say(&self) -> Option<mpsc::Sender<Word>> {
        self.watches.ways.as_ref().map(|(say, _)| say.clone())
    }
}

/// Says when it is over; how it ended its own events tell.
async fn over_with(reloading: Reloading, over: oneshot::Sender<()>) {
    match reloading {
        rolls @ Reloading::Rolls(_) => drop(rolls.done().await),
        Reloading::Restarts(ticket) => drop(tokio::time::timeout(PATIENCE, ticket.done()).await),
    }
    // A watch that is gone needs no answer.
    let _unheard = over.send(());
}

fn why(watch: &Watch, fire: &Fire) -> String {
    let path = watch.shown(&fire.path);
    let more = match fire.more {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let row = match fire.row {
        ROW.. => {
            "; each of the last restarts began with a change during the one before: what the service writes itself belongs into `ignore`"
        }
        _ => "",
    };
    format!("{path} changed{more}{row}")
}
