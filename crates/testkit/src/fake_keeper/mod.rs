//! A scripted keeper in memory: it answers like the real one and starts nothing.
//!
//! It speaks over the two channels of a link, so that whatever stands on the link can't tell the difference. Time is
//! tokio's: under paused time a test of minutes takes milliseconds. It watches what no test should have to: two living
//! children in one place at any moment are counted in [`Lives::most_at_once`].

mod children;
mod run;
mod script;

use std::os::fd::OwnedFd;

use ganger_core::{End, SpawnId};
use ganger_keeper::wire::{Event, Request};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use children::Lives;
pub use script::{Act, OnTerm};

use script::Script;

/// Messages in flight per direction; the same as a real link's.
const IN_FLIGHT: usize = 1_024;

/// What a test asks of the fake.
enum Ask {
    Kill { name: String, slot: u32, end: End, done: oneshot::Sender<Option<SpawnId>> },
    Say(Box<Event>),
    Lives { name: String, slot: u32, answer: oneshot::Sender<Lives> },
    Held { answer: oneshot::Sender<Vec<String>> },
    Descriptor { name: String, answer: oneshot::Sender<Option<OwnedFd>> },
    Unacked { answer: oneshot::Sender<Vec<SpawnId>> },
    Channel { name: String, slot: u32, answer: oneshot::Sender<Option<OwnedFd>> },
    Seen { answer: oneshot::Sender<Vec<String>> },
}

/// The test's hand on the fake keeper. Dropping it leaves the keeper running; [`FakeKeeper::lose`] ends it.
#[derive(Debug)]
pub struct FakeKeeper {
    asks: mpsc::Sender<Ask>,
    task: JoinHandle<()>,
}

/// The ends of a link to a fake keeper.
#[derive(Debug)]
pub struct FakeLink {
    /// To the keeper.
    pub requests: mpsc::Sender<(Request, Vec<OwnedFd>)>,
    /// From the keeper.
    pub events: mpsc::Receiver<(Event, Vec<OwnedFd>)>,
}

impl FakeKeeper {
    /// Starts one. `script` says for the n-th start (from 1) of each place how it goes; it sees the plan.
    #[must_use]
    pub fn start(
        script: impl FnMut(&ganger_keeper::wire::Plan, u32) -> Act + Send + 'static,
    ) -> (Self, FakeLink) {
        let (requests, inbox) = mpsc::channel(IN_FLIGHT);
        let (outbox, events) = mpsc::channel(IN_FLIGHT);
        let (asks, asked) = mpsc::channel(16);
        let script = Script::new(Box::new(script));
        let task = tokio::spawn(run::Run::new(script, inbox, outbox, asked).run());
        (Self { asks, task }, FakeLink { requests, events })
    }

    /// Ends the living child of a place and gives its spawn.
    pub async fn kill(&self, name: &str, slot: u32, end: End) -> Option<SpawnId> {
        let name = name.to_owned();
        self.ask(|done| Ask::Kill { name, slot, end, done }).await
    }

    /// Says something unasked: a ping, a notice of the logger.
    pub async fn say(&self, event: Event) {
        drop(self.asks.send(Ask::Say(Box::new(event))).await);
    }

    /// What has been in a place so far.
    pub async fn lives(&self, name: &str, slot: u32) -> Lives {
        let name = name.to_owned();
        self.ask(|answer| Ask::Lives { name, slot, answer }).await
    }

    /// The child's end of the channel of the one living in a place, if its plan has one.
    pub async fn channel(&self, name: &str, slot: u32) -> Option<OwnedFd> {
        let name = name.to_owned();
        self.ask(|answer| Ask::Channel { name, slot, answer }).await
    }

    /// Names of held descriptors, sorted.
    pub async fn held(&self) -> Vec<String> {
        self.ask(|answer| Ask::Held { answer }).await
    }

    /// A copy of a held descriptor.
    pub async fn descriptor(&self, name: &str) -> Option<OwnedFd> {
        let name = name.to_owned();
        self.ask(|answer| Ask::Descriptor { name, answer }).await
    }

    /// Exits told and not acknowledged.
    pub async fn unacked(&self) -> Vec<SpawnId> {
        self.ask(|answer| Ask::Unacked { answer }).await
    }

    /// Every request so far, by its word and what it is about: `spawn web#1`, `signal web#1 15 tree`, `pong 3`.
    pub async fn seen(&self) -> Vec<String> {
        self.ask(|answer| Ask::Seen { answer }).await
    }

    /// The keeper is gone, as if by SIGKILL: both directions close.
    pub async fn lose(self) {
        self.task.abort();
        // Aborted is what was asked for.
        drop(self.task.await);
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> T {
        let (answer, answered) = oneshot::channel();
        drop(self.asks.send(ask(answer)).await);
        answered.await.expect("the fake keeper runs until it is lost, which takes this handle")
    }
}
