use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

fn content(runs: &[Sorted<u64>]) -> Vec<(Vec<u8>, u64)> {
    let mut seen = Vec::new();
    merged(runs, |key, value| {
        seen.push((key.to_vec(), value));
        Ok::<(), Infallible>(())
    })
    .unwrap();
    seen
}

/// Keys around what makes one short: zeros at the end, 15 to 17 bytes, the same start.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(0_u8..3, 0..5),
        prop::collection::vec(0_u8..2, 14..19),
        prop::collection::vec(b'a'..=b'b', 0..3).prop_map(|tail| [
            b"a long beginning ".to_vec(),
            tail
        ]
        .concat()),
        "[a-z]{1,6}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// The same as a sorted map, over several tables and several rounds.
    #[test]
    fn a_table_is_a_map(
        folds in prop::collection::vec((keys(), 1_u64..9, 0_usize..3, prop::bool::weighted(0.02)), 0..400)
    ) {
        let mut tables = [KeyTable::default(), KeyTable::default(), KeyTable::default()];
        let mut map = BTreeMap::new();
        let mut runs = Vec::new();
        for (key, value, table, take) in folds {
            tables[table].fold(&key, value);
            *map.entry(key).or_insert(0) += value;
            if take {
                runs.push(tables[table].take_sorted());
                prop_assert!(tables[table].is_empty());
            }
        }
        runs.extend(tables.iter_mut().map(KeyTable::take_sorted));
        prop_assert_eq!(content(&runs), map.into_iter().collect::<Vec<_>>());
    }

    /// A window gives the same key as the bytes themselves, whatever stands behind them.
    #[test]
    fn a_window_is_its_first_bytes(window in prop::array::uniform16(0_u8..4), length in 1_usize..17) {
        prop_assert_eq!(ShortKey::of_window(&window, length), ShortKey::new(&window[..length]));
    }
}

#[test]
fn it_grows() {
    let mut table = KeyTable::default();
    for n in 0..50_000_u64 {
        table.fold(&n.to_be_bytes(), n + 1);
        table.fold(&n.to_be_bytes(), 1);
    }
    assert_eq!(table.len(), 50_000);
    assert!(table.memory() > 50_000 * 24 * 3);
    let seen = content(&[table.take_sorted()]);
    assert_eq!(seen.len(), 50_000);
    assert!(
        seen.iter()
            .zip(0_u64..)
            .all(|((key, value), n)| *key == n.to_be_bytes() && *value == n + 2)
    );
}
