//! The owner of listeners, with a keeper in memory and sockets of the real kernel.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::Duration;

use ganger_testkit::Act;

use super::*;
use crate::testing::{Rig, within};

struct Owner {
    rig: Rig,
    listeners: Listeners,
    knocks: mpsc::Receiver<String>,
}

impl Owner {
    fn start(held: &mut BTreeMap<String, OwnedFd>) -> Self {
        let rig = Rig::new(|_, _| Act::runs());
        let (listeners, task, knocks) = Listeners::start(rig.around.processes.clone(), held);
        tokio::spawn(task);
        Self { rig, listeners, knocks }
    }

    /// What the keeper holds once it has heard all that was asked so far.
    async fn held(&self) -> Vec<String> {
        self.rig.around.processes.flush_logs().await.unwrap();
        self.rig.keeper.held().await
    }

    /// That of one socket.
    async fn port_of(&self, socket: usize) -> u16 {
        self.listeners.look("web").await[socket].address.place().unwrap().port
    }

    async fn port(&self) -> u16 {
        let views = self.listeners.look("web").await;
        assert!(views.iter().all(|view| view.open), "{views:?}");
        let ports: Vec<_> = views.iter().map(|v| v.address.place().unwrap().port).collect();
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        ports[0]
    }
}

fn web(addresses: &[&str], mode: ListenMode, slots: u32) -> Wanted {
    let socket = |text: &&str| Socket {
        address: text.parse().unwrap(),
        name: "web".into(),
        mode: 0o600,
        owner: None,
    };
    let sockets = addresses.iter().map(socket).collect();
    Wanted {
        service: "web".into(),
        listening: Arc::new(Listening::new(sockets, mode)),
        slots,
        claims: false,
        apart: vec![],
    }
}

const ANY: [&str; 1] = ["tcp://127.0.0.1:0"];

#[tokio::test(start_paused = true)]
async fn what_is_opened_is_held_until_nobody_wants_it() {
    let owner = Owner::start(&mut BTreeMap::new());
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("web.sock");
    let unix = format!("unix://{}", path.display());
    let wanted = web(&[ANY[0], &unix], ListenMode::Inherit, 2);
    assert!(owner.listeners.open(vec![wanted.clone()]).await.is_empty());
    let names = [format!("listen:{}@web", ANY[0]), format!("listen:{unix}")];
    assert_eq!(owner.held().await, names);
    let views = owner.listeners.look("web").await;
    assert_eq!((views[0].queue, views[1].queue), (Some((0, 4_096)), None));
    let port = views[0].address.place().unwrap().port;
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(owner.listeners.look("web").await[0].queue, Some((1, 4_096)));
    drop(client);

    owner.listeners.keep(vec![wanted]).await;
    assert_eq!(owner.held().await, names);
    assert!(path.exists());
    owner.listeners.keep(vec![]).await;
    assert_eq!(owner.held().await, Vec::<String>::new());
    assert!(!path.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(owner.listeners.look("web").await, vec![]);
}

#[tokio::test(start_paused = true)]
async fn the_next_daemon_goes_on_with_what_is_held() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("web.sock");
    let unix = format!("unix://{}", path.display());
    let fd = std::os::unix::net::UnixListener::bind(&path).unwrap().into();
    let other: OwnedFd = std::io::pipe().unwrap().0.into();
    let held = [(format!("listen:{unix}"), fd), ("notify:web#1".to_owned(), other)];
    let mut held = BTreeMap::from(held);
    let owner = Owner::start(&mut held);
    assert_eq!(held.len(), 1, "what is no listener is somebody else's");
    let wanted = web(&[&unix], ListenMode::Inherit, 1);
    assert!(owner.listeners.open(vec![wanted]).await.is_empty());
    assert_eq!(owner.held().await, Vec::<String>::new(), "the keeper has it: nothing is opened");
    owner.listeners.keep(vec![]).await;
    // Answered after it was done.
    assert_eq!(owner.listeners.look("web").await, vec![]);
    assert!(!path.exists());
}

#[tokio::test(start_paused = true)]
async fn a_port_stays_open_through_changes_of_mode_and_number() {
    let owner = Owner::start(&mut BTreeMap::new());
    let change = async |mode, slots| {
        let wanted = web(&ANY, mode, slots);
        assert_eq!(owner.listeners.open(vec![wanted.clone()]).await, vec![]);
        owner.listeners.keep(vec![wanted]).await;
        (owner.held().await.len(), owner.port().await)
    };
    let (count, port) = change(ListenMode::Inherit, 3).await;
    assert_eq!(count, 1);
    for (mode, slots, held) in [
        (ListenMode::Reuseport, 3, 3),
        (ListenMode::Reuseport, 2, 2),
        (ListenMode::Reuseport, 4, 4),
        (ListenMode::Inherit, 4, 1),
    ] {
        assert_eq!(change(mode, slots).await, (held, port));
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_starts_has_its_sockets_whoever_opened_them() {
    let owner = Owner::start(&mut BTreeMap::new());
    let listening = web(&ANY, ListenMode::Reuseport, 0).listening;
    owner.listeners.ensure(Arc::clone(&listening), "web", 2).await.unwrap();
    let names = [1, 2].map(|slot| format!("listen:{}@web#{slot}", ANY[0]));
    assert_eq!(owner.held().await, names, "the place in the kernel's group is the slot");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp://{}", taken.local_addr().unwrap());
    let listening = web(&[&text], ListenMode::Inherit, 1).listening;
    let refused = owner.listeners.ensure(listening, "web", 1).await.unwrap_err();
    assert!(refused.to_string().contains("is taken by ganger itself"), "{refused}");
    assert!(Listeners::default().ensure(Arc::default(), "web", 1).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn no_connection_comes_to_what_is_on_trial() {
    let owner = Owner::start(&mut BTreeMap::new());
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("web.sock");
    let unix = format!("unix://{}", path.display());
    let wanted = web(&[ANY[0], &unix, "udp://127.0.0.1:0"], ListenMode::Inherit, 1);
    assert!(owner.listeners.open(vec![wanted.clone()]).await.is_empty());
    let shared = owner.held().await;
    let apart = Arc::new(wanted.listening.apart(2).unwrap());
    owner.listeners.ensure(Arc::clone(&apart), "web", 2).await.unwrap();
    let port = owner.port_of(0).await;
    let clients: Vec<_> =
        (0..64).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let own = apart.held_name(&apart.sockets[0], "web", 2);
    let own = owner.rig.keeper.descriptor(&own).await.unwrap();
    let told = rustix::net::getsockname(&own).unwrap();
    assert_eq!(std::net::SocketAddr::try_from(told).unwrap().port(), port, "the same address");
    assert_eq!(owner.listeners.look("web").await[0].queue, Some((64, 4_096)));
    assert_eq!(ganger_sys::socket::queue(&own).unwrap().0, 0);
    assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_err(), "taken for others");
    let beside = temp.path().join("web.sock~2");
    assert!(beside.exists());

    owner.listeners.keep(vec![Wanted { apart: vec![2], ..wanted.clone() }]).await;
    assert_eq!(owner.held().await.len(), 6);
    owner.listeners.keep(vec![wanted]).await;
    assert_eq!(owner.held().await, shared);
    assert!(path.exists() && !beside.exists());
    drop((own, clients));
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(owner.listeners.look("web").await[0].queue, Some((65, 4_096)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_knocks_once_and_not_before_its_time() {
    let mut owner = Owner::start(&mut BTreeMap::new());
    assert!(owner.listeners.open(vec![web(&ANY, ListenMode::Inherit, 1)]).await.is_empty());
    let port = owner.port().await;
    let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let from = Instant::now() + Duration::from_secs(1);
    owner.listeners.watch("web", from).await;
    assert_eq!(within(owner.knocks.recv()).await.as_deref(), Some("web"));
    assert!(Instant::now() >= from);

    owner.listeners.watch("web", Instant::now() + Duration::from_secs(5)).await;
    owner.listeners.unwatch("web").await;
    owner.listeners.look("web").await;
    let silence = tokio::time::timeout(Duration::from_secs(60), owner.knocks.recv()).await;
    assert!(silence.is_err(), "nobody watches");
}
