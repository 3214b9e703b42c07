//! Children on their way to their programs: several at once, as putting walls up takes longer than all else.
//!
//! ```text
//! Spawn ──▶ on its way ──its pipe──▶ Spawned, or a layer less and on its way again, or SpawnFailed
//!               └──deadline, or somebody asks about it: waited for──▲
//! ```
//!
//! Whoever asks about a child that is on its way, or wants to know of all children, finds none that is neither there nor not:
//! it is waited for first, as long as every start was before there were several. So what is asked in some order is done in it.
//! Its number is known from the beginning, so that it is no stranger where strangers are ended.

use std::time::Instant;

use ganger_core::SpawnId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::child::Child;
use crate::keeper::{Keeper, say};
use crate::launch::{Begun, Failure, Launched};
use crate::life::Life;
use crate::poller::Source;
use crate::walled::Walled;
use crate::wire::{Event, Request};

/// For each processor: one that works, and one that waits for the kernel. More would only have less each.
const PER_PROCESSOR: usize = 2;

/// One child.
#[derive(Debug)]
pub(crate) struct Starting {
    walled: Box<Walled>,
    started_at_ms: u64,
}

/// How many may be on their way at once.
pub(crate) fn most() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) * PER_PROCESSOR
}

impl Keeper {
    /// A start that was begun: its child runs, or is looked after until it does.
    pub(crate) fn begun(&mut self, id: SpawnId, started_at_ms: u64, begun: Result<Begun, Failure>) {
        match begun {
            Ok(Begun::Runs(launched)) => self.runs(id, started_at_ms, *launched),
            Ok(Begun::OnItsWay(walled)) => {
                self.by_pid.insert(walled.pending().pid(), id);
                let watched = self.poller.add(walled.pending(), Source::Started(id));
                self.starting.insert(id, Starting { walled, started_at_ms });
                if watched.is_err() {
                    self.settle_start(id);
                }
            }
            Err(Failure { step, errno, detail }) => {
                let answer = Event::SpawnFailed { id, step: step.into(), errno, detail };
                self.past.remember(id, answer.clone());
                self.tell(&answer, Vec::new());
            }
        }
    }

    fn runs(&mut self, id: SpawnId, started_at_ms: u64, launched: Launched) {
        let Launched { plan, started, ends, tree, report, watch, network } = launched;
        let child = Child {
            id,
            instance: plan.instance,
            kind: plan.kind,
            pid: started.pid,
            started_at_ms,
            pidfd: Some(started.pidfd),
            outcome: started.outcome,
            network,
            ends,
            tree,
            report,
            blob: plan.blob,
            keep_leftovers: plan.keep_leftovers,
            adopted: false,
            life: Life::new(plan.keep_leftovers),
            watch,
            sent: 0,
            ended: None,
            exit: None,
        };
        let answer = child.spawned();
        self.by_pid.insert(child.pid, id);
        self.children.insert(id, child);
        if let Err(error) = self.watch_over(id) {
            say(&format!("spawn {id}: its memory limit ends single processes only: {error}"));
        }
        self.tell_spawned(id, answer);
    }

    /// Its pipe says that it has come to its program or failed; else it is waited for.
    pub(crate) fn on_started(&mut self, id: SpawnId) {
        let Some(Starting { walled, started_at_ms }) = self.starting.remove(&id) else { return };
        self.poller.remove(walled.pending());
        self.by_pid.remove(&walled.pending().pid());
        let begun = walled.go_on(&mut self.driver, &mut self.networks);
        self.begun(id, started_at_ms, begun);
    }

    /// Waits for one. Ends: each try has a layer less, and each its deadline.
    pub(crate) fn settle_start(&mut self, id: SpawnId) {
        while self.starting.contains_key(&id) {
            self.on_started(id);
        }
    }

    /// Waits for all.
    pub(crate) fn settle_starts(&mut self) {
        while let Some(id) = self.starting.keys().next().copied() {
            self.settle_start(id);
        }
    }

    /// Waits until there is room for one more.
    pub(crate) fn room_to_start(&mut self) {
        while self.starting.len() >= self.starting_most {
            let first = self.starts_due().unwrap_or_else(Instant::now);
            let left = first.saturating_duration_since(Instant::now());
            let pipes = self.starting.values().map(|one| one.walled.pending());
            let mut wait: Vec<PollFd<'_>> =
                pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
            // An interrupted wait is made again.
            let _ = poll(&mut wait, Some(&Timespec::try_from(left).unwrap_or_default()));
            let ready: Vec<bool> = wait.iter().map(|one| !one.revents().is_empty()).collect();
            let ids = self.starting.keys().copied().zip(ready);
            let ids: Vec<SpawnId> = ids.filter(|(_, ready)| *ready).map(|(id, _)| id).collect();
            ids.into_iter().for_each(|id| self.on_started(id));
            self.end_late_starts(Instant::now());
        }
    }

    /// When the first of them is late.
    pub(crate) fn starts_due(&self) -> Option<Instant> {
        self.starting.values().map(|one| one.walled.pending().deadline()).min()
    }

    /// Those past their deadline are ended.
    pub(crate) fn end_late_starts(&mut self, now: Instant) {
        let late = |one: &Starting| one.walled.pending().deadline() <= now;
        let ids = self.starting.iter().filter(|(_, one)| late(one)).map(|(id, _)| *id);
        let ids: Vec<SpawnId> = ids.collect();
        ids.into_iter().for_each(|id| self.on_started(id));
    }

    /// Before a request is done: what it is about is no more on its way.
    pub(crate) fn settle_before(&mut self, request: &Request) {
        if self.starting.is_empty() {
            return;
        }
        match request {
            Request::Spawn { id, .. }
            | Request::Signal { id, .. }
            | Request::EndTree { id }
            | Request::AckExit { id }
            | Request::SetBlob { id, .. } => self.settle_start(*id),
            // Ends of children and log pipes; what is written down for another keeper; the end of everything.
            Request::Release { .. }
            | Request::RetireLog { .. }
            | Request::Examine { .. }
            | Request::Upgrade
            | Request::Shutdown => self.settle_starts(),
            // About no child.
            Request::Hello { .. }
            | Request::Ready
            | Request::Hold { .. }
            | Request::FlushLogs { .. }
            | Request::Pong { .. } => {}
        }
    }
}
