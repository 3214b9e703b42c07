//! Starting a process: its plan, its notify socket, its channel.

use ganger_core::InstanceId;
use ganger_ipc::broker::Opening;
use ganger_keeper::wire::Plan;
use ganger_process::{Child, Ends, KeeperGone, SpawnError};

use super::Task;
use crate::instance::blob::fingerprint;
use crate::instance::handle::InstanceNotice;
use crate::ready::NotifySocket;

impl Task {
    pub(super) async fn spawn(&mut self) -> Result<(), KeeperGone> {
        self.stop = self.spec.stop;
        if std::mem::take(&mut self.outdated) {
            self.fingerprint = fingerprint(&self.spec);
        }
        let plan = match self.plan().await {
            Ok(plan) => plan,
            Err(why) => {
                let refused = SpawnError::Refused { instance: self.spec.id().clone(), why };
                self.spawning = Some(Box::pin(std::future::ready(Err(refused))));
                return Ok(());
            }
        };
        let processes = self.around.processes.clone();
        let Some(listening) = self.spec.listen.clone() else {
            self.spawning = Some(Box::pin(async move { processes.spawn(plan, vec![]).await }));
            return Ok(());
        };
        let listeners = self.around.listeners.clone();
        self.spawning = Some(Box::pin(async move {
            let InstanceId { name, slot } = &plan.instance;
            if let Err(error) = listeners.ensure(listening, name, *slot).await {
                let (instance, why) = (plan.instance.clone(), error.to_string());
                return Err(SpawnError::NotPrepared { instance, why });
            }
            processes.spawn(plan, vec![]).await
        }));
        Ok(())
    }

    /// The plan of the next start: the spec's with this start's note and, where asked for, a notify socket.
    async fn plan(&mut self) -> Result<Plan, String> {
        let mut plan = self.spec.plan.clone();
        self.number_worker(&mut plan).await;
        plan.blob = self.note();
        if self.spec.notifies() {
            self.open_notify().await?;
            if let Some(socket) = &self.notify {
                socket.forget();
                plan.env.set("NOTIFY_SOCKET", socket.name());
            }
        }
        if let Some(every) = self.spec.watchdog() {
            plan.env.set("WATCHDOG_USEC", every.as_micros().to_string());
        }
        if self.spec.node_drain {
            crate::preload::load(&mut plan, &self.around.run_dir, self.spec.stop)
                .map_err(|error| error.to_string())?;
        }
        Ok(plan)
    }

    pub(super) async fn open_notify(&mut self) -> Result<(), String> {
        if self.notify.is_some() {
            return Ok(());
        }
        let (id, profile) = (self.spec.id(), &self.spec.plan.profile);
        let held = self.held_notify.take();
        let socket = NotifySocket::open(&self.around.run_dir, id, profile, held)
            .map_err(|error| error.to_string())?;
        if let Some(copy) = socket.to_hold() {
            // Without a keeper the start itself fails next and says so.
            let _gone = self.around.processes.hold(NotifySocket::held_name(id), copy).await;
        }
        self.notify = Some(socket);
        Ok(())
    }

    /// Reads what the living process says by sd_notify.
    pub(super) fn listen(&mut self) {
        if let (Some(child), Some(socket)) = (&self.child, &self.notify) {
            self.watch.notify = Some(socket.listen(child.pid()));
        }
    }

    /// Tells the holder of the process and hands it the ends; a service's own channel goes to the exchange.
    pub(super) async fn take_ends(&mut self, child: &mut Child, adopted: bool) {
        let mut ends = std::mem::take(&mut child.ends);
        self.begin_watch();
        self.join_worker(child.pid(), &mut ends.channel, adopted).await;
        if self.spec.has_own_channel()
            && let Some(channel) = ends.channel.take()
        {
            let instance = self.spec.id().clone();
            let (pid, fd, speaks) = (child.pid(), channel, self.spec.speaks);
            let opening = Opening { instance, pid, fd, speaks, adopted };
            match Box::pin(self.around.exchange.open(opening)).await {
                Ok(line) => self.watch.channel = Some(Box::new(line)),
                Err(error) => self.said.broke(format!("its channel can't be read: {error}")),
            }
        }
        self.tell_started(child, adopted, ends);
    }

    fn tell_started(&mut self, child: &Child, adopted: bool, ends: Ends) {
        self.outbox.notice(InstanceNotice::Started {
            spawn: child.id(),
            pid: child.pid(),
            started_at_ms: child.started_at_ms(),
            adopted,
            ends,
        });
    }
}
