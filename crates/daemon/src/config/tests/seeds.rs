//! What the fuzzer of this file begins with, and what it found.

use super::*;

#[test]
fn the_seeds_of_the_fuzzer() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/toml");
    let mut sound = 0;
    for entry in std::fs::read_dir(seeds).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let loaded = load_text(&text, Path::new("/nonexistent"), &BTreeMap::new());
        sound += u32::from(loaded.is_ok());
    }
    assert!(sound > 1, "seeds that are all wrong lead nowhere");
}
