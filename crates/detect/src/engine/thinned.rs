//! Quantiles of a long past in a small space: a thinned memory of it.
//!
//! Every `stride`-th value is kept. When 128 are, every second is dropped and the stride doubles, up to 32: then the memory
//! spans 4,096 values and the oldest goes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Values kept.
const KEPT: usize = 128;
/// `KEPT` times this is the span, which is the baseline's.
const STRIDE_MAX: u32 = 32;

/// The memory; sorted when it changes, so that reading is a look.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Thinned {
    values: VecDeque<f32>,
    sorted: Vec<f32>,
    stride: u32,
    until_next: u32,
}

impl Thinned {
    pub(crate) fn add(&mut self, value: f64) {
        if self.until_next > 0 {
            self.until_next -= 1;
            return;
        }
        self.stride = self.stride.max(1);
        if self.values.len() == KEPT {
            if self.stride < STRIDE_MAX {
                let mut n = 0_u32;
                self.values.retain(|_| {
                    n += 1;
                    n % 2 == 1
                });
                self.stride *= 2;
                self.sorted = self.values.iter().copied().collect();
                self.sorted.sort_unstable_by(f32::total_cmp);
            } else if let Some(oldest) = self.values.pop_front() {
                let at = self.sorted.partition_point(|v| v.total_cmp(&oldest).is_lt());
                self.sorted.remove(at.min(self.sorted.len() - 1));
            }
        }
        self.until_next = self.stride - 1;
        let value = value as f32;
        self.values.push_back(value);
        let at = self.sorted.partition_point(|v| v.total_cmp(&value).is_lt());
        self.sorted.insert(at, value);
    }

    /// The value below which `share` (0..1) of the remembered lie; `None` while there is none.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        let at = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        self.sorted.get(at).map(|v| f64::from(*v))
    }

    /// Share of the remembered that lies above `value`; 0 of nothing.
    pub(crate) fn share_above(&self, value: f64) -> f64 {
        let value = value as f32;
        let below = self.sorted.partition_point(|v| v.total_cmp(&value).is_le());
        (self.sorted.len() - below) as f64 / self.sorted.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_spans_the_baseline_and_forgets_what_is_older() {
        let mut thinned = Thinned::default();
        assert_eq!(thinned.quantile(0.5), None);
        (0..20_000).for_each(|n| thinned.add(f64::from(n)));
        let (low, mid) = (thinned.quantile(0.0).unwrap(), thinned.quantile(0.5).unwrap());
        assert!((15_800.0..16_000.0).contains(&low), "{low}");
        assert!((17_800.0..18_100.0).contains(&mid), "{mid}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_is_sorted_is_what_is_kept(values in prop::collection::vec(-1e6f64..1e6, 1..9_000)) {
            let mut thinned = Thinned::default();
            values.iter().for_each(|v| thinned.add(*v));
            let mut kept: Vec<f32> = thinned.values.iter().copied().collect();
            kept.sort_unstable_by(f32::total_cmp);
            prop_assert_eq!(&kept, &thinned.sorted);
            prop_assert!(kept.len() <= KEPT);
        }
    }
}
