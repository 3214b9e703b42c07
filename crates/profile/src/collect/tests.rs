//! Records written by hand: what a ring may bring, in an order it may bring it.

use super::*;
use crate::profile::tests::meta;

/// A sample's bytes, read back by the reader itself.
fn sampled(pid: u32, time: u64, chain: &[u64]) -> Vec<u8> {
    let size = (8 + 32 + chain.len() * 8) as u16;
    let mut bytes = 9_u32.to_ne_bytes().to_vec();
    bytes.extend(2_u16.to_ne_bytes());
    bytes.extend(size.to_ne_bytes());
    bytes.extend(0x1234_u64.to_ne_bytes());
    bytes.extend(pid.to_ne_bytes());
    bytes.extend(pid.to_ne_bytes());
    for word in [time, chain.len() as u64].iter().chain(chain) {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

fn map(time: u64, start: u64, path: &[u8]) -> Record<'_> {
    Record::Map { time, pid: 7, start, length: 0x1000, offset: 0x100, path }
}

fn collector() -> Collector {
    let mut collector = Collector::default();
    let process = Process { name: "web".into(), inner: 7, ..Process::default() };
    collector.processes.insert(7, Seen { process, space: Space::default() });
    collector
}

fn folded(collector: Collector) -> Vec<(String, u64)> {
    let profile = collector.finish(meta());
    let line = |stack: Vec<&Frame>| {
        stack.iter().map(|frame| frame.name.as_str()).collect::<Vec<_>>().join(";")
    };
    profile.stacks().into_iter().map(|(stack, count)| (line(stack), count)).collect()
}

fn read(bytes: &[u8]) -> Record<'_> {
    ganger_sys::perf::Records::new(bytes, false).next().unwrap()
}

#[test]
fn mappings_hold_from_their_time_on_whatever_ring_told_them() {
    let mut collector = collector();
    let (early, late) = (sampled(7, 20, &[USER, 0x5010]), sampled(7, 40, &[USER, 0x5010]));
    collector.take(
        [read(&late), read(&early), map(30, 0x5000, b"/b"), map(10, 0x5000, b"/a")].into_iter(),
    );
    assert_eq!(folded(collector), [("web;[a]".to_owned(), 1), ("web;[b]".to_owned(), 1)]);
}

#[test]
fn return_addresses_are_looked_up_before_themselves() {
    let mut collector = collector();
    collector.take([map(1, 0x5000, b"/a")].into_iter());
    // The second address is just behind the mapping's end: a call that is its last instruction.
    let bytes = sampled(7, 2, &[KERNEL, u64::MAX / 2 + 9, USER, 0x5000, 0x6000, 0x10]);
    let Record::Sample(sample) = read(&bytes) else { panic!("a sample") };
    assert_eq!(
        stack(&sample, &collector.processes[&7].space),
        [Address::Kernel(u64::MAX / 2 + 9), Address::File(0, 0x100), Address::File(0, 0x10ff),],
        "and what lies below the first mappable page is no frame"
    );
}

#[test]
fn a_child_has_its_parents_memory_until_it_runs_another_program() {
    let mut collector = collector();
    let child = u32::MAX - 1; // A number no process has: it is gone when it is looked at.
    let (before, after) = (sampled(child, 3, &[USER, 0x5010]), sampled(child, 5, &[USER, 0x5010]));
    let exec = Record::Name { time: 4, pid: child, tid: child, exec: true, name: b"other" };
    collector.take(
        [
            map(1, 0x5000, b"/a"),
            Record::Fork { time: 2, pid: child, parent: 7 },
            read(&before),
            exec,
            read(&after),
        ]
        .into_iter(),
    );
    assert_eq!(collector.processes(), 2);
    assert_eq!(folded(collector), [("other;[a]".to_owned(), 1), ("other;[memory]".to_owned(), 1)]);
}

#[test]
fn stacks_beyond_the_bound_are_counted_not_kept() {
    let mut collector = collector();
    for at in 0..MOST_STACKS as u64 + 3 {
        let bytes = sampled(7, at, &[USER, 0x10_0000 + at]);
        collector.take(std::iter::once(read(&bytes)));
    }
    let again = sampled(7, 0, &[USER, 0x10_0000]);
    collector.take(std::iter::once(read(&again)));
    assert_eq!((collector.stacks.len(), collector.beyond), (MOST_STACKS, 3));
    assert_eq!(collector.samples, MOST_STACKS as u64 + 4);
    assert_eq!(collector.broken, collector.samples, "each has a leaf without a caller");
}

#[test]
fn what_was_lost_is_counted() {
    let mut collector = collector();
    collector.take([Record::Lost(3), Record::Lost(4), Record::Other].into_iter());
    assert_eq!((collector.lost, collector.samples), (7, 0));
}
