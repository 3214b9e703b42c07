//! What was a moment ago: rings of samples, and rates of what only grows. Bounded by what is there and by [`KEPT`].

use std::collections::{HashMap, VecDeque};

use ganger_api::{Costs, Instance, InstanceCost, Queue};

/// Samples of each figure: as many as the widest sparkline shows, one a second.
pub(crate) const KEPT: usize = 60;

/// The newest last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ring(VecDeque<f64>);

impl Ring {
    fn push(&mut self, value: f64) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = f64> + ExactSizeIterator {
        self.0.iter().copied()
    }

    pub(crate) fn newest(&self) -> Option<f64> {
        self.0.back().copied()
    }
}

/// Of one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    pub(crate) cpu: Ring,
    /// Bytes a second from and to disks, once two samples are there.
    pub(crate) disk: Option<(f64, f64)>,
    totals: Option<(u64, u64)>,
}

/// Of one queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct QueuePast {
    /// Tasks that have not ended.
    pub(crate) open: Ring,
    /// Tasks that ended, a second.
    pub(crate) ended: Ring,
    before: Option<(u64, u64)>,
}

/// Of everything.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    instances: HashMap<String, HashMap<u32, Past>>,
    queues: HashMap<String, QueuePast>,
    /// Percent of all processors.
    pub(crate) host: Ring,
    host_before: Option<(f64, f64)>,
    /// Of the newest costs, so that the same look is not taken for two.
    at: u64,
}

impl Trace {
    pub(crate) fn instance(&self, name: &str, slot: u32) -> Option<&Past> {
        self.instances.get(name)?.get(&slot)
    }

    pub(crate) fn queue(&self, name: &str) -> Option<&QueuePast> {
        self.queues.get(name)
    }

    /// Processor time of these slots together, moment by moment.
    pub(crate) fn cpu_of(&self, name: &str, slots: &[u32]) -> Vec<f64> {
        let rings = slots.iter().filter_map(|slot| Some(&self.instance(name, *slot)?.cpu));
        let mut sum: Vec<f64> = vec![];
        for ring in rings {
            // Aligned at now: the newest of each belongs together.
            sum.resize(sum.len().max(ring.iter().len()), 0.0);
            ring.iter().rev().zip(&mut sum).for_each(|(value, sum)| *sum += value);
        }
        sum.reverse();
        sum
    }

    pub(crate) fn costs(&mut self, costs: &Costs) {
        if costs.at.0 == self.at {
            return;
        }
        let seconds = costs.at.0.saturating_sub(self.at) as f64 / 1_000.0;
        self.at = costs.at.0;
        let (busy, all) = (costs.host.cpu_busy_s.0, costs.host.cpu_all_s.0);
        if let Some((busy_before, all_before)) = self.host_before.replace((busy, all))
            && all > all_before
        {
            let part = (busy - busy_before) / (all - all_before);
            self.host.push((part * 100.0).clamp(0.0, 100.0));
        }
        for cost in &costs.instances {
            let slots = self.instances.entry(cost.name.clone()).or_default();
            slots.entry(cost.slot).or_default().sample(cost, seconds);
        }
    }

    pub(crate) fn queues(&mut self, queues: &[Queue], now_ms: u64) {
        for queue in queues {
            let past = self.queues.entry(queue.name.clone()).or_default();
            let counts = &queue.counts;
            past.open.push(counts.open() as f64);
            let ended = counts.completed + counts.cancelled + counts.discarded;
            if let Some((before, at)) = past.before.replace((ended, now_ms)) {
                let seconds = now_ms.saturating_sub(at).max(1) as f64 / 1_000.0;
                // Finished tasks are dropped from the history in time.
                past.ended.push(ended.saturating_sub(before) as f64 / seconds);
            }
        }
        self.queues.retain(|name, _| queues.iter().any(|queue| queue.name == *name));
    }

    /// Who is no longer there has no past.
    pub(crate) fn keep(&mut self, instances: &[Instance]) {
        let mut there: HashMap<&str, Vec<u32>> = HashMap::new();
        for one in instances {
            there.entry(&one.name).or_default().push(one.slot);
        }
        self.instances.retain(|name, slots| {
            let there = there.get(&**name);
            slots.retain(|slot, _| there.is_some_and(|there| there.contains(slot)));
            !slots.is_empty()
        });
    }
}

impl Past {
    fn sample(&mut self, cost: &InstanceCost, seconds: f64) {
        self.cpu.push(cost.cpu_percent);
        let now = (cost.read_bytes, cost.written_bytes);
        self.disk = self.totals.replace(now).filter(|_| seconds > 0.0).map(|before| {
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            (rate(now.0, before.0), rate(now.1, before.1))
        });
    }
}
