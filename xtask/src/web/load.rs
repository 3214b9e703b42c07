//! Requests, each on a connection of its own: as fast as they are answered, or so many a second.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whoever has no answer by then has none.
const ANSWER: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// How much, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    /// At the same time.
    pub(crate) clients: u32,
    /// All clients together, a second; `None`: as fast as they are answered.
    pub(crate) rate: Option<f64>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Seconds that each answer took.
    pub(crate) latencies: Vec<f64>,
    /// Answers by who gave them.
    pub(crate) by: BTreeMap<String, u64>,
    /// Requests without an answer, and why.
    pub(crate) failed: Vec<String>,
    /// Seconds from the first request to the last answer.
    pub(crate) took: f64,
}

impl Load {
    /// Until `over` is set.
    pub(crate) fn until(self, over: &AtomicBool) -> Seen {
        let begun = Instant::now();
        let mut seen = Seen::default();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|n| scope.spawn(move || self.client(n, begun, over)))
                .collect();
            for client in clients {
                if let Ok(own) = client.join() {
                    seen.add(own);
                }
            }
        });
        seen.took = begun.elapsed().as_secs_f64();
        seen.latencies.sort_by(f64::total_cmp);
        seen
    }

    fn client(self, n: u32, begun: Instant, over: &AtomicBool) -> Seen {
        let mut seen = Seen::default();
        let pause = self.rate.map(|rate| Duration::from_secs_f64(f64::from(self.clients) / rate));
        // They take turns, each with its own beat.
        let mut next = begun + pause.map_or(Duration::ZERO, |pause| pause * n / self.clients);
        while !over.load(Ordering::Relaxed) {
            if let Some(pause) = pause {
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                next += pause;
            }
            let asked = Instant::now();
            match ask(self.address) {
                Ok(who) => {
                    seen.latencies.push(asked.elapsed().as_secs_f64());
                    *seen.by.entry(who).or_default() += 1;
                }
                Err(error) => {
                    let at = begun.elapsed().as_secs_f64();
                    seen.failed.push(format!("at {at:.3} s: {error}"));
                }
            }
        }
        seen
    }
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.failed.extend(other.failed);
        for (who, n) in other.by {
            *self.by.entry(who).or_default() += n;
        }
    }

    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.max(f64::MIN_POSITIVE)
    }

    /// Milliseconds that this share of the answers took at most.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies.get(at).map_or(f64::NAN, |seconds| seconds * 1e3)
    }

    /// The busiest of so many workers beside their mean.
    pub(crate) fn max_over_mean(&self, workers: u32) -> f64 {
        let most = self.by.values().max().copied().unwrap_or(0) as f64;
        most / (self.by.values().sum::<u64>() as f64 / f64::from(workers))
    }
}

/// One request on a connection of its own: the body of the answer, which is who gave it.
pub(crate) fn ask(address: SocketAddr) -> io::Result<String> {
    let step =
        |what: &'static str| move |e: io::Error| io::Error::new(e.kind(), format!("{what}: {e}"));
    let mut stream = TcpStream::connect(address).map_err(step("connect"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(REQUEST).map_err(step("write"))?;
    let mut answer = Vec::with_capacity(512);
    stream.read_to_end(&mut answer).map_err(step("read"))?;
    let text = String::from_utf8_lossy(&answer);
    match text.rsplit_once("\r\n\r\n") {
        Some((_, body)) if !body.is_empty() => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("an answer of {} bytes", answer.len()))),
    }
}
