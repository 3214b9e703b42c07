//! What routes hold of the foreman.

use std::collections::BTreeMap;
use std::sync::Arc;

use ganger_api::{ApiError, Applied, ErrorKind};
use tokio::sync::{mpsc, oneshot, watch};

use super::crew::Wait;
use crate::config::Config;
use crate::desired::Desired;

/// A service or pool, or one of its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) slot: Option<u32>,
}

/// What is to be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
    Scale(u32),
}

/// Whose environment new services inherit.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    pub(crate) environment: BTreeMap<String, String>,
    /// Give it to all, not only to what is new or runs something else than before.
    pub(crate) update: bool,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

/// What the foreman is told.
#[derive(Debug)]
pub(super) enum Order {
    Apply {
        config: Box<Config>,
        caller: Caller,
        dry_run: bool,
        reply: Reply<Applied>,
    },
    Verb {
        target: Target,
        verb: Verb,
        reply: Reply<Wait>,
    },
    /// `remember`: a person's wish, so that the next daemon starts nothing by itself.
    Down {
        remember: bool,
        reply: Reply<Vec<String>>,
    },
}

/// Handle to the foreman; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Foreman {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) desired: watch::Receiver<Arc<Desired>>,
}

impl Foreman {
    /// What is desired now.
    pub(crate) fn desired(&self) -> Arc<Desired> {
        self.desired.borrow().clone()
    }

    /// Told when what is desired changes.
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<Desired>> {
        self.desired.clone()
    }

    /// Makes a configuration real. Returns when that is under way, not when all is up.
    pub(crate) async fn apply(
        &self,
        config: Config,
        caller: Caller,
        dry_run: bool,
    ) -> Result<Applied, ApiError> {
        let config = Box::new(config);
        self.order(|reply| Order::Apply { config, caller, dry_run, reply }).await
    }

    /// Does something with a service or pool and waits until it is done.
    pub(crate) async fn verb(&self, target: Target, verb: Verb) -> Result<Vec<String>, ApiError> {
        let wait = self.order(|reply| Order::Verb { target, verb, reply }).await?;
        wait.done().await
    }

    /// Stops everything because a person wants it so. Then the daemon ends.
    pub(crate) async fn down(&self) -> Result<Vec<String>, ApiError> {
        self.order(|reply| Order::Down { remember: true, reply }).await
    }

    /// Stops everything because ganger itself was asked to end; the next daemon starts it again.
    pub(crate) async fn end(&self) -> Result<Vec<String>, ApiError> {
        self.order(|reply| Order::Down { remember: false, reply }).await
    }

    async fn order<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn gone() -> ApiError {
    ApiError::new(ErrorKind::NoDaemon, "this daemon is going down")
        .hint("ask again in a moment, or start it with `ganger up`")
}
