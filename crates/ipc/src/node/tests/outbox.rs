//! Messages go out in order, a descriptor with the first byte of its own, over a real socket.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::super::{Frames, Kind, OutFrame, Outbox, Serialization, wire};

const HANDLE: &[u8] = br#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":null}"#;

fn plain(n: usize, size: usize) -> OutFrame<Arc<OwnedFd>> {
    OutFrame { body: format!("\"{n}{}\"", "x".repeat(size)).into_bytes(), handle: None }
}

/// A pipe that says `n`.
fn speaking(n: usize) -> Arc<OwnedFd> {
    let (reader, mut writer) = std::io::pipe().unwrap();
    write!(writer, "{n}").unwrap();
    Arc::new(reader.into())
}

#[test]
fn a_stream_of_all_sizes_arrives_with_its_descriptors() {
    let (a, b) = UnixStream::pair().unwrap();
    let mut outbox = Outbox::new(Serialization::Json);
    let mut expected = Vec::new();
    for n in 0..60 {
        if n % 3 == 0 {
            outbox.push(OutFrame { body: HANDLE.to_vec(), handle: Some(speaking(n)) });
            expected.push(Err(n));
        } else {
            // Some are larger than the socket's buffer.
            let frame = plain(n, [0, 100, 300_000][n / 3 % 3]);
            expected.push(Ok(frame.body.clone()));
            outbox.push(frame);
        }
    }
    let mut frames = Frames::new(Serialization::Json);
    let mut got = Vec::new();
    while got.len() < expected.len() {
        wire::send(&a, &mut outbox).unwrap();
        wire::receive(&b, &mut frames).unwrap();
        while let Some(frame) = frames.next_frame() {
            let frame = frame.unwrap();
            got.push(match frame.kind {
                Kind::Handle => {
                    let mut said = String::new();
                    std::fs::File::from(frame.handle.unwrap()).read_to_string(&mut said).unwrap();
                    Err(said.parse().unwrap())
                }
                _ => Ok(frame.body),
            });
        }
    }
    assert_eq!(got, expected);
    assert_eq!(outbox.pending(), 0);
    let nothing = wire::receive(&b, &mut frames).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    drop(a);
    assert_eq!(wire::receive(&b, &mut frames).unwrap(), (0, false));
}

#[test]
fn a_partial_write_sends_the_descriptor_once() {
    let mut outbox = Outbox::new(Serialization::Advanced);
    outbox.push(OutFrame { body: b"abc".to_vec(), handle: Some(7) });
    outbox.push(OutFrame { body: b"d".to_vec(), handle: None });
    assert_eq!(outbox.front(), Some((&b"\0\0\0\x03abc"[..], Some(&7))));
    outbox.wrote(0);
    assert_eq!(outbox.front(), Some((&b"\0\0\0\x03abc"[..], Some(&7))));
    outbox.wrote(5);
    assert_eq!(outbox.front(), Some((&b"bc"[..], None)));
    outbox.wrote(2);
    assert_eq!((outbox.front(), outbox.pending()), (Some((&b"\0\0\0\x01d"[..], None)), 5));
    outbox.wrote(5);
    assert_eq!((outbox.front(), outbox.pending()), (None, 0));
}
