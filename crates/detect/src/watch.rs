//! All detectors of one object: samples, marks and ends go in, changes of incidents come out.

use ganger_core::End;
use serde::{Deserialize, Serialize};

use crate::crash::CrashLoop;
use crate::desk::{Change, Desk};
use crate::engine::Season;
use crate::finding::{Finding, Metric, Resource};
use crate::leak::Leak;
use crate::meter::Meter;
use crate::progress::{Progress, Stall};
use crate::saturation::Saturation;

/// Most bytes of a watch as JSON: four engines, three leaks, a full desk. A test fills all of them.
pub const STATE_JSON_MAX: usize = 256 * 1024;
/// Longest name of an object that is kept; the rest is cut.
pub const OBJECT_MAX: usize = 256;

/// One look at an object. What is not known is `None`, and its detectors rest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sample {
    /// When, in milliseconds since 1970. Must not go back: an older sample is left out.
    pub at_ms: u64,
    /// Cores used since the sample before.
    pub cpu: Option<f64>,
    /// Cores that it was runnable and waited for, since the sample before.
    pub waiting: Option<f64>,
    /// Resident bytes, and how many it may have.
    pub memory: Option<f64>,
    /// See `memory`; where nothing bounds it, the machine's memory is a good limit.
    pub memory_limit: Option<f64>,
    /// Open descriptors.
    pub fds: Option<f64>,
    /// See `fds`.
    pub fds_limit: Option<f64>,
    /// Threads of the process, or processes and threads of the tree.
    pub threads: Option<f64>,
    /// See `threads`.
    pub threads_limit: Option<f64>,
    /// Bytes read and written a second since the sample before.
    pub io: Option<f64>,
    /// Seconds that requests or tasks took lately.
    pub latency: Option<f64>,
    /// What the queue knows.
    pub progress: Option<Progress>,
    /// Share of the time in which a CPU quota held it back, 0 to 1.
    pub throttled: Option<f64>,
    /// PSI of its cgroup: cpu some, memory full, io full, each 0 to 1.
    pub pressure: Option<[f64; 3]>,
}

/// What happened to an object besides being sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// A reload or a deploy: new code or configuration.
    Reload,
    /// A new process took the place.
    Start,
}

/// The detectors of one object (a service's instance, a worker, a process) and its incidents.
///
/// About 30 KiB in memory when all metrics are known. Serialisable: a restarted daemon goes on where the old one was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    object: String,
    offset_s: i32,
    last_ms: u64,
    reload_ms: Option<u64>,
    /// Appear with the first value of their metric.
    meters: Vec<(Metric, Meter)>,
    leaks: Vec<(Metric, Leak)>,
    stall: Stall,
    saturation: Saturation,
    crash: CrashLoop,
    desk: Desk,
}

impl Watch {
    /// `object`: name and slot. `offset_s`: local time minus UTC in seconds, for seasons.
    #[must_use]
    pub fn new(object: &str, offset_s: i32) -> Self {
        Self {
            object: object.chars().take(OBJECT_MAX).collect(),
            offset_s,
            last_ms: 0,
            reload_ms: None,
            meters: Vec::new(),
            leaks: Vec::new(),
            stall: Stall::default(),
            saturation: Saturation::default(),
            crash: CrashLoop::default(),
            desk: Desk::new(),
        }
    }

    /// One sample. Made for 1 Hz; slower works, but nothing is told sooner than its detector's windows say.
    pub fn sample(&mut self, sample: &Sample) -> Vec<Change> {
        let now_ms = sample.at_ms;
        if now_ms < self.last_ms {
            return Vec::new();
        }
        self.last_ms = now_ms;
        let mut findings = self.measure(sample);
        findings.extend(self.grow(sample));
        if let Some(progress) = sample.progress {
            let (cpu, waiting) = (sample.cpu.unwrap_or(0.0), sample.waiting.unwrap_or(0.0));
            findings.extend(self.stall.sample(&self.object, now_ms, progress, cpu, waiting));
        }
        findings.extend(
            self.saturation.sample(&self.object, now_ms, |resource| sample.share(resource)),
        );
        findings.extend(self.crash.look(&self.object, now_ms));
        self.desk.observe(now_ms, findings)
    }

    /// A mark on the time axis.
    pub fn mark(&mut self, now_ms: u64, mark: Mark) {
        match mark {
            Mark::Reload => self.reload_ms = Some(now_ms),
            Mark::Start => {
                self.leaks.iter_mut().for_each(|(_, leak)| leak.restarted());
                self.meters.iter_mut().for_each(|(_, meter)| meter.restarted());
                self.stall = Stall::default();
            }
        }
    }

    /// An end that nobody asked for (no stop, no reload), after `uptime_ms`. Told at once where it makes a loop.
    pub fn end(&mut self, now_ms: u64, uptime_ms: u64, end: &End) -> Vec<Change> {
        self.crash.end(now_ms, uptime_ms, end);
        let finding: Vec<Finding> = self.crash.look(&self.object, now_ms).into_iter().collect();
        self.desk.observe(now_ms, finding)
    }

    /// Incidents.
    #[must_use]
    pub const fn desk(&self) -> &Desk {
        &self.desk
    }

    /// What is usual for `metric` at this time of the day or week; `None`: not enough history.
    #[must_use]
    pub fn season(&self, metric: Metric, at_ms: u64) -> Option<(f64, Season)> {
        let (_, meter) = self.meters.iter().find(|(known, _)| *known == metric)?;
        meter.season(self.local_s(at_ms))
    }

    fn local_s(&self, at_ms: u64) -> i64 {
        i64::try_from(at_ms / 1_000).unwrap_or(i64::MAX).saturating_add(i64::from(self.offset_s))
    }

    /// Spike and level shift.
    fn measure(&mut self, sample: &Sample) -> Vec<Finding> {
        let values = [
            (Metric::Cpu, sample.cpu),
            (Metric::Memory, sample.memory),
            (Metric::Io, sample.io),
            (Metric::Latency, sample.latency),
        ];
        let local_s = self.local_s(sample.at_ms);
        let mut findings = Vec::new();
        for (metric, value) in values {
            let Some(value) = value else { continue };
            let meter = entry(&mut self.meters, metric, Meter::new);
            meter.sample(sample.at_ms, local_s, value, self.reload_ms);
            findings.extend(meter.look(&self.object, sample.at_ms));
        }
        findings
    }

    /// Leaks.
    fn grow(&mut self, sample: &Sample) -> Vec<Finding> {
        let values = [
            (Metric::Memory, sample.memory, sample.memory_limit),
            (Metric::Fds, sample.fds, sample.fds_limit),
            (Metric::Threads, sample.threads, sample.threads_limit),
        ];
        let mut findings = Vec::new();
        for (metric, value, limit) in values {
            let Some(value) = value else { continue };
            let leak = entry(&mut self.leaks, metric, Leak::new);
            findings.extend(leak.sample(&self.object, sample.at_ms, value, limit));
        }
        findings
    }
}

impl Sample {
    /// Use of a resource, 0 to 1, where both use and limit are known.
    fn share(&self, resource: Resource) -> Option<f64> {
        let of = |used: Option<f64>, limit: Option<f64>| {
            Some(used? / limit.filter(|limit| *limit > 0.0)?)
        };
        match resource {
            Resource::Fds => of(self.fds, self.fds_limit),
            Resource::Pids => of(self.threads, self.threads_limit),
            Resource::Memory => of(self.memory, self.memory_limit),
            Resource::CpuQuota => self.throttled,
            Resource::CpuPressure => self.pressure.map(|p| p[0]),
            Resource::MemoryPressure => self.pressure.map(|p| p[1]),
            Resource::IoPressure => self.pressure.map(|p| p[2]),
        }
    }
}

fn entry<T>(all: &mut Vec<(Metric, T)>, metric: Metric, new: impl Fn(Metric) -> T) -> &mut T {
    let at = all.iter().position(|(known, _)| *known == metric).unwrap_or_else(|| {
        all.push((metric, new(metric)));
        all.len() - 1
    });
    &mut all[at].1
}

#[cfg(test)]
mod tests;
