//! Requests as fast as they are answered, each on a connection of its own. What is asked for at a rate is `web::Load`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::web::ask;

/// How much, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flood {
    pub(super) address: SocketAddr,
    /// At the same time.
    pub(super) clients: u32,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Seconds that each answer took.
    pub(super) latencies: Vec<f64>,
    /// Answers by who gave them.
    pub(super) by: BTreeMap<String, u64>,
    /// Requests without an answer, and why.
    pub(super) failed: Vec<String>,
    /// Seconds from the first request to the last answer.
    pub(super) took: f64,
}

impl Flood {
    /// Until `over` is set.
    pub(super) fn until(self, over: &AtomicBool) -> Seen {
        let begun = Instant::now();
        let mut seen = Seen::default();
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..self.clients).map(|_| scope.spawn(move || self.client(begun, over))).collect();
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

    fn client(self, begun: Instant, over: &AtomicBool) -> Seen {
        let mut seen = Seen::default();
        while !over.load(Ordering::Relaxed) {
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
    pub(super) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.max(f64::MIN_POSITIVE)
    }

    /// Milliseconds that this share of the answers took at most.
    pub(super) fn at(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies.get(at).map_or(f64::NAN, |seconds| seconds * 1e3)
    }
}
