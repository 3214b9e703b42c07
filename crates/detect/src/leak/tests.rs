//! What is called a leak and what is not.

use super::*;

const MIB: f64 = 1_048_576.0;

/// Seconds at which a memory of `value(second)` is called a leak under a limit of 1 GiB, with the time to the limit.
fn found(seconds: u64, value: impl Fn(u64) -> f64) -> Option<(u64, f64)> {
    let mut leak = Leak::new(Metric::Memory);
    (0..seconds).find_map(|second| {
        let finding = leak.sample("w#1", second * 1_000, value(second), Some(1_024.0 * MIB))?;
        Some((second, finding.eta_s.unwrap()))
    })
}

fn noise(second: u64) -> f64 {
    fastrand::Rng::with_seed(second).f64() * 20.0 * MIB
}

#[test]
fn a_fast_leak_is_found_long_before_the_limit_and_a_slow_one_within_the_hour() {
    // 50 MiB a minute: full after 19 min.
    let (at, eta) = found(3_600, |s| (100.0 + s as f64 * 50.0 / 60.0) * MIB + noise(s)).unwrap();
    let truth = (924.0 / (50.0 / 60.0)) - at as f64;
    assert!(at < 800 && (eta - truth).abs() < 60.0, "{at} {eta} {truth}");
    // 30 MiB an hour: full after 31 h.
    let (at, eta) =
        found(7_200, |s| (100.0 + s as f64 * 30.0 / 3_600.0) * MIB + noise(s) / 20.0).unwrap();
    assert!(at < 3_700 && (80_000.0..140_000.0).contains(&eta), "{at} {eta}");
}

#[test]
fn a_collector_s_sawtooth_is_no_leak() {
    for period in [60, 300, 900, 2_400] {
        let saw = |s: u64| (100.0 + (s % period) as f64 / period as f64 * 400.0) * MIB + noise(s);
        // The first tooth of 40 min may be taken for a leak while nobody can know: look from the second on.
        let mut leak = Leak::new(Metric::Memory);
        let late = (0..14_400_u64).filter(|s| {
            leak.sample("w#1", s * 1_000, saw(*s), Some(1_024.0 * MIB)).is_some()
                && *s > period + 200
        });
        assert_eq!(late.count(), 0, "period {period}");
    }
}

#[test]
fn a_sawtooth_that_climbs_beyond_its_teeth_is_one() {
    let saw = |s: u64| (100.0 + s as f64 / 60.0 + (s % 120) as f64 / 120.0 * 100.0) * MIB;
    assert!(found(14_400, saw).is_some());
}

#[test]
fn a_warming_cache_is_no_leak() {
    for tau in [120.0, 600.0, 1_800.0] {
        let cache =
            |s: u64| (100.0 + 500.0 * (1.0 - (-(s as f64) / tau).exp())) * MIB + noise(s) / 10.0;
        assert_eq!(found(14_400, cache), None, "time constant {tau} s");
    }
}

#[test]
fn a_constant_noise_and_a_random_walk_are_none() {
    assert_eq!(found(14_400, |s| 500.0 * MIB + noise(s)), None);
    let mut wrong = 0;
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut walk = vec![500.0 * MIB];
        for _ in 0..7_200 {
            let last = walk[walk.len() - 1];
            walk.push(last + (random.f64() - 0.5) * 2.0 * MIB);
        }
        wrong += usize::from(found(7_200, |s| walk[s as usize]).is_some());
    }
    assert!(wrong <= 2, "{wrong} of 20 random walks");
}

#[test]
fn descriptors_leak_too_and_a_restart_forgets() {
    let mut leak = Leak::new(Metric::Fds);
    let mut sample =
        |s: u64| leak.sample("w#1", s * 1_000, 20.0 + (s / 10) as f64, Some(1_024.0)).is_some();
    assert!((0..2_400).any(&mut sample));
    leak.restarted();
    assert!(leak.sample("w#1", 2_400_000, 20.0, Some(1_024.0)).is_none());
}

#[test]
fn minima_are_bounded() {
    let mut leak = Leak::new(Metric::Memory);
    (0..40_000).for_each(|s| {
        leak.sample("w#1", s * 1_000, s as f64, None);
    });
    assert!(leak.eyes.iter().all(|eye| eye.minima.len() <= MINIMA_MAX));
}
