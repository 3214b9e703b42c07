//! The load: clients that ask again and again, at a rate of all together, and count every request.
//!
//! A request has failed if it got no whole answer 200, whatever the reason; nothing is tried again. A connection that is kept
//! alive and was closed while nothing was asked is no failure: the client sees that before it asks and opens another.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// Enough that some ask at every moment of a reload.
pub(super) const CLIENTS: u32 = 32;
/// Of one request, connecting included: whoever waits longer has given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// Answers are a few hundred bytes.
const ANSWER_MAX: usize = 16 << 10;

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Connect,
    Write,
    Read,
    Status,
}

/// What was wrong: where and how.
pub(super) type Fault = (Phase, String);

/// What the clients have seen together.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Of every answer, in microseconds.
    latencies: Vec<u32>,
    /// How often, by fault and by the reload that was under way (0: none).
    pub(super) faults: BTreeMap<(Fault, u32), u64>,
    /// Who answered.
    pub(super) bodies: BTreeSet<String>,
}

/// Clients at work.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    thread: std::thread::JoinHandle<Result<Seen>>,
}

#[derive(Debug)]
struct Shared {
    port: u16,
    keep_alive: bool,
    /// Between two requests of one client, on average.
    every: Duration,
    reload: AtomicU32,
    count: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    /// Begins, with so many requests a second.
    pub(super) fn start(port: u16, keep_alive: bool, rate: u32) -> Self {
        let every = Duration::from_secs(1) * CLIENTS / rate.max(1);
        let shared = Arc::new(Shared {
            port,
            keep_alive,
            every,
            reload: AtomicU32::new(0),
            count: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || clients(&own));
        Self { shared, thread }
    }

    /// Says which reload is under way; 0 is none.
    pub(super) fn mark(&self, reload: u32) {
        self.shared.reload.store(reload, Ordering::Relaxed);
    }

    /// Returns when so many requests have been made in all.
    pub(super) fn reach(&self, count: u64) {
        while self.shared.count.load(Ordering::Relaxed) < count && !self.thread.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets requests that are under way end, and counts.
    pub(super) fn finish(self) -> Result<Seen> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
    }
}

fn clients(shared: &Arc<Shared>) -> Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let all: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(client(Arc::clone(shared)))).collect();
        let mut seen = Seen::default();
        for one in all {
            seen.add(one.await.context("a client panicked")?);
        }
        seen.latencies.sort_unstable();
        Ok(seen)
    })
}

async fn client(shared: Arc<Shared>) -> Seen {
    let mut seen = Seen::default();
    let mut connection: Option<TcpStream> = None;
    let mut next = Instant::now() + shared.every.mul_f64(fastrand::f64());
    while !shared.stop.load(Ordering::Relaxed) {
        sleep_until(next).await;
        // A load that falls behind does not catch up by a burst.
        next =
            next.max(Instant::now() - shared.every) + shared.every.mul_f64(fastrand::f64() * 2.0);
        let kept = connection.take().filter(is_open);
        let (during, since) = (shared.reload.load(Ordering::Relaxed), Instant::now());
        match ask(kept, &shared).await {
            Ok((body, rest)) => {
                let micros = u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
                seen.latencies.push(micros);
                seen.bodies.insert(body);
                connection = rest;
            }
            Err(fault) => {
                // It may have been hit by one that began after it.
                let during = during.max(shared.reload.load(Ordering::Relaxed));
                *seen.faults.entry((fault, during)).or_default() += 1;
            }
        }
        shared.count.fetch_add(1, Ordering::Relaxed);
    }
    seen
}

/// One that the server has closed says so by being readable.
fn is_open(connection: &TcpStream) -> bool {
    let mut byte = [0; 1];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    rustix::net::recv(connection, &mut byte[..], flags)
        .is_err_and(|e| e == rustix::io::Errno::AGAIN)
}

/// One request: its answer's body, and the connection if it goes on.
async fn ask(
    kept: Option<TcpStream>,
    shared: &Shared,
) -> Result<(String, Option<TcpStream>), Fault> {
    let mut phase = Phase::Connect;
    let asked = timeout(PATIENCE, async {
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let fresh = TcpStream::connect(("127.0.0.1", shared.port)).await?;
                fresh.set_nodelay(true)?;
                fresh
            }
        };
        let word = if shared.keep_alive { "keep-alive" } else { "close" };
        let text = format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: {word}\r\n\r\n");
        phase = Phase::Write;
        connection.write_all(text.as_bytes()).await?;
        phase = Phase::Read;
        let answer = read(&mut connection).await?;
        Ok::<_, io::Error>((answer, connection))
    });
    match asked.await {
        Ok(Ok((Answer { status: 200, close, body }, connection))) => {
            Ok((body, (shared.keep_alive && !close).then_some(connection)))
        }
        Ok(Ok((Answer { status, .. }, _))) => Err((Phase::Status, status.to_string())),
        Ok(Err(error)) => Err((phase, name(&error))),
        Err(_) => Err((phase, format!("nothing for {PATIENCE:?}"))),
    }
}

struct Answer {
    status: u16,
    close: bool,
    body: String,
}

async fn read(connection: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some(answer) = whole(&bytes)? {
            return Ok(answer);
        }
        if connection.read_buf(&mut bytes).await? == 0 {
            let when = if bytes.is_empty() { "before" } else { "within" };
            let why = format!("closed {when} the answer");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
    }
}

/// The answer, if all of it is there.
fn whole(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let strange = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if bytes.len() > ANSWER_MAX {
        return Err(strange("a very long answer"));
    }
    let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..at]).to_ascii_lowercase();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned())
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    let (Some(status), Some(length)) = (status, length) else {
        return Err(strange("no HTTP answer with a length"));
    };
    let Some(body) = bytes.get(at + 4..at + 4 + length) else { return Ok(None) };
    let close = header("connection").is_some_and(|value| value == "close");
    Ok(Some(Answer { status, close, body: String::from_utf8_lossy(body).into_owned() }))
}

/// The errno's name, as far as connections meet them.
fn name(error: &io::Error) -> String {
    use rustix::io::Errno;
    let Some(errno) = Errno::from_io_error(error) else { return error.to_string() };
    let names = [
        (Errno::CONNREFUSED, "ECONNREFUSED"),
        (Errno::CONNRESET, "ECONNRESET"),
        (Errno::PIPE, "EPIPE"),
        (Errno::TIMEDOUT, "ETIMEDOUT"),
        (Errno::ADDRNOTAVAIL, "EADDRNOTAVAIL"),
    ];
    let known = names.iter().find(|(known, _)| *known == errno);
    known.map_or_else(|| error.to_string(), |(_, name)| (*name).to_owned())
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.bodies.extend(other.bodies);
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }

    pub(super) fn failed(&self) -> u64 {
        self.faults.values().sum()
    }

    pub(super) fn requests(&self) -> u64 {
        self.latencies.len() as u64 + self.failed()
    }

    /// The latency that this share of all answers does not exceed, in milliseconds.
    pub(super) fn latency(&self, share: f64) -> Option<f64> {
        let last = self.latencies.len().checked_sub(1)?;
        self.latencies.get((last as f64 * share).ceil() as usize).map(|us| f64::from(*us) / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_all_of_it_is_there() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
        for part in 0..text.len() {
            assert!(whole(&text[..part]).unwrap().is_none(), "{part} bytes");
        }
        let answer = whole(text).unwrap().unwrap();
        assert_eq!((answer.status, answer.close, answer.body.as_str()), (200, true, "abc"));
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn every_request_is_counted_and_a_failure_has_its_place() {
        // One request of each connection; every fourth gets no answer.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let mut asked = 0_u64;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut bytes = [0; 512];
                if stream.read(&mut bytes).unwrap_or(0) == 0 {
                    break;
                }
                asked += 1;
                if !asked.is_multiple_of(4) {
                    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1";
                    stream.write_all(format!("{head}\r\n\r\na").as_bytes()).unwrap();
                }
            }
            asked
        });
        let load = Load::start(port, true, 2_000);
        load.mark(7);
        load.reach(200);
        let seen = load.finish().unwrap();
        drop(std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
        assert_eq!(server.join().unwrap(), seen.requests());
        assert_eq!(seen.failed(), seen.requests() / 4);
        let fault = ((Phase::Read, "closed before the answer".to_owned()), 7);
        assert!(seen.faults.contains_key(&fault), "{:?}", seen.faults);
        assert!(seen.latency(0.5) <= seen.latency(0.99));
    }
}
