//! One process of a runner: its start, its adoption, its end.

use ganger_core::TaskId;
use ganger_keeper::wire::ExitReport;
use ganger_process::{Child, ExitAck, KeeperGone, SpawnError};
use ganger_queue::{Attempt, How, Now};

use super::output::judge;
use super::runner::{Runner, Running, Stage};
use super::start::{note_of, plan};
use crate::worker::failed;
use crate::worker::gone::stuck_text;

impl Runner {
    /// Starts what is next, where nothing runs.
    pub(super) async fn next(&mut self, now: Now) -> Result<(), KeeperGone> {
        if !matches!(self.stage, Stage::Idle) {
            return Ok(());
        }
        if let Some(mut child) = self.adopted.pop_front() {
            return self.watch_adopted(&mut child).await.map(|()| self.run_child(child));
        }
        if self.stopped.is_some() {
            self.reports.extend(self.load.take_back());
            return Ok(());
        }
        while matches!(self.stage, Stage::Idle) {
            let mut next = None;
            self.load.send(now, |attempt| {
                next = Some(attempt.clone());
                false
            });
            let Some(attempt) = next else { break };
            self.spawn(&attempt, now);
        }
        Ok(())
    }

    /// A process of a former daemon: whose attempt it is, or nobody's any more.
    pub(super) async fn watch_adopted(&mut self, child: &mut Child) -> Result<(), KeeperGone> {
        if self.task_of(child).is_none() {
            drop(child.end_tree().await?);
        }
        Ok(())
    }

    pub(super) fn task_of(&self, child: &Child) -> Option<TaskId> {
        let note = note_of(child)?;
        self.load.ids().any(|id| id == note.task).then_some(note.task)
    }

    pub(super) fn run_child(&mut self, mut child: Child) {
        let task = self.task_of(&child);
        let stdout = child.ends.stdout.take();
        self.load.set_pid(child.pid());
        self.stage = Stage::Running(Box::new(Running { task, child, stdout }));
        self.show();
    }

    pub(super) fn spawn(&mut self, attempt: &Attempt, now: Now) {
        let base = self.spec.slot(self.id.slot).plan;
        match plan(&base, &self.template, attempt) {
            Ok((plan, stdin)) => {
                let processes = self.shared.around.processes.clone();
                let born = async move { processes.spawn(plan, vec![stdin]).await };
                self.stage = Stage::Spawning(attempt.id, Box::pin(born));
            }
            Err(error) => {
                // The same payload would fail the same way.
                let how = match failed(error.to_string()) {
                    How::Error { error, .. } => {
                        How::Error { error, retryable: false, retry_after: None }
                    }
                    other => other,
                };
                self.reports.extend(self.load.answered(attempt.id, how, now));
                self.answers += 1;
            }
        }
    }

    pub(super) async fn on_born(
        &mut self,
        born: Result<Child, SpawnError>,
        now: Now,
    ) -> Result<(), KeeperGone> {
        let Stage::Spawning(id, _) = std::mem::replace(&mut self.stage, Stage::Idle) else {
            return Ok(());
        };
        match born {
            Ok(child) => {
                if let Some(token) = self.load.token(id) {
                    self.began.push((id, token, Some(child.pid()), now));
                }
                self.run_child(child);
                // Its end was asked for while it was being started.
                if self.load.only_condemned_run() { self.end_by_force().await } else { Ok(()) }
            }
            Err(SpawnError::KeeperGone(gone)) => Err(gone),
            Err(error) => {
                self.reports.extend(self.load.answered(id, failed(error.to_string()), now));
                self.answers += 1;
                Ok(())
            }
        }
    }

    pub(super) fn on_exit(&mut self, report: ExitReport) {
        let Stage::Running(running) = std::mem::replace(&mut self.stage, Stage::Idle) else {
            return;
        };
        self.stuck.clear();
        let Running { task, child, stdout } = *running;
        let ack = child.ack();
        let Some(id) = task else {
            self.acks.push_back((self.answers, ack));
            return;
        };
        let words = self.words.clone();
        let last = words.last(self.shared.around.clone(), self.id.clone(), child.started_at_ms());
        let cap = self.spec.output_max;
        if !report.stuck.is_empty() {
            let why = stuck_text(&report.stuck);
            self.tell("task.stuck", format!("task {id} is not run again: {why}"));
        }
        self.judging.spawn(async move {
            let usage = Box::new(report.usage);
            let judged = tokio::task::spawn_blocking(move || judge(&report, stdout, cap)).await;
            let mut how = judged.unwrap_or_else(|_| failed("the daemon is shutting down"));
            if let Some(error) = how.error_mut() {
                error.stderr = last.await;
                error.usage = Some(usage);
            }
            (id, how, Some(ack))
        });
    }

    pub(super) fn on_judged(&mut self, id: TaskId, how: How, ack: Option<ExitAck>, now: Now) {
        self.pace.note(1, now.at.saturating_duration_since(self.busy_since));
        self.busy_since = now.at;
        self.reports.extend(self.load.answered(id, how, now));
        self.answers += 1;
        if let Some(ack) = ack {
            self.acks.push_back((self.answers, ack));
        }
        self.show();
    }
}
