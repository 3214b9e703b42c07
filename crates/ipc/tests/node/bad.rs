//! A worker that breaks every rule beside one that keeps them. Neither is Node.

use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use ganger_ipc::node::cluster::{Notice, Settings, WorkerId};
use ganger_ipc::node::primary::{Primary, PrimaryEvent};
use ganger_ipc::node::{FRAME_MAX, Frame, Frames, Kind, Refused, Serialization, wire};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::child::in_time;

/// A worker made of a socket.
struct Fake {
    socket: UnixStream,
    frames: Frames<OwnedFd>,
}

impl Fake {
    fn join(primary: &mut Primary, id: WorkerId) -> Self {
        let (ours, socket) = UnixStream::pair().unwrap();
        primary.join(id, ours.into()).unwrap();
        Self { socket, frames: Frames::new(Serialization::Json) }
    }

    fn say(&self, line: &str) {
        (&self.socket).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// What is there for it.
    fn hear(&mut self) -> Vec<Frame<OwnedFd>> {
        while wire::receive(&self.socket, &mut self.frames).is_ok_and(|(n, _)| n > 0) {}
        std::iter::from_fn(|| self.frames.next_frame()).map(|frame| frame.unwrap()).collect()
    }
}

const QUERY: &str = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"127.0.0.1","port":0,"addressType":4,"seq":1}"#;

/// Goes on until something is refused.
async fn refused(primary: &mut Primary) -> (WorkerId, Refused) {
    match in_time(primary.next()).await {
        PrimaryEvent::Refused { worker, refused } => (worker, refused),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_fault_is_named_and_the_other_worker_is_served() {
    let mut primary = Primary::new(Settings::default());
    let bad = Fake::join(&mut primary, 1);
    let mut good = Fake::join(&mut primary, 2);
    bad.say("{\"half\":");
    assert!(matches!(refused(&mut primary).await, (1, Refused::Broken(_))));
    bad.say(r#"{"cmd":"NODE_CLUSTER","act":"explode","seq":1}"#);
    assert!(matches!(refused(&mut primary).await, (1, Refused::Cluster(_))));
    bad.say(r#"{"cmd":"NODE_CLUSTER","ack":77,"accepted":true,"seq":1}"#);
    assert!(matches!(refused(&mut primary).await, (1, Refused::Cluster(_))));
    bad.say(r#"{"cmd":"NODE_HANDLE_ACK"}"#);
    assert_eq!(refused(&mut primary).await, (1, Refused::AnswerToNothing));
    let (pipe, mut other_end) = UnixStream::pair().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [pipe.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let line = b"\"nothing about it\"\n";
    sendmsg(&bad.socket, &[IoSlice::new(line)], &mut control, SendFlags::empty()).unwrap();
    drop(pipe);
    assert!(matches!(
        in_time(primary.next()).await,
        PrimaryEvent::Message { worker: 1, kind: Kind::User, .. }
    ));
    assert_eq!(refused(&mut primary).await, (1, Refused::UnsolicitedHandle));
    // Ours is closed, so the other end reads its end.
    assert_eq!(other_end.read(&mut [0]).unwrap(), 0);
    // More than is taken of one line, while the other asks and is answered.
    let writing = std::thread::spawn(move || {
        let garbage = vec![b'x'; 1 << 20];
        (0..=FRAME_MAX >> 20).for_each(|_| (&bad.socket).write_all(&garbage).unwrap());
        bad.say("");
        bad
    });
    good.say(QUERY);
    let (mut told, mut address) = (None, None);
    while told.is_none() || address.is_none() {
        match in_time(primary.next()).await {
            PrimaryEvent::Cluster(Notice::Open { key, .. }) => {
                let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                address = Some(listener.local_addr().unwrap());
                primary.opened(&key, Ok(listener.into())).unwrap();
            }
            PrimaryEvent::Refused { worker, refused } => told = Some((worker, refused)),
            other => panic!("{other:?}"),
        }
    }
    let len = FRAME_MAX as u64 + (1 << 20);
    assert_eq!(told, Some((1, Refused::TooLong { len, cap: FRAME_MAX })));
    let bad = writing.join().unwrap();
    let mut client = TcpStream::connect(address.unwrap()).unwrap();
    // Its end is what tells the primary's owner that the rest was done.
    drop(bad);
    assert!(matches!(
        in_time(primary.next()).await,
        PrimaryEvent::Ended { worker: 1, error: None }
    ));
    let mut connection = None;
    while connection.is_none() {
        good.say("\"tick\"");
        assert!(matches!(in_time(primary.next()).await, PrimaryEvent::Message { worker: 2, .. }));
        connection = good.hear().into_iter().find_map(|frame| frame.handle);
    }
    std::fs::File::from(connection.unwrap()).write_all(b"served").unwrap();
    good.say(r#"{"cmd":"NODE_HANDLE_ACK"}"#);
    // One word for each of ours; the connection was the second.
    good.say(r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":2}"#);
    good.say("\"done\"");
    while !matches!(in_time(primary.next()).await, PrimaryEvent::Message { body, .. } if body == b"\"done\"")
    {
    }
    assert_eq!(primary.taken().collect::<Vec<_>>(), [(2, 1)]);
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "served");
}

#[tokio::test]
async fn a_listener_that_is_closed_while_it_is_bound_does_not_stay() {
    let mut primary = Primary::new(Settings::default());
    let worker = Fake::join(&mut primary, 1);
    worker.say(QUERY);
    let PrimaryEvent::Cluster(Notice::Open { key, .. }) = in_time(primary.next()).await else {
        panic!("the worker asks");
    };
    primary.close(&key);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    primary.opened(&key, Ok(listener.into())).unwrap();
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}
