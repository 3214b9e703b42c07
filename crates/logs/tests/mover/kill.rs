//! The mover dies; nothing of what children say is lost or doubled.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use ganger_core::Stream;
use ganger_core::logwire::{LogReply, LogRequest};
use ganger_logs::{LogReader, Query};

use crate::process::Mover;

#[test]
fn killed_twenty_times_while_a_child_counts() {
    const LINES: u64 = 400_000;
    const KILLS: u64 = 20;
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().join("logs");
    // As the keeper, this test holds both ends.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = Command::new("seq")
        .args(["1", &LINES.to_string()])
        .stdout(Stdio::from(OwnedFd::from(writer.try_clone().unwrap())))
        .spawn()
        .unwrap();
    let (stop, _stop) = std::io::pipe().unwrap();
    let start = || {
        let mut mover = Mover::start(&dir, &[]);
        mover.add("counter", 1, 64 << 20, &reader);
        mover
    };
    let mut mover = start();
    let follow = LogReader::new(&dir).follow(&Query::default(), OwnedFd::from(stop)).unwrap();
    let mut kills = 0;
    for (expected, line) in (1..=LINES).zip(follow) {
        let line = line.unwrap();
        assert_eq!((line.line, line.lost_before), (expected.to_string(), 0));
        // Spread over the first half, so that each mover dies with its hands full.
        if kills < KILLS && expected >= (kills + 1) * LINES / 2 / KILLS {
            mover.kill();
            mover = start();
            kills += 1;
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(kills, KILLS);
    mover.flush();
    let lines = LogReader::new(&dir).read(&Query::default()).unwrap();
    assert_eq!(lines.map(Result::unwrap).count() as u64, LINES);
    assert!(mover.leave().success());
}

#[test]
fn a_second_mover_waits_until_the_first_has_drained() {
    let state = tempfile::tempdir().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut first = Mover::start(state.path(), &[]);
    first.add("a", 1, 1 << 20, &reader);
    first.flush();
    let mut second = Mover::start(state.path(), &[]);
    second.add("a", 1, 1 << 20, &reader);
    std::io::Write::write_all(&mut writer, b"one\n").unwrap();
    // The keeper of the first is gone: it drains and ends well.
    assert!(first.leave().success());
    std::io::Write::write_all(&mut writer, b"two\n").unwrap();
    second.flush();
    let lines = LogReader::new(state.path()).tail_lines("a", 1, Stream::Stdout, 5).unwrap();
    assert_eq!(lines, ["one", "two"]);
    let retire = LogRequest::Retire { name: "a".into(), slot: 1, stream: Stream::Stdout };
    std::io::Write::write_all(&mut writer, b"last words").unwrap();
    second.ask(&retire, Vec::new());
    assert!(matches!(second.hear(), LogReply::Retired { .. }));
    let lines = LogReader::new(state.path()).tail_lines("a", 1, Stream::Stdout, 1).unwrap();
    assert_eq!(lines, ["last words"]);
    // A keeper that repeats itself gets the same answer.
    second.ask(&retire, Vec::new());
    assert!(matches!(second.hear(), LogReply::Retired { .. }));
    assert!(second.leave().success());
}

#[test]
fn a_thousand_streams_and_a_loud_one_are_all_served() {
    let state = tempfile::tempdir().unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: limit.maximum, ..limit },
    )
    .unwrap();
    if limit.maximum.is_some_and(|most| most < 4_096) {
        println!("skipped: needs 4,096 descriptors");
        return;
    }
    let mut mover = Mover::start(state.path(), &[]);
    let (loud_reader, loud_writer) = std::io::pipe().unwrap();
    mover.add("loud", 1, 1 << 20, &loud_reader);
    let mut loud = Command::new("yes").stdout(loud_writer).spawn().unwrap();
    let pipes: Vec<_> = (1..=1_000).map(|_| std::io::pipe().unwrap()).collect();
    for (slot, (reader, writer)) in (1..).zip(&pipes) {
        mover.add("quiet", slot, 1 << 20, reader);
        std::io::Write::write_all(&mut &*writer, format!("from {slot}\n").as_bytes()).unwrap();
    }
    mover.flush();
    loud.kill().unwrap();
    loud.wait().unwrap();
    let lines = LogReader::new(state.path()).read(&Query::of(["quiet"])).unwrap();
    let mut slots: Vec<u32> = lines
        .map(|line| {
            let line = line.unwrap();
            assert_eq!(line.line, format!("from {}", line.slot));
            line.slot
        })
        .collect();
    slots.sort_unstable();
    assert!(slots.into_iter().eq(1..=1_000));
    assert!(mover.leave().success());
}
