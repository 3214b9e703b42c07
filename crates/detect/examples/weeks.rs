//! Weeks of simulated healthy load at 1 Hz: what no corpus of minutes can show is how often nobody should have been woken.
//!
//! Not processes: series. Each process has a daily and weekly season, noise with a heavy tail, a collector's sawtooth or a cache that
//! warms, cron bursts, a reload a day without consequences, queues that run empty at night, and now and then half a minute of real
//! overload, which is life and not a fault.
//!
//! `cargo run --release -p ganger-detect --example weeks -- [SEED [COUNT]]`: prints every alarm, and fails above 0.1 a process-week.

#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

use ganger_detect::{Change, Mark, Progress, Sample, Watch};

const MEMORY_LIMIT: f64 = 64.0 * MIB;
const FDS_LIMIT: f64 = 256.0;
/// 2026-11-23 00:00 UTC, a Monday.
const START_MS: u64 = 1_795_392_000_000;
const DAY: u64 = 86_400;
const MIB: f64 = 1_048_576.0;

fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(1).filter_map(|word| word.parse::<u32>().ok());
    let (seed, count) = (args.next().unwrap_or(2), args.next().unwrap_or(10));
    if weeks(u64::from(seed), count) > 0.1 { 1.into() } else { 0.into() }
}

const fn at_ms(second: u64) -> u64 {
    START_MS + second * 1_000
}

/// Judges so many processes for a week each; false alarms a process-week.
fn weeks(seed: u64, count: u32) -> f64 {
    let mut wrong = 0_u32;
    for n in 0..u64::from(count) {
        let mut life = Life::new(seed * 1_000 + n);
        let mut watch = Watch::new(&format!("life#{n}"), 0);
        for second in 0..7 * DAY {
            if second % DAY == 3 * 3_600 {
                watch.mark(at_ms(second), Mark::Reload);
                watch.mark(at_ms(second), Mark::Start);
            }
            for change in watch.sample(&life.sample(second)) {
                if let Change::Opened(incident) = change {
                    wrong += 1;
                    let finding = incident.finding;
                    println!(
                        "false: life {n} at day {:.2}: {} {}",
                        second as f64 / DAY as f64,
                        finding.detector.word(),
                        finding.evidence.join("; ")
                    );
                }
            }
        }
    }
    let rate = f64::from(wrong) / f64::from(count.max(1));
    println!(
        "{count} simulated process-weeks of healthy load: {wrong} false alarms, {rate:.2} a week"
    );
    rate
}

struct Life {
    random: fastrand::Rng,
    level: f64,
    swing: f64,
    teeth: f64,
    cron: u64,
    overload_until: u64,
    done: f64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (level, swing, teeth) =
            (0.05 + 0.3 * random.f64(), random.f64(), 300.0 + 3_000.0 * random.f64());
        let cron = 600 + random.u64(0..3_000);
        Self { random, level, swing, teeth, cron, overload_until: 0, done: 0.0 }
    }

    fn sample(&mut self, second: u64) -> Sample {
        let day = (second % DAY) as f64 / DAY as f64;
        let weekend = second / DAY >= 5;
        let season = 1.0
            + self.swing * if weekend { -0.5 } else { (day * std::f64::consts::TAU - 1.6).sin() };
        // About twice a day.
        if self.random.u64(0..43_200) == 0 {
            self.overload_until = second + self.random.u64(5..30);
        }
        let overload = second < self.overload_until;
        let cron = second % self.cron < 45;
        // Noise with a tail: one in a hundred is several times as high.
        let tail = (-self.random.f64().max(1e-9).ln()).powi(2) * 0.1;
        let load = self.level * (season * (0.6 + 0.4 * self.random.f64() + tail))
            + if cron { 0.3 } else { 0.0 };
        let tooth = (second as f64 / self.teeth).fract();
        self.done += load * 10.0;
        Sample {
            at_ms: at_ms(second),
            cpu: Some(if overload { 1.0 } else { load.min(1.0) }),
            memory: Some((15.0 + 20.0 * tooth + 5.0 * load + self.random.f64()) * MIB),
            memory_limit: Some(MEMORY_LIMIT),
            fds: Some((12.0 + 40.0 * load + 5.0 * self.random.f64()).floor()),
            fds_limit: Some(FDS_LIMIT),
            threads: Some((4.0 + 10.0 * load).floor()),
            io: Some(1e6 * load * self.random.f64() + if cron { 3e6 } else { 0.0 }),
            latency: Some(0.05 * (1.0 + load) * (0.8 + 0.4 * self.random.f64() + tail)),
            progress: Some(Progress { queued: (load * 10.0) as u64, done: self.done as u64 }),
            ..Sample::default()
        }
    }
}
