//! Garbage by the megabyte, handles by the hundred.

use super::super::{Frames, Refused, Serialization};
use super::{Out, drain};

const LINE: &[u8] = b"{\"ok\":true}\n";

#[test]
fn two_hundred_megabytes_of_garbage_are_told_while_they_come_and_are_no_memory() {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: usize = (200 << 20) / CHUNK;
    let garbage = vec![0xA5; CHUNK];
    let mut frames = Frames::<u32>::with_cap(Serialization::Json, 1 << 20);
    let mut out = Vec::new();
    for _ in 0..CHUNKS {
        frames.push(&garbage, []);
        drain(&mut frames, &mut out);
        assert!(frames.rest().len() <= (1 << 20) + CHUNK);
    }
    assert_eq!(out, [Out::Refused(Refused::Endless { cap: 1 << 20 })], "told while it comes");
    out.clear();
    frames.push(b"\n", []);
    frames.push(LINE, []);
    drain(&mut frames, &mut out);
    let len = (CHUNK * CHUNKS) as u64;
    assert_eq!(out.remove(0), Out::Refused(Refused::TooLong { len, cap: 1 << 20 }));
    assert_eq!(out, [Out::Frame { body: b"{\"ok\":true}".to_vec(), handle: None }]);
    assert!(Refused::TooLong { len, cap: 1 << 20 }.to_string().contains("it was skipped"));
}

#[test]
fn a_long_advanced_value_is_skipped_by_its_length() {
    let mut frames = Frames::<u32>::with_cap(Serialization::Advanced, 100);
    frames.push(&[&1000u32.to_be_bytes()[..], &[7; 1000], b"\0\0\0\x04\xff\x0fI\x02"].concat(), []);
    let mut out = Vec::new();
    drain(&mut frames, &mut out);
    let refused = Refused::TooLong { len: 1000, cap: 100 };
    let good = Out::Frame { body: b"\xff\x0fI\x02".to_vec(), handle: None };
    assert_eq!(out, [Out::Refused(refused), good]);
}

#[test]
fn a_broken_line_costs_only_itself() {
    for broken in [
        &b"{\"a\":\n"[..],
        b"\n",
        b"{\"cmd\":\"NODE_X\",\"cmd\":1}\n",
        b"\xff\xfe\n",
        b"undefined\n",
    ] {
        let mut frames = Frames::<u32>::new(Serialization::Json);
        frames.push(&[LINE, broken, LINE].concat(), []);
        let mut out = Vec::new();
        drain(&mut frames, &mut out);
        assert_eq!(out.len(), 3, "{broken:?}");
        assert!(matches!(out[1], Out::Refused(Refused::Broken(_))), "{:?}", out[1]);
        assert_eq!(out[0], out[2]);
    }
}

#[test]
fn descriptors_without_messages_are_bounded() {
    let mut frames = Frames::new(Serialization::Json);
    // Inside a line that doesn't end, nothing says yet whose they are.
    frames.push(b"[", 0..200);
    frames.push(b"1", 200..300);
    let mut out = Vec::new();
    drain(&mut frames, &mut out);
    assert_eq!(out.len(), 300 - 256);
    assert!(
        out.iter().all(|one| matches!(one, Out::Refused(Refused::TooManyHandles { most: 256 })))
    );
    out.clear();
    frames.push(b"]\n", []);
    drain(&mut frames, &mut out);
    assert_eq!(out.len(), 257);
    assert!(matches!(out[256], Out::Refused(Refused::UnsolicitedHandle)));
}
