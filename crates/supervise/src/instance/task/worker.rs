//! A process that gets its connections over its channel: its number, its note, and its place with the primary of its service.

use std::os::fd::OwnedFd;

use ganger_keeper::wire::Plan;
use tokio::sync::watch;

use super::Task;
use crate::instance::blob::WorkerNote;
use crate::pass::{Handover, Heard, Join};

/// Of the keeper's 4 KiB for a note, in bytes. A program with more addresses is asked for each once by the next daemon.
const KEYS_MAX: usize = 2 << 10;

/// What is known of it.
#[derive(Debug)]
pub(super) struct Worker {
    /// By the spec it was started from.
    handover: Handover,
    note: WorkerNote,
}

impl Worker {
    pub(super) fn note(&self) -> Box<WorkerNote> {
        Box::new(self.note.clone())
    }
}

impl Task {
    /// The next process gets a number of its own.
    pub(super) async fn number_worker(&mut self, plan: &mut Plan) {
        self.worker = None;
        let Some(handover) = self.spec.handover() else { return };
        let id = self.around.primaries.number(&plan.instance.name).await;
        if let Handover::NodeCluster { .. } = handover {
            plan.env.set("NODE_UNIQUE_ID", id.to_string());
        }
        self.worker = Some(Box::new(Worker { handover, note: WorkerNote { id, keys: None } }));
    }

    /// A child of a former daemon says what it was.
    pub(super) fn adopt_worker(&mut self, note: Option<Box<WorkerNote>>) {
        let handover = self.spec.handover();
        self.worker =
            note.zip(handover).map(|(note, handover)| Box::new(Worker { handover, note: *note }));
    }

    /// Gives its channel to the primary of its service.
    pub(super) async fn join_worker(
        &mut self,
        pid: u32,
        channel: &mut Option<OwnedFd>,
        adopted: bool,
    ) {
        let Some(worker) = &self.worker else { return };
        let Some(channel) = channel.take() else { return };
        let note = worker.note.clone();
        let known = Heard { listening: note.keys.is_some(), ready: false, keys: note.keys.clone() };
        self.said.listening = known.listening;
        let (tell, heard) = watch::channel(known);
        self.watch.heard = Some(heard);
        let (id, listening) = (self.spec.id(), self.spec.listen.clone());
        let join = Join { slot: id.slot, pid, channel, note, adopted, listening, heard: tell };
        self.around.primaries.join(&id.name, worker.handover, join).await;
    }

    /// What it listens on goes into its note.
    pub(super) fn note_worker(&mut self, keys: Option<Vec<String>>) {
        if let Some(worker) = &mut self.worker {
            let fits = |keys: &Vec<String>| keys.iter().map(String::len).sum::<usize>() < KEYS_MAX;
            worker.note.keys = keys.filter(fits);
        }
    }

    /// Has it finish what it has and end.
    pub(super) async fn drain_worker(&mut self) {
        if let Some(worker) = &self.worker {
            let name = &self.spec.id().name;
            self.around.primaries.drain(name, worker.handover, worker.note.id).await;
        }
    }

    /// Asks it to end by a message on its channel, whoever has that; false if there is none.
    pub(super) async fn send_shutdown(&mut self) -> bool {
        if let Some(worker) = &self.worker {
            let name = &self.spec.id().name;
            self.around.primaries.ask_to_end(name, worker.handover, worker.note.id).await;
        } else if let Some(channel) = &self.watch.channel {
            channel.ask_to_end();
        } else {
            return false;
        }
        true
    }

    /// Its process has ended.
    pub(super) async fn end_worker(&mut self) {
        if let Some(worker) = self.worker.take() {
            let name = &self.spec.id().name;
            self.around.primaries.left(name, worker.handover, worker.note.id).await;
        }
    }
}
