//! What the keeper says, brought to whom it concerns.

use std::os::fd::OwnedFd;

use ganger_core::SpawnId;
use ganger_keeper::wire::{ChildRow, Event, ExitReport, Request};
use ganger_sandbox::Report;
use tokio::sync::oneshot;

use super::{AsksFor, Router};
use crate::control::{Born, answer};
use crate::error::SpawnError;
use crate::mirror::RowFds;
use crate::processes::Notice;

impl Router {
    pub(super) fn on_event(&mut self, event: Event, fds: Vec<OwnedFd>) {
        match event {
            Event::Spawned { id, pid, started_at_ms, tree, report } => {
                self.on_spawned(Start { id, pid, started_at_ms, tree, report }, fds);
            }
            Event::SpawnFailed { id, step, errno, detail } => {
                let Some(start) = self.spawning.remove(&id) else { return };
                let (instance, program) = (start.instance, start.program);
                let failed = SpawnError::Failed { instance, program, step, errno, detail };
                answer(start.reply, Err(failed));
            }
            Event::Exited(report) => self.on_exited(report),
            Event::TreeEnded { id, stuck } => {
                for reply in self.ending.remove(&id).unwrap_or_default() {
                    answer(reply, stuck.clone());
                }
            }
            Event::Held { name, what } => {
                if let Some(fd) = fds.into_iter().next() {
                    self.mirror.add_held(name, what, fd);
                }
            }
            Event::Log(reply) => self.on_log(reply),
            Event::Ping { n } => self.ask(Request::Pong { n }, vec![]),
            Event::Welcome { version, keeper_pid, state_id } => {
                self.mirror.head.keeper_pid = keeper_pid;
                self.mirror.head.state_id = state_id;
                self.tell(Notice::Welcome { version, keeper_pid });
            }
            Event::LoggerStarted { pid, previous } => {
                self.mirror.head.logger_pid = Some(pid);
                self.tell(Notice::LoggerStarted { pid, previous });
            }
            Event::ShutdownAsked { why } => self.tell(Notice::ShutdownAsked { why }),
            Event::Upgrade { news } => self.on_upgrade_news(news),
            Event::Refused { id, why } => self.on_refused(id, why),
        }
    }

    fn on_spawned(&mut self, start: Start, fds: Vec<OwnedFd>) {
        let id = start.id;
        // A repeated answer: the first one counts.
        let Some(asked) = self.spawning.remove(&id) else { return };
        let fds = sort_out(asked.asks_for, fds);
        let ends = fds.ends();
        let row = ChildRow {
            id,
            instance: asked.instance,
            kind: asked.kind,
            pid: start.pid,
            started_at_ms: start.started_at_ms,
            pidfd: None,
            outcome: None,
            channel: None,
            stdin: None,
            stdout: None,
            stderr: None,
            tree: start.tree,
            report: start.report.clone(),
            blob: asked.blob,
            exit: None,
            adopted: false,
            keep_leftovers: asked.keep_leftovers,
        };
        self.mirror.add_child(row, fds);
        let (told, exit) = oneshot::channel();
        self.exits.insert(id, told);
        let (pid, started_at_ms, report) = (start.pid, start.started_at_ms, start.report);
        let born = Born { id, kind: asked.kind, pid, started_at_ms, report, ends, exit };
        if asked.reply.send(Ok(born)).is_err() {
            self.abandon(id);
        }
    }

    fn on_exited(&mut self, report: ExitReport) {
        let id = report.id;
        for reply in self.ending.remove(&id).unwrap_or_default() {
            answer(reply, report.stuck.clone());
        }
        if self.abandoned.contains(&id) {
            return self.forget(id);
        }
        if let Some((row, fds)) = self.mirror.children.get_mut(&id) {
            fds.pidfd = None;
            row.exit = Some(report.clone());
        }
        if let Some(owner) = self.exits.remove(&id) {
            // An owner that let go of the child leaves the exit to the next daemon.
            answer(owner, report);
        }
    }

    fn on_refused(&mut self, id: Option<SpawnId>, why: String) {
        let Some(id) = id else { return self.tell(Notice::Refused { why }) };
        if let Some(start) = self.spawning.remove(&id) {
            let refused = SpawnError::Refused { instance: start.instance, why };
            return answer(start.reply, Err(refused));
        }
        match self.ending.remove(&id) {
            // Nothing is there to end: that is what was asked for.
            Some(replies) => replies.into_iter().for_each(|reply| answer(reply, vec![])),
            None => self.tell(Notice::Refused { why }),
        }
    }
}

struct Start {
    id: SpawnId,
    pid: u32,
    started_at_ms: u64,
    tree: Option<String>,
    report: Report,
}

/// The wire's order: pidfd, channel, stdin, stdout, stderr.
fn sort_out(asks: AsksFor, fds: Vec<OwnedFd>) -> RowFds {
    let mut fds = fds.into_iter();
    let pidfd = fds.next();
    let mut take = |wanted: bool| if wanted { fds.next() } else { None };
    RowFds {
        pidfd,
        channel: take(asks.channel),
        stdin: take(asks.stdin),
        stdout: take(asks.stdout),
        stderr: take(asks.stderr),
    }
}
