use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;

fn pump(
    writer: &mut FrameWriter,
    reader: &mut FrameReader,
    a: &UnixStream,
    b: &UnixStream,
) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        let wrote = writer.write(a).unwrap();
        let read = reader.read(b).unwrap();
        while let Some(frame) = reader.next_frame().unwrap() {
            frames.push(frame);
        }
        if wrote == Progress::Idle && read == Progress::Idle {
            return frames;
        }
    }
}

#[test]
fn frames_of_every_size_keep_order_and_descriptors() {
    let (a, b) = UnixStream::pair().unwrap();
    let (mut writer, mut reader) = (FrameWriter::new(), FrameReader::new());
    let sizes = [0, 1, 7, 70_000, 3, 2_000_000, 5, MAX_BODY];
    for (at, size) in sizes.into_iter().enumerate() {
        let fds = (0..at % 3)
            .map(|n| {
                let (r, mut w) = std::io::pipe().unwrap();
                write!(w, "{at}.{n}").unwrap();
                r.into()
            })
            .collect();
        writer.push(&vec![u8::try_from(at).unwrap(); size], fds).unwrap();
    }
    let frames = pump(&mut writer, &mut reader, &a, &b);
    assert_eq!(frames.len(), sizes.len());
    assert_eq!(writer.pending(), 0);
    for (at, frame) in frames.into_iter().enumerate() {
        assert_eq!(frame.body.len(), sizes[at]);
        assert!(frame.body.iter().all(|byte| usize::from(*byte) == at));
        assert_eq!(frame.fds.len(), at % 3);
        for (n, fd) in frame.fds.into_iter().enumerate() {
            let mut text = String::new();
            std::io::PipeReader::from(fd).read_to_string(&mut text).unwrap();
            assert_eq!(text, format!("{at}.{n}"));
        }
    }
}

#[test]
fn most_descriptors_pass_and_one_more_is_refused() {
    let (a, b) = UnixStream::pair().unwrap();
    let (mut writer, mut reader) = (FrameWriter::new(), FrameReader::new());
    let many = |n| (0..n).map(|_| a.try_clone().unwrap().into()).collect::<Vec<OwnedFd>>();
    assert!(writer.push(b"x", many(MAX_FDS + 1)).is_err());
    assert_eq!(writer.pending(), 0);
    writer.push(b"x", many(MAX_FDS)).unwrap();
    assert_eq!(pump(&mut writer, &mut reader, &a, &b)[0].fds.len(), MAX_FDS);
}

#[test]
fn a_closed_peer_is_an_end_after_its_last_frame() {
    let (a, b) = UnixStream::pair().unwrap();
    let (mut writer, mut reader) = (FrameWriter::new(), FrameReader::new());
    writer.push(b"last", Vec::new()).unwrap();
    writer.write(&a).unwrap();
    drop(a);
    assert_eq!(reader.read(&b).unwrap(), Progress::Eof);
    assert_eq!(reader.next_frame().unwrap().unwrap().body, b"last");
    writer.push(b"lost", Vec::new()).unwrap();
    assert_eq!(writer.write(&b).unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn broken_framing_is_an_error() {
    for header in [[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], [1, 0, 0, 0, 1, 0, 0, 0]] {
        let (mut a, b) = UnixStream::pair().unwrap();
        a.write_all(&header).unwrap();
        let error = FrameReader::new().read(&b).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    }
}

/// Both halves are taken apart and put together again in the middle of everything, as by exec.
#[test]
fn a_connection_goes_on_in_the_middle_of_a_frame() {
    let (a, b) = UnixStream::pair().unwrap();
    let (mut writer, mut reader) = (FrameWriter::new(), FrameReader::new());
    for size in [10, 3_000_000, 20] {
        let (pipe, mut w) = std::io::pipe().unwrap();
        write!(w, "{size}").unwrap();
        writer.push(&vec![7; size], vec![pipe.into()]).unwrap();
    }
    let (mut sizes, mut resumed) = (Vec::new(), 0);
    while sizes.len() < 3 {
        writer.write(&a).unwrap();
        reader.read(&b).unwrap();
        while let Some(frame) = reader.next_frame().unwrap() {
            let mut text = String::new();
            let mut pipe = std::fs::File::from(frame.fds.into_iter().next().unwrap());
            pipe.read_to_string(&mut text).unwrap();
            assert_eq!(text, frame.body.len().to_string());
            sizes.push(frame.body.len());
        }
        let own = |fds: Vec<std::os::fd::BorrowedFd<'_>>| {
            fds.into_iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect::<Vec<_>>()
        };
        let (bytes, fds) = reader.rest();
        resumed += usize::from(!bytes.is_empty());
        reader = FrameReader::resumed(bytes.to_vec(), own(fds.collect()));
        let rest = writer.rest().map(|(bytes, fds)| (bytes.to_vec(), own(fds)));
        let rest: Vec<_> = rest.collect();
        let pending = writer.pending();
        writer = FrameWriter::resumed(rest);
        assert_eq!(writer.pending(), pending);
    }
    assert_eq!(sizes, [10, 3_000_000, 20]);
    assert!(resumed > 0, "never in the middle");
}
