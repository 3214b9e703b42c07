//! How the dispatcher comes to be: what the store knows goes into the engine, then its task starts.

use std::sync::Arc;

use ganger_core::Durability;
use ganger_queue::{Engine, EngineOptions, QueueConfig};
use ganger_store::{QueueRow, RunningRow, StoreError, StoreRead as _, Writer};
use ganger_supervise::Told;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::dispatcher::{Dispatcher, DispatcherParts, now};
use crate::tasks::{StoreReaders, Tasks};

/// What the dispatcher needs from the daemon.
#[derive(Debug)]
pub struct Parts {
    /// The store's writer.
    pub writer: Writer,
    /// The store's read side.
    pub readers: StoreReaders,
    /// Where events go. Never waited for: an event nobody takes goes to the log only.
    pub told: mpsc::Sender<Told>,
    /// Every configured queue.
    pub queues: Vec<(String, QueueConfig)>,
}

/// A running dispatcher.
#[derive(Debug)]
pub struct Started {
    /// The handle for tasks.
    pub tasks: Tasks,
    /// Claims of earlier epochs; [`crate::Pools::start`] settles every one of them.
    pub claims: Claims,
}

/// Attempts that an earlier daemon had handed out, in order of their tokens. They count as running until they are settled.
#[derive(Debug, Default)]
pub struct Claims(pub(crate) Vec<RunningRow>);

impl Claims {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Starts the dispatcher as a member of `tasks`. It ends when every [`Tasks`] is dropped and all is committed.
///
/// # Errors
/// The store can't be read.
pub async fn start(parts: Parts, tasks: &mut JoinSet<()>) -> Result<Started, StoreError> {
    let Parts { writer, readers, told, queues } = parts;
    let id_floor = readers.run(|store| store.id_floor()).await?;
    let options = EngineOptions { id_floor, ..EngineOptions::new(writer.epoch()) };
    let mut engine = Engine::new(options);
    let mut names = std::collections::BTreeMap::new();
    for (name, config) in queues {
        let durable = config.durability != Durability::Memory;
        let ix = engine.configure(&name, config);
        if durable {
            let asked: Arc<str> = name.as_str().into();
            let (row, lanes, buckets) = readers
                .run(move |s| Ok((s.queue(&asked)?, s.lanes(&asked)?, s.buckets(&asked)?)))
                .await?;
            let row = row.unwrap_or_else(|| QueueRow::empty(&name));
            engine.restore_buckets(ix, buckets, now());
            engine.restore(ix, &row, &lanes);
        }
        names.insert(name, ix);
    }
    let mut claims = readers.run(|store| store.running()).await?;
    claims.sort_by_key(|row| row.token);
    let foreign = engine.resume(claims.clone(), now());
    for row in &foreign {
        tracing::warn!(task = %row.row.id, queue = %row.queue, "a running task of a queue that is no longer configured");
    }
    claims.retain(|row| !foreign.iter().any(|other| other.row.id == row.row.id));
    let parts = DispatcherParts { engine, writer, readers: readers.clone(), told, queues: names };
    let (dispatcher, inbox) = Dispatcher::new(parts);
    tasks.spawn(dispatcher.run());
    Ok(Started { tasks: Tasks { inbox, readers }, claims: Claims(claims) })
}
