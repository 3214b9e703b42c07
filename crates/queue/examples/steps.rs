//! Engine steps (push, take, finish) per second of a memory queue, without any worker or store.
//!
//! `cargo run --release -p ganger-queue --example steps`. Median of five runs; batches of 256 as a dispatcher forms them.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_core::Durability;
use ganger_queue::{Engine, EngineOptions, Finish, How, NewTask, Now, QueueConfig, Worker};

const BATCH: usize = 256;

fn run() -> Result<f64, Box<dyn std::error::Error>> {
    let mut engine = Engine::new(EngineOptions::new(1));
    let config = QueueConfig { durability: Durability::Memory, ..QueueConfig::default() };
    let queue = engine.configure("q", config);
    let worker = Worker { key: 1, name: "w#1".into(), pid: 1 };
    let payload = Bytes::from(vec![b'x'; 200]);
    let began = Instant::now();
    let mut steps = 0;
    while began.elapsed() < Duration::from_secs(1) {
        let now = Now::real();
        let tasks = (0..BATCH).map(|_| NewTask::json(payload.clone())).collect();
        engine.push(1, queue, None, tasks, now)?;
        engine.take(&worker, &[queue], BATCH, BATCH, now);
        for attempt in engine.actions().send {
            let how = How::Completed(Bytes::from_static(b"1"));
            engine.finish(Finish::new(attempt.id, attempt.token, how), now)?;
        }
        assert_eq!(engine.actions().finished.len(), BATCH);
        steps += 3 * BATCH;
    }
    Ok(steps as f64 / began.elapsed().as_secs_f64())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut runs = (0..5).map(|_| run()).collect::<Result<Vec<_>, _>>()?;
    runs.sort_by(f64::total_cmp);
    println!("{:.0} engine steps/s ({:.0} tasks/s)", runs[2], runs[2] / 3.0);
    Ok(())
}
