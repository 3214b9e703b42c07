use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use proptest::prelude::*;

use super::chunk::{Chunk, part, put_varint, varint};
use super::tree::Tree;
use super::*;
use crate::table::KeyTable;

type Pair = (Vec<u8>, Vec<u8>);

fn read(runs: &[Run], (from, to): (Cut, Cut)) -> Result<Vec<Pair>, SortError> {
    let mut merge = Merge::range(runs, from, to)?;
    let mut seen: Vec<Pair> = Vec::new();
    while let Some(record) = merge.read()? {
        assert_eq!(record.again, seen.last().is_some_and(|last| last.0 == record.key));
        seen.push((record.key.to_vec(), record.value.to_vec()));
    }
    assert!(merge.read()?.is_none(), "the end stays the end");
    Ok(seen)
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(0_u8..3, 0..30),
        prop::collection::vec(b'a'..=b'c', 0..4),
        prop::collection::vec(b'x'..=b'y', 0..4).prop_map(|tail| [
            b"the same thirty-two bytes of a key, and more: ".to_vec(),
            tail
        ]
        .concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_chunk_is_sorted(keys in prop::collection::vec(keys(), 0..120)) {
        let mut chunk = Chunk::default();
        for key in &keys {
            chunk.push(key, b"v");
        }
        chunk.sort();
        let seen: Vec<_> = chunk.records().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        let mut expected: Vec<_> = keys.into_iter().map(|key| (key, b"\x01v".to_vec())).collect();
        expected.sort();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn parts_are_in_the_order_of_keys(a in keys(), b in keys()) {
        if part(&a, 0) != part(&b, 0) {
            prop_assert_eq!(part(&a, 0) < part(&b, 0), a < b);
        }
        prop_assert_eq!(Cut::before(&a) < Cut::before(&b), a.iter().chain(&[0; 32]).take(32).lt(b.iter().chain(&[0; 32]).take(32)));
    }

    #[test]
    fn numbers_come_back(value in prop_oneof![0_usize..300, any::<u32>().prop_map(|n| n as usize)]) {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, value);
        prop_assert_eq!(varint(&bytes), Some((value, bytes.len())));
        prop_assert_eq!(varint(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn a_tree_takes_the_least_first(lists in prop::collection::vec(prop::collection::vec(0_u8..9, 0..6), 1..9)) {
        let mut lists: Vec<Vec<u8>> = lists;
        for list in &mut lists {
            list.sort_unstable_by(|a, b| b.cmp(a));
        }
        let mut expected: Vec<u8> = lists.concat();
        expected.sort_unstable();
        let before = |lists: &[Vec<u8>], a: usize, b: usize| match (lists[a].last(), lists[b].last()) {
            (Some(one), Some(two)) => (one, a) < (two, b),
            (one, two) => (one.is_none(), a) < (two.is_none(), b),
        };
        let mut tree = Tree::new(lists.len(), |a, b| before(&lists, a, b));
        let mut seen = Vec::new();
        while let Some(value) = lists[tree.winner()].pop() {
            seen.push(value);
            tree.replay(|a, b| before(&lists, a, b));
        }
        prop_assert_eq!(seen, expected);
    }

    /// Whatever the order, the values of all keys come back, in ranges of any number.
    #[test]
    fn what_was_pushed_comes_back_in_order(
        records in prop::collection::vec((keys(), prop::collection::vec(any::<u8>(), 0..4)), 0..200),
        count in 1_usize..5,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (budget, spills) = (Budget::new(0, 2), Spills::new(folder.path(), "t"));
        let mut runs = Vec::new();
        for half in records.chunks(records.len() / 2 + 1) {
            let mut sorter = Sorter::new(&budget, &spills);
            for (key, value) in half {
                sorter.push(key, value).unwrap();
            }
            runs.extend(sorter.finish().unwrap());
        }
        let mut seen = Vec::new();
        for range in ranges(&runs, count) {
            seen.extend(read(&runs, range).unwrap());
        }
        prop_assert!(seen.is_sorted_by_key(|(key, _)| key.clone()));
        let mut expected = records;
        expected.sort();
        seen.sort();
        prop_assert_eq!(seen, expected);
        Sorter::release(&budget, runs);
        prop_assert_eq!(budget.taken(), 0);
    }
}

/// A number without a pattern (splitmix64), so that runs don't pack.
fn noise(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn push_noise(sorter: &mut Sorter<'_>, records: u64) {
    for n in 0..records {
        let value = [noise(n * 2).to_le_bytes(), noise(n * 2 + 1).to_le_bytes()].concat();
        sorter.push(&noise(n).to_be_bytes(), &value).unwrap();
    }
}

/// More than the budget: runs go into files, the budget holds, ranges cut the keys evenly, and the files are gone in the end.
#[test]
fn what_does_not_fit_is_spilled() {
    const RECORDS: u64 = 250_000;
    let folder = tempfile::tempdir().unwrap();
    let (budget, spills) = (Budget::new(4 << 20, 1), Spills::new(folder.path(), "job"));
    let mut sorter = Sorter::new(&budget, &spills);
    push_noise(&mut sorter, RECORDS);
    assert!(spills.made() > 0);
    assert!(budget.taken() <= 4 << 20, "{}", budget.taken());
    let runs = sorter.finish().unwrap();
    assert!(runs.iter().any(|run| run.path().is_some_and(std::path::Path::exists)));
    assert_eq!(runs.iter().map(Run::records).sum::<u64>(), RECORDS);
    let mut expected: Vec<u64> = (0..RECORDS).map(noise).collect();
    expected.sort_unstable();
    let mut seen = Vec::new();
    let both = ranges(&runs, 2);
    assert_eq!(both.len(), 2);
    for range in both {
        let part = read(&runs, range).unwrap();
        assert!(part.len() as u64 > RECORDS / 3, "{}", part.len());
        seen.extend(part.into_iter().map(|(key, _)| u64::from_be_bytes(key.try_into().unwrap())));
    }
    assert_eq!(seen, expected);
    Sorter::release(&budget, runs);
    assert_eq!(budget.taken(), 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// M1: a bit that flipped in a spill is told with the file and the block; so is a file that was cut.
#[test]
fn a_damaged_run_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (budget, spills) = (Budget::new(4 << 20, 1), Spills::new(folder.path(), "job"));
    let mut sorter = Sorter::new(&budget, &spills);
    push_noise(&mut sorter, 250_000);
    let runs = sorter.finish().unwrap();
    let damaged = runs.iter().find_map(Run::path).unwrap().to_path_buf();
    let file = OpenOptions::new().read(true).write(true).open(&damaged).unwrap();
    let (middle, mut byte) = (file.metadata().unwrap().len() / 2, [0]);
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 4], middle).unwrap();
    let error = read(&runs, (Cut::LEAST, Cut::MOST)).unwrap_err();
    let SortError::Corrupt { path, block, offset } = error else { panic!("{error}") };
    assert!(path == damaged && block > 0 && offset <= middle, "{block} {offset} {middle}");
    file.write_all_at(&byte, middle).unwrap();
    assert_eq!(read(&runs, (Cut::LEAST, Cut::MOST)).unwrap().len(), 250_000);
    file.set_len(middle).unwrap();
    let error = read(&runs, (Cut::LEAST, Cut::MOST)).unwrap_err();
    assert!(matches!(error, SortError::Corrupt { .. }), "{error}");
}

#[test]
fn a_folder_that_is_gone_is_an_error_and_the_budget_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let (budget, spills) =
        (Budget::new(4 << 20, 1), Spills::new(folder.path().join("none"), "job"));
    let mut sorter = Sorter::new(&budget, &spills);
    let pushed = (0..1_000_000_u64)
        .try_for_each(|n| sorter.push(&noise(n).to_be_bytes(), &noise(n + 7).to_le_bytes()));
    let error = pushed.unwrap_err();
    assert!(matches!(error, SortError::Io { step: "create", .. }), "{error}");
    drop(sorter);
    assert_eq!(budget.taken(), 0);
}

/// A device without room (`/dev/full`) is a typed error.
#[test]
fn no_space_is_told_as_that() {
    use std::io::Write as _;
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap().write_all(b"x");
    let error = SortError::io("write", "/spill/x.run")(full.unwrap_err());
    assert_eq!(error, SortError::Full { path: "/spill/x.run".into() });
}

/// Records longer than a chunk, and one key for nearly all.
#[test]
fn long_records_and_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let (budget, spills) = (Budget::new(4 << 20, 1), Spills::new(folder.path(), "job"));
    let mut sorter = Sorter::new(&budget, &spills);
    let long: Vec<u8> = (0..120_000).flat_map(|n| noise(n).to_le_bytes()).collect();
    for n in 0..20_000_u64 {
        sorter.push(b"one", &n.to_be_bytes()).unwrap();
    }
    sorter.push(&long, b"l").unwrap();
    sorter.push(b"two", &long).unwrap();
    let runs = sorter.finish().unwrap();
    let mut seen = 0;
    for range in ranges(&runs, 4) {
        seen += read(&runs, range).unwrap().len();
    }
    assert_eq!(seen, 20_002);
    let all = read(&runs, (Cut::LEAST, Cut::MOST)).unwrap();
    assert!(all.iter().any(|(key, value)| *key == long && value == b"l"));
    assert!(all.iter().any(|(key, value)| key == b"two" && *value == long));
}

/// Tables that were full come together again, whatever their order.
#[test]
fn contents_of_tables_are_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (budget, spills) = (Budget::new(4 << 20, 1), Spills::new(folder.path(), "job"));
    let mut sorter = Sorter::new(&budget, &spills);
    for _ in 0..3 {
        let mut table = KeyTable::default();
        for n in 0..5_000_u64 {
            table.fold(format!("key {n}").as_bytes(), 2_u64);
        }
        let encode = |value: u64, out: &mut Vec<u8>| out.extend(value.to_le_bytes());
        sorter.push_sorted(&table.take_sorted(), encode).unwrap();
    }
    let runs = sorter.finish().unwrap();
    assert_eq!(runs.len(), 3);
    let seen = read(&runs, (Cut::LEAST, Cut::MOST)).unwrap();
    assert_eq!(seen.len(), 15_000);
    assert!(seen.iter().all(|(_, value)| *value == 2_u64.to_le_bytes()));
    assert!(seen.chunks(3).all(|three| three[0].0 == three[2].0));
}
