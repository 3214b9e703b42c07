//! The load: clients that ask again and again, at a rate of all together, and count every request.
//!
//! A request has failed if it got no whole answer 200, whatever the reason; nothing is tried again. A connection that is kept
//! alive and was closed while nothing was asked is no failure: the client sees that before it asks and opens another.
//!
//! Requests are due at moments that are drawn before anything is asked, and a latency begins when its request was due: a client that waited for
//! an answer asks what it missed at once, and that wait is counted for each of them ("coordinated omission" is leaving it out).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// Of one request, connecting included: whoever waits longer has given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// Answers are a few hundred bytes.
const ANSWER_MAX: usize = 16 << 10;

/// How much, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    /// Each has at most one request under way.
    pub(crate) clients: u32,
    /// Requests a second of all clients together.
    pub(crate) rate: f64,
    /// One connection for many requests, not one for each.
    pub(crate) keep_alive: bool,
}

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Connect,
    Write,
    Read,
    Status,
}

/// What was wrong: where and how.
pub(crate) type Fault = (Phase, String);

/// A request without an answer.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) fault: Fault,
    /// What was under way ([`Running::mark`]) when it failed.
    pub(crate) during: u32,
    /// Since the load began.
    pub(crate) at: Duration,
    /// From where it was asked, once it was connected.
    pub(crate) from: Option<SocketAddr>,
}

/// What the clients have seen together.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Of every answer, in microseconds since its request was due.
    latencies: Vec<u32>,
    pub(crate) failed: Vec<Failed>,
    /// Answers by their bodies, which say who gave them.
    pub(crate) by: BTreeMap<String, u64>,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Running {
    shared: Arc<Shared>,
    thread: std::thread::JoinHandle<Result<Seen>>,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    /// Between two requests of one client, on average.
    every: Duration,
    begun: Instant,
    during: AtomicU32,
    count: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    /// Begins.
    pub(crate) fn start(self) -> Running {
        let shared = Arc::new(Shared::new(self));
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || clients(&own));
        Running { shared, thread }
    }
}

impl Shared {
    fn new(load: Load) -> Self {
        Self {
            load,
            every: Duration::from_secs_f64(f64::from(load.clients) / load.rate.max(1.0)),
            begun: Instant::now(),
            during: AtomicU32::new(0),
            count: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }
}

impl Running {
    /// Says what is under way (a reload, a kill), by its number; 0 is nothing.
    pub(crate) fn mark(&self, during: u32) {
        self.shared.during.store(during, Ordering::Relaxed);
    }

    /// Returns when so many requests have been made in all.
    pub(crate) fn reach(&self, count: u64) {
        while self.shared.count.load(Ordering::Relaxed) < count && !self.thread.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets requests that are under way end, and counts.
    pub(crate) fn finish(self) -> Result<Seen> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
    }
}

fn clients(shared: &Arc<Shared>) -> Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let all: Vec<_> =
            (0..shared.load.clients).map(|_| tokio::spawn(client(Arc::clone(shared)))).collect();
        let mut seen = Seen::default();
        for one in all {
            seen.add(one.await.context("a client panicked")?);
        }
        seen.latencies.sort_unstable();
        seen.took = shared.begun.elapsed();
        Ok(seen)
    })
}

async fn client(shared: Arc<Shared>) -> Seen {
    let mut seen = Seen::default();
    let mut connection: Option<TcpStream> = None;
    let mut due = shared.begun + shared.every.mul_f64(fastrand::f64());
    loop {
        sleep_until(due).await;
        if shared.stop.load(Ordering::Relaxed) {
            return seen;
        }
        let kept = connection.take().filter(is_open);
        let during = shared.during.load(Ordering::Relaxed);
        let mut from = None;
        match ask(kept, &shared.load, &mut from).await {
            Ok((body, rest)) => {
                let micros = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
                seen.latencies.push(micros);
                *seen.by.entry(body).or_default() += 1;
                connection = rest;
            }
            Err(fault) => {
                // It may have been hit by one that began after it.
                let during = during.max(shared.during.load(Ordering::Relaxed));
                let at = shared.begun.elapsed();
                seen.failed.push(Failed { fault, during, at, from });
            }
        }
        shared.count.fetch_add(1, Ordering::Relaxed);
        due += shared.every.mul_f64(fastrand::f64() * 2.0);
    }
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
    load: &Load,
    from: &mut Option<SocketAddr>,
) -> Result<(String, Option<TcpStream>), Fault> {
    let mut phase = Phase::Connect;
    let asked = timeout(PATIENCE, async {
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let fresh = TcpStream::connect(load.address).await?;
                fresh.set_nodelay(true)?;
                fresh
            }
        };
        *from = connection.local_addr().ok();
        let word = if load.keep_alive { "keep-alive" } else { "close" };
        let text = format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: {word}\r\n\r\n");
        phase = Phase::Write;
        connection.write_all(text.as_bytes()).await?;
        phase = Phase::Read;
        let answer = read(&mut connection).await?;
        Ok::<_, io::Error>((answer, connection))
    });
    match asked.await {
        Ok(Ok((Answer { status: 200, close, body }, connection))) => {
            Ok((body, (load.keep_alive && !close).then_some(connection)))
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

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { fault: (phase, what), during, at, from } = self;
        write!(f, "at {:.3} s, during {during}, {phase:?}: {what}", at.as_secs_f64())?;
        from.map_or(Ok(()), |from| write!(f, ", from {from}"))
    }
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.failed.extend(other.failed);
        for (who, count) in other.by {
            *self.by.entry(who).or_default() += count;
        }
    }

    pub(crate) fn answers(&self) -> u64 {
        self.latencies.len() as u64
    }

    pub(crate) fn requests(&self) -> u64 {
        self.answers() + self.failed.len() as u64
    }

    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answers() as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The latency that this share of all answers does not exceed, in milliseconds.
    pub(crate) fn latency(&self, share: f64) -> Option<f64> {
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
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let load = Load { address, clients: 32, rate: 2_000.0, keep_alive: true }.start();
        load.mark(7);
        load.reach(200);
        let seen = load.finish().unwrap();
        drop(std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
        assert_eq!(server.join().unwrap(), seen.requests());
        assert_eq!(seen.failed.len() as u64, seen.requests() / 4);
        let fault = (Phase::Read, "closed before the answer".to_owned());
        let known = |one: &Failed| one.fault == fault && one.during == 7 && one.from.is_some();
        assert!(seen.failed.iter().any(known), "{:?}", seen.failed);
        assert!(seen.latency(0.5) <= seen.latency(0.99));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_slow_answer_counts_that_for_all_that_was_due_meanwhile() {
        // Answers at once, but for one that takes 300 ms; the last one says that it is enough.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let load = Load { address, clients: 1, rate: 200.0, keep_alive: true };
        let shared = Arc::new(Shared::new(load));
        let over = Arc::clone(&shared);
        // While a thread is busy the clock does not go on by itself, however late the kernel is.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || held.recv().is_err());
        let server = tokio::spawn(async move {
            // The longest that a client pauses.
            let pause = Duration::from_millis(10);
            tokio::time::advance(pause).await;
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut bytes, mut asked) = ([0; 512], 0);
            while stream.read(&mut bytes).await.unwrap_or(0) > 0 {
                asked += 1;
                if asked == 5 {
                    tokio::time::advance(Duration::from_millis(300)).await;
                }
                over.stop.store(asked == 60, Ordering::Relaxed);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
                stream.write_all(answer).await.unwrap();
                tokio::time::advance(pause).await;
            }
        });
        let mut seen = client(shared).await;
        server.await.unwrap();
        drop(release);
        assert!(busy.await.unwrap());
        seen.latencies.sort_unstable();
        // Some sixty were due in those 300 ms. Only one of them was asked in it, and none took time once it was asked.
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        assert_eq!(seen.answers(), 60);
        assert!(seen.latency(0.5).unwrap() > 50.0, "{:?}", seen.latency(0.5));
    }
}
