//! Any bytes, in any chunks, with rotation and kills anywhere: what is kept is exact.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use ganger_core::Stream;
use ganger_core::logwire::LogReply;
use proptest::prelude::*;

use super::shelf::{Limits, Shelf};
use super::stream::{LogStream, Turn};
use super::*;
use crate::layout::{StreamKey, index_path, segment_path, segment_starts};
use crate::{LogReader, Query};

const CAP: u64 = 2_000;
const LIMITS: Limits = Limits { cap: CAP, segment: CAP / 10, age: None };

/// A stream with its pipe, as a mover has it.
struct Bench {
    root: tempfile::TempDir,
    key: StreamKey,
    reader: OwnedFd,
    writer: std::io::PipeWriter,
    stream: LogStream,
    null: File,
    clock_ns: u64,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let root = tempfile::tempdir().unwrap();
        let key = StreamKey { name: "a".into(), slot: 1, stream: Stream::Stdout };
        let (reader, writer) = std::io::pipe().unwrap();
        let reader = OwnedFd::from(reader);
        let shelf = Shelf::new(key.dir(root.path()), limits);
        let stream = LogStream::new(key.clone(), reader.try_clone().unwrap(), shelf);
        let null = File::options().write(true).open("/dev/null").unwrap();
        Self { root, key, reader, writer, stream, null, clock_ns: 1_000_000_000 }
    }

    /// What a SIGKILL leaves: files and pipe.
    fn kill(&mut self) {
        let shelf = Shelf::new(self.dir(), self.stream.shelf.limits);
        self.stream = LogStream::new(self.key.clone(), self.reader.try_clone().unwrap(), shelf);
    }

    fn dir(&self) -> PathBuf {
        self.key.dir(self.root.path())
    }

    fn turn(&mut self) -> Turn {
        self.stream.turn(&self.null, std::time::Instant::now(), self.clock_ns, false)
    }

    fn say(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).unwrap();
        self.clock_ns += 1_000_000;
        while self.turn() != Turn::Empty {}
    }

    fn reader(&self) -> LogReader {
        LogReader::new(self.root.path())
    }
}

/// Offset of the first kept byte, the kept bytes, and what all files weigh.
fn kept(dir: &Path) -> (u64, Vec<u8>, u64) {
    let starts = segment_starts(dir).unwrap();
    let mut bytes = Vec::new();
    let mut weight = 0;
    let first = starts.first().copied().unwrap_or(0);
    for start in starts {
        assert_eq!(start, first + bytes.len() as u64, "segments follow each other");
        let segment = std::fs::read(segment_path(dir, start)).unwrap();
        weight += segment.len() as u64 + std::fs::metadata(index_path(dir, start)).unwrap().len();
        bytes.extend(segment);
    }
    (first, bytes, weight)
}

#[derive(Debug, Clone)]
enum Op {
    Say(Vec<u8>),
    Kill,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let byte = prop_oneof![3 => Just(b'a'), 1 => Just(b'\n'), 1 => any::<u8>()];
    let say = prop::collection::vec(byte, 1..400).prop_map(Op::Say);
    prop::collection::vec(prop_oneof![5 => say, 1 => Just(Op::Kill)], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_kept_is_exactly_the_end_of_what_was_said(ops in ops(), n in 0usize..30) {
        let mut bench = Bench::new(LIMITS);
        let mut said = Vec::new();
        for op in ops {
            match op {
                Op::Say(bytes) => {
                    bench.say(&bytes);
                    said.extend(bytes);
                }
                Op::Kill => bench.kill(),
            }
            let (_, _, weight) = kept(&bench.dir());
            prop_assert!(weight <= CAP, "{weight} bytes on disk");
        }
        let (first, bytes, weight) = kept(&bench.dir());
        prop_assert_eq!(&bytes[..], &said[usize::try_from(first).unwrap()..]);
        prop_assert!(first == 0 || weight >= CAP / 10 * 8, "only {} kept", weight);

        // Lines: whole ones only at the front, an unfinished one at the end counts.
        let mut text = &bytes[..];
        if first > 0 {
            text = text.iter().position(|b| *b == b'\n').map_or(text, |at| &text[at + 1..]);
        }
        let mut expected: Vec<String> =
            text.split(|b| *b == b'\n').map(|l| String::from_utf8_lossy(l).into_owned()).collect();
        if expected.last().is_some_and(String::is_empty) {
            expected.pop();
        }
        let read = |query: &Query| -> Vec<String> {
            bench.reader().read(query).unwrap().map(|line| line.unwrap().line).collect()
        };
        prop_assert_eq!(&read(&Query::default()), &expected);
        let last = &expected[expected.len().saturating_sub(n)..];
        prop_assert_eq!(read(&Query { tail_n: Some(n as u64), ..Query::default() }), last);
        prop_assert_eq!(bench.reader().tail_lines("a", 1, Stream::Stdout, n).unwrap(), last);
        let grep = Query { tail_n: Some(n as u64), ..Query::default() }.grep("a").unwrap();
        let matching: Vec<&String> = expected.iter().filter(|line| line.contains('a')).collect();
        let found = read(&grep);
        prop_assert_eq!(
            found.iter().collect::<Vec<_>>(),
            &matching[matching.len().saturating_sub(n)..]
        );
    }
}

#[test]
fn a_disk_that_refuses_drops_counts_and_goes_on() {
    let mut bench = Bench::new(LIMITS);
    std::fs::create_dir_all(bench.dir()).unwrap();
    std::os::unix::fs::symlink("/dev/full", segment_path(&bench.dir(), 0)).unwrap();
    bench.say(b"gone\n");
    bench.say(b"too\n");
    let now = std::time::Instant::now();
    assert!(bench.stream.report_due(now).is_some());
    let LogReply::Dropped { bytes, why, .. } = bench.stream.take_report(now) else { panic!() };
    assert_eq!(bytes, 9);
    assert!(!why.is_empty());
    // Not at once, but after a while it asks the disk again.
    bench.writer.write_all(b"kept\n").unwrap();
    let later = now + std::time::Duration::from_secs(1);
    assert!(matches!(
        bench.stream.turn(&bench.null, later, 2_000_000_000, false),
        Turn::Moved { bytes: 5, opened: true }
    ));
    assert!(bench.stream.report_due(later).is_none());
    let (first, bytes, _) = kept(&bench.dir());
    assert_eq!((first, &bytes[..]), (9, &b"kept\n"[..]));
}

#[test]
fn a_gap_is_told_with_its_size() {
    let mut bench = Bench::new(LIMITS);
    bench.say(b"one\ntw");
    bench.stream.shelf.skip(1_000);
    bench.say(b"o\nthree\n");
    let lines: Vec<_> =
        bench.reader().read(&Query::default()).unwrap().map(Result::unwrap).collect();
    let seen: Vec<_> =
        lines.iter().map(|l| (l.line.as_str(), l.continued, l.lost_before)).collect();
    assert_eq!(
        seen,
        [("one", false, 0), ("tw", false, 0), ("o", true, 1_000), ("three", false, 0)]
    );
    let last = Query { tail_n: Some(2), ..Query::default() };
    let last: Vec<_> = bench.reader().read(&last).unwrap().map(Result::unwrap).collect();
    assert_eq!(last, lines[2..]);
}

#[test]
fn someone_removing_or_emptying_files_costs_what_they_removed_only() {
    let mut bench = Bench::new(LIMITS);
    bench.say(b"first\n");
    std::fs::remove_dir_all(bench.root.path().join("a")).unwrap();
    bench.say(b"second\n");
    let (start, bytes, _) = kept(&bench.dir());
    assert_eq!((start, &bytes[..]), (6, &b"second\n"[..]));
    File::create(segment_path(&bench.dir(), 6)).unwrap();
    bench.say(b"third\n");
    let (start, bytes, _) = kept(&bench.dir());
    assert_eq!((start, &bytes[..]), (13, &b"third\n"[..]));
}

#[test]
fn old_segments_go_and_the_offset_stays() {
    let age = std::time::Duration::from_secs(10);
    let mut bench = Bench::new(Limits { age: Some(age), ..LIMITS });
    bench.clock_ns = 1_000_000_000_000;
    bench.say(b"old\n");
    let due = bench.stream.shelf.expire(bench.clock_ns).unwrap().unwrap();
    assert_eq!(due, bench.clock_ns + 10_000_000_000);
    bench.clock_ns += 2_000_000_000;
    bench.say(b"newer\n");
    assert_eq!(segment_starts(&bench.dir()).unwrap(), [0, 4], "a new segment after a tenth");
    assert!(bench.stream.shelf.expire(due).unwrap().is_some());
    assert_eq!(segment_starts(&bench.dir()).unwrap(), [4]);
    assert_eq!(bench.stream.shelf.expire(due + 5_000_000_000).unwrap(), None);
    assert_eq!(segment_starts(&bench.dir()).unwrap(), [10]);
    bench.kill();
    bench.say(b"again\n");
    let (start, bytes, _) = kept(&bench.dir());
    assert_eq!((start, &bytes[..]), (10, &b"again\n"[..]));
}

#[test]
fn a_full_pipe_is_grown_and_a_quiet_one_is_not() {
    let mut bench = Bench::new(Limits::new(1 << 30, 0));
    let size = |bench: &Bench| rustix::pipe::fcntl_getpipe_size(&bench.writer).unwrap();
    bench.say(b"quiet\n");
    assert_eq!(size(&bench), 64 << 10);
    bench.say(&vec![b'x'; 64 << 10]);
    let grown = size(&bench);
    if grown == 64 << 10 {
        println!("skipped: the kernel refuses bigger pipes for this user");
        return;
    }
    assert_eq!(grown, 1 << 20);
}
