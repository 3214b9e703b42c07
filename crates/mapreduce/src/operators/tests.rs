use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::table::merged;

fn counted(blocks: &[&[u8]]) -> (Vec<(Vec<u8>, u64)>, u64) {
    let mut counter = WordCount::default();
    blocks.iter().for_each(|block| counter.feed(block));
    let mut seen = Vec::new();
    let words = counter.words();
    merged(&[counter.take_sorted()], |key, value| {
        seen.push((key.to_vec(), value));
        Ok::<(), Infallible>(())
    })
    .unwrap();
    (seen, words)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn words_are_what_stands_between_white_space(
        block in prop::collection::vec(prop_oneof![Just(b' '), Just(b'\n'), 0_u8..16, b'a'..b'd', any::<u8>()], 0..400)
    ) {
        let mut expected = BTreeMap::<Vec<u8>, u64>::new();
        for word in block.split(|byte| is_space(*byte)).filter(|word| !word.is_empty()) {
            *expected.entry(word.to_vec()).or_default() += 1;
        }
        let total: u64 = expected.values().sum();
        let (seen, words) = counted(&[&block]);
        prop_assert_eq!(seen, expected.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(words, total);
    }
}

#[test]
fn words_of_any_length_at_the_edges_of_a_chunk() {
    for length in [1, 15, 16, 17, 63, 64, 65, 200] {
        for before in [0, 1, 47, 48, 49, 62, 63, 64] {
            let block = [vec![b' '; before], vec![b'w'; length]].concat();
            assert_eq!(counted(&[&block]).0, [(vec![b'w'; length], 1)], "{before} {length}");
        }
    }
    assert_eq!(counted(&[b"a b", b"b"]), (vec![(b"a".to_vec(), 1), (b"b".to_vec(), 2)], 3));
}

proptest! {
    /// Sums are exact in any order, and what is shown is read back.
    #[test]
    fn numbers_add_up_in_any_order(numbers in prop::collection::vec(-10_000_000_000_i64..10_000_000_000, 1..30), turn in 0_usize..30) {
        let parse = |n: &i64| {
            let sign = if *n < 0 { "-" } else { "" };
            Decimal::parse(format!("{sign}{}.{:06}", n.abs() / 1_000_000, n.abs() % 1_000_000).as_bytes()).unwrap()
        };
        let sum = |numbers: &[i64]| numbers.iter().map(parse).reduce(|one, other| one + other).unwrap();
        let mut turned = numbers.clone();
        turned.rotate_left(turn % numbers.len());
        let whole = sum(&numbers);
        prop_assert_eq!(whole, sum(&turned));
        prop_assert_eq!(whole, parse(&numbers.iter().sum()));
        prop_assert_eq!(Decimal::parse(whole.to_string().as_bytes()), Some(whole));
    }
}

#[test]
fn what_is_a_number_and_what_is_not() {
    let shown = |text: &str| Decimal::parse(text.as_bytes()).map(|n| n.to_string());
    for (text, expected) in
        [(" 12 ", "12"), ("-0.50", "-0.5"), (".25", "0.25"), ("+3.", "3"), ("-0", "0")]
    {
        assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
    }
    for text in ["", "-", ".", "1e3", "0x1", "1.2.3", "123456789012", "0.1234567891", "NaN", "1 2"]
    {
        assert_eq!(shown(text), None, "{text}");
    }
}

#[test]
fn records_that_match() {
    let grep = Grep::new(r"^a.*b$").unwrap();
    assert!(grep.takes(b"axb"));
    assert!(!grep.takes(b"xab") && grep.takes(b"ab"));
    assert!(Grep::new("(").is_err());
}
