//! Services whose connections are handed over: who of their instances gets new ones.

use super::owner::Owner;
use super::service::Service;
use crate::pass::{Handover, Served};
use crate::spec::ServiceSpec;

impl Service {
    /// Processes that can be used.
    pub(super) fn serving_pids(&self) -> Vec<u32> {
        let ready = self.ready_slots();
        let pid = |slot: &u32| self.slots.get(slot)?.view.as_ref()?.pid;
        ready.iter().filter_map(pid).collect()
    }
}

impl Owner {
    /// Has new connections go to the instances that are ready and not held back.
    pub(super) async fn steer_handover(&self, name: &str) {
        let service = self.services.get(name);
        if let Some(service) = service.filter(|one| one.spec.instance.handover().is_some()) {
            self.around.primaries.steer(name, service.serving_pids()).await;
        }
    }

    /// Services whose connections are accepted here until now and by themselves from then on: here no more, before their sockets
    /// are made ready for them.
    pub(super) async fn quit_handovers(&self, specs: &[ServiceSpec]) {
        for spec in specs {
            let passed = |spec: &ServiceSpec| spec.instance.handover() == Some(Handover::Sockets);
            let now = self.services.get(&spec.name).is_some_and(|now| passed(&now.spec));
            if now && !passed(spec) {
                self.around.primaries.quit(&spec.name).await;
            }
        }
    }

    /// Says which services there are, and where they listen now.
    pub(super) async fn keep_handovers(&self) {
        let served = self.services.values().filter_map(|service| {
            let (spec, instance) = (&service.spec, &service.spec.instance);
            let handover = instance.handover()?;
            let listening = instance.listen.clone();
            Some(Served { service: spec.name.clone(), handover, listening })
        });
        self.around.primaries.keep(served.collect()).await;
    }
}
