//! The owner: policies in force, the log, the counters, and the tasks of all runs.
//!
//! ```text
//! no policy ──load──► log opened, what was left recorded ──► in force ──load──► in force (programs looked at again where they changed)
//!                          │ fails                               │ the log goes down: every request tries it again, once a second
//!                          ▼                                     ▼
//!                     in force, nothing runs ◄───────────────────┘
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_audit as audit;
use ganger_audit::{AuditError, Log, Options, Record};
use ganger_policy::{Disk, Policies};
use ganger_process::{Child, Processes};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::announced::{Announced, changed, digest, remember, started};
use crate::gate::{Bound, Full, Gates, Key};
use crate::handle::{Ask, Ended, Executor, Load, LoadError, RecordError, Told, Verdict};
use crate::left::{self, Note};
use crate::pins;
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
    /// The file they stand in.
    pub(crate) file: Option<String>,
    /// What their programs are pinned to, by name.
    pub(crate) programs: HashMap<String, audit::Program>,
    /// A daemon that began goes on with them; of some it has doubts.
    pub(crate) resumed: bool,
    pub(crate) doubts: BTreeMap<String, &'static str>,
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
    pub(crate) bounds: Vec<Bound>,
    pub(crate) reply: oneshot::Sender<Result<(), Full>>,
}

impl Executor {
    /// Makes the handle and the owner, to be spawned. Nothing runs before [`Executor::load`].
    pub fn start(parts: Parts) -> (Self, impl Future<Output = ()> + Send) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (gates, entering) = mpsc::channel(ENTERS);
        let (leave, leaving) = mpsc::unbounded_channel();
        let (seen, _) = broadcast::channel(SEEN);
        let (fault, faults) = watch::channel(None);
        let owner = Owner {
            processes: parts.processes,
            options: parts.log,
            left: parts.left,
            shut: parts.shut,
            ground: None,
            announced: HashMap::new(),
            unannounced: false,
            log: None,
            tried: None,
            gates: Gates::default(),
            enters: gates,
            leave,
            runs: JoinSet::new(),
            slot: 0,
            seen: seen.clone(),
            fault,
        };
        (Self { orders, seen, faults }, owner.run(inbox, entering, leaving))
    }
}

struct Owner {
    processes: Processes,
    options: Options,
    left: Vec<Child>,
    shut: Shut,
    ground: Option<Arc<Ground>>,
    /// What the log says is in force.
    announced: HashMap<String, Announced>,
    /// Others are.
    unannounced: bool,
    log: Option<Result<Log, String>>,
    tried: Option<tokio::time::Instant>,
    gates: Gates,
    enters: mpsc::Sender<Enter>,
    leave: mpsc::UnboundedSender<Key>,
    runs: JoinSet<()>,
    slot: u32,
    seen: broadcast::Sender<Arc<crate::records::Seen>>,
    /// What was found to be wrong with the log itself.
    fault: watch::Sender<Option<String>>,
}

impl Owner {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Order>,
        mut entering: mpsc::Receiver<Enter>,
        mut leaving: mpsc::UnboundedReceiver<Key>,
    ) {
        for child in &self.left {
            // Whether or not it can be recorded. Without a keeper nothing can be ended; the next daemon does it.
            drop(child.end_tree().await);
        }
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
        let Enter { bounds, reply } = enter;
        let entered = self.gates.enter(&bounds, Instant::now());
        if reply.send(entered).is_err() && entered.is_ok() {
            bounds.iter().for_each(|bound| self.gates.leave(&bound.key));
        }
    }

    async fn begin(&mut self, ask: Ask, tell: mpsc::Sender<Told>) {
        let recorded = matches!(self.log, Some(Ok(_)));
        let ground = self.ground.clone();
        let Some(ground) = ground.filter(|ground| recorded || !ground.policies.is_empty()) else {
            return refuse(
                &tell,
                Verdict::Denied,
                "not_allowed",
                "there is no policy, so nothing is allowed",
            );
        };
        self.mend().await;
        if self.unannounced {
            self.announce().await;
        }
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
        let now = tokio::time::Instant::now();
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
        self.tried = Some(tokio::time::Instant::now());
        let options = self.options.clone();
        let folder: PathBuf = options.folder.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let open = left::of_log(&folder).map_err(|error| (error.to_string(), false))?;
            let log =
                Log::open(options).map_err(|error| (error.to_string(), is_tampered(&error)))?;
            Ok::<_, (String, bool)>((open, log))
        });
        let opened = opened.await.unwrap_or_else(|error| Err((error.to_string(), false)));
        let (before, log) = match opened {
            Ok(opened) => opened,
            Err((why, tampered)) => {
                tracing::error!(%why, "the audit log can't be opened; nothing runs under a policy");
                if tampered {
                    drop(self.fault.send_replace(Some(why.clone())));
                }
                self.log = Some(Err(why));
                return;
            }
        };
        let open = before.open;
        self.gates.remember(before.recent, Instant::now());
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
        let Load { policies, log, file, resumed } = load;
        let digests: HashMap<String, String> =
            policies.iter().map(|(name, policy)| (name.clone(), digest(policy))).collect();
        let old = self.ground.as_ref().map(|ground| Arc::clone(&ground.policies));
        let (folder, sums) = (log.folder.clone(), digests.clone());
        let loading = tokio::task::spawn_blocking(move || {
            let mut new = Policies::new(policies).map_err(LoadError::Faults)?;
            match old {
                Some(old) => new.pin_again(&old, &Disk),
                None => new.pin(&Disk),
            }
            let (doubts, untold) = remember(&folder, &mut new, &sums, resumed);
            Ok((new, doubts, untold))
        });
        let (policies, doubts, untold) = loading.await.map_err(|_| LoadError::Gone)??;
        let untrusted = policies.untrusted();
        let doubtful =
            untrusted.map(|(name, why)| format!("policy `{name}` denies everything: {why}"));
        let mut doubtful: Vec<String> = doubtful.chain(untold).collect();
        if !resumed {
            doubtful.extend(doubts.keys().map(|name| {
                format!("the program of policy `{name}` is another file than when it was loaded last; it is pinned as it is now")
            }));
        }
        let differs = |old: &Options| old.witness != log.witness || old.retention != log.retention;
        if matches!(self.log, Some(Ok(_))) && differs(&self.options) {
            doubtful.push("[audit] goes on as it was until the daemon is started again".to_owned());
        } else {
            self.options = log;
        }
        let empty = policies.is_empty();
        let programs = pins::programs(&policies);
        let policies = Arc::new(policies);
        self.ground = Some(Arc::new(Ground { policies, digests, file, programs, resumed, doubts }));
        if !empty && self.log.is_none() {
            self.open().await;
        }
        self.announce().await;
        Ok(doubtful)
    }

    /// Records what came into force, what was replaced, what went since the log was told last.
    async fn announce(&mut self) {
        self.unannounced = true;
        let (Some(now), Some(Ok(log))) = (self.ground.clone(), &self.log) else { return };
        let book = Book { log: log.clone(), seen: self.seen.clone() };
        for loaded in changed(&self.announced, &now) {
            let (policy, sha256) = (loaded.policy.clone(), loaded.sha256.clone());
            let program = loaded.program.clone();
            let record = Record::PolicyLoaded(loaded);
            if let Err(error) = book.append(audit::Append::own(record)).await {
                // Nothing runs while it is down; it is told before what runs then.
                tracing::error!(%error, "a change of policies is not recorded");
                return;
            }
            match sha256 {
                Some(sha256) => {
                    drop(self.announced.insert(policy, Announced { sha256, program }));
                }
                None => drop(self.announced.remove(&policy)),
            }
        }
        self.unannounced = false;
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

/// What is there is not what was written.
const fn is_tampered(error: &AuditError) -> bool {
    matches!(error, AuditError::Altered { .. } | AuditError::Key { .. })
}

fn refuse(tell: &mpsc::Sender<Told>, verdict: Verdict, code: &str, reason: &str) {
    let run = audit::RunId::random().unwrap_or(audit::RunId([0; 16]));
    let ended = Ended { code: Some(code.to_owned()), ..Ended::new(run, verdict, reason) };
    // A fresh channel has room.
    drop(tell.try_send(Told::Ended(Box::new(ended))));
}

/// Records how a run of a former daemon, which is being ended, really ended.
async fn end(mut child: Child, book: Book) {
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
