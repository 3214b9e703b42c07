//! Full cycles (enqueue, claim, complete) per second through the SQLite store, beside the disk's own fdatasync.
//!
//! `cargo run --release -p ganger-store --example cycles [FOLDER]`. One transaction per tick carries `g` enqueues, the
//! claims of those enqueued a tick before and the outcomes of those claimed a tick before that. Median of three runs.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::error::Error;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ganger_core::{Priority, TaskId, Token};
use ganger_store::{
    AttemptWord, Batch, Bytes, Claim, Enqueue, Next, Op, Outcome, Push, SqliteOptions, SqliteStore,
    Store, Writer,
};

const PAYLOAD: usize = 200;
const RUN: Duration = Duration::from_secs(2);

struct Load {
    queue: Arc<str>,
    worker: Arc<str>,
    payload: Bytes,
    result: Bytes,
    epoch: u32,
    next: i64,
    /// Claims ride in the enqueue: an idle worker takes what is pushed.
    ride: bool,
}

impl Load {
    fn claim(&self, n: i64) -> Claim {
        Claim {
            id: TaskId::from_raw(n).unwrap_or(TaskId::from_raw(0).expect("0 is an id")),
            queue: Arc::clone(&self.queue),
            token: Token { epoch: self.epoch, counter: n.unsigned_abs() },
            attempt: 1,
            worker: Arc::clone(&self.worker),
            pid: 4711,
            at_ms: 1_700_000_000_000,
            started: true,
        }
    }

    /// The next tick.
    fn batch(&mut self, g: i64, sync: bool) -> Batch {
        let mut ops = Vec::new();
        let tasks = (self.next..self.next + g)
            .map(|n| Enqueue {
                id: self.claim(n).id,
                kind: None,
                priority: Priority::NORMAL,
                run_at_ms: 0,
                payload: self.payload.clone(),
                options: None,
                claim: self.ride.then(|| Box::new(self.claim(n))),
            })
            .collect();
        let queue = Arc::clone(&self.queue);
        ops.push(Op::Push(Push { req: 0, queue, key: None, fire: None, tasks }));
        let older = self.next - g;
        if older > 0 && !self.ride {
            ops.extend((older..older + g).map(|n| Op::Claim(self.claim(n))));
        }
        let oldest = if self.ride { older } else { older - g };
        if oldest > 0 {
            ops.extend((oldest..oldest + g).map(|n| {
                let Claim { id, token, queue, .. } = self.claim(n);
                Op::Outcome(Box::new(Outcome {
                    id,
                    queue,
                    token,
                    started_at_ms: None,
                    ended_at_ms: 1_700_000_000_001,
                    pid: None,
                    word: AttemptWord::Completed,
                    error: None,
                    said: None,
                    next: Next::Completed { result: self.result.clone() },
                }))
            }));
        }
        self.next += g;
        Batch { sync, ops, ..Batch::default() }
    }
}

fn load(epoch: u32, ride: bool) -> Load {
    Load {
        queue: "images".into(),
        worker: "images#1".into(),
        payload: vec![b'x'; PAYLOAD].into(),
        result: Bytes::from_static(b"{\"ok\":true}"),
        epoch,
        next: 1,
        ride,
    }
}

/// Cycles per second with the store called directly, and CPU microseconds per cycle.
fn direct(dir: &Path, g: i64, sync: bool, ride: bool) -> Result<(f64, f64), Box<dyn Error>> {
    let path = dir.join("cycles.db");
    remove(&path);
    let mut store = SqliteStore::open(SqliteOptions::new(&path))?;
    let mut load = load(store.epoch(), ride);
    let cpu_before = cpu_time();
    let began = Instant::now();
    while began.elapsed() < RUN {
        let batch = load.batch(g, sync);
        let applied = store.commit(std::slice::from_ref(&batch))?;
        assert!(applied[0].refused.is_empty(), "a cycle was refused: {:?}", applied[0].refused);
        store.tend(false)?;
    }
    let cpu = cpu_time().saturating_sub(cpu_before);
    let cycles = load.next as f64;
    Ok((cycles / began.elapsed().as_secs_f64(), cpu.as_secs_f64() * 1e6 / cycles))
}

/// CPU time of this thread: what stays true on a machine that others use too.
fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The same through the writer thread, two batches under way, as the dispatcher does it.
fn threaded(dir: &Path, g: i64, sync: bool) -> Result<f64, Box<dyn Error>> {
    let path = dir.join("cycles.db");
    remove(&path);
    let store = SqliteStore::open(SqliteOptions::new(&path))?;
    let mut load = load(store.epoch(), true);
    let (writer, thread) = Writer::start(store)?;
    let (tell, told) = mpsc::channel();
    let began = Instant::now();
    let mut out = 0;
    while began.elapsed() < RUN {
        while out < 2 {
            let tell = tell.clone();
            writer.submit(load.batch(g, sync), move |settled| drop(tell.send(settled)));
            out += 1;
        }
        told.recv()?.result?;
        out -= 1;
    }
    let rate = load.next as f64 / began.elapsed().as_secs_f64();
    drop(writer);
    thread.join();
    Ok(rate)
}

fn remove(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{end}", path.display())));
    }
}

/// p50 and p99 of 4 KiB + fdatasync, in microseconds.
fn flush(dir: &Path, grow: bool) -> Result<(u128, u128), Box<dyn Error>> {
    let path = dir.join("flush");
    let mut file = std::fs::File::create(&path)?;
    let page = [7u8; 4096];
    file.write_all(&page)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for _ in 0..500 {
        if !grow {
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&page)?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed().as_micros());
    }
    std::fs::remove_file(&path)?;
    times.sort_unstable();
    Ok((times[250], times[495]))
}

fn median<T: PartialOrd + Copy>(
    mut run: impl FnMut() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let mut rates = [run()?, run()?, run()?];
    rates.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    Ok(rates[1])
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(|| "target".into(), std::path::PathBuf::from);
    let only: Option<i64> = args.next().map(|g| g.parse()).transpose()?;
    let dir = dir.join("cycles-bench");
    std::fs::create_dir_all(&dir)?;
    for (name, grow) in [("overwrite", false), ("append", true)] {
        let (p50, p99) = flush(&dir, grow)?;
        println!("fdatasync after a 4 KiB {name}: p50 {p50} us, p99 {p99} us");
    }
    println!("cycles/s (CPU us per cycle)");
    println!("     g    sync      three steps      claim rides    by writer");
    for g in [1, 10, 100, 1000].into_iter().filter(|g| only.is_none_or(|only| only == *g)) {
        for sync in [true, false] {
            let (steps, steps_cpu) = median(|| direct(&dir, g, sync, false))?;
            let (rides, rides_cpu) = median(|| direct(&dir, g, sync, true))?;
            let writer = median(|| threaded(&dir, g, sync))?;
            let word = if sync { "FULL" } else { "NORMAL" };
            println!(
                "{g:>6} {word:>7} {steps:>9.0} ({steps_cpu:>5.1}) {rides:>8.0} ({rides_cpu:>5.1}) {writer:>12.0}"
            );
        }
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
