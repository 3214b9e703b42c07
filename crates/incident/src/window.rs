//! A sliding window: the last so many hits, with when they were.

use std::collections::VecDeque;

use crate::settings::Threshold;

/// Hits of one kind, the oldest first; never more than the threshold needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    hits: VecDeque<(u64, u64)>,
}

impl Window {
    /// A hit: record `seq` at `mono` nanoseconds. The records within the window once there are enough.
    pub(crate) fn hit(&mut self, seq: u64, mono: u64, threshold: Threshold) -> Option<Vec<u64>> {
        self.hits.push_back((mono, seq));
        self.forget(mono, threshold);
        let enough = self.hits.len() >= threshold.count.max(1) as usize;
        enough.then(|| self.hits.iter().map(|(_, seq)| *seq).collect())
    }

    /// Hits that are still in the window.
    pub(crate) fn count(&self, mono: u64, threshold: Threshold) -> usize {
        let from = since(mono, threshold);
        self.hits.iter().filter(|(at, _)| *at >= from).count()
    }

    fn forget(&mut self, mono: u64, threshold: Threshold) {
        let from = since(mono, threshold);
        while self.hits.front().is_some_and(|(at, _)| *at < from)
            || self.hits.len() > threshold.count.max(1) as usize
        {
            self.hits.pop_front();
        }
    }
}

fn since(mono: u64, threshold: Threshold) -> u64 {
    let within = u64::try_from(threshold.within.0.as_nanos()).unwrap_or(u64::MAX);
    mono.saturating_sub(within)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ganger_core::Dur;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against all hits ever, counted anew each time.
        #[test]
        fn fires_as_a_full_count_would(gaps in prop::collection::vec(0u64..50, 1..80), count in 1u32..8) {
            let threshold = Threshold { count, within: Dur(Duration::from_nanos(100)) };
            let (mut window, mut all, mut now) = (Window::default(), Vec::new(), 1_000);
            for (seq, gap) in (1u64..).zip(gaps) {
                now += gap;
                all.push((now, seq));
                let within: Vec<u64> =
                    all.iter().filter(|(at, _)| *at + 100 >= now).map(|(_, seq)| *seq).collect();
                let newest = within.len().saturating_sub(count as usize);
                let expected = (within.len() >= count as usize).then(|| within[newest..].to_vec());
                prop_assert_eq!(window.hit(seq, now, threshold), expected);
                prop_assert!(window.hits.len() <= count as usize);
            }
        }
    }
}
