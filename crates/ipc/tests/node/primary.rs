//! A program's owner: starts workers, binds what they ask for, hears what the primary tells.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use ganger_ipc::node::cluster::{Family, Notice, Settings, Wish, WorkerId};
use ganger_ipc::node::primary::{Primary, PrimaryEvent};
use tokio::process::Child;

use crate::child::{Node, in_time};

/// What a test waits for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Online(WorkerId),
    Listening(WorkerId, u16),
    Leaving(WorkerId),
    Idle,
    Dropped,
    /// The channel ended, and the process with this exit code.
    Gone(WorkerId, Option<i32>),
    /// The program's own words.
    Said(WorkerId, String),
}

pub(crate) struct Owner {
    pub(crate) primary: Primary,
    children: BTreeMap<WorkerId, Child>,
    address: Option<SocketAddr>,
    pub(crate) udp: Option<SocketAddr>,
    /// Every bind fails so.
    pub(crate) refuse_bind: Option<i32>,
}

impl Owner {
    pub(crate) fn new(settings: Settings) -> Self {
        let primary = Primary::new(settings);
        Self { primary, children: BTreeMap::new(), address: None, udp: None, refuse_bind: None }
    }

    pub(crate) fn start(&mut self, id: WorkerId, program: &str, args: &[&str]) {
        let (child, ours) = Node::start_raw(program, args, Some(id));
        self.primary.join(id, ours.into()).unwrap();
        self.children.insert(id, child);
    }

    pub(crate) fn kill(&mut self, id: WorkerId) {
        self.children.get_mut(&id).unwrap().start_kill().unwrap();
    }

    /// Where the program can be reached.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("it listens")
    }

    pub(crate) fn taken(&self) -> BTreeMap<WorkerId, u64> {
        self.primary.taken().collect()
    }

    /// Goes on until something is told. Cancel safe, but for the end of a worker.
    pub(crate) async fn next(&mut self) -> Told {
        loop {
            match in_time(self.primary.next()).await {
                PrimaryEvent::Cluster(Notice::Open { key, wish }) => {
                    let bound = self.refuse_bind.map_or_else(|| Ok(self.bind(&wish)), Err);
                    self.primary.opened(&key, bound).unwrap();
                }
                PrimaryEvent::Cluster(Notice::Idle { .. }) => return Told::Idle,
                PrimaryEvent::Cluster(Notice::Online { worker }) => return Told::Online(worker),
                PrimaryEvent::Cluster(Notice::Listening { worker, wish }) => {
                    return Told::Listening(worker, wish.port);
                }
                PrimaryEvent::Cluster(Notice::Leaving { worker }) => return Told::Leaving(worker),
                PrimaryEvent::Dropped { .. } => return Told::Dropped,
                PrimaryEvent::Ended { worker, error: None } => {
                    let mut child = self.children.remove(&worker).unwrap();
                    let status = in_time(child.wait()).await.unwrap();
                    return Told::Gone(worker, status.code());
                }
                PrimaryEvent::Message { worker, body, .. } => {
                    return Told::Said(worker, String::from_utf8(body).unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Goes on until this is told, and gives what was told before it.
    pub(crate) async fn until(&mut self, awaited: &Told) -> Vec<Told> {
        let mut before = Vec::new();
        loop {
            let told = self.next().await;
            if told == *awaited {
                return before;
            }
            before.push(told);
        }
    }

    /// Goes on until so many connections wait and are offered; nothing is to be told meanwhile.
    pub(crate) async fn undecided(&mut self, awaited: (usize, usize)) {
        in_time(async {
            while self.primary.undecided() != awaited {
                // Each time around it goes on as far as it can.
                tokio::select! {
                    biased;
                    told = self.next() => panic!("{told:?}"),
                    () = tokio::task::yield_now() => {}
                }
            }
        })
        .await;
    }

    fn bind(&mut self, wish: &Wish) -> OwnedFd {
        match wish.family {
            Family::Unix => UnixListener::bind(wish.address.as_ref().unwrap()).unwrap().into(),
            Family::Udp4 => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                self.udp = Some(socket.local_addr().unwrap());
                socket.into()
            }
            _ => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                self.address = Some(listener.local_addr().unwrap());
                listener.into()
            }
        }
    }
}
