//! The owner of a service's connections: workers at the other ends of real channels, clients at real ports.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use ganger_ipc::node::{Event, HandleType, NodeChannel};
use ganger_testkit::Act;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::listeners::{ListenMode, Socket, Wanted};
use crate::testing::Rig;

/// Longer than any machine needs: it only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(120);

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("something should have happened")
}

/// A service that listens on one port, mode `pass`.
struct Web {
    rig: Rig,
    listening: Arc<Listening>,
    primaries: Primaries,
    port: u16,
}

impl Web {
    async fn start() -> Self {
        Self::after(BTreeMap::new()).await
    }

    /// A former daemon had the keeper hold this.
    async fn after(mut held: BTreeMap<String, OwnedFd>) -> Self {
        let rig = Rig::new(|_, _| Act::runs());
        let (listeners, task, _knocks) = Listeners::start(rig.around.processes.clone(), &mut held);
        tokio::spawn(task);
        let address = "tcp://127.0.0.1:0".parse().unwrap();
        let sockets = vec![Socket { address, name: "front".into(), mode: 0, owner: None }];
        let listening = Arc::new(Listening::new(sockets, ListenMode::Pass));
        let (service, wanted) = ("web".to_owned(), Arc::clone(&listening));
        let wanted = Wanted { service, listening: wanted, slots: 2, claims: false, apart: vec![] };
        assert!(listeners.open(vec![wanted]).await.is_empty());
        let port = listeners.look("web").await[0].address.place().unwrap().port;
        let (primaries, hub) =
            Primaries::start(listeners, rig.around.told.clone(), BTreeMap::new());
        tokio::spawn(hub);
        Self { rig, listening, primaries, port }
    }

    /// A worker in a slot, with the slot's number as its pid; gives its end of the channel.
    async fn join(&self, slot: u32) -> StdStream {
        let (ours, theirs) = StdStream::pair().unwrap();
        let join = Join {
            slot,
            pid: slot,
            channel: ours.into(),
            note: WorkerNote { id: self.primaries.number("web").await, keys: None },
            adopted: false,
            listening: Some(Arc::clone(&self.listening)),
            heard: watch::Sender::default(),
        };
        self.primaries.join("web", Handover::Sockets, join).await;
        theirs
    }

    async fn client(&self) -> TcpStream {
        in_time(TcpStream::connect(("127.0.0.1", self.port))).await.unwrap()
    }

    /// Connections given to each slot.
    async fn counts(&self) -> Vec<(u32, u64)> {
        let looked = self.primaries.look(Some("web")).await;
        looked["web"].iter().map(|one| (one.slot, one.taken + one.in_flight)).collect()
    }
}

/// The next connection that a worker gets, acknowledged, with the message that came with it.
async fn connection(worker: &mut NodeChannel) -> (String, TcpStream) {
    match in_time(worker.next()).await.unwrap() {
        Some(Ok(Event::Message { body, handle: Some(handle), .. })) => {
            assert_eq!(handle.is, HandleType::Socket);
            let fd = Arc::into_inner(handle.fd).expect("nobody else has it");
            let stream = TcpStream::from_std(fd.into()).unwrap();
            worker.flush().unwrap();
            (String::from_utf8(body).unwrap(), stream)
        }
        other => panic!("{other:?}"),
    }
}

/// What is written here arrives there.
async fn are_one(client: &mut TcpStream, served: &mut TcpStream) {
    served.write_all(b"x").await.unwrap();
    let mut byte = [0];
    in_time(tokio::io::AsyncReadExt::read_exact(client, &mut byte)).await.unwrap();
    assert_eq!(&byte, b"x");
}

/// Its sockets block for whoever gets them next: an owner that still took from them would hang.
#[tokio::test]
async fn who_quits_takes_nothing_more_until_it_listens_again() {
    let web = Web::start().await;
    let mut worker = NodeChannel::from_socket(web.join(1).await.into()).unwrap();
    web.primaries.steer("web", vec![1]).await;
    let mut client = web.client().await;
    let (_, mut served) = connection(&mut worker).await;
    are_one(&mut client, &mut served).await;
    in_time(web.primaries.quit("web")).await;
    let mut late = web.client().await;
    assert_eq!(in_time(web.counts()).await, [(1, 1)], "it answers, and has taken nothing");
    let service = "web".to_owned();
    let listening = Some(Arc::clone(&web.listening));
    let again = Served { service, handover: Handover::Sockets, listening };
    web.primaries.keep(vec![again]).await;
    let (_, mut served) = connection(&mut worker).await;
    are_one(&mut late, &mut served).await;
    in_time(web.primaries.quit("nobody")).await;
}

#[tokio::test]
async fn connections_go_round_and_those_of_a_dead_worker_to_another() {
    let web = Web::start().await;
    let mut first = NodeChannel::from_socket(web.join(1).await.into()).unwrap();
    let second = web.join(2).await;
    second.set_nonblocking(true).unwrap();
    let second = UnixStream::from_std(second).unwrap();
    let mut early = web.client().await;
    web.primaries.steer("web", vec![1, 2]).await;
    let (said, mut served) = connection(&mut first).await;
    assert!(said.starts_with(r#"{"$connection":{"listener":"front","n":"#), "{said}");
    are_one(&mut early, &mut served).await;

    // The other's turn: it gets one, says nothing, and dies.
    let mut late = web.client().await;
    in_time(second.readable()).await.unwrap();
    assert_eq!(web.counts().await, [(1, 1), (2, 1)]);
    drop(second);
    web.primaries.left("web", Handover::Sockets, 2).await;
    let (_, mut served) = connection(&mut first).await;
    are_one(&mut late, &mut served).await;

    // Who is not ready gets none: they wait.
    web.primaries.steer("web", vec![]).await;
    // An answer: the order before it has been carried out.
    assert_eq!(web.counts().await, [(1, 2)]);
    let mut waits = web.client().await;
    let mut third = NodeChannel::from_socket(web.join(3).await.into()).unwrap();
    web.primaries.steer("web", vec![3]).await;
    let (_, mut served) = connection(&mut third).await;
    are_one(&mut waits, &mut served).await;
    assert_eq!(web.counts().await, [(1, 2), (3, 1)]);
}

#[tokio::test]
async fn a_connection_that_died_with_the_last_daemon_is_told_and_none_that_was_handed_over() {
    let memory = ganger_sys::shared::create("hands").unwrap();
    let words = ganger_sys::shared::Shared::open(&memory).unwrap();
    words.words()[0].store(1, std::sync::atomic::Ordering::Relaxed);
    let mut web = Web::after([("hands:web:pass".to_owned(), memory)].into()).await;
    let mut worker = NodeChannel::from_socket(web.join(1).await.into()).unwrap();
    let told = in_time(web.rig.told.recv()).await.unwrap().event;
    assert_eq!((&*told.kind, &*told.name), ("service.connection_lost", "web"));
    web.primaries.steer("web", vec![1]).await;
    let mut client = web.client().await;
    let (_, mut served) = connection(&mut worker).await;
    are_one(&mut client, &mut served).await;
    // It was noted, and is a worker's now: the owner answers between two connections.
    assert_eq!(in_time(web.counts()).await, [(1, 1)]);
    let [what, port, ..] =
        words.words().each_ref().map(|word| word.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!((what, port), (0, client.local_addr().unwrap().port().into()));
}

#[tokio::test]
async fn nonsense_on_a_channel_is_told_once_and_costs_nobody_a_connection() {
    let mut web = Web::start().await;
    let mut first = web.join(1).await;
    let mut second = NodeChannel::from_socket(web.join(2).await.into()).unwrap();
    web.primaries.steer("web", vec![1, 2]).await;
    std::io::Write::write_all(&mut first, b"}{\n\"fine\"\nno\n").unwrap();
    let told = in_time(web.rig.told.recv()).await.unwrap().event;
    assert_eq!((&*told.kind, told.slot), ("instance.channel_refused", Some(1)));
    assert!(told.reason.contains("}{"), "{}", told.reason);
    // A handle that nobody asked for is closed, and acknowledged: else its sender would say nothing more.
    let nobody = StdStream::pair().unwrap().0;
    let handle = ganger_ipc::node::HandleOut::new(HandleType::Server, Arc::new(nobody.into()));
    let ticket = second.send_handle(b"{}", handle).unwrap();
    web.primaries.steer("web", vec![2]).await;
    let _carried_out = web.counts().await;
    let mut client = web.client().await;
    let (mut acknowledged, mut served) = (false, None);
    while !acknowledged || served.is_none() {
        match in_time(second.next()).await.unwrap() {
            Some(Ok(Event::Delivered(number))) => acknowledged = number == ticket,
            Some(Ok(Event::Message { handle: Some(handle), .. })) => {
                let fd = Arc::into_inner(handle.fd).expect("nobody else has it");
                served = Some(TcpStream::from_std(fd.into()).unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    are_one(&mut client, &mut served.unwrap()).await;
    let told = in_time(web.rig.told.recv()).await.unwrap().event;
    assert_eq!((&*told.kind, told.slot), ("instance.channel_refused", Some(2)));
    assert!(told.reason.contains("nobody asked for"), "{}", told.reason);
    assert!(web.rig.told.try_recv().is_err(), "the second line of nonsense is only counted");
}

#[tokio::test]
async fn numbers_go_on_where_a_former_daemon_was() {
    let (listeners, told) = (Listeners::default(), mpsc::channel(1).0);
    let (primaries, hub) = Primaries::start(listeners, told, [("web".to_owned(), 7)].into());
    tokio::spawn(hub);
    assert_eq!(primaries.number("web").await, 8);
    assert_eq!(primaries.number("web").await, 9);
    assert_eq!(primaries.number("other").await, 1);
}
