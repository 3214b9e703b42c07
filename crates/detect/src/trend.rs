//! Is there a trend (Mann-Kendall), and how steep is it (Theil-Sen): both by ranks and medians, so that a few wild values change nothing.

/// Pairs that Theil-Sen looks at are those of at most so many values.
const POINTS: usize = 60;
/// The autocorrelation that is corrected for, at most: a variance 19 times as wide.
const CORRELATION_MAX: f64 = 0.9;
/// A z below this is no trend, corrected or not.
const CORRECT_FROM: f64 = 3.0;

/// z of Mann-Kendall's S (1945), above zero for a rise. The variance is widened by (1+r)/(1-r), r being the first autocorrelation of what Theil-Sen's line
/// leaves over, as long as that is more than 1 % of the rise.
pub(crate) fn mann_kendall(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    if values.len() < 3 {
        return 0.0;
    }
    let mut s = 0_i64;
    for (i, a) in values.iter().enumerate() {
        for b in &values[i + 1..] {
            s += i64::from(b > a) - i64::from(b < a);
        }
    }
    let variance = n * (n - 1.0) * (2.0 * n + 5.0) / 18.0;
    // Continuity: S moves in steps of two.
    let z = (s as f64 - s.signum() as f64) / variance.sqrt();
    // The correction only brings z nearer to 0, and costs more than all the rest.
    if z.abs() < CORRECT_FROM { z } else { z / widening(values).sqrt() }
}

/// The median of the slopes between pairs, in units a step.
pub(crate) fn theil_sen(values: &[f64]) -> f64 {
    let stride = values.len().div_ceil(POINTS).max(1);
    let points: Vec<(f64, f64)> =
        values.iter().enumerate().step_by(stride).map(|(i, v)| (i as f64, *v)).collect();
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (i, a) in points.iter().enumerate() {
        slopes.extend(points[i + 1..].iter().map(|b| (b.1 - a.1) / (b.0 - a.0)));
    }
    median(&mut slopes)
}

/// The middle value; 0 of nothing.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let mid = values.len() / 2;
    *values.select_nth_unstable_by(mid, f64::total_cmp).1
}

fn widening(values: &[f64]) -> f64 {
    let slope = theil_sen(values);
    let mut left: Vec<f64> = values.iter().enumerate().map(|(i, v)| v - slope * i as f64).collect();
    let mean = left.iter().sum::<f64>() / left.len() as f64;
    left.iter_mut().for_each(|v| *v -= mean);
    let power: f64 = left.iter().map(|v| v * v).sum();
    let rise = slope * values.len() as f64;
    if power / left.len() as f64 <= (0.01 * rise).powi(2) {
        return 1.0;
    }
    let next: f64 = left.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let r = (next / power).clamp(0.0, CORRELATION_MAX);
    (1.0 + r) / (1.0 - r)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_of_the_book() {
        // n = 10, strictly rising: S = 45, variance 125, z = 44/sqrt(125).
        let rising: Vec<f64> = (0..10).map(f64::from).collect();
        assert!((mann_kendall(&rising) - 44.0 / 125f64.sqrt()).abs() < 1e-9);
        assert!((theil_sen(&rising) - 1.0).abs() < 1e-9);
        assert_eq!(mann_kendall(&[5.0; 30]), 0.0);
        assert_eq!(mann_kendall(&[1.0, 2.0]), 0.0);
    }

    #[test]
    fn a_third_of_wild_values_changes_little() {
        let mut values: Vec<f64> = (0..60).map(|i| 2.0 * f64::from(i)).collect();
        (0..60).step_by(4).for_each(|i| values[i] = 10_000.0);
        assert!((theil_sen(&values) - 2.0).abs() < 1.0);
    }

    proptest! {
        #[test]
        fn mirrored_values_have_the_mirrored_trend(values in prop::collection::vec(-1e9f64..1e9, 3..80)) {
            let mirrored: Vec<f64> = values.iter().map(|v| -v).collect();
            let (a, b) = (mann_kendall(&values), mann_kendall(&mirrored));
            prop_assert!(a.is_finite() && a * b <= 0.0);
        }
    }
}
