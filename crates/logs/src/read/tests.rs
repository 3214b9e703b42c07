use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;

use proptest::prelude::*;

use super::forward::LINE_MAX;
use super::*;
use crate::layout::{index_path, segment_path};
use crate::stamp::Stamp;

/// Writes a stream as a mover does: chunks of (time, bytes), a new segment before each chunk of `cuts`.
fn write(root: &Path, key: &StreamKey, chunks: &[(u64, Vec<u8>)], cuts: &[usize]) {
    let dir = key.dir(root);
    fs::create_dir_all(&dir).unwrap();
    let (mut offset, mut start) = (0, 0);
    let append = |path: PathBuf, bytes: &[u8]| {
        let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
        file.write_all(bytes).unwrap();
    };
    for (at, (ns, bytes)) in chunks.iter().enumerate() {
        if cuts.contains(&at) {
            start = offset;
        }
        append(index_path(&dir, start), &Stamp { offset, ns: *ns }.encode());
        append(segment_path(&dir, start), bytes);
        offset += bytes.len() as u64;
    }
}

fn key(name: &str, stream: Stream) -> StreamKey {
    StreamKey { name: name.into(), slot: 1, stream }
}

type Seen = (u64, String, String);

fn seen(line: Line) -> Seen {
    (line.ts_ns, format!("{}.{}", line.name, line.stream), line.line)
}

fn read(root: &Path, query: &Query) -> Vec<Seen> {
    LogReader::new(root).read(query).unwrap().map(|line| seen(line.unwrap())).collect()
}

/// (milliseconds since the chunk before, text), and where segments are cut.
type Script = (Vec<(u64, String)>, Vec<usize>);

fn script() -> impl Strategy<Value = Script> {
    let chunk = (0u64..5, "[ab\n]{1,12}");
    (prop::collection::vec(chunk, 0..30), prop::collection::vec(0usize..30, 0..6))
}

/// The lines of a script by brute force.
fn lines_of(script: &Script, who: &str) -> (Vec<(u64, Vec<u8>)>, Vec<Seen>) {
    let (mut ms, mut bytes, mut times, mut chunks) = (1_000, Vec::new(), Vec::new(), Vec::new());
    for (later, text) in &script.0 {
        ms += later;
        bytes.extend(text.bytes());
        times.extend(text.bytes().map(|_| ms * 1_000_000));
        chunks.push((ms * 1_000_000, text.clone().into_bytes()));
    }
    let mut lines = Vec::new();
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let text = String::from_utf8_lossy(line).trim_end_matches('\n').to_owned();
        lines.push((times[at], who.to_owned(), text));
        at += line.len();
    }
    (chunks, lines)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn streams_come_merged_by_time_and_cut_by_the_query(
        a in script(), b in script(), since in 990u64..1_080, until in 990u64..1_080, n in 0u64..20,
    ) {
        let root = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for (script, key, who) in [
            (&a, key("a", Stream::Stdout), "a.stdout"),
            (&b, key("b", Stream::Stderr), "b.stderr"),
        ] {
            let (chunks, lines) = lines_of(script, who);
            write(root.path(), &key, &chunks, &script.1);
            all.extend(lines);
        }
        all.sort_by_key(|line| line.0);
        prop_assert_eq!(&read(root.path(), &Query::default()), &all);

        let query = Query { since_ms: Some(since), until_ms: Some(until), ..Query::default() };
        let inside = |line: &&Seen| (since..=until).contains(&(line.0 / 1_000_000));
        let wanted: Vec<Seen> = all.iter().filter(inside).cloned().collect();
        prop_assert_eq!(&read(root.path(), &query), &wanted);

        let last = &wanted[wanted.len().saturating_sub(usize::try_from(n).unwrap())..];
        prop_assert_eq!(read(root.path(), &Query { tail_n: Some(n), ..query }), last);
    }
}

#[test]
fn a_huge_line_comes_in_pieces_and_its_memory_is_bounded() {
    let root = tempfile::tempdir().unwrap();
    let huge = 3 * LINE_MAX + 5;
    let mut text = b"before\n".to_vec();
    text.extend(std::iter::repeat_n(b'x', huge));
    text.extend(b"\nexact\n");
    text.extend(std::iter::repeat_n(b'y', LINE_MAX));
    text.extend(b"\nafter\n");
    write(root.path(), &key("a", Stream::Stdout), &[(1, text)], &[]);
    let shape = |query: &Query| -> Vec<(usize, bool)> {
        let lines = LogReader::new(root.path()).read(query).unwrap().map(Result::unwrap);
        lines.map(|line| (line.line.len(), line.continued)).collect()
    };
    let all = [
        (6, false),
        (LINE_MAX, false),
        (LINE_MAX, true),
        (LINE_MAX, true),
        (5, true),
        (5, false),
        (LINE_MAX, false),
        (5, false),
    ];
    assert_eq!(shape(&Query::default()), all);
    for n in 0..=all.len() {
        let last = Query { tail_n: Some(n as u64), ..Query::default() };
        assert_eq!(shape(&last), all[all.len() - n..], "the last {n}");
    }
}

#[test]
fn bytes_that_are_no_text_are_shown_and_found() {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        &key("a", Stream::Stdout),
        &[(1, b"\xff\xfe id=7\n\nid=8\r\n".to_vec())],
        &[],
    );
    let lines = read(root.path(), &Query::default().grep("id=[78]").unwrap());
    let texts: Vec<_> = lines.iter().map(|line| line.2.as_str()).collect();
    assert_eq!(texts, ["\u{fffd}\u{fffd} id=7", "id=8\r"]);
    assert!(matches!(Query::default().grep("("), Err(ReadError::Pattern { .. })));
}

#[test]
fn only_what_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        for stream in [Stream::Stdout, Stream::Stderr] {
            write(root.path(), &key(name, stream), &[(1, b"x\n".to_vec())], &[]);
        }
    }
    assert_eq!(LogReader::new(root.path()).names().unwrap(), ["a", "b"]);
    assert_eq!(read(root.path(), &Query::of(["b"])).len(), 2);
    let errors = Query { stream: Some(Stream::Stderr), slot: Some(1), ..Query::default() };
    assert_eq!(read(root.path(), &errors).len(), 2);
    assert!(read(root.path(), &Query { slot: Some(2), ..Query::default() }).is_empty());
    assert!(read(&root.path().join("none"), &Query::default()).is_empty());
}

#[test]
fn without_an_index_the_file_tells_the_time() {
    let root = tempfile::tempdir().unwrap();
    let stream = key("a", Stream::Stdout);
    write(root.path(), &stream, &[(1, b"x\n".to_vec())], &[]);
    let dir = stream.dir(root.path());
    fs::remove_file(index_path(&dir, 0)).unwrap();
    let file = fs::File::open(segment_path(&dir, 0)).unwrap();
    let mtime = crate::stamp::modified_ns(&file).unwrap();
    assert_eq!(read(root.path(), &Query::default())[0].0, mtime);
}

#[test]
fn following_survives_rotation_removal_and_new_names() {
    let state = tempfile::tempdir().unwrap();
    let root = state.path().join("logs");
    let (reader, stop) = std::io::pipe().unwrap();
    let mut follow =
        LogReader::new(&root).follow(&Query::default(), OwnedFd::from(reader)).unwrap();
    let mut next = || seen(follow.next().unwrap().unwrap()).2;

    // The folder itself is made later; a line comes once it is whole.
    let a = key("a", Stream::Stdout);
    let chunk = |text: &str| (1, text.as_bytes().to_vec());
    write(&root, &a, &[chunk("one\ntw")], &[]);
    assert_eq!(next(), "one");
    let dir = a.dir(&root);
    fs::write(segment_path(&dir, 6), "o\nthree\n").unwrap();
    assert_eq!([next(), next()], ["two", "three"]);
    write(&root, &key("b", Stream::Stderr), &[chunk("other\n")], &[]);
    assert_eq!(next(), "other");

    // Segments that were removed before they were read are counted.
    fs::write(segment_path(&dir, 114), "late\n").unwrap();
    fs::remove_file(segment_path(&dir, 0)).unwrap();
    fs::remove_file(segment_path(&dir, 6)).unwrap();
    let late = follow.next().unwrap().unwrap();
    assert_eq!((late.line.as_str(), late.lost_before), ("late", 100));

    // Emptied by hand and begun anew.
    fs::remove_dir_all(root.join("a")).unwrap();
    write(&root, &a, &[chunk("anew\n")], &[]);
    assert_eq!(follow.next().unwrap().unwrap().line, "anew");

    // What was said before the stop is still given, and then it ends.
    write(&root, &key("c", Stream::Stdout), &[chunk("last words\n")], &[]);
    drop(stop);
    assert_eq!(follow.next().unwrap().unwrap().line, "last words");
    assert!(follow.next().is_none());
}

#[test]
fn following_from_the_end_gives_only_what_comes() {
    let root = tempfile::tempdir().unwrap();
    let a = key("a", Stream::Stdout);
    write(root.path(), &a, &[(1, b"old\nolder\nunfin".to_vec())], &[]);
    for (n, first) in [(0, "unfinished"), (1, "older")] {
        let (reader, _stop) = std::io::pipe().unwrap();
        let query = Query { tail_n: Some(n), ..Query::default() };
        let mut follow = LogReader::new(root.path()).follow(&query, OwnedFd::from(reader)).unwrap();
        if n == 0 {
            let path = segment_path(&a.dir(root.path()), 0);
            let mut file = fs::File::options().append(true).open(path).unwrap();
            file.write_all(b"ished\n").unwrap();
        }
        let line = follow.next().unwrap().unwrap();
        assert_eq!(line.line, if n == 1 { "unfinished" } else { first });
    }
}
