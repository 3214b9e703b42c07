//! What a runner tells the dispatcher and shows to people.

use std::sync::Arc;

use ganger_core::{InstanceKind, InstanceState};
use ganger_process::KeeperGone;
use ganger_supervise::InstanceView;

use super::runner::{Runner, Stage};
use crate::attempt::{Answers, FromWorker};
use crate::dispatcher::Msg;
use crate::pace::Room;

impl Runner {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
            && self.judging.is_empty()
            && self.adopted.is_empty()
            && self.load.is_empty()
    }

    pub(super) async fn flush(&mut self) -> Result<(), KeeperGone> {
        if self.is_idle()
            && let Some(stopping) = &mut self.stopped
        {
            self.leaving |= stopping.leave;
            if let Some(reply) = stopping.reply.take() {
                let _ = reply.send(Ok(()));
            }
        }
        let pid = match &self.stage {
            Stage::Running(running) => running.child.pid(),
            Stage::Idle | Stage::Spawning(..) => 0,
        };
        let room = match self.stopped {
            Some(_) => Room::default(),
            None => self.pace.room(1, self.spec.prefetch),
        };
        let quiet = self.reports.is_empty() && self.began.is_empty();
        if quiet && self.told == (room, pid) {
            return Ok(());
        }
        self.told = (room, pid);
        let note = FromWorker {
            key: self.key,
            reports: std::mem::take(&mut self.reports),
            began: std::mem::take(&mut self.began),
            said: Vec::new(),
            answers: Answers { session: 0, count: self.answers },
            room,
            lanes: 1,
            pid,
        };
        self.shared.tell.send(Msg::Worker(note)).await.map_err(|_| KeeperGone)
    }

    pub(super) fn show(&self) {
        let (state, pid, started_at_ms) = match &self.stage {
            Stage::Running(r) => {
                (InstanceState::Running, Some(r.child.pid()), Some(r.child.started_at_ms()))
            }
            Stage::Spawning(..) => (InstanceState::Starting, None, None),
            Stage::Idle => (InstanceState::Stopped, None, None),
        };
        let reason = match (&self.stopped, state) {
            (Some(stopping), _) => stopping.why.clone(),
            (None, InstanceState::Stopped) => "waits for a task".into(),
            (None, _) => String::new(),
        };
        let degraded = match &self.stage {
            Stage::Running(running) => running.child.report().degraded.clone(),
            Stage::Idle | Stage::Spawning(..) => Vec::new(),
        };
        let view = InstanceView {
            id: self.id.clone(),
            kind: InstanceKind::Command,
            state,
            ready: self.stopped.is_none(),
            pid,
            restarts: 0,
            failures: 0,
            crashes: 0,
            cause: None,
            breaker: ganger_core::BreakerState::Closed,
            started_at_ms,
            reason,
            next_try_ms: None,
            queued: false,
            completed: false,
            stuck: self.stuck.clone(),
            degraded,
            signs: ganger_supervise::SignsReader::default(),
        };
        self.view.send_replace(Some(Arc::new(view)));
        // Full: a ring already waits.
        let _ = self.shared.changed.try_send(());
    }
}
