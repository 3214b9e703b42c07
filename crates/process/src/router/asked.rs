//! What owners ask, made into requests.

use ganger_core::SpawnId;
use ganger_keeper::wire::{Held, Output, Plan, Request, Stdin};

use super::{AsksFor, Router, Spawning};
use crate::control::{Control, answer};
use crate::error::SpawnError;
use crate::mirror::copy;

impl Router {
    pub(super) fn on_control(&mut self, control: Control) {
        match control {
            Control::Spawn { plan, fds, reply } => {
                let Some(id) = self.next_id() else {
                    let why = "this daemon's spawn numbers are used up; restart it".to_owned();
                    let refused = SpawnError::Refused { instance: plan.instance.clone(), why };
                    return answer(reply, Err(refused));
                };
                let spawning = Spawning {
                    instance: plan.instance.clone(),
                    kind: plan.kind,
                    program: plan.program.clone(),
                    blob: plan.blob.clone(),
                    keep_leftovers: plan.keep_leftovers,
                    asks_for: asks_for(&plan),
                    reply,
                };
                self.spawning.insert(id, spawning);
                self.ask(Request::Spawn { id, plan }, fds);
            }
            Control::Signal { id, signal, scope } => {
                self.ask(Request::Signal { id, signal, scope }, vec![]);
            }
            Control::EndTree { id, reply } => {
                self.ending.entry(id).or_default().push(reply);
                self.ask(Request::EndTree { id }, vec![]);
            }
            Control::Ack { id } => self.forget(id),
            Control::SetBlob { id, blob } => {
                if let Some((row, _)) = self.mirror.children.get_mut(&id) {
                    row.blob.clone_from(&blob);
                }
                self.ask(Request::SetBlob { id, blob }, vec![]);
            }
            Control::Hold { name, fd } => {
                if let Some(copy) = copy(Some(&fd)) {
                    self.mirror.add_held(name.clone(), Held::Named, copy);
                }
                self.ask(Request::Hold { name }, vec![fd]);
            }
            Control::Release { name } => {
                self.mirror.release(&name);
                self.ask(Request::Release { name }, vec![]);
            }
            Control::RetireLog { name, slot, reply } => self.retire_log(name, slot, reply),
            Control::FlushLogs { reply } => self.flush_logs(reply),
            Control::Examine { path, reply } => self.examine(path, reply),
            Control::Upgrade { reply } => self.upgrade(reply),
            Control::Ready => self.ask(Request::Ready, vec![]),
            Control::Shutdown => self.ask(Request::Shutdown, vec![]),
        }
    }

    /// The exit is recorded: nothing of the child is kept any more.
    pub(super) fn forget(&mut self, id: SpawnId) {
        self.mirror.children.remove(&id);
        self.exits.remove(&id);
        self.abandoned.remove(&id);
        self.ask(Request::AckExit { id }, vec![]);
    }

    fn next_id(&mut self) -> Option<SpawnId> {
        self.spawns = self.spawns.checked_add(1)?;
        Some(SpawnId::new(self.epoch, self.spawns))
    }
}

const fn asks_for(plan: &Plan) -> AsksFor {
    const fn sends(output: &Output) -> bool {
        matches!(output, Output::Pipe | Output::Capture { .. })
    }
    AsksFor {
        channel: plan.channel.is_some(),
        stdin: matches!(plan.stdin, Stdin::Pipe),
        stdout: sends(&plan.stdout),
        stderr: sends(&plan.stderr),
    }
}
