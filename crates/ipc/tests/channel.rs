//! The channel over real sockets and pipes: boundaries, back-pressure, goodbye.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use ganger_ipc::channel::{QUEUED_MAX, from_pipes, from_socket};
use ganger_ipc::{ChannelError, lines};

fn pair() -> (OwnedFd, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("descriptors are left");
    (ours.into(), theirs)
}

#[tokio::test]
async fn lines_come_whole_and_the_end_is_told() {
    let (ours, mut theirs) = pair();
    let (mut reader, _writer) = from_socket(ours, lines::LINE_MAX).unwrap();
    theirs.write_all(b"{\"a\":1}\n{\"b\"").unwrap();
    assert!(reader.fill().await.unwrap() > 0);
    assert_eq!(reader.next_line().unwrap(), Some(&b"{\"a\":1}"[..]));
    assert_eq!(reader.next_line().unwrap(), None);
    theirs.write_all(b":2}\n").unwrap();
    drop(theirs);
    reader.fill().await.unwrap();
    assert_eq!(reader.next_line().unwrap(), Some(&b"{\"b\":2}"[..]));
    assert_eq!(reader.fill().await.unwrap(), 0);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_noticed_and_loses_nothing() {
    let (ours, mut theirs) = pair();
    let (_reader, mut writer) = from_socket(ours, lines::LINE_MAX).unwrap();
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    let mut sent = 0;
    while !writer.is_full() {
        writer.queue().extend_from_slice(&line);
        sent += line.len();
        writer.try_flush().unwrap();
    }
    assert!(writer.queued() >= QUEUED_MAX);
    let reading = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        all
    });
    writer.flush().await.unwrap();
    writer.shutdown();
    let all = reading.await.unwrap();
    assert_eq!(all.len(), sent);
    assert!(all.chunks(line.len()).all(|chunk| chunk == line));
}

#[tokio::test]
async fn dropping_an_end_does_not_say_goodbye_but_shutdown_does() {
    let (ours, mut theirs) = pair();
    let held = ours.try_clone().unwrap();
    let (reader, writer) = from_socket(ours, lines::LINE_MAX).unwrap();
    drop((reader, writer));
    theirs.set_nonblocking(true).unwrap();
    let still = theirs.read(&mut [0; 1]).unwrap_err();
    assert_eq!(still.kind(), std::io::ErrorKind::WouldBlock);
    let (_reader, mut writer) = from_socket(held.try_clone().unwrap(), lines::LINE_MAX).unwrap();
    writer.shutdown();
    assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0);
    writer.queue().push(b'x');
    assert!(matches!(writer.flush().await, Err(ChannelError::Io { step: "write", .. })));
    drop(held);
}

#[tokio::test]
async fn last_words_are_there_at_once() {
    let (ours, mut theirs) = pair();
    let (mut reader, _writer) = from_socket(ours, lines::LINE_MAX).unwrap();
    assert_eq!(reader.try_fill().unwrap(), None);
    theirs.write_all(b"1\n").unwrap();
    drop(theirs);
    assert_eq!(reader.try_fill().unwrap(), Some(2));
    assert_eq!(reader.next_line().unwrap(), Some(&b"1"[..]));
    assert_eq!(reader.try_fill().unwrap(), Some(0));
}

#[tokio::test]
async fn pipes_carry_the_same_lines() {
    let (child_stdin, our_stdin) = rustix::pipe::pipe().unwrap();
    let (our_stdout, child_stdout) = rustix::pipe::pipe().unwrap();
    let (mut reader, mut writer) = from_pipes(our_stdin, our_stdout, 32).unwrap();
    writer.queue().extend_from_slice(b"{\"x\":1}\n");
    writer.flush().await.unwrap();
    let mut got = [0; 8];
    rustix::io::read(&child_stdin, &mut got).unwrap();
    assert_eq!(&got, b"{\"x\":1}\n");
    rustix::io::write(&child_stdout, &[b'y'; 40]).unwrap();
    reader.fill().await.unwrap();
    assert!(reader.next_line().unwrap_err().to_string().contains("32"));
}
