//! What the fuzzers run, over a made corpus: words of the grammar in any order and number, and any bytes between them.

use std::sync::LazyLock;

use ganger_policy::Policies;
use proptest::prelude::*;

use super::fuzzed::{argv, json, policies};

const WORDS: [&str; 30] = [
    "-a",
    "-b",
    "-ab",
    "-bb",
    "-n",
    "-n5",
    "-n-5",
    "-n=5",
    "5",
    "-5",
    "--text",
    "--text=",
    "--text=-x",
    "--key=s3",
    "--key",
    "--",
    "-",
    "-type",
    "x",
    "",
    "do",
    "it",
    "/srv/a",
    "../a",
    "a/b/",
    "deny",
    "--textt",
    "−a",
    "-tpye",
    "a\nb",
];
const JSON: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"policy\"",
    "\"p\"",
    "\"args\"",
    "\"command\"",
    "\"/bin/tool\"",
    "\"env\"",
    "\"TERM\"",
    "\"stdin\"",
    "\"bytes\"",
    "1e400",
    "12",
    "null",
    "\"\\ud800\"",
    "\"-a\"",
    "\"a\"",
    "[[[[[[[[",
];

fn bytes(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let word = proptest::sample::select(words).prop_map(|word| word.as_bytes().to_vec());
    prop_oneof![9 => word, 1 => proptest::collection::vec(any::<u8>(), 0..6)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::cases(1_500), ..ProptestConfig::default() })]

    #[test]
    fn arguments(parts in proptest::collection::vec(bytes(&WORDS), 0..7)) {
        argv(&POLICIES, &parts.join(&0xfe));
    }

    #[test]
    fn requests(parts in proptest::collection::vec(bytes(&JSON), 0..24)) {
        json(&POLICIES, &parts.concat());
    }
}

/// What the fuzzers begin with, and what they found.
#[test]
fn the_seeds_of_the_fuzzers() {
    let allowed = |folder: &str, feed: fn(&Policies, &[u8]) -> bool| {
        let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
        let files = std::fs::read_dir(seeds.join(folder)).unwrap();
        let texts = files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        texts.filter(|text| feed(&POLICIES, text)).count()
    };
    let count = [allowed("argv", argv), allowed("json", json)];
    assert!(
        count.iter().all(|count| *count > 1),
        "{count:?}: seeds that are all denied lead nowhere"
    );
}

/// Compiled once: patterns are what costs.
static POLICIES: LazyLock<Policies> = LazyLock::new(policies);

/// The corpus would prove nothing if all of it were denied.
#[test]
fn the_corpus_has_what_is_allowed() {
    let policies = policies();
    let cut =
        |words: &[&str]| words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>().join(&0xfe);
    for words in [
        &["x"][..],
        &["-bb", "a/b/", "--text=-x", "--", "c"],
        &["-n-5", "--key=s3", "x"],
        &["do", "it", "5", "-a"],
        &["--", "-"],
    ] {
        assert!(argv(&policies, &cut(words)), "{words:?}");
    }
    assert!(json(
        &policies,
        br#"{"command":["/bin/tool","x"],"env":{"TERM":"a"},"stdin":{"bytes":12}}"#
    ));
    assert!(!json(&policies, br#"{"command":["/bin/tool","deny"]}"#));
}
