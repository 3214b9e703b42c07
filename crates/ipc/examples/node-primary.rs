//! Runs an unmodified Node `cluster` program with our primary, or the load for one, so that the two primaries can be compared:
//!
//! ```text
//! node-primary serve 4 server.js 8080     4 workers; says what each got at SIGTERM
//! node-primary load 127.0.0.1:8080 20000 32   connections one after the other, 32 at once: a second, latency
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool of measurements: a panic is its error message"
)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ganger_ipc::node::cluster::{Notice, Settings, WorkerId};
use ganger_ipc::node::primary::{Primary, PrimaryEvent};
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", workers, program, ref rest @ ..] => {
            serve(workers.parse().unwrap(), program, rest).await;
        }
        ["load", address, connections, at_once] => {
            let (connections, at_once) = (connections.parse().unwrap(), at_once.parse().unwrap());
            load(address.parse().unwrap(), connections, at_once).await;
        }
        _ => panic!("serve WORKERS PROGRAM ARGS… | load ADDRESS CONNECTIONS AT_ONCE"),
    }
}

async fn serve(workers: WorkerId, program: &str, args: &[&str]) {
    let mut primary = Primary::new(Settings::default());
    let mut children = BTreeMap::new();
    for id in 1..=workers {
        children.insert(id, start(&mut primary, id, program, args));
    }
    let mut listening = 0;
    let mut told_to_end = signal(SignalKind::terminate()).unwrap();
    loop {
        let event = tokio::select! {
            event = primary.next() => event,
            _ = told_to_end.recv() => break,
        };
        match event {
            PrimaryEvent::Cluster(Notice::Open { key, wish }) => {
                let address = (wish.address.as_deref().unwrap_or("127.0.0.1"), wish.port);
                let bound = TcpListener::bind(address);
                let bound =
                    bound.map(Into::into).map_err(|error| error.raw_os_error().unwrap_or(98));
                primary.opened(&key, bound).unwrap();
            }
            PrimaryEvent::Cluster(Notice::Listening { wish, .. }) => {
                listening += 1;
                if listening == workers {
                    println!("listening {}", wish.port);
                }
            }
            PrimaryEvent::Cluster(Notice::Online { .. }) => {}
            other => println!("{other:?}"),
        }
    }
    let taken: Vec<u64> = primary.taken().map(|(_, taken)| taken).collect();
    let mean = taken.iter().sum::<u64>() as f64 / taken.len() as f64;
    let most = taken.iter().max().copied().unwrap_or(0) as f64;
    println!("each worker got {taken:?}: max/mean {:.3}", most / mean);
}

fn start(primary: &mut Primary, id: WorkerId, program: &str, args: &[&str]) -> Child {
    let (ours, theirs) = UnixStream::pair().unwrap();
    fcntl_setfd(&theirs, FdFlags::empty()).unwrap();
    let mut command = Command::new("node");
    command.arg(program).args(args).stdin(Stdio::null()).kill_on_drop(true);
    command.env("NODE_CHANNEL_FD", theirs.as_raw_fd().to_string());
    let child = command.env("NODE_UNIQUE_ID", id.to_string()).spawn().unwrap();
    primary.join(id, ours.into()).unwrap();
    child
}

async fn load(address: SocketAddr, connections: usize, at_once: usize) {
    let begun = Instant::now();
    let mut latencies = Vec::with_capacity(connections);
    let mut running = JoinSet::new();
    let (mut failed, mut left) = (0, connections);
    while left > 0 || !running.is_empty() {
        while left > 0 && running.len() < at_once {
            left -= 1;
            running.spawn(one(address));
        }
        match running.join_next().await {
            Some(Ok(Ok(took))) => latencies.push(took),
            _ => failed += 1,
        }
    }
    let took = begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| {
        let n = (latencies.len() as f64 * share) as usize;
        latencies.get(n).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    };
    println!(
        "{:.0} connections/s, p50 {:.2} ms, p99 {:.2} ms, {failed} failed",
        latencies.len() as f64 / took,
        at(0.5),
        at(0.99)
    );
}

/// One request, to the end of its connection.
async fn one(address: SocketAddr) -> std::io::Result<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.is_empty() {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(begun.elapsed())
    }
}
