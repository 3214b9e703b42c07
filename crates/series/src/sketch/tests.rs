use proptest::prelude::*;

use super::*;

fn of(values: &[i64]) -> Sketch {
    let mut sketch = Sketch::new();
    for value in values {
        sketch.add(*value, 1);
    }
    sketch
}

fn bytes(sketch: &Sketch) -> Vec<u8> {
    let mut out = Vec::new();
    sketch.put(&mut out);
    out
}

/// The value that [`Sketch::quantile`] promises to be near to.
fn exact(sorted: &[i64], q: f64) -> f64 {
    sorted[(q * (sorted.len() - 1) as f64).floor() as usize] as f64
}

fn assert_near(values: &[i64], q: f64) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let (exact, told) = (exact(&sorted, q), of(values).quantile(q).unwrap());
    // The last bit is the float's own.
    assert!(
        (told - exact).abs() <= ALPHA * exact.abs() * (1.0 + 1e-12),
        "p{q}: {told} for {exact}"
    );
}

#[test]
fn bins_cover_every_integer() {
    for value in
        (1..2_000).chain((0..63).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1]))
    {
        if value == 0 {
            continue;
        }
        let told = middle(bin(value));
        assert!(
            (told - value as f64).abs() <= ALPHA * value as f64 * (1.0 + 1e-12),
            "{value}: {told}"
        );
    }
    assert!(usize::from(bin(i64::MAX.unsigned_abs()).unsigned_abs()) <= BINS);
    assert_near(&[i64::MIN, i64::MAX], 0.0);
    assert_near(&[i64::MIN, i64::MAX], 1.0);
}

#[test]
fn small_integers_are_exact() {
    let values: Vec<i64> = (-40..40).collect();
    let sketch = of(&values);
    for (rank, value) in values.iter().enumerate() {
        let q = (rank as f64 + 0.01) / 79.0;
        assert_eq!(sketch.quantile(q.min(1.0)), Some(*value as f64), "{value}");
    }
}

#[test]
fn nothing_has_no_quantile() {
    let mut sketch = Sketch::new();
    assert_eq!(sketch.quantile(0.5), None);
    sketch.add(7, 0);
    assert_eq!(sketch, Sketch::new());
}

/// Issue 6, M4: log-normal values over six decades, as latencies are, and their day in 1,440 minutes.
#[test]
fn a_day_of_minutes_merged_is_one_pass_bit_for_bit() {
    let mut random = fastrand::Rng::with_seed(6);
    let day: Vec<i64> = (0..86_400)
        .map(|_| {
            let normal: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
            (2_000.0 * (2.0 * normal).exp()) as i64
        })
        .collect();
    let minutes: Vec<Sketch> = day.chunks(60).map(of).collect();
    assert_eq!(minutes.len(), 1_440);
    let mut merged = Sketch::new();
    // As stored: through their bytes, and in an order that is not time's.
    for minute in minutes.iter().rev() {
        merged.merge(&Sketch::take(&mut Take(&bytes(minute))).unwrap());
    }
    let once = of(&day);
    assert_eq!(bytes(&merged), bytes(&once));
    assert_eq!(merged, once);
    for q in [0.5, 0.9, 0.95, 0.99, 0.999] {
        assert_near(&day, q);
    }
}

proptest! {
    #[test]
    fn quantiles_are_within_a_percent(values in prop::collection::vec(prop_oneof![any::<i64>(), -100i64..100_000], 1..300), q in 0.0f64..=1.0) {
        assert_near(&values, q);
    }

    #[test]
    fn merging_is_adding(
        a in prop::collection::vec(any::<i64>(), 0..100),
        b in prop::collection::vec(-50i64..50, 0..100),
        c in prop::collection::vec(0i64..1_000_000, 0..100),
    ) {
        let all = of(&[a.clone(), b.clone(), c.clone()].concat());
        let mut left = of(&a);
        left.merge(&of(&b));
        left.merge(&of(&c));
        let mut right = of(&c);
        right.merge(&of(&a));
        right.merge(&of(&b));
        prop_assert_eq!(&left, &all);
        prop_assert_eq!(&right, &all);
        let stored = bytes(&all);
        let mut take = Take(&stored);
        prop_assert_eq!(Sketch::take(&mut take), Some(all));
        prop_assert!(take.0.is_empty());
    }

    #[test]
    fn weights_are_repetitions(value in any::<i64>(), times in 0u64..50) {
        let mut weighed = Sketch::new();
        weighed.add(value, times);
        prop_assert_eq!(weighed, of(&vec![value; times as usize]));
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Some(sketch) = Sketch::take(&mut Take(&noise)) {
            prop_assert!(sketch.quantile(0.5).is_some() || sketch.count() == 0);
        }
    }
}
