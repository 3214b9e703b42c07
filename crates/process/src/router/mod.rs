//! The routing task: pairs requests with answers, brings exits to owners, answers pings, mirrors descriptors.
//!
//! It has one wait point and never waits on a full channel elsewhere: what can't go out at once stays in its outbox, and
//! while that is long no further request of an owner is taken. Events of the keeper are always taken.
//!
//! ```text
//! Spawn ──► spawning ──Spawned──► living ──Exited──► exited ──Ack──► forgotten
//!              └──SpawnFailed, Refused──► the starter's error
//!              └──starter gone──► ended by force, its exit acknowledged here
//! ```

mod answers;
mod asked;
mod logs;
mod upgrade;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::os::fd::OwnedFd;

use ganger_core::{InstanceId, InstanceKind, SpawnId};
use ganger_keeper::wire::{ExitReport, Held, Request, WIRE_VERSION};
use tokio::sync::{mpsc, oneshot};

use crate::control::{Asked, Born, answer};
use crate::error::SpawnError;
use crate::inherited::Inherited;
use crate::link::{Link, Outgoing, room_in, send_waiting};
use crate::mirror::{Mirror, copy};
use crate::processes::Notice;
use crate::revive::{KeeperLost, TAKEOVER};

use logs::LogTickets;
use upgrade::Upgrading;

/// Requests waiting for the keeper above which owners wait too.
const OUTBOX_HIGH: usize = 4_096;
/// Log notices kept for a daemon that doesn't take them; further ones are dropped, the loss is in the logger's counters.
const BACKLOG_MAX: usize = 1_024;

/// A start on its way.
struct Spawning {
    instance: InstanceId,
    kind: InstanceKind,
    program: String,
    blob: String,
    keep_leftovers: bool,
    asks_for: AsksFor,
    reply: oneshot::Sender<Result<Born, SpawnError>>,
}

/// Which descriptors come with `Spawned` after the pidfd.
#[derive(Clone, Copy)]
struct AsksFor {
    channel: bool,
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

pub(crate) struct Router {
    link: Link,
    asked: Asked,
    outbox: VecDeque<Outgoing>,
    notices: mpsc::Sender<Notice>,
    backlog: VecDeque<Notice>,
    epoch: u32,
    spawns: u32,
    spawning: HashMap<SpawnId, Spawning>,
    exits: HashMap<SpawnId, oneshot::Sender<ExitReport>>,
    ending: HashMap<SpawnId, Vec<oneshot::Sender<Vec<u32>>>>,
    abandoned: HashSet<SpawnId>,
    logs: LogTickets,
    upgrading: Upgrading,
    mirror: Mirror,
}

/// What of the inherited goes to the daemon.
pub(crate) struct Taken {
    pub(crate) children: Vec<(InstanceId, String, Born)>,
    pub(crate) held: BTreeMap<String, OwnedFd>,
    pub(crate) api: Option<OwnedFd>,
}

impl Router {
    pub(crate) fn new(
        link: Link,
        inherited: Inherited,
        epoch: u32,
        asked: Asked,
        notices: mpsc::Sender<Notice>,
    ) -> (Self, Taken) {
        let mut router = Self {
            link,
            asked,
            outbox: VecDeque::new(),
            notices,
            backlog: VecDeque::new(),
            epoch,
            spawns: 0,
            spawning: HashMap::new(),
            exits: HashMap::new(),
            ending: HashMap::new(),
            abandoned: HashSet::new(),
            logs: LogTickets::new(epoch),
            upgrading: Upgrading::default(),
            mirror: inherited.mirror,
        };
        router.ask(Request::Hello { version: WIRE_VERSION }, vec![]);
        if router.mirror.held.remove(TAKEOVER).is_some() {
            router.ask(Request::Release { name: TAKEOVER.into() }, vec![]);
        }
        let taken = router.hand_over();
        (router, taken)
    }

    fn hand_over(&mut self) -> Taken {
        let mut children = Vec::with_capacity(self.mirror.children.len());
        for (id, (row, fds)) in &self.mirror.children {
            let (told, exit) = oneshot::channel();
            match row.exit.clone() {
                // The receiver stands in `born` below, so this can't fail.
                Some(report) => answer(told, report),
                None => drop(self.exits.insert(*id, told)),
            }
            let born = Born {
                id: *id,
                kind: row.kind,
                pid: row.pid,
                started_at_ms: row.started_at_ms,
                report: row.report.clone(),
                ends: fds.ends(),
                exit,
            };
            children.push((row.instance.clone(), row.blob.clone(), born));
        }
        children.sort_by_key(|(_, _, born)| born.id);
        let named = |(name, (what, fd)): (&String, &(Held, OwnedFd))| {
            matches!(what, Held::Named).then(|| Some((name.clone(), copy(Some(fd))?)))?
        };
        let held = self.mirror.held.iter().filter_map(named).collect();
        Taken { children, held, api: copy(self.mirror.api.as_ref()) }
    }

    /// Runs until the keeper is gone (the last notice says so) or every handle is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            self.flush();
            let room = self.outbox.len() < OUTBOX_HIGH;
            tokio::select! {
                biased;
                event = self.link.events.recv() => match event {
                    Some((event, fds)) => self.on_event(event, fds),
                    None => return self.lost().await,
                },
                Some(id) = self.asked.abandoned.recv() => self.abandon(id),
                control = self.asked.control.recv(), if room => match control {
                    Some(control) => self.on_control(control),
                    None => return,
                },
                () = room_in(&self.link.requests), if !self.outbox.is_empty() => {}
                () = room_in(&self.notices), if !self.backlog.is_empty() => {}
            }
        }
    }

    fn ask(&mut self, request: Request, fds: Vec<OwnedFd>) {
        self.outbox.push_back((request, fds));
    }

    /// Sends what goes out without waiting, so that a request leaves in the wake-up that made it.
    fn flush(&mut self) {
        send_waiting(&mut self.outbox, &self.link.requests);
        send_waiting(&mut self.backlog, &self.notices);
    }

    fn tell(&mut self, notice: Notice) {
        if self.backlog.len() >= BACKLOG_MAX && matches!(notice, Notice::Log(_)) {
            return;
        }
        self.backlog.push_back(notice);
    }

    /// A child nobody owns: ended, and its exit acknowledged when it comes.
    fn abandon(&mut self, id: SpawnId) {
        self.abandoned.insert(id);
        self.ask(Request::EndTree { id }, vec![]);
    }

    /// The keeper is gone. Waiting owners learn it by their closed answers; the daemon by the last notice.
    async fn lost(self) {
        let Self { notices, mut backlog, mirror, .. } = self;
        backlog.push_back(Notice::KeeperLost(Box::new(KeeperLost::new(mirror))));
        for notice in backlog {
            if notices.send(notice).await.is_err() {
                return;
            }
        }
    }
}
