//! What the dispatcher costs: no-op tasks of 200 bytes through workers on real channels, 256 in flight.
//!
//! `cargo run --release -p ganger-pool --example dispatch -- [memory|fsync|relaxed] [echo|node|python] [TASKS] [PREFETCH]`
//!
//! The keeper is the test kit's: it starts nothing, so that only dispatcher, store and channels are measured. `echo` answers on
//! threads of this process, `node` and `python` are real processes with the SDKs under `sdk/`. Pushes come from this process.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and may panic")]

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ganger_core::{Durability, InstanceId, InstanceKind};
use ganger_keeper::wire::Plan;
use ganger_logs::read::LogReader;
use ganger_pool::{Parts, PoolParts, PoolSpec, Pools, Tasks};
use ganger_process::{Inherited, Link, Processes};
use ganger_queue::{NewTask, QueueConfig};
use ganger_store::{Readers, SqliteOptions, SqliteStore, Store as _, Writer};
use ganger_supervise::{InstanceSpec, Surroundings};
use ganger_testkit::{Act, FakeKeeper};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const WORKERS: u32 = 2;
const IN_FLIGHT: usize = 256;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let arg = |n: usize, or: &str| args.get(n).cloned().unwrap_or_else(|| or.to_owned());
    let durability: Durability = arg(1, "memory").parse().unwrap();
    let kind = arg(2, "echo");
    let tasks: usize = arg(3, "200000").parse().unwrap();
    let prefetch: u32 = arg(4, "16").parse().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(durability, &kind, tasks, prefetch));
    runtime.shutdown_timeout(Duration::from_secs(1));
}

async fn run(durability: Durability, kind: &str, count: usize, prefetch: u32) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let store = SqliteStore::open(SqliteOptions::new(dir.path().join("state.db"))).unwrap();
    let readers = Readers::new(vec![store.reader().unwrap()]);
    let (writer, _thread) = Writer::start(store).unwrap();
    let (keeper, link) = FakeKeeper::start(|_, _| Act::runs());
    let link = Link::new(link.requests, link.events);
    let startup = Processes::start(link, Inherited::nothing(), writer.epoch());
    let (told, mut events) = mpsc::channel(1_024);
    let mut members = JoinSet::new();
    members.spawn(async move { while events.recv().await.is_some() {} });
    let queues = vec![("q".to_owned(), QueueConfig { durability, ..QueueConfig::default() })];
    let parts = Parts { writer, readers, told: told.clone(), queues };
    let started = ganger_pool::start(parts, &mut members).await.unwrap();
    let around = Surroundings {
        processes: startup.processes,
        told,
        listeners: Default::default(),
        primaries: Default::default(),
        exchange: Default::default(),
        permits: ganger_supervise::Permits::default(),
        execs: ganger_supervise::Execs::default(),
        run_dir: dir.path().into(),
        logs: LogReader::new(dir.path()),
    };
    let spec = PoolSpec {
        workers: WORKERS,
        queues: vec!["q".into()],
        prefetch,
        ..PoolSpec::new("w", InstanceSpec::new(plan()))
    };
    let tasks = started.tasks.clone();
    let parts = PoolParts {
        tasks: started.tasks,
        claims: started.claims,
        specs: vec![spec],
        adopted: vec![],
        survivors: vec![],
        resumed: vec![],
        around,
    };
    let pools = Pools::start(parts, &mut members).await.unwrap();
    let mut view = pools.snapshot();
    view.wait_for(|s| s.of("w").filter(|i| i.pid.is_some()).count() == WORKERS as usize)
        .await
        .unwrap();
    let mut children = Vec::new();
    for slot in 1..=WORKERS {
        let channel = keeper.channel("w", slot).await.unwrap();
        children.extend(start_worker(kind, channel));
    }
    drive(&tasks, 2_000).await;
    for _ in 0..3 {
        let (wall, cpu) = (Instant::now(), cpu());
        drive(&tasks, count).await;
        let (wall, cpu) = (wall.elapsed(), cpu_since(cpu));
        let each = |d: Duration| d.as_secs_f64() * 1e6 / count as f64;
        println!(
            "{durability} {kind}: {:.0} tasks/s, {:.2} us of this process's CPU per task",
            count as f64 / wall.as_secs_f64(),
            each(cpu)
        );
    }
    let stats = tasks.stats().await.unwrap();
    println!("{} ticks, {:.1} attempts each", stats.ticks, stats.sent as f64 / stats.ticks as f64);
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

async fn drive(tasks: &Tasks, count: usize) {
    let (way_in, mut way_out) = tasks.push_stream("q").await.unwrap();
    let payload = format!("{{\"text\":\"{}\"}}", "x".repeat(189));
    let payload = ganger_store::Bytes::from(payload);
    let batch = |n: usize| (0..n).map(|_| NewTask::json(payload.clone())).collect::<Vec<_>>();
    let mut left = count;
    let mut open = 0;
    let mut room = IN_FLIGHT;
    while left > 0 || open > 0 {
        let n = room.min(left);
        if n > 0 {
            drop(way_in.push(batch(n)).await.unwrap());
            (left, open, room) = (left - n, open + n, room - n);
        }
        let done = way_out.next().await.unwrap().len();
        (open, room) = (open - done, room + done);
    }
}

fn start_worker(kind: &str, channel: OwnedFd) -> Option<std::process::Child> {
    let sdk = format!("{}/../../sdk", env!("CARGO_MANIFEST_DIR"));
    let program = match kind {
        "echo" => {
            let channel = UnixStream::from(channel);
            channel.set_nonblocking(false).unwrap();
            std::thread::spawn(move || echo(channel));
            return None;
        }
        "node" => {
            format!("exec node -e \"require('{sdk}/node').worker(() => null)\" 3<&0 0</dev/null")
        }
        "python" => format!(
            "PYTHONPATH={sdk}/python exec python3 -c 'from ganger import worker; worker.task()(lambda payload, task: None); worker.run()' 3<&0 0</dev/null"
        ),
        other => panic!("no worker of kind {other}"),
    };
    let mut command = Command::new("sh");
    command.args(["-c", &program]).stdin(Stdio::from(channel));
    command.env("NODE_CHANNEL_FD", "3").env("GANGER_CHANNEL_FD", "3");
    Some(command.spawn().unwrap())
}

/// The cheapest worker there can be: finds ids by their place and answers a read's worth at a time.
fn echo(mut channel: UnixStream) {
    channel
        .write_all(b"{\"$hello\":{\"sdk\":\"echo\",\"version\":\"0\",\"batch\":true}}\n")
        .unwrap();
    let mut lines = ganger_ipc::LineSplitter::default();
    let mut block = vec![0; 65_536];
    let mut out = Vec::new();
    while let Ok(n @ 1..) = channel.read(&mut block) {
        lines.push(&block[..n]);
        while let Some(line) = lines.next_line().unwrap() {
            out.push(b'[');
            let mut rest = line;
            while let Some(at) = memchr::memmem::find(rest, b"{\"id\":\"") {
                let id = &rest[at..at + 21];
                if out.len() > 1 && out[out.len() - 1] != b'[' {
                    out.push(b',');
                }
                out.extend_from_slice(id);
                out.extend_from_slice(b",\"result\":null}");
                rest = &rest[at + 21..];
            }
            if out.ends_with(b"[") {
                out.pop();
            } else {
                out.extend_from_slice(b"]\n");
            }
        }
        if channel.write_all(&out).is_err() {
            return;
        }
        out.clear();
    }
}

fn plan() -> Plan {
    Plan::new(InstanceId::new("w", 1), InstanceKind::Worker, "/bin/true", vec!["true".into()])
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap())
}

fn cpu_since(before: Duration) -> Duration {
    cpu().saturating_sub(before)
}
