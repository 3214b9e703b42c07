//! Whose proportional memory is read next: it goes through all pages of a process under its memory lock, so it has a budget of time.
//!
//! First who was never read, then whose resident memory changed most, then whose figure is oldest. What one reading costs over the
//! budget is paid back by reading nothing for a while; a process that would take longer than [`TOO_LONG`] is never read.

use std::time::Duration;

use crate::process::Process;

/// Default for the budget: processor time a second.
pub(crate) const BUDGET: Duration = Duration::from_millis(5);
/// A figure is read again after this even if nothing seems to have changed.
const OLD: Duration = Duration::from_secs(60);
/// A change that matters: a sixteenth, and at least this.
const CHANGE: u64 = 1 << 20;
/// Longest that one reading may hold a process's memory lock, by estimate.
const TOO_LONG: Duration = Duration::from_millis(50);
/// What a page costs before anything was measured: 33-87 ns here (2 vCPUs, Linux 6.18).
const PAGE_NS: u64 = 60;
/// Opening, reading and closing of the file for a small process.
const BASE_NS: u64 = 8_000;
/// At most so many readings a tick.
const MOST: usize = 256;

/// The budget and the turn.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Nanoseconds that may be spent; below zero when the last reading took more.
    left: i64,
    a_second: Duration,
    /// What a page cost lately.
    page_ns: u64,
    candidates: Vec<((u8, u64), u32)>,
}

impl Turn {
    pub(crate) fn new(a_second: Duration) -> Self {
        Self { left: 0, a_second, page_ns: PAGE_NS, candidates: Vec::with_capacity(MOST) }
    }

    /// Time has passed. What was not spent within a second is lost.
    pub(crate) fn earn(&mut self, passed: Duration) {
        let a_second = nanos(self.a_second);
        let earned = self.a_second.as_secs_f64() * passed.as_secs_f64().min(60.0) * 1e9;
        self.left = self.left.saturating_add(earned as i64).min(a_second);
    }

    /// Chooses whom to read, the most urgent last: [`Turn::next`] takes them from the end.
    pub(crate) fn choose(
        &mut self,
        processes: &[Process],
        refused: impl Fn(usize) -> bool,
        now: Duration,
    ) {
        self.candidates.clear();
        if self.left <= 0 {
            return;
        }
        for (at, process) in processes.iter().enumerate() {
            if process.resident == 0 || self.estimate(process) > nanos(TOO_LONG) || refused(at) {
                continue;
            }
            let Some(urgency) = urgency(process, now) else { continue };
            self.candidates.push((urgency, u32::try_from(at).unwrap_or(u32::MAX)));
        }
        if self.candidates.len() > MOST {
            let less = self.candidates.len() - MOST;
            self.candidates.select_nth_unstable(less);
            self.candidates.drain(..less);
        }
        self.candidates.sort_unstable();
    }

    /// The next to read, as long as there is something to spend.
    pub(crate) fn next(&mut self) -> Option<usize> {
        if self.left <= 0 {
            return None;
        }
        self.candidates.pop().map(|(_, at)| at as usize)
    }

    /// A reading of `resident` bytes took so long.
    pub(crate) fn spend(&mut self, ns: u64, resident: u64) {
        self.left = self.left.saturating_sub(i64::try_from(ns).unwrap_or(i64::MAX));
        let pages = resident / page();
        // Small ones tell nothing of a page's price.
        if pages >= 1024 {
            self.page_ns = (self.page_ns * 7 + ns / pages) / 8;
        }
    }

    fn estimate(&self, process: &Process) -> i64 {
        let pages = process.resident / page();
        let ns = pages.saturating_mul(self.page_ns).saturating_add(BASE_NS);
        i64::try_from(ns).unwrap_or(i64::MAX)
    }
}

/// Class and amount; `None`: nothing to read.
fn urgency(process: &Process, now: Duration) -> Option<(u8, u64)> {
    let Some(last) = process.proportional else { return Some((2, process.resident)) };
    let change = process.resident.abs_diff(last.resident);
    if change >= CHANGE.max(last.resident / 16) {
        return Some((1, change));
    }
    let age = now.saturating_sub(last.at);
    (age >= OLD).then_some((0, age.as_millis() as u64))
}

fn page() -> u64 {
    rustix::param::page_size() as u64
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Proportional;
    use crate::test_support::process;

    const MIB: u64 = 1 << 20;

    fn one(pid: u32, resident: u64, last: Option<(u64, u64)>) -> Process {
        let proportional = last.map(|(resident, at)| Proportional {
            bytes: resident,
            at: Duration::from_secs(at),
            resident,
        });
        Process { resident, proportional, ..process(pid) }
    }

    fn order(turn: &mut Turn, processes: &[Process], now: u64) -> Vec<u32> {
        turn.choose(processes, |_| false, Duration::from_secs(now));
        std::iter::from_fn(|| turn.next()).map(|at| processes[at].pid).collect()
    }

    #[test]
    fn never_read_then_changed_then_old() {
        let processes = [
            one(1, 64 * MIB, Some((64 * MIB, 99))),
            one(2, 64 * MIB, Some((64 * MIB, 30))),
            one(3, 64 * MIB, Some((60 * MIB, 99))),
            one(4, 64 * MIB, Some((50 * MIB, 99))),
            one(5, 2 * MIB, None),
            one(6, 0, None),
            one(7, 1 << 40, None),
        ];
        let mut turn = Turn::new(BUDGET);
        turn.earn(Duration::from_secs(1));
        assert_eq!(order(&mut turn, &processes, 100), [5, 4, 3, 2], "6 has no memory, 7 too much");
    }

    #[test]
    fn what_was_overspent_is_paid_back() {
        let processes = [one(1, MIB, None)];
        let mut turn = Turn::new(BUDGET);
        assert!(order(&mut turn, &processes, 0).is_empty(), "nothing is earned yet");
        turn.earn(Duration::from_secs(1));
        assert_eq!(order(&mut turn, &processes, 1), [1]);
        turn.spend(12_000_000, MIB);
        turn.earn(Duration::from_secs(1));
        assert!(order(&mut turn, &processes, 2).is_empty());
        turn.earn(Duration::from_secs(1));
        assert_eq!(order(&mut turn, &processes, 3), [1]);
        turn.earn(Duration::from_secs(3_600));
        assert_eq!(turn.left, nanos(BUDGET), "savings end at a second's worth");
    }

    #[test]
    fn a_price_that_is_learnt_keeps_large_ones_out() {
        let processes = [one(1, 1024 * MIB, None)];
        let mut turn = Turn::new(BUDGET);
        turn.earn(Duration::from_secs(1));
        assert_eq!(order(&mut turn, &processes, 1), [1], "16 ms by the first guess");
        for _ in 0..40 {
            turn.spend(1024 * 400, 4096 * 1024);
        }
        turn.left = 1;
        assert!(order(&mut turn, &processes, 1).is_empty(), "105 ms by what was measured");
    }

    #[test]
    fn a_tick_reads_at_most_so_many() {
        let processes: Vec<Process> =
            (0..1000).map(|pid| one(pid, u64::from(pid + 1), None)).collect();
        let mut turn = Turn::new(BUDGET);
        turn.earn(Duration::from_secs(1));
        let order = order(&mut turn, &processes, 1);
        assert_eq!((order.len(), order[0]), (MOST, 999));
    }
}
