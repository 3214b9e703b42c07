//! The owner task of all listeners.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ganger_process::Processes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::address::Address;
use super::apart::apart_names;
use super::claims::{Claim, Unclaimed};
use super::open::{self, File, Opened};
use super::spec::{LISTEN_PREFIX, ListenMode, Listening, Socket, claim_of, hands_of};
use super::{ListenError, ListenerView, Wanted};

pub(super) enum Ask {
    Ensure {
        listening: Arc<Listening>,
        service: String,
        slot: u32,
        reply: oneshot::Sender<Result<(), ListenError>>,
    },
    Open {
        wanted: Vec<Wanted>,
        reply: oneshot::Sender<Vec<(String, ListenError)>>,
    },
    Keep {
        wanted: Vec<Wanted>,
        reply: oneshot::Sender<()>,
    },
    Steer {
        service: String,
        slots: Vec<u32>,
    },
    Watch {
        service: String,
        from: Instant,
    },
    Unwatch {
        service: String,
    },
    Claim {
        claim: Claim,
        reply: oneshot::Sender<Result<OwnedFd, Unclaimed>>,
    },
    Claimed {
        service: String,
        reply: oneshot::Sender<Vec<(String, OwnedFd)>>,
    },
    Hands {
        service: String,
        kind: &'static str,
        reply: oneshot::Sender<Option<OwnedFd>>,
    },
    Unclaim {
        service: String,
        key: String,
    },
    Lend {
        service: String,
        listening: Arc<Listening>,
        reply: oneshot::Sender<Vec<(String, OwnedFd)>>,
    },
    Look {
        service: String,
        reply: oneshot::Sender<Vec<ListenerView>>,
    },
}

pub(super) struct Task {
    pub(super) processes: Processes,
    /// By the keeper's name.
    pub(super) held: BTreeMap<String, Held>,
    /// By service.
    wanted: BTreeMap<String, Wanted>,
    /// Slots that connections of a service go to.
    steered: BTreeMap<String, Vec<u32>>,
    watches: BTreeMap<String, Vec<AbortHandle>>,
    watching: JoinSet<()>,
    knock: mpsc::Sender<String>,
}

pub(super) struct Held {
    pub(super) fd: OwnedFd,
    pub(super) file: Option<File>,
}

impl Task {
    pub(super) fn new(
        processes: Processes,
        held: BTreeMap<String, OwnedFd>,
        knock: mpsc::Sender<String>,
    ) -> Self {
        let take = |(name, fd): (String, OwnedFd)| {
            let address = name.strip_prefix(LISTEN_PREFIX).and_then(|text| text.parse().ok());
            let file = match (address, claim_of(&name)) {
                (Some(Address::Unix(path)), _) => File::at(&path),
                (None, Some((_, key))) => super::claims::path_of(key).and_then(File::at),
                _ => None,
            };
            (name, Held { fd, file })
        };
        Self {
            processes,
            held: held.into_iter().map(take).collect(),
            wanted: BTreeMap::new(),
            steered: BTreeMap::new(),
            watches: BTreeMap::new(),
            watching: JoinSet::new(),
            knock,
        }
    }

    /// Runs until every handle is dropped. What is held stays held.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Ask>) {
        while let Some(ask) = inbox.recv().await {
            self.on_ask(ask).await;
            // Those that have knocked or were aborted.
            while self.watching.try_join_next().is_some() {}
        }
    }

    /// Who no longer waits for an answer needs none.
    async fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Ensure { listening, service, slot, reply } => {
                let slots = self.wanted.get(&service).map_or(slot, |known| known.slots.max(slot));
                let apart = vec![];
                let wanted = Wanted { service, listening, slots, claims: false, apart };
                let done = self.open(&wanted).await;
                drop(reply.send(done));
            }
            Ask::Open { wanted, reply } => {
                let mut faults = vec![];
                for one in wanted {
                    if let Err(error) = self.open(&one).await {
                        faults.push((one.service.clone(), error));
                    }
                    self.wanted.insert(one.service.clone(), one);
                }
                drop(reply.send(faults));
            }
            Ask::Keep { wanted, reply } => {
                self.keep(wanted).await;
                let _unheard = reply.send(());
            }
            Ask::Steer { service, slots } => self.steer(&service, slots),
            Ask::Watch { service, from } => self.watch(service, from),
            Ask::Unwatch { service } => self.unwatch(&service),
            Ask::Claim { claim, reply } => {
                let claimed = self.claim(claim).await;
                drop(reply.send(claimed));
            }
            Ask::Claimed { service, reply } => drop(reply.send(self.claimed(&service))),
            Ask::Hands { service, kind, reply } => {
                let hands = self.hands(&service, kind).await;
                if let Err(error) = &hands {
                    tracing::warn!(%error, service, "connections are handed over without a note");
                }
                drop(reply.send(hands.ok()));
            }
            Ask::Unclaim { service, key } => self.unclaim(&service, &key).await,
            Ask::Lend { service, listening, reply } => {
                drop(reply.send(self.lend(&service, &listening)));
            }
            Ask::Look { service, reply } => drop(reply.send(self.look(&service))),
        }
    }

    /// Opens every listener of a service that is not open. The slots of a reuseport group come in order: their places in
    /// the kernel's group are their numbers.
    async fn open(&mut self, wanted: &Wanted) -> Result<(), ListenError> {
        let all: Vec<_> = each(wanted).collect();
        for (socket, slot) in all {
            let name = wanted.listening.held_name(socket, &wanted.service, slot);
            if let Some(held) = self.held.get(&name) {
                if let (Address::Unix(path), Some(_)) = (&socket.address, &held.file)
                    && let Err(error) = open::permit(socket, path)
                {
                    tracing::warn!(%error, address = %socket.address, "permissions of a socket");
                }
                if wanted.listening.mode != ListenMode::Pass {
                    // Where it was accepted from here it must not block there: programs expect the usual.
                    let _unchanged = rustix::io::ioctl_fionbio(&held.fd, false);
                }
                continue;
            }
            let opened = match self.sibling(wanted, socket, slot) {
                Some(fd) => Opened { fd, file: None },
                None if wanted.listening.apart.is_some() => self.open_apart(wanted, socket).await?,
                None => self.open_one(wanted, socket, slot).await?,
            };
            let copy = opened.fd.try_clone().map_err(|error| {
                ListenError(format!("{}: no second descriptor of it: {error}", socket.address))
            })?;
            self.held.insert(name.clone(), Held { fd: opened.fd, file: opened.file });
            // Without a keeper the start that needs it fails next and says so.
            let _gone = self.processes.hold(name, copy).await;
            self.steered.remove(&wanted.service);
        }
        Ok(())
    }

    async fn open_one(
        &self,
        wanted: &Wanted,
        socket: &Socket,
        slot: u32,
    ) -> Result<Opened, ListenError> {
        let share = wanted.listening.mode == ListenMode::Reuseport;
        let mut spec = socket.clone();
        let first = wanted.listening.held_name(socket, &wanted.service, 1);
        if share
            && slot > 1
            && let Some(first) = self.held.get(&first)
        {
            // The port that the kernel chose for the first is everybody's.
            spec.address = open::real(&socket.address, &first.fd);
        }
        let opened = tokio::task::spawn_blocking(move || open::open(&spec, share)).await;
        match opened {
            Ok(opened) => opened.map_err(|error| ListenError(format!("can't listen: {error}"))),
            Err(broke) => Err(ListenError(format!("can't listen: {}: {broke}", socket.address))),
        }
    }

    /// The listener that another mode had at the same address: it goes on, with what waits in its queue.
    fn sibling(&self, wanted: &Wanted, socket: &Socket, slot: u32) -> Option<OwnedFd> {
        if wanted.listening.apart.is_some() {
            return None;
        }
        let (mode, share) = match wanted.listening.mode {
            ListenMode::Inherit | ListenMode::Pass => (ListenMode::Reuseport, false),
            ListenMode::Reuseport => (ListenMode::Inherit, true),
        };
        let other = Listening::new(vec![], mode);
        let name = other.held_name(socket, &wanted.service, 1);
        let held = self.held.get(&name).filter(|_| slot == 1)?;
        let fd = held.fd.try_clone().ok()?;
        rustix::net::sockopt::set_socket_reuseport(&fd, share).ok()?;
        Some(fd)
    }

    async fn keep(&mut self, wanted: Vec<Wanted>) {
        let names: BTreeSet<String> =
            wanted.iter().flat_map(|one| names(one).chain(apart_names(one))).collect();
        self.wanted = wanted.into_iter().map(|one| (one.service.clone(), one)).collect();
        let watched = self.watches.keys().filter(|service| !self.wanted.contains_key(*service));
        for service in watched.cloned().collect::<Vec<_>>() {
            self.unwatch(&service);
        }
        self.steered.retain(|service, _| self.wanted.contains_key(service));
        let wants = |of: &str, what: fn(&Wanted) -> bool| self.wanted.get(of).is_some_and(what);
        let claims = |name: &str| {
            claim_of(name).is_some_and(|(of, _)| wants(of, |one| one.claims))
                || hands_of(name).is_some_and(|of| wants(of, Wanted::hands_over))
        };
        let unwanted = |name: &String, _: &mut Held| !names.contains(name) && !claims(name);
        let dropped: Vec<(String, Held)> = self.held.extract_if(.., unwanted).collect();
        for (name, held) in dropped {
            held.file.iter().for_each(File::remove);
            // Without a keeper nothing is held.
            let _gone = self.processes.release(name).await;
        }
    }

    fn steer(&mut self, service: &str, slots: Vec<u32>) {
        let Some(wanted) = self.wanted.get(service) else { return };
        let same = self.steered.get(service) == Some(&slots);
        if slots.is_empty() || same || wanted.listening.mode != ListenMode::Reuseport {
            return;
        }
        let places: Vec<u32> = slots.iter().map(|slot| slot.saturating_sub(1)).collect();
        for socket in &wanted.listening.sockets {
            let name = wanted.listening.held_name(socket, service, 1);
            let Some(first) = self.held.get(&name) else { return };
            if let Err(error) = ganger_sys::socket::steer(&first.fd, &places) {
                // The kernel deals by hash then; a dead slot's share waits for its restart.
                tracing::warn!(%error, service, "connections can't be steered to ready instances");
            }
        }
        self.steered.insert(service.to_owned(), slots);
    }

    /// One task per socket waits until it is readable, says so once, and ends.
    fn watch(&mut self, service: String, from: Instant) {
        self.unwatch(&service);
        let Some(wanted) = self.wanted.get(&service) else { return };
        let names = each(wanted).map(|(s, slot)| wanted.listening.held_name(s, &service, slot));
        // A descriptor of its own for each watch: an aborted one may still be registered under its number (epoll's EEXIST).
        let fds: Vec<_> =
            names.filter_map(|name| Some(self.held.get(&name)?.fd.try_clone())).collect();
        let handles = fds.into_iter().map(|fd| {
            let (knock, service) = (self.knock.clone(), service.clone());
            self.watching.spawn(async move {
                sleep_until(from).await;
                if readable(fd).await {
                    // Without the services' owner there is nobody to start it.
                    let _gone = knock.send(service).await;
                }
            })
        });
        let handles = handles.collect();
        self.watches.insert(service, handles);
    }

    fn unwatch(&mut self, service: &str) {
        self.watches.remove(service).into_iter().flatten().for_each(|watch| watch.abort());
    }

    fn look(&self, service: &str) -> Vec<ListenerView> {
        let Some(wanted) = self.wanted.get(service) else { return vec![] };
        let mode = wanted.listening.mode;
        let look = |(socket, slot): (&Socket, u32)| {
            let held = self.held.get(&wanted.listening.held_name(socket, service, slot));
            let real = held.map(|held| open::real(&socket.address, &held.fd));
            ListenerView {
                address: real.unwrap_or_else(|| socket.address.clone()),
                name: socket.name.clone(),
                mode,
                slot: (mode == ListenMode::Reuseport).then_some(slot),
                open: held.is_some(),
                queue: held
                    .filter(|_| matches!(socket.address, Address::Tcp(_)))
                    .and_then(|held| ganger_sys::socket::queue(&held.fd).ok()),
            }
        };
        each(wanted).map(look).chain(self.look_at_claims(service)).collect()
    }
}

/// What the keeper calls the sockets of a service.
fn names(wanted: &Wanted) -> impl Iterator<Item = String> {
    each(wanted).map(|(socket, slot)| wanted.listening.held_name(socket, &wanted.service, slot))
}

/// Every socket of a service, with its slot; sockets that all slots share count as slot 1's.
fn each(wanted: &Wanted) -> impl Iterator<Item = (&Socket, u32)> {
    let slots = match wanted.listening.mode {
        ListenMode::Inherit | ListenMode::Pass => 1,
        ListenMode::Reuseport => wanted.slots,
    };
    wanted.listening.sockets.iter().flat_map(move |socket| (1..=slots).map(move |s| (socket, s)))
}

/// Waits until something is to be taken from a socket; false when that can't be seen.
#[expect(
    deprecated,
    reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's can't"
)]
async fn readable(fd: io::Result<OwnedFd>) -> bool {
    match fd.and_then(|fd| AsyncFd::with_interest(fd, Interest::READABLE)) {
        Ok(fd) => fd.readable().await.is_ok(),
        Err(error) => {
            tracing::error!(%error, "can't wait for connections");
            false
        }
    }
}
