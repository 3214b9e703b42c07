//! Tests of the whole engine: by hand where one rule is looked at, by random histories for what must always hold.

mod control_kills;
mod fires;
mod history;
mod rates;
mod said;
mod scenes;
mod world;

use ganger_core::Durability;
use ganger_store::{QueueRow, SqliteReader, StoreRead as _};

use crate::config::QueueConfig;
use crate::{Engine, EngineOptions, Now, QueueIx};

/// A new daemon's engine on what a store says, with queues configured as it would configure them. Claims under way are the caller's.
fn engine_on(
    (epoch, reader): (u32, &mut SqliteReader),
    queues: impl IntoIterator<Item = (&'static str, QueueConfig)>,
    now: Now,
) -> (Engine, Vec<QueueIx>) {
    let id_floor = reader.id_floor().unwrap();
    let mut engine = Engine::new(EngineOptions { epoch, node: 0, id_floor, seed: 7 });
    let mut all = Vec::new();
    for (name, config) in queues {
        let durable = config.durability != Durability::Memory;
        let ix = engine.configure(name, config);
        all.push(ix);
        if durable {
            let row = reader.queue(name).unwrap().unwrap_or_else(|| QueueRow::empty(name));
            engine.restore_buckets(ix, reader.buckets(name).unwrap(), now);
            engine.restore(ix, &row, &reader.lanes(name).unwrap());
        }
    }
    (engine, all)
}
