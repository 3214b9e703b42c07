use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::input::{Format, Inputs, SplitSize};
use crate::operators::WordCount;
use crate::table::merged;

fn count(splits: &Splits, slots: usize) -> Result<Vec<u8>, InputError> {
    let counters = (0..slots).map(|_| WordCount::default()).collect();
    let counters = each_block(splits, counters, |counter: &mut WordCount, block| {
        counter.feed(block.bytes);
        Ok::<(), InputError>(())
    })?;
    let runs = at_once(counters, |mut counter| counter.take_sorted());
    let mut out = Vec::new();
    merged(&runs, |word, count| {
        out.extend_from_slice(word);
        writeln!(out, "\t{count}")
    })
    .unwrap();
    Ok(out)
}

/// Counts of this crate's own sources equal those of `tr`, `sort` and `uniq`, with any slots and any splits.
#[test]
fn words_are_counted_as_coreutils_count_them() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src/**/*.rs");
    let inputs = Inputs::list([sources]).unwrap();
    let mut text = Vec::new();
    for file in 0..inputs.len() {
        text.extend(std::fs::read(inputs.path(file)).unwrap());
    }
    let script =
        "tr -s '[:space:]' '\\n' | sed '/^$/d' | sort | uniq -c | awk '{print $2 \"\\t\" $1}'";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || stdin.write_all(&text));
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(out.status.success());
    for (slots, size) in [(1, 1 << 20), (2, 4096), (5, 7)] {
        let splits = Splits::plan(inputs.clone(), Format::Lines, SplitSize::Bytes(size), 1 << 20);
        let seen = count(&splits.unwrap(), slots).unwrap();
        assert!(seen == out.stdout, "{slots} slots, splits of {size} bytes");
    }
}

#[test]
fn the_first_failure_in_the_input_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for n in 0..40 {
        let path = folder.path().join(format!("{n:02}"));
        // All but the first ten have a record that is too long.
        std::fs::write(&path, if n < 10 { "a\n" } else { "abcdefghij\n" }).unwrap();
        paths.push(path);
    }
    let splits =
        Splits::plan(Inputs::list(&paths).unwrap(), Format::Lines, SplitSize::Bytes(2), 4).unwrap();
    let error = each_block(&splits, vec![(); 3], |(), block| {
        block.each_record(|_, _| Ok::<(), InputError>(()))
    })
    .unwrap_err();
    let InputError::RecordTooLong { path, offset: 0, max: 4 } = error else { panic!("{error}") };
    assert_eq!(path, paths[10]);
}
