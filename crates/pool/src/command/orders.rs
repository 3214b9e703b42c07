//! What a runner is told by the dispatcher, by people and by time.

use ganger_keeper::wire::Scope;
use ganger_process::KeeperGone;
use ganger_queue::Now;

use super::runner::{Runner, Stage, Stopping, template};
use crate::attempt::{Answers, Stop, ToWorker};
use crate::events;
use crate::worker::Command;
use crate::worker::gone::stuck_text;
use crate::worker::load::{Expired, Stopped};

impl Runner {
    pub(super) async fn on_order(&mut self, order: ToWorker, now: Now) -> Result<(), KeeperGone> {
        let ToWorker { attempts, committed, stops } = order;
        if self.load.is_empty() {
            self.busy_since = now.at;
        }
        self.load.take(attempts);
        for stop in stops {
            self.stop(stop, now).await?;
        }
        let committed = committed.map_or(0, |Answers { count, .. }| count);
        while self.acks.front().is_some_and(|(at, _)| *at <= committed) {
            if let Some((_, ack)) = self.acks.pop_front() {
                ack.confirm().await;
            }
        }
        Ok(())
    }

    pub(super) async fn stop(&mut self, stop: Stop, now: Now) -> Result<(), KeeperGone> {
        match self.load.stop(stop, now) {
            Stopped::Unknown => Ok(()),
            Stopped::Reported(report) => {
                self.reports.push(*report);
                Ok(())
            }
            Stopped::Ask => self.ask_to_end().await,
        }
    }

    pub(super) async fn ask_to_end(&mut self) -> Result<(), KeeperGone> {
        match &self.stage {
            Stage::Running(running) => {
                let stop = self.spec.instance.stop;
                running.child.signal(stop.signal, stop.scope).await
            }
            Stage::Idle | Stage::Spawning(..) => Ok(()),
        }
    }

    pub(super) async fn on_time(&mut self, now: Now) -> Result<(), KeeperGone> {
        for expired in self.load.expire(now) {
            match expired {
                Expired::Cancel(_) => self.ask_to_end().await?,
                Expired::Stuck(_) => self.end_by_force().await?,
                Expired::Began(..) => {}
            }
        }
        if let Some(stopping) = &mut self.stopped
            && stopping.until.is_some_and(|until| until <= now.at)
            && !stopping.forced
        {
            stopping.forced = true;
            self.end_by_force().await?;
        }
        Ok(())
    }

    pub(super) async fn end_by_force(&mut self) -> Result<(), KeeperGone> {
        if let Stage::Running(running) = &self.stage {
            running.child.signal(15, Scope::Tree).await?;
            let ended = running.child.end_tree().await?;
            // A keeper that is gone tells nothing; a new one will.
            self.ending.spawn(async move { ended.stuck().await.unwrap_or_default() });
        }
        Ok(())
    }

    /// Even SIGKILL did not end it (yet): its attempt stays as it is until the keeper tells its end.
    pub(super) fn on_tree_ended(&mut self, stuck: Vec<u32>) {
        if stuck.is_empty() || !self.stuck.is_empty() {
            return;
        }
        let why = stuck_text(&stuck);
        self.stuck = stuck;
        for (id, n) in self.load.now_running().collect::<Vec<_>>() {
            self.tell("task.stuck", format!("attempt {n} of task {id} counts as running: {why}"));
        }
        self.show();
    }

    pub(super) fn tell(&self, kind: &str, reason: String) {
        events::tell(&self.shared.around.told, events::of_worker(kind, &self.id, reason));
    }

    pub(super) fn on_command(&mut self, command: Command, now: Now) -> Result<(), KeeperGone> {
        match command {
            Command::Start(reply) => {
                self.stopped = None;
                let _ = reply.send(Ok(()));
            }
            // Every task has a fresh process anyway.
            Command::Restart(reply) => drop(reply.send(Ok(()))),
            Command::Stop { why, leave, within, reply } => {
                let until = within.map(|within| now.at + within);
                self.stopped =
                    Some(Stopping { why, leave, reply: Some(reply), until, forced: false });
            }
            Command::Replace(spec) => {
                if let Ok(template) = template(&spec) {
                    self.template = template;
                    self.spec = spec;
                }
            }
        }
        self.show();
        Ok(())
    }
}
