//! What reloads look like from outside: their views, what an `apply` would do, and the last words of what failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::{Effect, Event, InstanceId, ReloadState};
use ganger_logs::Query;
use ganger_logs::read::LogReader;
use ganger_process::Processes;

use super::owner::Owner;
use super::reload::{Heard, What};
use super::service::{Service, Slot};
use crate::instance::{self, wall_ms};
use crate::spec::ServiceSpec;
use crate::view::{ReloadView, Reloads};

/// A reason with last words is there so soon, or without them: the logger moves a line within milliseconds.
const WORDS_WAIT: Duration = Duration::from_millis(500);
/// A line of a log can be long; a reason is read at a glance.
const WORDS_MAX: usize = 200;

impl Service {
    /// What applying a spec would do to it as things are now.
    pub(super) fn effect(&self, spec: &ServiceSpec) -> Effect {
        if let Some(roll) = &self.roll {
            return if roll.is_to(spec) { Effect::Unchanged } else { Effect::Roll };
        }
        if self.leaving.is_some() {
            return Effect::Start;
        }
        let same = self.spec == *spec;
        let process =
            self.mixed || !same && !instance::same_process(&self.spec.slot(1), &spec.slot(1));
        let asleep = !spec.stopped && self.slots.values().any(Slot::asleep);
        match process {
            true if !self.mixed && self.can_roll(&self.spec, spec) => Effect::Roll,
            true if self.slots.values().all(Slot::rests) => Effect::Start,
            true => Effect::Restart,
            false if asleep => Effect::Start,
            false if same => Effect::Unchanged,
            false => Effect::Adjust,
        }
    }
}

impl Owner {
    /// What applying a spec would do as things are now.
    pub(super) fn effect(&self, spec: &ServiceSpec) -> Effect {
        self.services.get(&spec.name).map_or(Effect::Start, |service| service.effect(spec))
    }

    /// Specs to begin with, and those that reloads bring: nothing has to be kept up where nothing runs.
    pub(super) fn versions(
        &self,
        mut specs: Vec<ServiceSpec>,
        coming: Vec<ServiceSpec>,
    ) -> (Vec<ServiceSpec>, BTreeMap<String, ServiceSpec>) {
        let mut rolls = BTreeMap::new();
        for new in coming {
            let runs = self.adopted.keys().any(|id| id.name == new.name);
            match specs.iter_mut().find(|spec| spec.name == new.name) {
                Some(spec) if !runs || new.stopped => *spec = new,
                _ => drop(rolls.insert(new.name.clone(), new)),
            }
        }
        (specs, rolls)
    }

    /// Changes the view of a service's newest reload.
    pub(super) fn show_reload(&self, name: &str, change: impl FnOnce(&mut ReloadView)) {
        self.reloads.send_if_modified(|reloads| {
            let Some(view) = reloads.get(name) else { return false };
            let mut next = ReloadView::clone(view);
            change(&mut next);
            if next == **view {
                return false;
            }
            Arc::make_mut(reloads).insert(name.to_owned(), Arc::new(next));
            true
        });
    }

    /// A reload begins.
    pub(super) fn show_new_reload(&mut self, name: &str, old: &ServiceSpec, new: &ServiceSpec) {
        self.orders += 1;
        let view = ReloadView {
            number: self.orders,
            from: instance::version(&old.slot(1)),
            to: instance::version(&new.slot(1)),
            state: ReloadState::Rolling,
            done: 0,
            of: 0,
            reason: String::new(),
            began_ms: wall_ms(),
            ended_ms: None,
        };
        let insert = |all: &mut Reloads| Arc::make_mut(all).insert(name.to_owned(), Arc::new(view));
        self.reloads.send_modify(|all| drop(insert(all)));
    }

    /// How far it is.
    pub(super) fn show_progress(&self, name: &str) {
        let roll = self.services.get(name).and_then(|service| service.roll.as_ref());
        if let Some((done, of)) = roll.map(|roll| roll.machine.progress()) {
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            self.show_reload(name, |view| (view.done, view.of) = (count(done), count(of)));
        }
    }

    /// It is over.
    pub(super) fn show_reload_over(&self, name: &str, state: ReloadState, reason: &str) {
        self.show_reload(name, |view| {
            (view.state, view.ended_ms) = (state, Some(wall_ms()));
            reason.clone_into(&mut view.reason);
        });
    }

    /// The service is forgotten.
    pub(super) fn forget_reload(&self, name: &str) {
        self.reloads.send_if_modified(|all| {
            all.contains_key(name) && Arc::make_mut(all).remove(name).is_some()
        });
    }

    /// What is configured now came without a reload: that an earlier one was taken back must not be taken for its end.
    pub(super) fn forget_taken_back(&self, name: &str) {
        self.reloads.send_if_modified(|all| {
            let back = all.get(name).is_some_and(|view| view.state == ReloadState::TakenBack);
            back && Arc::make_mut(all).remove(name).is_some()
        });
    }

    /// Has an event of it recorded.
    pub(super) fn tell_reload(&mut self, name: &str, slot: Option<u32>, to: &str, reason: String) {
        let event = Event {
            seq: 0,
            ts_ms: wall_ms(),
            kind: "service.reload".to_owned(),
            name: name.to_owned(),
            slot,
            from: None,
            to: Some(to.to_owned()),
            reason,
            exit: None,
        };
        self.tell_event(event);
    }

    /// Asks for the last words of an instance that has failed; they come by way of `on_heard`.
    pub(super) fn ask_last_words(&mut self, name: &str, slot: u32) {
        let (processes, logs) = (self.around.processes.clone(), self.around.logs.clone());
        let (name, id) = (name.to_owned(), InstanceId::new(name, slot));
        // A slot may have had an instance before this reload.
        let since = self.reloads.borrow().get(&name).map_or(0, |view| view.began_ms);
        self.rolls.spawn(async move {
            let words = last_words(processes, logs, id, since);
            let words = tokio::time::timeout(WORDS_WAIT, words).await;
            Heard { name, what: What::Said(slot, words.ok().flatten()) }
        });
    }
}

/// The last line that an instance wrote, if it wrote any.
async fn last_words(
    processes: Processes,
    logs: LogReader,
    id: InstanceId,
    since_ms: u64,
) -> Option<String> {
    // Without a keeper or a logger what is in the files already has to do.
    let _gone = processes.flush_logs().await;
    let read = move || {
        let slot = Some(id.slot);
        let query =
            Query { tail_n: Some(1), slot, since_ms: Some(since_ms), ..Query::of([id.name]) };
        Some(logs.read(&query).ok()?.last()?.ok()?.line)
    };
    let line = tokio::task::spawn_blocking(read).await.ok().flatten()?;
    let line: String = line.trim().chars().take(WORDS_MAX).collect();
    (!line.is_empty()).then_some(line)
}
