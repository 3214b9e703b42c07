//! The fake keeper's task.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

use ganger_core::logwire::LogReply;
use ganger_core::{End, InstanceId, SignalSource, SpawnId, StateId, Usage};
use ganger_keeper::wire::{
    Event, ExitReport, Offer, Output, Plan, Request, Scope, Stdin, Upgrade, UpgradeNews,
    WIRE_VERSION,
};
use ganger_sandbox::Report;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Ask;
use super::children::{Child, Children, Due};
use super::script::{Act, OnTerm, Script};

const SIGKILL: i32 = 9;
/// HUP, INT, QUIT, TERM: what a program may catch and what usually asks it to end.
const POLITE: [i32; 4] = [1, 2, 3, 15];

type Out = (Event, Vec<OwnedFd>);

/// A start whose answer is not due yet.
struct Pending {
    at: Instant,
    id: SpawnId,
    plan: Box<Plan>,
    act: Act,
}

pub(super) struct Run {
    script: Script,
    inbox: mpsc::Receiver<(Request, Vec<OwnedFd>)>,
    outbox: mpsc::Sender<Out>,
    asks: mpsc::Receiver<Ask>,
    asks_open: bool,
    children: Children,
    pending: Vec<Pending>,
    due: Vec<Due>,
    held: BTreeMap<String, OwnedFd>,
    seen: Vec<String>,
}

impl Run {
    pub(super) fn new(
        script: Script,
        inbox: mpsc::Receiver<(Request, Vec<OwnedFd>)>,
        outbox: mpsc::Sender<Out>,
        asks: mpsc::Receiver<Ask>,
    ) -> Self {
        Self {
            script,
            inbox,
            outbox,
            asks,
            asks_open: true,
            children: Children::default(),
            pending: vec![],
            due: vec![],
            held: BTreeMap::new(),
            seen: vec![],
        }
    }

    /// Runs until the daemon closes its direction.
    pub(super) async fn run(mut self) {
        loop {
            let next = self.next_due();
            tokio::select! {
                biased;
                request = self.inbox.recv() => match request {
                    Some((request, fds)) => self.on_request(request, fds).await,
                    None => return,
                },
                ask = self.asks.recv(), if self.asks_open => match ask {
                    Some(ask) => self.on_ask(ask).await,
                    None => self.asks_open = false,
                },
                () = async { sleep_until(next.expect("the branch asks for one")).await },
                    if next.is_some() => self.on_time().await,
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let ends = self.due.iter().map(|due| due.at);
        self.pending.iter().map(|start| start.at).chain(ends).min()
    }

    async fn on_time(&mut self) {
        let now = Instant::now();
        let (ready, wait): (Vec<_>, _) = self.pending.drain(..).partition(|start| start.at <= now);
        self.pending = wait;
        for start in ready {
            self.answer_start(start.id, &start.plan, start.act).await;
        }
        let (over, later): (Vec<_>, _) = self.due.drain(..).partition(|due| due.at <= now);
        self.due = later;
        for due in over {
            self.end(due.id, due.end).await;
        }
    }

    async fn say(&mut self, event: Event, fds: Vec<OwnedFd>) {
        // A daemon that is gone hears nothing.
        drop(self.outbox.send((event, fds)).await);
    }

    fn note(&mut self, word: &str, id: SpawnId, more: &str) {
        let who = self.children.by_id.get(&id).map(|child| child.instance.to_string());
        let who = who.unwrap_or_else(|| id.to_string());
        self.seen.push(format!("{word} {who}{more}"));
    }

    async fn on_request(&mut self, request: Request, fds: Vec<OwnedFd>) {
        match request {
            Request::Hello { .. } => {
                let (version, state_id) = (WIRE_VERSION, StateId([7; 16]));
                self.say(Event::Welcome { version, keeper_pid: 1, state_id }, vec![]).await;
            }
            Request::Spawn { id, plan } => self.on_spawn(id, plan).await,
            Request::Signal { id, signal, scope } => {
                let scope = if scope == Scope::Tree { "tree" } else { "main" };
                self.note("signal", id, &format!(" {signal} {scope}"));
                self.on_signal(id, signal).await;
            }
            Request::EndTree { id } => {
                self.note("end", id, "");
                self.on_end_tree(id).await;
            }
            Request::AckExit { id } => {
                self.note("ack", id, "");
                if let Some(child) = self.children.by_id.get_mut(&id) {
                    child.acked = true;
                }
            }
            Request::SetBlob { id, blob } => {
                if let Some(child) = self.children.by_id.get(&id) {
                    let instance = child.instance.clone();
                    self.children.lives(&instance).blob = blob;
                }
            }
            Request::Hold { name } => {
                if let Some(fd) = fds.into_iter().next() {
                    self.held.insert(name, fd);
                }
            }
            Request::Release { name } => {
                self.held.remove(&name);
            }
            Request::RetireLog { name, slot } => self.seen.push(format!("retire {name}#{slot}")),
            Request::FlushLogs { tag } => {
                self.say(Event::Log(LogReply::Flushed { tag }), vec![]).await;
            }
            Request::Pong { n } => self.seen.push(format!("pong {n}")),
            Request::Ready => self.seen.push("ready".into()),
            Request::Examine { path } => {
                // A path that does not end so is no ganger.
                let news = if path.ends_with("/ganger") {
                    let (version, wire) = ("9.9.9".into(), WIRE_VERSION);
                    UpgradeNews::Offered {
                        offer: Offer { version, wire, resume: 1, schema: u32::MAX },
                    }
                } else {
                    UpgradeNews::Refused { why: format!("{path} is no ganger") }
                };
                self.seen.push(format!("examine {path}"));
                self.say(Event::Upgrade { news }, vec![]).await;
            }
            Request::Upgrade => {
                self.seen.push("upgrade".into());
                let upgrade = Upgrade {
                    from: "0.0.1".into(),
                    to: "9.9.9".into(),
                    at_ms: 1,
                    keeper_gap_us: 2,
                    children: 3,
                    on_trial: true,
                    failed: None,
                };
                self.say(Event::Upgrade { news: UpgradeNews::Done { upgrade } }, vec![]).await;
            }
            Request::Shutdown => self.seen.push("shutdown".into()),
        }
    }

    async fn on_spawn(&mut self, id: SpawnId, plan: Box<Plan>) {
        self.seen.push(format!("spawn {}", plan.instance));
        self.children.lives(&plan.instance).asked_at.push(Instant::now());
        let act = self.script.next(&plan);
        if act.answers_after.is_zero() {
            return self.answer_start(id, &plan, act).await;
        }
        self.pending.push(Pending { at: Instant::now() + act.answers_after, id, plan, act });
    }

    async fn answer_start(&mut self, id: SpawnId, plan: &Plan, act: Act) {
        if let Some((step, errno, detail)) = act.fails {
            return self.say(Event::SpawnFailed { id, step, errno, detail }, vec![]).await;
        }
        let (near, far) = ends(plan);
        let pid = act.pid.unwrap_or_else(|| self.children.next_pid());
        if let Some((after, end)) = act.ends_after.clone() {
            self.due.push(Due { at: Instant::now() + after, id, end });
        }
        let instance = plan.instance.clone();
        let child = Child {
            instance: instance.clone(),
            pid,
            act,
            alive: true,
            acked: false,
            far_ends: far,
        };
        self.children.add(id, child);
        let lives = self.children.lives(&instance);
        lives.blob.clone_from(&plan.blob);
        lives.env.clone_from(&plan.env);
        let (started_at_ms, report) = (wall_ms(), Report::default());
        self.say(Event::Spawned { id, pid, started_at_ms, tree: None, report }, near).await;
    }

    async fn on_signal(&mut self, id: SpawnId, signal: i32) {
        let Some(child) = self.children.by_id.get(&id).filter(|child| child.alive) else { return };
        let died = End::Signalled { signal, core: false, by: SignalSource::Ganger };
        match child.act.on_term.clone() {
            _ if signal == SIGKILL => self.end(id, died).await,
            _ if !POLITE.contains(&signal) => {}
            OnTerm::Dies => self.end(id, died).await,
            OnTerm::Exits(after, code) => {
                self.due.push(Due { at: Instant::now() + after, id, end: End::Exited { code } });
            }
            OnTerm::Ignores => {}
        }
    }

    async fn on_end_tree(&mut self, id: SpawnId) {
        let child = self.children.by_id.get(&id).filter(|child| child.alive);
        let stuck = child.and_then(|child| Some((child.pid, child.act.stuck_for?)));
        let end = End::Signalled { signal: SIGKILL, core: false, by: SignalSource::Ganger };
        match stuck {
            Some((pid, long)) => {
                self.due.push(Due { at: Instant::now() + long, id, end });
                self.say(Event::TreeEnded { id, stuck: vec![pid] }, vec![]).await;
            }
            None => {
                self.say(Event::TreeEnded { id, stuck: vec![] }, vec![]).await;
                self.end(id, end).await;
            }
        }
    }

    async fn end(&mut self, id: SpawnId, end: End) {
        let Some((instance, pid)) = self.children.end(id) else { return };
        let report = ExitReport {
            id,
            instance,
            pid,
            end,
            usage: Usage::default(),
            at_ms: wall_ms(),
            leftovers: 0,
            stuck: vec![],
            adopted: false,
        };
        self.say(Event::Exited(report), vec![]).await;
    }

    async fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Kill { name, slot, end, done } => {
                let id = self.children.living(&name, slot);
                if let Some(id) = id {
                    self.end(id, end).await;
                }
                let _unheard = done.send(id);
            }
            Ask::Say(event) => self.say(*event, vec![]).await,
            Ask::Lives { name, slot, answer } => {
                let lives = self.children.lives(&InstanceId::new(name, slot)).clone();
                let _unheard = answer.send(lives);
            }
            Ask::Descriptor { name, answer } => {
                let copy = self.held.get(&name).and_then(|fd| fd.try_clone().ok());
                drop(answer.send(copy));
            }
            Ask::Held { answer } => {
                let _unheard = answer.send(self.held.keys().cloned().collect());
            }
            Ask::Unacked { answer } => {
                let _unheard = answer.send(self.children.unacked());
            }
            Ask::Channel { name, slot, answer } => {
                let _unheard = answer.send(self.far_channel(&name, slot));
            }
            Ask::Seen { answer } => {
                let _unheard = answer.send(self.seen.clone());
            }
        }
    }
}

impl Run {
    fn far_channel(&self, name: &str, slot: u32) -> Option<OwnedFd> {
        let id = self.children.living(name, slot)?;
        // The first is the pidfd's.
        self.children.by_id.get(&id)?.far_ends.get(1)?.try_clone().ok()
    }
}

/// The daemon's descriptors in the wire's order (pidfd, channel, stdin, stdout, stderr), and the child's.
fn ends(plan: &Plan) -> (Vec<OwnedFd>, Vec<OwnedFd>) {
    let socket = || {
        let (near, far) = UnixStream::pair().expect("a test may open sockets");
        (OwnedFd::from(near), OwnedFd::from(far))
    };
    let output = |output: &Output| match output {
        // What reads it asks the kernel whether it is one.
        Output::Pipe => {
            let (near, far) = std::io::pipe().expect("a test may open pipes");
            Some((OwnedFd::from(near), OwnedFd::from(far)))
        }
        Output::Capture { .. } => Some(socket()),
        Output::Log(_) | Output::Null | Output::Inherit => None,
    };
    let sockets = 1 + usize::from(plan.channel.is_some()) + usize::from(plan.stdin == Stdin::Pipe);
    let outputs = [&plan.stdout, &plan.stderr].into_iter().filter_map(output);
    (0..sockets).map(|_| socket()).chain(outputs).unzip()
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
