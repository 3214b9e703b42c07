use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::input::{Format, Inputs, SplitSize, Splits};
use crate::local::{MANIFEST, Output};
use crate::sort::Spills;

const SETTINGS: Settings = Settings { slots: 2, memory: 0, sync: true };

fn lines(path: &Path) -> Splits {
    let inputs = Inputs::list([path]).unwrap();
    Splits::plan(inputs, Format::Lines, SplitSize::Bytes(100_000), 1 << 20).unwrap()
}

/// Parts one behind the other; the manifest names each with its length and checksum, and no other file is there.
fn result(folder: &Path, done: &Done) -> Vec<u8> {
    let manifest = std::fs::read_to_string(folder.join(MANIFEST)).unwrap();
    assert_eq!(manifest.lines().count(), done.parts.len());
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), done.parts.len() + 1);
    let mut all = Vec::new();
    for (line, part) in manifest.lines().zip(&done.parts) {
        let fields: Vec<&str> = line.split('\t').collect();
        let content = std::fs::read(folder.join(fields[0])).unwrap();
        assert_eq!(fields[1], content.len().to_string());
        assert_eq!(fields[2], format!("{:08x}", crc32fast::hash(&content)));
        assert_eq!((part.bytes, part.crc), (content.len() as u64, crc32fast::hash(&content)));
        all.extend(content);
    }
    assert_eq!(all.iter().filter(|byte| **byte == b'\n').count() as u64, done.written);
    all
}

/// Lines of text that don't pack, so that the smallest budget spills.
fn text(lines: u64) -> Vec<u8> {
    let mut text = Vec::new();
    for n in 0..lines {
        let word =
            |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n.wrapping_mul(0x85eb_ca6b) << 13;
        let long: String = (1..14).map(|k| format!("{:x}", word(n * 31 + k * k))).collect();
        text.extend(format!("{:x} {long} the\n", word(n % 9973)).bytes());
    }
    text
}

/// Equal to `LC_ALL=C sort`, spilled or not.
#[test]
fn lines_are_sorted_as_coreutils_sort_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    std::fs::write(&path, text(40_000)).unwrap();
    let peer = Command::new("sort").arg(&path).env("LC_ALL", "C").output().unwrap();
    assert!(peer.status.success());
    let spills = Spills::new(folder.path(), "s");
    let out = folder.path().join("out");
    let done = sort(&lines(&path), SETTINGS, &spills, &out).unwrap();
    assert!(done.spilled > 0 && done.read == 40_000 && done.parts.len() == 2, "{done:?}");
    assert!(result(&out, &done) == peer.stdout);
    let (out, spills) = (folder.path().join("out2"), Spills::new(folder.path(), "t"));
    let large = Settings { slots: 1, memory: 1 << 30, sync: false };
    let done = sort(&lines(&path), large, &spills, &out).unwrap();
    assert!(done.spilled == 0 && result(&out, &done) == peer.stdout);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no run is left");
}

#[test]
fn words_are_counted_under_a_budget() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    let text = text(40_000);
    std::fs::write(&path, &text).unwrap();
    let mut expected = BTreeMap::<&[u8], u64>::new();
    for word in text.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()) {
        *expected.entry(word).or_default() += 1;
    }
    let expected: Vec<u8> = expected
        .iter()
        .flat_map(|(word, count)| [word, format!("\t{count}\n").as_bytes()].concat())
        .collect();
    for (name, memory) in [("small", 0), ("large", 1 << 30)] {
        let out = folder.path().join(name);
        let settings = Settings { memory, ..SETTINGS };
        let done = count_words(&lines(&path), settings, &Spills::new(folder.path(), name), &out);
        let done = done.unwrap();
        assert_eq!(done.read, 120_000);
        assert!(result(&out, &done) == expected, "{name}");
    }
}

#[test]
fn empty_input_gives_an_empty_result() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    std::fs::write(&path, "").unwrap();
    let (out, spills) = (folder.path().join("out"), Spills::new(folder.path(), "s"));
    let done = sort(&lines(&path), SETTINGS, &spills, &out).unwrap();
    assert_eq!(result(&out, &done), b"");
}

/// A job that fails leaves nothing of its own, and what was there stays.
#[test]
fn what_is_not_committed_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::write(&path, "b\na\n").unwrap();
    let splits = lines(&path);
    std::fs::write(&path, "b\n").unwrap();
    let error = sort(&splits, SETTINGS, &Spills::new(folder.path(), "s"), &out).unwrap_err();
    assert!(matches!(error, JobError::Input(crate::input::InputError::Shrunk { .. })), "{error}");
    assert!(!out.exists());
    std::fs::create_dir(&out).unwrap();
    let error = sort(&splits, SETTINGS, &Spills::new(folder.path(), "s"), &out).unwrap_err();
    assert!(matches!(error, JobError::OutputExists { .. }), "{error}");
    assert!(out.exists());
    let mut output = Output::create(&folder.path().join("o")).unwrap();
    output.open_parts(2).unwrap();
    std::fs::write(folder.path().join("o/theirs"), "x").unwrap();
    drop(output);
    assert_eq!(std::fs::read_dir(folder.path().join("o")).unwrap().count(), 1);
}
