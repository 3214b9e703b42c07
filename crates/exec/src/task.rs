//! The owner: policies in force, the log, the counters, and the tasks of all runs.
//!
//! ```text
//! no policy ──load──► log opened, what was left recorded ──► in force ──load──► in force (programs looked at again where they changed)
//!                          │ fails                               │ the log goes down: every request tries it again, once a second
//!                          ▼                                     ▼
//!                     in force, nothing runs ◄───────────────────┘
//! ```

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_audit as audit;
use ganger_audit::{Log, Options, Record};
use ganger_core::Rate;
use ganger_policy::{Disk, Policies, Policy};
use ganger_process::{Child, Processes};
use sha2::{Digest, Sha256};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::gate::{Full, Gates, Key};
use crate::handle::{Ask, Ended, Executor, Load, LoadError, RecordError, Told, Verdict};
use crate::left::{self, Note};
use crate::records::Book;
use crate::run::{self, Tools};
use crate::shut::Shut;

/// Requests on their way to the owner; each becomes a task at once.
const ORDERS: usize = 256;
/// Wishes for room on their way.
const ENTERS: usize = 256;
/// Records that a listener may be behind.
const SEEN: usize = 4_096;
/// Between two tries to open a log that is down.
const REOPEN: Duration = Duration::from_secs(1);
/// A disk that does not answer holds up the next request so long, and no longer.
const REOPEN_MAX: Duration = Duration::from_secs(5);

/// What an executor is made of.
#[derive(Debug)]
pub struct Parts {
    /// The way to the keeper.
    pub processes: Processes,
    /// The log: opened when there is a policy, or something left.
    pub log: Options,
    /// Runs that a former daemon left ([`crate::is_run`]).
    pub left: Vec<Child>,
    /// Who may run nothing for now.
    pub shut: Shut,
}

/// What requests are decided by.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) policies: Arc<Policies>,
    /// SHA-256 of each policy's resolved form, hex, by name.
    pub(crate) digests: HashMap<String, String>,
}

#[derive(Debug)]
pub(crate) enum Order {
    Load { load: Box<Load>, reply: oneshot::Sender<Result<Vec<String>, LoadError>> },
    Run { ask: Box<Ask>, tell: mpsc::Sender<Told> },
    Record { append: Box<audit::Append>, reply: oneshot::Sender<Result<(), RecordError>> },
    Close { reason: String, reply: oneshot::Sender<()> },
}

/// A run that wants to begin.
#[derive(Debug)]
pub(crate) struct Enter {
    pub(crate) key: Key,
    pub(crate) rate: Option<Rate>,
    pub(crate) running: Option<u32>,
    pub(crate) reply: oneshot::Sender<Result<(), Full>>,
}

impl Executor {
    /// Makes the handle and the owner, to be spawned. Nothing runs before [`Executor::load`].
    pub fn start(parts: Parts) -> (Self, impl Future<Output = ()> + Send) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (gates, entering) = mpsc::channel(ENTERS);
        let (leave, leaving) = mpsc::unbounded_channel();
        let (seen, _) = broadcast::channel(SEEN);
        let owner = Owner {
            processes: parts.processes,
            options: parts.log,
            left: parts.left,
            shut: parts.shut,
            ground: None,
            log: None,
            tried: None,
            gates: Gates::default(),
            enters: gates,
            leave,
            runs: JoinSet::new(),
            slot: 0,
            seen: seen.clone(),
        };
        (Self { orders, seen }, owner.run(inbox, entering, leaving))
    }
}

struct Owner {
    processes: Processes,
    options: Options,
    left: Vec<Child>,
    shut: Shut,
    ground: Option<Arc<Ground>>,
    log: Option<Result<Log, String>>,
    tried: Option<Instant>,
    gates: Gates,
    enters: mpsc::Sender<Enter>,
    leave: mpsc::UnboundedSender<Key>,
    runs: JoinSet<()>,
    slot: u32,
    seen: broadcast::Sender<Arc<crate::records::Seen>>,
}

impl Owner {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Order>,
        mut entering: mpsc::Receiver<Enter>,
        mut leaving: mpsc::UnboundedReceiver<Key>,
    ) {
        if !self.left.is_empty() {
            self.open().await;
        }
        loop {
            tokio::select! {
                biased;
                Some(key) = leaving.recv() => self.gates.leave(&key),
                Some(enter) = entering.recv() => self.enter(enter),
                Some(_) = self.runs.join_next() => {}
                order = inbox.recv() => match order {
                    Some(Order::Load { load, reply }) => {
                        let loaded = self.load(*load).await;
                        drop(reply.send(loaded));
                    }
                    Some(Order::Run { ask, tell }) => self.begin(*ask, tell).await,
                    Some(Order::Record { append, reply }) => self.write(*append, reply),
                    Some(Order::Close { reason, reply }) => {
                        self.close(reason, &mut entering).await;
                        let _gone = reply.send(());
                        return;
                    }
                    None => return,
                },
            }
        }
    }

    fn write(&mut self, append: audit::Append, reply: oneshot::Sender<Result<(), RecordError>>) {
        let Some(Ok(log)) = &self.log else {
            // Who no longer waits needs no answer.
            return drop(reply.send(Err(RecordError::NoLog)));
        };
        let book = Book { log: log.clone(), seen: self.seen.clone() };
        self.runs.spawn(async move {
            let written = book.append(append).await;
            drop(reply.send(written.map_err(RecordError::Log)));
        });
    }

    fn enter(&mut self, enter: Enter) {
        let Enter { key, rate, running, reply } = enter;
        let entered = self.gates.enter(&key, rate, running, Instant::now());
        if reply.send(entered).is_err() && entered.is_ok() {
            self.gates.leave(&key);
        }
    }

    async fn begin(&mut self, ask: Ask, tell: mpsc::Sender<Told>) {
        let Some(ground) = self.ground.clone().filter(|ground| !ground.policies.is_empty()) else {
            return refuse(
                &tell,
                Verdict::Denied,
                "not_allowed",
                "there is no policy, so nothing is allowed",
            );
        };
        self.mend().await;
        let log = match &self.log {
            Some(Ok(log)) => log.clone(),
            Some(Err(why)) => {
                return refuse(
                    &tell,
                    Verdict::Failed,
                    "no_audit",
                    &format!("nothing runs unrecorded: {why}"),
                );
            }
            None => return refuse(&tell, Verdict::Failed, "no_audit", "the audit log is not open"),
        };
        self.slot = self.slot.checked_add(1).unwrap_or(1);
        let tools = Tools {
            ground,
            book: Book { log, seen: self.seen.clone() },
            processes: self.processes.clone(),
            gates: self.enters.clone(),
            leave: self.leave.clone(),
            slot: self.slot,
            shut: self.shut.clone(),
        };
        self.runs.spawn(run::run(ask, tools, tell));
    }

    /// Tries a log that is down again, not more often than once in a while.
    async fn mend(&mut self) {
        let down = match &self.log {
            Some(Ok(log)) => log.down().is_some(),
            _ => true,
        };
        let now = Instant::now();
        if !down || self.tried.is_some_and(|tried| now < tried + REOPEN) {
            return;
        }
        self.tried = Some(now);
        match &self.log {
            Some(Ok(log)) => match tokio::time::timeout(REOPEN_MAX, log.reopen()).await {
                Ok(Ok(())) => tracing::info!("the audit log is open again"),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the audit log stays down; nothing runs");
                }
                Err(_) => tracing::warn!("the audit log's disk does not answer; nothing runs"),
            },
            _ => self.open().await,
        }
    }

    /// Opens the log, and records what a former daemon left open.
    async fn open(&mut self) {
        self.tried = Some(Instant::now());
        let options = self.options.clone();
        let folder: PathBuf = options.folder.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let open = left::open_intents(&folder).map_err(|error| error.to_string())?;
            let log = Log::open(options).map_err(|error| error.to_string())?;
            Ok::<_, String>((open, log))
        });
        let opened = opened.await.unwrap_or_else(|error| Err(error.to_string()));
        let (open, log) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                tracing::error!(%why, "the audit log can't be opened; nothing runs under a policy");
                self.log = Some(Err(why));
                return;
            }
        };
        let book = Book { log: log.clone(), seen: self.seen.clone() };
        let left = std::mem::take(&mut self.left);
        let known: Vec<_> = left.iter().filter_map(Note::of).map(|note| note.run).collect();
        let result = async {
            for intent in open.into_iter().filter(|intent| !known.contains(&intent.run)) {
                let (run, principal) = (Some(intent.run), intent.who);
                let record = left::lost(intent.policy);
                book.append(audit::Append { run, principal, record }).await?;
            }
            book.append(audit::Append::own(Record::Started(started()))).await
        };
        if let Err(error) = result.await {
            tracing::error!(%error, "the audit log can't be written; nothing runs under a policy");
        }
        for child in left {
            self.runs.spawn(end(child, book.clone()));
        }
        self.log = Some(Ok(log));
    }

    async fn load(&mut self, load: Load) -> Result<Vec<String>, LoadError> {
        let Load { policies, log, file } = load;
        let digests: HashMap<String, String> =
            policies.iter().map(|(name, policy)| (name.clone(), digest(policy))).collect();
        let before = self.ground.clone();
        let old = before.as_ref().map(|ground| Arc::clone(&ground.policies));
        let loading = tokio::task::spawn_blocking(move || {
            let mut new = Policies::new(policies).map_err(LoadError::Faults)?;
            match old {
                Some(old) => new.pin_again(&old, &Disk),
                None => new.pin(&Disk),
            }
            Ok(new)
        });
        let policies = loading.await.map_err(|_| LoadError::Gone)??;
        let untrusted = policies.untrusted();
        let doubtful =
            untrusted.map(|(name, why)| format!("policy `{name}` denies everything: {why}"));
        let mut doubtful: Vec<String> = doubtful.collect();
        let differs = |old: &Options| old.witness != log.witness || old.retention != log.retention;
        if matches!(self.log, Some(Ok(_))) && differs(&self.options) {
            doubtful.push("[audit] goes on as it was until the daemon is started again".to_owned());
        } else {
            self.options = log;
        }
        let empty = policies.is_empty();
        let ground = Ground { policies: Arc::new(policies), digests };
        if !empty && self.log.is_none() {
            self.open().await;
        }
        if let Some(Ok(log)) = &self.log {
            let book = Book { log: log.clone(), seen: self.seen.clone() };
            announce(&book, before.as_deref(), &ground, file).await;
        }
        self.ground = Some(Arc::new(ground));
        Ok(doubtful)
    }

    /// Runs whose callers are gone end by themselves; the others are told to by their dropped channels before this is asked.
    async fn close(&mut self, reason: String, entering: &mut mpsc::Receiver<Enter>) {
        entering.close();
        // Unanswered, they hear that there is no room.
        while entering.recv().await.is_some() {}
        while self.runs.join_next().await.is_some() {}
        if let Some(Ok(log)) = self.log.take() {
            let book = Book { log: log.clone(), seen: self.seen.clone() };
            let stopped = audit::Stopped { reason };
            let told = book.append(audit::Append::own(Record::Stopped(stopped))).await;
            drop(book);
            if let Err(error) = told.and(log.close().await) {
                tracing::warn!(%error, "the audit log was not closed in order");
            }
        }
    }
}

fn refuse(tell: &mpsc::Sender<Told>, verdict: Verdict, code: &str, reason: &str) {
    let run = audit::RunId::random().unwrap_or(audit::RunId([0; 16]));
    let ended = Ended { code: Some(code.to_owned()), ..Ended::new(run, verdict, reason) };
    // A fresh channel has room.
    drop(tell.try_send(Told::Ended(Box::new(ended))));
}

/// Ends a run of a former daemon and records how it really ended.
async fn end(mut child: Child, book: Book) {
    // Without a keeper nothing can be ended; the next daemon does it.
    drop(child.end_tree().await);
    let Ok(exit) = child.exit().await else { return };
    let Some(note) = Note::of(&child) else {
        return child.ack().confirm().await;
    };
    let usage = audit::Usage {
        user_us: exit.usage.user_us,
        system_us: exit.usage.system_us,
        memory_peak: exit.usage.peak_rss,
        ..audit::Usage::default()
    };
    let outcome = match left::outcome(note.policy, (&exit.end).into()) {
        Record::Outcome(outcome) => {
            Record::Outcome(Box::new(audit::Outcome { pid: Some(exit.pid), usage, ..*outcome }))
        }
        other => other,
    };
    match book.of_run(note.run, &note.who, outcome).await {
        Ok(()) => child.ack().confirm().await,
        Err(error) => tracing::error!(%error, run = %note.run, "the end of a run is not recorded"),
    }
}

fn started() -> audit::Started {
    let uname = rustix::system::uname();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    audit::Started {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        host: uname.nodename().to_string_lossy().into_owned(),
        boot_id: boot.map(|id| id.trim().to_owned()),
        exe: std::env::current_exe().ok().map(|path| audit::Text::from(path.as_path())),
    }
}

/// SHA-256 of a policy's resolved form, hex.
fn digest(policy: &Policy) -> String {
    let text = serde_json::to_vec(policy).expect("policies are plain data with texts for keys");
    audit::Hash(Sha256::digest(text).into()).to_string()
}

/// Records what came into force, what was replaced, what went.
async fn announce(book: &Book, before: Option<&Ground>, now: &Ground, file: Option<String>) {
    let old = |name: &str| before.and_then(|ground| ground.digests.get(name)).cloned();
    let rules: HashMap<&str, u64> = now
        .policies
        .iter()
        .map(|(name, policy)| (name, (policy.allow.len() + policy.deny.len()) as u64))
        .collect();
    let mut changed = Vec::new();
    for (name, sha256) in &now.digests {
        if old(name).as_ref() != Some(sha256) {
            changed.push((name.clone(), Some(sha256.clone())));
        }
    }
    let gone = before.into_iter().flat_map(|ground| ground.digests.keys());
    changed.extend(gone.filter(|name| !now.digests.contains_key(*name)).map(|n| (n.clone(), None)));
    changed.sort();
    for (policy, sha256) in changed {
        let loaded = audit::PolicyLoaded {
            replaces: old(&policy),
            rules: rules.get(policy.as_str()).copied().unwrap_or(0),
            file: file.as_deref().map(audit::Text::from),
            sha256,
            policy,
        };
        let record = Record::PolicyLoaded(loaded);
        if let Err(error) = book.append(audit::Append::own(record)).await {
            // Nothing runs while it is down; the next start tells of all policies again.
            tracing::error!(%error, "a change of policies is not recorded");
            return;
        }
    }
}
