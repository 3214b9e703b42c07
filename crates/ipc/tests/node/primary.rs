//! A primary in a hundred lines: the cluster's rules, a listener, and Node workers that know nothing of us.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ganger_ipc::node::cluster::{Action, Cluster, Settings, WorkerId};
use ganger_ipc::node::{Event, HandleOut, HandleType, Kind};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::child::{Node, Shared, in_time};

/// What a test waits for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Online(WorkerId),
    Listening(WorkerId, u16),
    Leaving(WorkerId),
    Idle,
    Back,
    /// The channel ended; the exit code.
    Gone(WorkerId, Option<i32>),
}

pub(crate) struct Primary {
    cluster: Cluster<Shared>,
    workers: BTreeMap<WorkerId, mpsc::UnboundedSender<ToWorker>>,
    events: mpsc::UnboundedReceiver<FromWorker>,
    sender: mpsc::UnboundedSender<FromWorker>,
    listeners: BTreeMap<String, (Arc<TcpListener>, SocketAddr)>,
    accepting: Vec<tokio::task::JoinHandle<()>>,
    /// Every bind fails so.
    pub(crate) refuse_bind: Option<i32>,
    pub(crate) taken: BTreeMap<WorkerId, usize>,
    pub(crate) refused: usize,
}

enum ToWorker {
    Send(Vec<u8>),
    Handle(Vec<u8>, HandleOut<Shared>),
    Kill,
}

enum FromWorker {
    Cluster(WorkerId, Vec<u8>),
    Gone(WorkerId, Option<i32>),
    Accepted(String, Shared),
}

impl Primary {
    pub(crate) fn new(settings: Settings) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        Self {
            cluster: Cluster::new(settings),
            workers: BTreeMap::new(),
            events,
            sender,
            listeners: BTreeMap::new(),
            accepting: Vec::new(),
            refuse_bind: None,
            taken: BTreeMap::new(),
            refused: 0,
        }
    }

    pub(crate) fn start(&mut self, id: WorkerId, program: &str, args: &[&str]) {
        let node = Node::start(program, args, Some(id));
        let (to, from) = mpsc::unbounded_channel();
        self.workers.insert(id, to);
        self.cluster.join(id);
        tokio::spawn(drive(id, node, from, self.sender.clone()));
    }

    pub(crate) fn kill(&self, id: WorkerId) {
        self.workers[&id].send(ToWorker::Kill).unwrap();
    }

    pub(crate) fn disconnect(&mut self, id: WorkerId) -> Vec<Told> {
        let actions = self.cluster.disconnect(id);
        self.act(actions)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listeners.values().next().expect("one is open").1
    }

    pub(crate) fn undecided(&self) -> (usize, usize) {
        self.cluster.undecided()
    }

    /// Goes on until something is to be told.
    pub(crate) async fn next(&mut self) -> Vec<Told> {
        loop {
            let event = in_time(self.events.recv()).await.expect("it has a sender itself");
            let told = self.take(event);
            if !told.is_empty() {
                return told;
            }
        }
    }

    /// Takes one event, told or not.
    pub(crate) async fn turn(&mut self) {
        let event = in_time(self.events.recv()).await.expect("it has a sender itself");
        let told = self.take(event);
        assert_eq!(told, []);
    }

    /// Leaves accepting to the workers.
    pub(crate) fn stop_accepting(&mut self) {
        self.accepting.drain(..).for_each(|task| task.abort());
    }

    /// Goes on until this is told; what else is told on the way is given back.
    pub(crate) async fn until(&mut self, awaited: &Told) -> Vec<Told> {
        let mut all = Vec::new();
        while !all.contains(awaited) {
            all.extend(self.next().await);
        }
        all
    }

    fn take(&mut self, event: FromWorker) -> Vec<Told> {
        let mut told = Vec::new();
        let actions = match event {
            FromWorker::Cluster(worker, body) => self.cluster.on_message(worker, &body).unwrap(),
            FromWorker::Gone(worker, code) => {
                told.push(Told::Gone(worker, code));
                self.workers.remove(&worker);
                self.cluster.gone(worker)
            }
            FromWorker::Accepted(key, connection) => self.cluster.offer(&key, connection),
        };
        told.extend(self.act(actions));
        told
    }

    fn act(&mut self, actions: Vec<Action<Shared>>) -> Vec<Told> {
        let mut told = Vec::new();
        for action in actions {
            match action {
                Action::Send { worker, body } => self.to(worker, ToWorker::Send(body)),
                Action::SendListener { worker, key, is, body } => {
                    let fd = rustix::io::dup(&*self.listeners[&key].0).unwrap();
                    self.to(worker, ToWorker::Handle(body, HandleOut::new(is, Arc::new(fd))));
                }
                Action::SendConnection { worker, body, connection, .. } => {
                    let handle = HandleOut::new(HandleType::Native, connection);
                    self.to(worker, ToWorker::Handle(body, handle));
                }
                Action::Open { key, .. } => {
                    let bound = match self.refuse_bind {
                        Some(errno) => Err(errno),
                        None => Ok(Some(self.open(&key))),
                    };
                    let more = self.cluster.opened(&key, bound);
                    told.extend(self.act(more));
                }
                Action::Taken { worker, .. } => *self.taken.entry(worker).or_default() += 1,
                Action::Back { .. } => {
                    self.refused += 1;
                    told.push(Told::Back);
                }
                Action::Idle { .. } => told.push(Told::Idle),
                Action::Online { worker } => told.push(Told::Online(worker)),
                Action::Listening { worker, wish } => told.push(Told::Listening(worker, wish.port)),
                Action::Leaving { worker } => told.push(Told::Leaving(worker)),
                Action::Pause { .. } | Action::Resume { .. } => {}
            }
        }
        told
    }

    fn to(&self, worker: WorkerId, what: ToWorker) {
        // Who is gone is told by itself.
        let _ = self.workers[&worker].send(what);
    }

    /// Opens a free port for whatever was asked for, and accepts on it.
    fn open(&mut self, key: &str) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Arc::new(TcpListener::from_std(listener).unwrap());
        self.listeners.insert(key.to_owned(), (Arc::clone(&listener), address));
        let (key, sender) = (key.to_owned(), self.sender.clone());
        self.accepting.push(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fd: OwnedFd = stream.into_std().unwrap().into();
                if sender.send(FromWorker::Accepted(key.clone(), Arc::new(fd))).is_err() {
                    return;
                }
            }
        }));
        address
    }
}

/// One worker's channel, until it ends and the process with it.
async fn drive(
    id: WorkerId,
    mut node: Node,
    mut commands: mpsc::UnboundedReceiver<ToWorker>,
    to: mpsc::UnboundedSender<FromWorker>,
) {
    loop {
        tokio::select! {
            event = node.channel.next() => match event.unwrap() {
                Some(Ok(Event::Message { kind: Kind::Cluster, body, .. })) => {
                    let _ = to.send(FromWorker::Cluster(id, body));
                }
                Some(Ok(_)) => {}
                Some(Err(refused)) => panic!("{refused}"),
                None => break,
            },
            command = commands.recv() => match command {
                Some(ToWorker::Send(body)) => node.channel.send(body).unwrap(),
                Some(ToWorker::Handle(body, handle)) => {
                    node.channel.send_handle(&body, handle).unwrap();
                }
                Some(ToWorker::Kill) => node.child.start_kill().unwrap(),
                // The test is over.
                None => return,
            },
        }
    }
    let code = node.child.wait().await.unwrap().code();
    let _ = to.send(FromWorker::Gone(id, code));
}
