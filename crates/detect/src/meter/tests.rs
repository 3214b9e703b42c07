//! What is a spike, what is a shift, and what is neither.

use super::*;

/// Findings' detectors with the second in which each began to be seen, of CPU at 1 Hz.
fn found(
    seconds: u64,
    reload_s: Option<u64>,
    value: impl Fn(u64) -> f64,
) -> Vec<(u64, Detector, bool)> {
    let mut meter = Meter::new(Metric::Cpu);
    let mut seen: Vec<(u64, Detector, bool)> = Vec::new();
    let mut last = None;
    for s in 0..seconds {
        let reload = reload_s.filter(|at| *at <= s).map(|at| at * 1_000);
        meter.sample(s * 1_000, s as i64, value(s), reload);
        let now = meter.look("w#1", s * 1_000).map(|f| (f.detector, f.deploy));
        if let Some((detector, deploy)) = now.filter(|_| now != last) {
            seen.push((s, detector, deploy));
        }
        last = now;
    }
    seen
}

fn noisy(level: f64, s: u64) -> f64 {
    level * (0.8 + 0.4 * fastrand::Rng::with_seed(s).f64())
}

#[test]
fn a_minute_of_full_cpu_is_a_spike() {
    let seen =
        found(4_000, None, |s| noisy(if (3_000..3_060).contains(&s) { 1.0 } else { 0.1 }, s));
    assert!(matches!(seen[..], [(3_020..=3_050, Detector::Spike, false)]), "{seen:?}");
}

#[test]
fn ten_seconds_of_it_and_small_change_are_none() {
    assert_eq!(
        found(4_000, None, |s| noisy(if (3_000..3_010).contains(&s) { 1.0 } else { 0.1 }, s)),
        []
    );
    assert_eq!(found(4_000, None, |s| if s >= 3_000 { 0.06 } else { 0.02 }), [], "below the floor");
}

#[test]
fn a_new_level_is_a_shift_and_the_deploy_s_if_one_was() {
    let level = |s: u64| noisy(if s >= 3_000 { 0.3 } else { 0.2 }, s);
    let seen = found(6_000, None, level);
    assert!(matches!(seen[..], [(3_150..=3_310, Detector::LevelShift, false)]), "{seen:?}");
    let seen = found(6_000, Some(2_990), level);
    assert!(matches!(seen[..], [(3_150..=3_310, Detector::LevelShift, true)]), "{seen:?}");
    let seen = found(6_000, Some(2_000), level);
    assert!(
        matches!(seen[..], [(_, Detector::LevelShift, false)]),
        "an old reload has nothing to do with it: {seen:?}"
    );
}

#[test]
fn a_fall_is_told_only_after_a_reload() {
    let level = |s: u64| noisy(if s >= 3_000 { 0.1 } else { 0.5 }, s);
    assert_eq!(found(6_000, None, level), []);
    assert!(matches!(found(6_000, Some(2_995), level)[..], [(_, Detector::LevelShift, true)]));
}

#[test]
fn bursts_a_wave_and_a_ramp_are_none() {
    for (period, length) in [(600, 60), (300, 20), (900, 120)] {
        let seen = found(12_000, None, |s| noisy(if s % period < length { 0.9 } else { 0.02 }, s));
        assert!(seen.is_empty(), "bursts of {length} s in {period} s: {seen:?}");
    }
    let wave = |s: u64| noisy(0.5 + 0.4 * (s as f64 / 600.0 * std::f64::consts::TAU).sin(), s);
    assert_eq!(found(12_000, None, wave), []);
    assert_eq!(found(12_000, None, |s| noisy(0.1 + s as f64 / 12_000.0 * 0.8, s)), []);
}

#[test]
fn windows_are_bounded() {
    let mut meter = Meter::new(Metric::Cpu);
    (0..20_000).for_each(|s| {
        meter.sample(s * 1_000, s as i64, f64::from(u32::try_from(s % 7).unwrap()), None)
    });
    assert_eq!(meter.recent.len(), 2 * WINDOW);
    assert!(meter.season(5).is_none());
}
