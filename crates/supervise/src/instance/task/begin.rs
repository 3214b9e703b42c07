//! How the task begins: at rest, with a start, or with a child of a former daemon.

use std::time::Duration;

use ganger_core::{BreakerState, InstanceState};
use ganger_process::{Child, KeeperGone};
use tokio::time::Instant;

use super::Task;
use crate::instance::blob::Blob;
use crate::instance::record::wall_ms;
use crate::instance::start::Begin;
use crate::instance::state::{Adopted, BREAKER_OPEN, Event, Machine, State, Waiting};

impl Task {
    pub(super) async fn begin(&mut self, begin: Begin) -> Result<(), KeeperGone> {
        match begin {
            Begin::AtRest(reason) => {
                self.machine = Machine::new(self.spec.policy(), reason);
                self.publish();
                Ok(())
            }
            Begin::Up => self.step(Event::Start).await,
            Begin::Resumed(resume) if !resume.is_rest() => self.step(Event::Start).await,
            Begin::Resumed(resume) => {
                let state = match resume.state {
                    InstanceState::Backoff => {
                        let left = resume.next_try_ms.unwrap_or(0).saturating_sub(wall_ms());
                        let until = Instant::now() + Duration::from_millis(left);
                        let open = match resume.breaker {
                            Some(breaker) => breaker == BreakerState::Open,
                            None => resume.reason.starts_with(BREAKER_OPEN),
                        };
                        let waiting = if open { Waiting::Breaker } else { Waiting::Retry };
                        State::Backoff { until: until.into_std(), waiting, asked: false }
                    }
                    InstanceState::Failed => State::Failed,
                    _ => State::Stopped { completed: resume.completed },
                };
                self.machine.resume(state, resume.reason, resume.restarts, resume.failures);
                self.publish();
                Ok(())
            }
            Begin::Adopted(child) => {
                let note = self.adopt(child).await?;
                let changed = note.spec != self.fingerprint;
                if changed { self.step(Event::Restart).await } else { Ok(()) }
            }
            Begin::Kept(child) => {
                // The next daemon too is to see from what it was started.
                self.fingerprint = Blob::read(child.blob()).spec;
                self.outdated = true;
                self.adopt(child).await.map(drop)
            }
            Begin::Unwanted(child, why) => {
                self.adopt(child).await?;
                self.step(Event::Stop(why)).await
            }
        }
    }

    /// Takes over a child of a former daemon and gives what its note says.
    async fn adopt(&mut self, mut child: Child) -> Result<Blob, KeeperGone> {
        let blob = Blob::read(child.blob());
        let seen = Adopted {
            ready: blob.ready,
            stopping: blob.stopping.map(Into::into),
            age: Duration::from_millis(wall_ms().saturating_sub(child.started_at_ms())),
        };
        let now = Instant::now().into_std();
        let (machine, actions) = Machine::adopt(self.spec.policy(), seen, now);
        self.machine = machine;
        self.machine.set_counts(blob.restarts, blob.failures, blob.half_open);
        self.adopt_worker(blob.worker.clone());
        self.take_ends(&mut child, true).await;
        self.child = Some(child);
        // Without its socket it goes on; who waits for it says so when time is over.
        if self.spec.notifies() && self.open_notify().await.is_ok() {
            self.listen();
        }
        self.perform(actions).await?;
        self.publish();
        Ok(blob)
    }
}
