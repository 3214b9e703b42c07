//! Any split of any stream gives the same messages with the same descriptors, as far as a kernel can split it.

use proptest::prelude::*;

use super::super::{Frames, Refused, Serialization};
use super::{Out, drain};

/// One `sendmsg` of a peer.
#[derive(Debug, Clone)]
struct Sent {
    bytes: Vec<u8>,
    /// On its first byte; `Some(None)` is one that could not be received.
    fd: Option<Option<u32>>,
}

const CAP: usize = 64;

fn json(serialization: Serialization, body: &[u8]) -> Vec<u8> {
    match serialization {
        Serialization::Json => [body, b"\n"].concat(),
        Serialization::Advanced => {
            [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
        }
    }
}

/// A handle's message, its serialization's way.
fn handle(serialization: Serialization) -> Vec<u8> {
    match serialization {
        Serialization::Json => br#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":1}"#.to_vec(),
        Serialization::Advanced => b"\xff\x0fo\"\x03cmd\"\x0bNODE_HANDLE{\x01".to_vec(),
    }
}

/// What a stream is made of.
#[derive(Debug, Clone)]
enum Item {
    Plain(u8),
    Handle,
    /// A handle whose descriptor was lost.
    Bare,
    /// A descriptor nobody speaks of.
    Stray,
    TooLong(usize),
    Broken,
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        3 => any::<u8>().prop_map(Item::Plain),
        3 => Just(Item::Handle),
        1 => Just(Item::Bare),
        1 => Just(Item::Stray),
        1 => (CAP + 1..5 * CAP).prop_map(Item::TooLong),
        1 => Just(Item::Broken),
    ]
}

/// The stream, and what must come of it.
fn stream(serialization: Serialization, items: &[Item]) -> (Vec<Sent>, Vec<Out>) {
    let plain = |n: u8| match serialization {
        Serialization::Json => format!("{{\"n\":{n}}}").into_bytes(),
        Serialization::Advanced => vec![0xff, 0x0f, b'I', n],
    };
    let (mut sent, mut out) = (Vec::new(), Vec::new());
    for (fd, item) in (0..).zip(items) {
        let (body, with) = match item {
            Item::Plain(n) => (plain(*n), None),
            Item::Handle => (handle(serialization), Some(Some(fd))),
            Item::Bare => (handle(serialization), Some(None)),
            Item::Stray => (plain(0), Some(Some(fd))),
            Item::TooLong(len) => (vec![b'x'; *len], None),
            Item::Broken => (b"{\"half\":".to_vec(), None),
        };
        let bytes = json(serialization, &body);
        match item {
            Item::TooLong(len) => {
                out.push(Out::Refused(Refused::TooLong { len: *len as u64, cap: CAP }));
            }
            Item::Broken => {
                let why = super::super::Kind::of(&body, serialization).unwrap_err();
                out.push(Out::Refused(why));
            }
            Item::Handle => out.push(Out::Frame { body, handle: with.flatten() }),
            Item::Stray => {
                out.push(Out::Frame { body, handle: None });
                out.push(Out::Refused(Refused::UnsolicitedHandle));
            }
            Item::Plain(_) | Item::Bare => out.push(Out::Frame { body, handle: None }),
        }
        sent.push(Sent { bytes, fd: with });
    }
    (sent, out)
}

/// Reads of a stream of `sent` with buffers of `sizes`: a read goes over the bounds of what was sent, but ends with what brought a descriptor.
fn reads(sent: &[Sent], sizes: &[usize]) -> Vec<(Vec<u8>, Option<u32>)> {
    let mut left =
        sent.iter().map(|one| (&one.bytes[..], one.fd)).collect::<std::collections::VecDeque<_>>();
    let mut sizes = sizes.iter().copied().chain(std::iter::repeat(usize::MAX));
    let mut all = Vec::new();
    while !left.is_empty() {
        let (mut room, mut bytes, mut fd) = (sizes.next().unwrap(), Vec::new(), None);
        while room > 0 && fd.is_none() {
            let Some((front, with)) = left.front_mut() else { break };
            let (now, later) = front.split_at(room.min(front.len()));
            bytes.extend_from_slice(now);
            room -= now.len();
            (*front, fd) = (later, with.take());
            if later.is_empty() {
                left.pop_front();
            } else {
                break;
            }
        }
        all.push((bytes, fd.flatten()));
    }
    all
}

fn run(serialization: Serialization, reads: &[(Vec<u8>, Option<u32>)]) -> Vec<Out> {
    let mut frames = Frames::with_cap(serialization, CAP);
    let mut out = Vec::new();
    for (bytes, fd) in reads {
        frames.push(bytes, *fd);
        drain(&mut frames, &mut out);
    }
    assert_eq!(frames.rest(), b"");
    // That a line has no end yet is told while it comes: where the reads end decides whether anybody sees it so.
    out.retain(|one| !matches!(one, Out::Refused(Refused::Endless { .. })));
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn splits_never_matter(
        items in prop::collection::vec(item(), 0..12),
        sizes in prop::collection::vec(1usize..90, 0..60),
        advanced in any::<bool>(),
    ) {
        let serialization = if advanced { Serialization::Advanced } else { Serialization::Json };
        let (sent, expected) = stream(serialization, &items);
        let got = run(serialization, &reads(&sent, &sizes));
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn no_bytes_at_all_make_it_panic_or_keep_a_descriptor(
        chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), 0u32..3), 0..20),
        advanced in any::<bool>(),
    ) {
        let serialization = if advanced { Serialization::Advanced } else { Serialization::Json };
        let mut frames = Frames::with_cap(serialization, CAP);
        let mut out = Vec::new();
        for (bytes, fds) in &chunks {
            frames.push(bytes, 0..*fds);
            drain(&mut frames, &mut out);
            prop_assert!(frames.rest().len() <= CAP + 4);
        }
        let came: u32 = chunks.iter().map(|(_, fds)| fds).sum();
        let told = out.iter().filter(|one| matches!(one, Out::Refused(Refused::UnsolicitedHandle) | Out::Frame { handle: Some(_), .. }));
        prop_assert!(told.count() <= came as usize);
    }
}
