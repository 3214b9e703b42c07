//! Listeners of services: opened before anything starts, closed after what had them is gone; starts on first connection.
//!
//! ```text
//! on demand:  dozing ──a connection waits──► started like any other ──exit code 0──► dozing
//!                └── a person's start, stop or restart: no longer dozing until it ends well again
//! ```

use std::sync::Arc;
use std::time::Duration;

use ganger_core::InstanceState;
use tokio::time::Instant;

use super::error::ServiceError;
use super::owner::Owner;
use super::service::Service;
use crate::listeners::{ListenError, ListenMode, Wanted};
use crate::spec::ServiceSpec;
use crate::view::InstanceView;

/// Shortest time between two starts on demand of a service: one that ends well without taking the connection that it was
/// started for must not be started as fast as the machine can.
const KNOCK_GAP: Duration = Duration::from_secs(1);
/// Why a service that starts on demand has no process.
pub(super) const DOZES: &str = "waits for its first connection";

fn wanted(spec: &ServiceSpec, slots: u32, apart: Vec<u32>) -> Option<Wanted> {
    let claims = spec.instance.node_cluster.is_some();
    let listening = spec.instance.listen.clone().or_else(|| claims.then(Arc::default))?;
    Some(Wanted { service: spec.name.clone(), listening, slots, claims, apart })
}

impl Owner {
    /// Opens what these services listen on and what is not open yet. What can't be had is not told here: the start of the
    /// instances that want it fails and says so. Given are the services that can't have all.
    pub(super) async fn open_listeners(&mut self, specs: &[ServiceSpec]) -> Vec<String> {
        let wanted: Vec<Wanted> =
            specs.iter().filter_map(|spec| wanted(spec, spec.replicas, vec![])).collect();
        if wanted.is_empty() {
            return vec![];
        }
        self.quit_handovers(specs).await;
        let faults = self.around.listeners.open(wanted).await.into_iter();
        let told = |(service, error): (String, ListenError)| {
            tracing::warn!(service, %error, "a listener can't be opened");
            service
        };
        faults.map(told).collect()
    }

    /// Where nothing listens no connection will come: these are started as if one had, so that they try again and say why.
    pub(super) async fn wake_deaf(&mut self, deaf: Vec<String>) {
        for name in deaf {
            self.on_knock(&name).await;
        }
    }

    /// Refuses specs that would move a service that is there to addresses it can't have; those it gets are open then.
    pub(super) async fn move_listeners(
        &mut self,
        specs: &[ServiceSpec],
    ) -> Result<(), ServiceError> {
        let moved = |spec: &&ServiceSpec| {
            let now = self.services.get(&spec.name).filter(|service| service.leaving.is_none());
            now.is_some_and(|now| now.spec.instance.listen != spec.instance.listen)
        };
        let wanted: Vec<Wanted> = specs
            .iter()
            .filter(moved)
            .filter_map(|spec| wanted(spec, spec.replicas, vec![]))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        self.quit_handovers(specs).await;
        match self.around.listeners.open(wanted).await.into_iter().next() {
            None => Ok(()),
            Some((name, error)) => {
                // What was opened for nothing goes again.
                self.keep_listeners().await;
                Err(ServiceError::Listen { name, why: error.to_string() })
            }
        }
    }

    /// Closes what no service listens on any more. A service has its listeners until it is gone.
    pub(super) async fn keep_listeners(&mut self) {
        let wanted: Vec<Wanted> = self
            .services
            .values()
            .filter_map(|service| {
                // Places in a reuseport group are slot numbers, so only the last ones may go.
                let last = service.slots.keys().next_back().copied().unwrap_or(0);
                let apart = service.slots.iter().filter(|(_, slot)| slot.apart);
                let apart = apart.map(|(number, _)| *number).collect();
                wanted(&service.spec, last.max(service.spec.replicas), apart)
            })
            .collect();
        if !wanted.is_empty() || self.listens {
            self.listens = !wanted.is_empty();
            self.around.listeners.keep(wanted).await;
            self.keep_handovers().await;
        }
    }

    /// All is down: nothing listens any more, and no socket's file stays.
    pub(super) async fn close_listeners(&mut self) {
        if self.going_down.is_some() && self.services.values().all(Service::gone) && self.listens {
            self.listens = false;
            self.around.listeners.keep(vec![]).await;
        }
    }

    /// An instance of a service that listens says where it is.
    pub(super) async fn look_at_listening(&mut self, view: &InstanceView) {
        let Some(service) = self.services.get_mut(&view.id.name) else { return };
        let Some(listening) = service.spec.instance.listen.clone() else { return };
        if service.spec.on_demand
            && let Some(slot) = service.slots.get_mut(&view.id.slot)
        {
            match view.state {
                InstanceState::Stopped => slot.dozing |= view.completed && !slot.leaving,
                _ => slot.dozing = false,
            }
        }
        if listening.mode == ListenMode::Reuseport {
            self.steer(&view.id.name).await;
        }
        self.doze(&view.id.name).await;
    }

    /// Has new connections go to the slots that are ready and not held back; where there is none, all stays as it is.
    pub(super) async fn steer(&self, name: &str) {
        if let Some(service) = self.services.get(name).filter(|s| s.spec.instance.listen.is_some())
        {
            self.around.listeners.steer(name, service.ready_slots()).await;
        }
        self.steer_handover(name).await;
    }

    /// Watches the listeners of a service while all of it dozes, and only then.
    pub(super) async fn doze(&mut self, name: &str) {
        let Some(service) = self.services.get_mut(name) else { return };
        let dozes = service.dozes();
        if std::mem::replace(&mut service.watched, dozes) == dozes {
            return;
        }
        if dozes {
            let from = service.knocked.map_or_else(Instant::now, |at| at + KNOCK_GAP);
            self.around.listeners.watch(name, from).await;
        } else {
            self.around.listeners.unwatch(name).await;
        }
    }

    /// A connection waits for a service that dozes: it starts, after what it depends on.
    pub(super) async fn on_knock(&mut self, name: &str) {
        let down = self.going_down.is_some();
        let Some(service) = self.services.get_mut(name).filter(|s| s.watched && !down) else {
            return;
        };
        service.knocked = Some(Instant::now());
        for slot in service.slots.values_mut().filter(|slot| slot.dozing) {
            (slot.dozing, slot.waiting) = (false, true);
        }
        self.doze(name).await;
        self.start_if_met(name).await;
    }
}
