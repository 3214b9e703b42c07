//! What the engine calls unusual, and what it does not.

use proptest::prelude::*;

use super::*;

/// Alarms (decades at or above [`UNUSUAL`], repeats hushed) of a series of one value in `every` seconds.
fn alarms(every: i64, values: impl Iterator<Item = f64>) -> Vec<usize> {
    let (mut engine, mut hush) = (Engine::new(), Hush::default());
    let judged = values.enumerate().map(|(i, value)| {
        let verdict = engine.push(i as i64 * every, value).unwrap();
        (i, hush.news(verdict.decades))
    });
    judged.filter(|(_, news)| *news >= UNUSUAL).map(|(i, _)| i).collect()
}

#[test]
fn a_constant_is_never_unusual_and_its_first_move_is() {
    assert!(alarms(10, std::iter::repeat_n(5.0, 3_000)).is_empty());
    let found = alarms(10, (0..3_000).map(|i| if i < 2_500 { 5.0 } else { 9.0 }));
    assert_eq!(found.first(), Some(&2_500));
}

#[test]
fn a_jump_out_of_noise_is_found_at_once() {
    let mut random = fastrand::Rng::with_seed(3);
    let values =
        (0..4_000).map(|i| 100.0 + 10.0 * random.f64() + if i >= 3_000 { 80.0 } else { 0.0 });
    let found = alarms(10, values);
    assert!(
        found.contains(&3_000) && found.iter().filter(|i| **i < 3_000).count() <= 1,
        "{found:?}"
    );
}

#[test]
fn noise_alone_is_rarely_unusual() {
    let mut random = fastrand::Rng::with_seed(4);
    let values: Vec<f64> = (0..20_000).map(|_| (0..6).map(|_| random.f64()).sum()).collect();
    let found = alarms(10, values.into_iter());
    assert!(found.len() <= 20, "{} in 20,000: {found:?}", found.len());
}

#[test]
fn a_daily_load_is_known_after_some_days_and_a_missing_peak_is_seen() {
    let peak = |i: usize| 10.0 + 5.0 * ((i % 288) as f64 / 288.0 * std::f64::consts::TAU).sin();
    let mut random = fastrand::Rng::with_seed(5);
    let values: Vec<f64> = (0..4_032)
        .map(|i| random.f64() + if (3_220..3_300).contains(&i) { 10.0 } else { peak(i) })
        .collect();
    let found = alarms(300, values.into_iter());
    assert!(found.iter().any(|i| (3_220..3_320).contains(i)), "{found:?}");
    assert!(found.iter().filter(|i| **i < 3_220).count() <= 2, "{found:?}");
}

#[test]
fn what_is_no_number_is_not_learnt() {
    let mut engine = Engine::new();
    assert_eq!(engine.push(0, f64::NAN), None);
    assert_eq!(engine.push(0, f64::INFINITY), None);
    assert_eq!(engine, Engine::new());
    assert!(engine.push(0, f64::MAX).is_some());
}

#[test]
fn the_state_is_bounded_and_survives_a_restart() {
    let mut engine = Engine::new();
    let mut random = fastrand::Rng::with_seed(6);
    for i in 0..30_000 {
        engine.push(i * 60, random.f64() * 1e12).unwrap();
    }
    assert!(engine.state_bytes() <= STATE_MAX, "{}", engine.state_bytes());
    let json = serde_json::to_string(&engine).unwrap();
    assert!(json.len() <= 6 * STATE_MAX, "{}", json.len());
    let mut back: Engine = serde_json::from_str(&json).unwrap();
    for i in 30_000..30_200 {
        let value = random.f64() * 1e12;
        assert_eq!(engine.push(i * 60, value), back.push(i * 60, value));
    }
}

proptest! {
    #[test]
    fn any_numbers_at_any_times_give_a_finite_verdict(
        samples in prop::collection::vec((any::<i64>(), any::<f64>()), 1..400)
    ) {
        let mut engine = Engine::new();
        for (at, value) in samples {
            // Times beyond 10,000 years do not come from a clock.
            if let Some(verdict) = engine.push(at / 100_000_000, value) {
                prop_assert!(verdict.decades.is_finite() && verdict.decades >= 0.0);
                prop_assert!(verdict.expected.is_finite() && verdict.short.is_finite());
            }
        }
    }
}
