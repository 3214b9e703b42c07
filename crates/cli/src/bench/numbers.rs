//! From times to figures.

use std::time::Duration;

/// The value that `percent` of all are at or below; 0 of none.
pub(super) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.len().saturating_sub(1) * percent / 100;
    values.get(at).copied().unwrap_or(0.0)
}

/// The same of times, in microseconds.
pub(super) fn percentile_us(times: &[Duration], percent: usize) -> f64 {
    let mut values: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
    percentile(&mut values, percent)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_few_and_many() {
        let mut many: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!([0, 50, 99, 100].map(|p| percentile(&mut many, p)), [0.0, 50.0, 99.0, 100.0]);
        assert_eq!([50, 99].map(|p| percentile(&mut [3.0], p)), [3.0, 3.0]);
        assert!((percentile(&mut [], 50)).abs() < 1e-9);
        let times = [3, 1, 2].map(Duration::from_micros);
        assert!((percentile_us(&times, 50) - 2.0).abs() < 1e-6);
    }
}
