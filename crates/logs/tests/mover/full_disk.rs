//! A disk that really is full: a small tmpfs in a mount namespace of the mover's own.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use ganger_core::Stream;
use ganger_core::logwire::LogReply;
use ganger_logs::{LogReader, Query};

use crate::process::Mover;

/// How this user gets a mount namespace; none if the machine doesn't allow it.
fn unshare() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["unshare", "-m"], &["unshare", "-r", "-m"]];
    ways.into_iter().find(|way| {
        let mount = "mount -t tmpfs tmpfs /mnt";
        let tried = Command::new(way[0]).args(&way[1..]).args(["sh", "-c", mount]).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn a_full_disk_drops_and_counts_and_writing_goes_on_when_there_is_space() {
    let Some(unshare) = unshare() else {
        println!("skipped: no mount namespace for this user (unshare -m)");
        return;
    };
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().to_str().unwrap();
    let script = "mount -t tmpfs -o size=1m tmpfs \"$0\" && dd if=/dev/zero of=\"$0/filler\" bs=1k count=800 2>/dev/null && exec \"$@\"";
    let wrap = [unshare, &["sh", "-c", script, dir]].concat();
    let mut mover = Mover::start(&state.path().join("logs"), &wrap);
    let (reader, mut writer) = std::io::pipe().unwrap();
    mover.add("a", 1, 64 << 20, &reader);
    mover.flush();
    // The mover's view of its disk.
    let inside = PathBuf::from(format!("/proc/{}/root{dir}", mover.child.id()));
    assert!(inside.join("filler").exists());

    // The writer never waits for the disk: 4 MB go through although 1 MB fits.
    let line = format!("{:099}\n", 7);
    for _ in 0..40_000 {
        writer.write_all(line.as_bytes()).unwrap();
    }
    mover.ask(&ganger_core::logwire::LogRequest::Flush { tag: 1 }, Vec::new());
    let mut dropped = 0;
    let mut reasons = Vec::new();
    let mut flushed = false;
    let logs = LogReader::new(inside.join("logs"));
    let kept = |logs: &LogReader| {
        let lines = logs.read(&Query::default()).unwrap().map(Result::unwrap);
        lines.map(|line| line.line.len() as u64 + 1).sum::<u64>()
    };
    while !flushed || dropped == 0 || kept(&logs) + dropped < 4_000_000 {
        match mover.hear() {
            LogReply::Dropped { bytes, why, .. } => {
                dropped += bytes;
                reasons.push(why);
            }
            LogReply::Flushed { .. } => flushed = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(reasons.iter().all(|why| why.contains("No space left")), "{reasons:?}");
    assert!(dropped > 2_000_000, "{dropped}");

    std::fs::remove_file(inside.join("filler")).unwrap();
    // The disk is asked again half a second after it refused, when bytes come: write until a line is kept.
    let (stop_reader, _stop) = std::io::pipe().unwrap();
    let after = Query { tail_n: Some(0), ..Query::default() };
    let follow = logs.follow(&after, stop_reader.into()).unwrap();
    let writing = std::thread::spawn(move || while writer.write_all(b"again\n").is_ok() {});
    let again = follow.map(Result::unwrap).find(|line| line.lost_before > 0).unwrap();
    assert!(again.lost_before > 2_000_000, "{again:?}");
    assert!("again".ends_with(&again.line), "{again:?}");
    mover.kill();
    drop(reader);
    writing.join().unwrap();
    assert!(logs.tail_lines("a", 1, Stream::Stdout, 1).is_ok());
}
