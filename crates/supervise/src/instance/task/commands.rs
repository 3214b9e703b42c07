//! What is asked of an instance, as events of its machine.

use ganger_process::KeeperGone;

use super::{Goal, Task};
use crate::instance::blob::fingerprint;
use crate::instance::handle::Command;
use crate::instance::state::{Event, State};

impl Task {
    pub(super) async fn on_command(&mut self, command: Command) -> Result<(), KeeperGone> {
        match command {
            Command::Start(reply) => {
                self.tickets.push((Goal::Up, reply));
                self.step(Event::Start).await
            }
            Command::Stop(why, reply) => {
                self.tickets.push((Goal::Down, reply));
                self.step(Event::Stop(why)).await
            }
            Command::Restart(reply) => {
                self.tickets.push((Goal::Up, reply));
                self.step(Event::Restart).await
            }
            Command::Renew(pid, reply) => {
                if self.child.as_ref().is_none_or(|child| child.pid() != pid) {
                    // Who no longer waits needs no answer.
                    let _ = reply.send(Ok(()));
                    return Ok(());
                }
                self.tickets.push((Goal::Up, reply));
                self.step(Event::Restart).await
            }
            Command::Yield(why, reply) => {
                self.tickets.push((Goal::Gone, reply));
                self.step(Event::Yield(why)).await
            }
            Command::Replace(spec, now) => {
                self.fingerprint = fingerprint(&spec);
                self.machine.set_policy(spec.policy());
                if self.spec.live != spec.live {
                    self.watch.live = None;
                }
                self.spec = spec;
                self.follow_live();
                let idle = matches!(self.machine.state(), State::Stopped { .. });
                if now && !idle { self.step(Event::Restart).await } else { Ok(()) }
            }
            Command::Answered(pid, answer) => self.on_answered(pid, answer).await,
            Command::Ready => self.step(Event::Ready).await,
        }
    }
}
