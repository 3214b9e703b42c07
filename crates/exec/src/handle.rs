//! What the executor's users see: how to ask, what is told meanwhile, how it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ganger_audit as audit;
use ganger_core::{Dur, End, Stream};
use ganger_policy::{Fault, Policy, Principal, Request};
use ganger_sandbox::Degraded;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::records::Seen;
use crate::task::Order;

/// Said and not taken yet by whoever asked: beyond it the program waits, as in front of a full pipe.
const TOLD: usize = 8;

/// Who asks, by what the kernel says of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// As policies see it.
    pub principal: Principal,
    /// As it is recorded.
    pub record: audit::Principal,
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Who.
    pub caller: Caller,
    /// The policy that is asked for, for the record of what is no request.
    pub policy: String,
    /// What; or why it can't be read.
    pub request: Result<Request, String>,
    /// The bytes that come with it, as many as the request says.
    pub stdin: Bytes,
}

/// What is told of a run, in order: one `Started` if anything is started, what it says, one `Ended`.
#[derive(Debug)]
pub enum Told {
    /// It is allowed, recorded and runs.
    Started(Started),
    /// It said something.
    Said(Stream, Bytes),
    /// It is over, and so recorded.
    Ended(Box<Ended>),
}

/// A run that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its id, in every record of it.
    pub run_id: audit::RunId,
    /// The rule that allowed it.
    pub rule: String,
    /// Its process id.
    pub pid: u32,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was allowed; how it went stands in `end`.
    Allowed,
    /// It was not.
    Denied,
    /// It would be, less often or with less of it running.
    Limited,
    /// Ganger itself could not do it: no record, no execution; no keeper.
    Failed,
}

impl Verdict {
    /// As scripts see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Failed => "failed",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The id under which it is recorded.
    pub run_id: audit::RunId,
    /// What became of it.
    pub verdict: Verdict,
    /// The rule that decided.
    pub rule: Option<String>,
    /// A word for programs, where it was not allowed.
    pub code: Option<String>,
    /// For people.
    pub reason: String,
    /// Which argument was at fault, counted from 0.
    pub argument: Option<usize>,
    /// The line of configuration that would allow it, where there is one.
    pub allow: Option<String>,
    /// When the same may be tried again.
    pub retry_after: Option<Duration>,
    /// How the program ended; none where nothing ran.
    pub end: Option<End>,
    /// Limits that held.
    pub limits: audit::Limits,
    /// The limit it ran into.
    pub breach: Option<audit::Breach>,
    /// Layers that held it, those of its sandbox too, by name.
    pub layers: Vec<String>,
    /// Layers that its policy leaves out of its profile, by name.
    pub left_out: Vec<String>,
    /// What was wanted and is not there.
    pub degraded: Vec<Degraded>,
    /// What it used.
    pub usage: audit::Usage,
    /// Its output was cut at the limit.
    pub output_cut: bool,
}

impl Ended {
    pub(crate) fn new(run_id: audit::RunId, verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            run_id,
            verdict,
            rule: None,
            code: None,
            reason: reason.into(),
            argument: None,
            allow: None,
            retry_after: None,
            end: None,
            limits: audit::Limits::default(),
            breach: None,
            layers: Vec::new(),
            left_out: Vec::new(),
            degraded: Vec::new(),
            usage: audit::Usage::default(),
            output_cut: false,
        }
    }
}

/// What is to be in force.
#[derive(Debug, Clone)]
pub struct Load {
    /// By name.
    pub policies: BTreeMap<String, Policy>,
    /// How the log is written; one that is open goes on as it is until the daemon's end.
    pub log: audit::Options,
    /// The file they stand in.
    pub file: Option<String>,
    /// A daemon that begins goes on with them: nobody has said anything about their programs, which must be what they were.
    pub resumed: bool,
}

/// Policies were not taken; those before stay in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Something is wrong with them.
    #[error("the policies can't be loaded: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Faults(Vec<Fault>),
    /// The executor has ended.
    #[error("the executor has ended; the daemon is going down")]
    Gone,
}

/// A record of somebody else's was not written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is no log yet: it begins with the first policy.
    #[error("there is no audit log to write to: no policy was ever loaded")]
    NoLog,
    /// The log refused it.
    #[error(transparent)]
    Log(#[from] audit::AuditError),
    /// The executor has ended.
    #[error("the executor has ended; the daemon is going down")]
    Gone,
}

/// Handle to the executor's owner. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Executor {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) seen: broadcast::Sender<std::sync::Arc<Seen>>,
    pub(crate) faults: watch::Receiver<Option<String>>,
}

impl Executor {
    /// Puts policies in force, instead of those before; programs are looked at and pinned. Gives what is doubtful, one sentence each.
    ///
    /// # Errors
    /// [`LoadError`]; those before stay in force.
    pub async fn load(&self, load: Load) -> Result<Vec<String>, LoadError> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Load { load: Box::new(load), reply };
        self.orders.send(order).await.map_err(|_| LoadError::Gone)?;
        answer.await.map_err(|_| LoadError::Gone)?
    }

    /// Asks. The last thing told is `Ended`; nothing at all is told only when the executor is gone. Dropping the receiver ends
    /// the run's tree; it is recorded all the same.
    pub async fn run(&self, ask: Ask) -> mpsc::Receiver<Told> {
        let (tell, told) = mpsc::channel(TOLD);
        // Gone: the closed channel says so.
        drop(self.orders.send(Order::Run { ask: Box::new(ask), tell }).await);
        told
    }

    /// Every record from now on, after it is on disk. Who is slow misses some, and is told so.
    #[must_use]
    pub fn records(&self) -> broadcast::Receiver<std::sync::Arc<Seen>> {
        self.seen.subscribe()
    }

    /// What is wrong with the log where it is not what was written, so that nothing is recorded, and nothing runs.
    #[must_use]
    pub fn faults(&self) -> watch::Receiver<Option<String>> {
        self.faults.clone()
    }

    /// Writes a record of what others found in those of the executor. Returns when it is on disk.
    ///
    /// # Errors
    /// [`RecordError`]; it may stand in the log all the same where the disk did not answer in time.
    pub async fn record(&self, append: audit::Append) -> Result<(), RecordError> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Record { append: Box::new(append), reply };
        self.orders.send(order).await.map_err(|_| RecordError::Gone)?;
        answer.await.map_err(|_| RecordError::Gone)?
    }

    /// Ends every run, records that, and closes the log in order; at most for so long.
    pub async fn close(&self, reason: &str, within: Duration) {
        let (reply, answer) = oneshot::channel();
        let closing = async {
            let order = Order::Close { reason: reason.to_owned(), reply };
            if self.orders.send(order).await.is_ok() {
                // Gone is closed too.
                let _gone = answer.await;
            }
        };
        if tokio::time::timeout(within, closing).await.is_err() {
            tracing::warn!(within = %Dur(within), "commands did not all end in time; the next daemon records their end");
        }
    }
}
