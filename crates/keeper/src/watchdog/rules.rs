//! When to look, and what is a breach: pure.

use std::time::Duration;

use ganger_sandbox::{Bound, Held};

/// Between two looks at the least: two hundred looks a second at a tree of a few processes are half a per cent of a processor.
pub(super) const GAP_MIN: Duration = Duration::from_millis(5);
/// Between two looks without a cgroup at the most: what `held.rs` of the sandbox says to users.
pub(super) const GAP_MAX: Duration = Duration::from_millis(100);
/// The same where a cgroup counts and only CPU time is limited: nothing can happen earlier than computed, unless processors are added.
const GAP_COUNTED: Duration = Duration::from_secs(10);
/// Before a limit of CPU time is reached, at the least: a tenth of the 250 ms within which a breach has to end the tree.
const GAP_CPU: Duration = Duration::from_millis(25);
/// Bytes a second that a tree is expected to take at the most: two processors that clear pages.
const GROWTH: u64 = 4 << 30;
/// Processes a second that a tree is expected to start at the most.
const FORKS: u64 = 20_000;
/// All looks together take one part of so many of the keeper's time: beyond, gaps grow with the number of trees and the time of a look.
const SHARE: u32 = 20;
/// More processes of a tree are not looked at.
const CREW_MAX: u64 = 32_768;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limits {
    /// Bytes.
    pub(super) memory: Option<u64>,
    /// Processes and threads.
    pub(super) pids: Option<u64>,
    /// Of all together.
    pub(super) cpu: Option<Duration>,
}

/// What a look has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Use {
    pub(super) memory: u64,
    pub(super) pids: u64,
    pub(super) cpu: Duration,
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Breach {
    pub(super) limit: Bound,
    /// In the limit's unit.
    pub(super) peak: u64,
}

impl Limits {
    pub(super) fn of<'a>(held: impl Iterator<Item = &'a Held>) -> Self {
        let mut limits = Self::default();
        for one in held {
            match one.limit {
                Bound::Memory => limits.memory = Some(one.most),
                Bound::Pids => limits.pids = Some(one.most),
                Bound::CpuTime => limits.cpu = Some(Duration::from_millis(one.most)),
            }
        }
        limits
    }

    /// Whether a look has to go to the processes. `counted`: a cgroup tells the CPU time.
    pub(super) const fn needs_processes(&self, counted: bool) -> bool {
        self.memory.is_some() || self.pids.is_some() || (self.cpu.is_some() && !counted)
    }

    /// More processes need not be looked at: then it is a breach, or no look could be in time.
    pub(super) fn most_processes(&self) -> u64 {
        self.pids.map_or(CREW_MAX, |pids| pids.saturating_add(1).min(CREW_MAX))
    }

    /// A limit that is passed. To use exactly what is allowed is none, but for time, which can't be given back.
    pub(super) fn breach(&self, used: Use) -> Option<Breach> {
        let memory = self.memory.filter(|most| used.memory > *most);
        let pids = self.pids.filter(|most| used.pids > *most);
        let cpu = self.cpu.filter(|most| used.cpu >= *most);
        let ms = u64::try_from(used.cpu.as_millis()).unwrap_or(u64::MAX);
        memory
            .map(|_| Breach { limit: Bound::Memory, peak: used.memory })
            .or(pids.map(|_| Breach { limit: Bound::Pids, peak: used.pids }))
            .or(cpu.map(|_| Breach { limit: Bound::CpuTime, peak: ms }))
    }

    /// Until the first look: nothing is used yet.
    pub(super) fn first(&self, processors: u32) -> Duration {
        // As if a cgroup counted: whether it does is seen then.
        let counted = self.memory.is_none() && self.pids.is_none();
        self.gap(Use::default(), processors, counted, Duration::ZERO)
    }

    /// Until the next look: the earliest moment at which a limit could be passed, within bounds. `cost`: what looks at all trees take.
    pub(super) fn gap(
        &self,
        used: Use,
        processors: u32,
        counted: bool,
        cost: Duration,
    ) -> Duration {
        let most = if self.needs_processes(counted) { GAP_MAX } else { GAP_COUNTED };
        let least = GAP_MIN.max(cost.saturating_mul(SHARE));
        let at = |left: u64, rate: u64| Duration::from_secs_f64(left as f64 / rate as f64);
        let memory = self.memory.map(|most| at(most.saturating_sub(used.memory), GROWTH));
        let pids = self.pids.map(|most| at(most.saturating_sub(used.pids), FORKS));
        let soon = memory.into_iter().chain(pids).min();
        let soon = soon.map_or(most, |soon| soon.max(least).min(most.max(least)));
        let cpu = self.cpu.map(|limit| limit.saturating_sub(used.cpu) / processors.max(1));
        cpu.map_or(soon, |cpu| soon.min(cpu.max(GAP_CPU).max(least)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;
    const NONE: Duration = Duration::ZERO;

    #[test]
    fn looks_come_when_a_limit_could_be_reached() {
        let memory = Limits { memory: Some(64 * MIB), ..Limits::default() };
        let at = |mib| memory.gap(Use { memory: mib * MIB, ..Use::default() }, 2, true, NONE);
        assert_eq!(at(0).as_millis(), 15, "64 MiB at 4 GiB/s");
        assert_eq!((at(63), at(70)), (GAP_MIN, GAP_MIN));
        let large = Limits { memory: Some(8 << 30), ..Limits::default() };
        assert_eq!(large.gap(Use::default(), 2, true, NONE), GAP_MAX);
        let cost = Duration::from_millis(40);
        assert_eq!(large.gap(Use::default(), 2, true, cost).as_millis(), 800, "a crowd waits");
        let cpu = Limits { cpu: Some(Duration::from_secs(4)), ..Limits::default() };
        let used = |ms| Use { cpu: Duration::from_millis(ms), ..Use::default() };
        assert_eq!(cpu.gap(used(0), 2, true, NONE), Duration::from_secs(2), "two processors");
        assert_eq!(cpu.gap(used(0), 2, false, NONE), GAP_MAX, "what ends in between is not seen");
        assert_eq!(cpu.gap(used(3_999), 2, true, NONE), GAP_CPU);
        assert_eq!(cpu.first(2), Duration::from_secs(2));
    }

    #[test]
    fn what_is_allowed_is_no_breach() {
        let (memory, pids, cpu) = (Some(10), Some(2), Some(Duration::from_millis(7)));
        let limits = Limits { memory, pids, cpu };
        let used = Use { memory: 10, pids: 2, cpu: Duration::from_micros(6_999) };
        assert_eq!(limits.breach(used), None);
        let limit = |used| limits.breach(used).map(|breach| (breach.limit.as_str(), breach.peak));
        assert_eq!(limit(Use { memory: 11, ..used }), Some(("memory", 11)));
        assert_eq!(limit(Use { pids: 3, ..used }), Some(("pids", 3)));
        assert_eq!(limit(Use { cpu: Duration::from_millis(8), ..used }), Some(("cpu_time", 8)));
        assert_eq!(Limits::default().breach(used), None);
    }

    proptest! {
        /// No look is later than the bound that users are told, nor so early that looking is all that is done.
        #[test]
        fn gaps_are_bounded(
            memory in prop::option::of(any::<u64>()), pids in prop::option::of(any::<u64>()),
            cpu in prop::option::of(0..1u64 << 40), used: u64, threads: u64, ms in 0..1u64 << 40,
            processors: u32, counted: bool,
        ) {
            let limits = Limits { memory, pids, cpu: cpu.map(Duration::from_millis) };
            let used = Use { memory: used, pids: threads, cpu: Duration::from_millis(ms) };
            let gap = limits.gap(used, processors, counted, NONE);
            prop_assert!(gap >= GAP_MIN);
            let most = if limits.needs_processes(counted) { GAP_MAX } else { GAP_COUNTED };
            prop_assert!(gap <= most);
        }
    }
}
