//! The owner task: its state, its one wait, and who is told what.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_core::{InstanceId, TaskId, Token};
use ganger_ipc::channel::ChannelError;
use ganger_ipc::envelope::{put_ack, put_cancel};
use ganger_queue::{Attempt, Now, Saying};
use ganger_supervise::instance::Begin;
use ganger_supervise::{InstanceHandle, InstanceNotice, InstanceView};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::end::Stopping;
use super::load::{Expired, Load, Manner, Stopped};
use super::process::Process;
use super::swallowed;
use super::words::Words;
use super::{COMMANDS, Claimed, Command, ORDERS, Shared, WorkerHandle};
use crate::attempt::{Answers, FromWorker, Joining, Report, ToWorker};
use crate::dispatcher::{Msg, now, until};
use crate::pace::{Pace, Room};
use crate::spec::PoolSpec;

/// Notices of one instance that may wait: a handful per restart.
const NOTICES: usize = 16;

/// Between two messages about what attempts say: quick for who looks, and nothing per message of a flood.
const SAY_EVERY: Duration = Duration::from_millis(250);

/// What a worker begins with.
#[derive(Debug)]
pub(crate) struct WorkerParts {
    pub key: u64,
    pub slot: u32,
    pub spec: Arc<PoolSpec>,
    pub begin: Begin,
    pub claimed: Claimed,
    pub shared: Shared,
}

/// The owner task's state.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) key: u64,
    pub(super) id: InstanceId,
    pub(super) spec: Arc<PoolSpec>,
    pub(super) shared: Shared,
    pub(super) instance: InstanceHandle,
    notices: mpsc::Receiver<(InstanceId, InstanceNotice)>,
    orders: mpsc::Receiver<ToWorker>,
    commands: mpsc::Receiver<Command>,
    pub(super) view: watch::Sender<Option<Arc<InstanceView>>>,
    pub(super) load: Load,
    pace: Pace,
    /// Since when it is busy, or when it answered last while busy.
    pub(super) busy_since: Instant,
    pub(super) process: Option<Process>,
    pub(super) session: u32,
    pub(super) stopping: Option<Stopping>,
    pub(super) claimed: Claimed,
    /// Reports that wait for last words.
    pub(super) late: JoinSet<Vec<Report>>,
    /// Stops and restarts under way; true: the place is given up.
    pub(super) tickets: JoinSet<bool>,
    /// What the dispatcher is told at the end of this wake-up.
    pub(super) reports: Vec<Report>,
    began: Vec<(TaskId, Token, Option<u32>, Now)>,
    told: (Room, u32),
    /// It said that it is ready.
    pub(super) announce: bool,
    /// The launcher in its plan that takes channels for itself.
    pub(super) launcher: Option<String>,
    /// The place is given up once nothing is left of it.
    leaving: bool,
    pub(super) words: Words,
    /// What attempts say is told again from then on.
    said_at: Instant,
    /// Owner task of the instance.
    _instance_task: JoinSet<()>,
}

enum Wake {
    Notice(Option<InstanceNotice>),
    Order(Option<ToWorker>),
    Command(Option<Command>),
    Channel(Result<(), ChannelError>),
    /// Lines of others; `None`: who has them is gone.
    Peers(Option<Vec<u8>>),
    Late(Vec<Report>),
    Ended(bool),
    Time,
}

impl Worker {
    /// Starts the instance's owner task and joins the dispatcher's table. The worker itself is to be run by the caller.
    pub(crate) async fn new(parts: WorkerParts) -> (Self, WorkerHandle) {
        let WorkerParts { key, slot, spec, begin, claimed, shared } = parts;
        let (notify, notices) = mpsc::channel(NOTICES);
        let (order, orders) = mpsc::channel(ORDERS);
        let (command, commands) = mpsc::channel(COMMANDS);
        let (show, view) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let around = shared.around.clone();
        let id = InstanceId::new(&spec.name, slot);
        let instance = ganger_supervise::instance::start(
            spec.slot(slot),
            begin,
            None,
            around,
            notify,
            &mut tasks,
        );
        let joining = Joining {
            key,
            name: id.to_string().into(),
            queues: spec.queues.iter().map(|q| q.as_str().into()).collect(),
            lanes: spec.lanes(),
            to: order,
        };
        // A closed inbox means shutdown; the first wait sees it too.
        let _ = shared.tell.send(Msg::Join(joining)).await;
        let mut worker = Self {
            key,
            id,
            load: Load::new(manner(&spec)),
            spec: Arc::clone(&spec),
            shared,
            instance,
            notices,
            orders,
            commands,
            view: show,
            pace: Pace::default(),
            busy_since: now().at,
            process: None,
            session: 0,
            stopping: None,
            claimed,
            late: JoinSet::new(),
            tickets: JoinSet::new(),
            reports: Vec::new(),
            began: Vec::new(),
            told: (Room::default(), 0),
            announce: false,
            launcher: None,
            leaving: false,
            words: Words::default(),
            said_at: now().at,
            _instance_task: tasks,
        };
        worker.set_spec(spec);
        (worker, WorkerHandle { key, commands: command, view })
    }

    /// Runs until the place is given up, or the pool or the dispatcher is gone; the process lives on in the latter cases.
    pub(crate) async fn run(mut self) {
        loop {
            let wake = self.wait().await;
            let now = now();
            match wake {
                Wake::Notice(Some(notice)) => self.on_notice(notice, now).await,
                Wake::Order(Some(order)) => self.on_order(order, now),
                Wake::Command(Some(command)) => self.on_command(command, now).await,
                Wake::Channel(result) => self.on_channel(result, now),
                Wake::Peers(lines) => self.on_peers(lines),
                Wake::Late(reports) => self.reports.extend(reports),
                Wake::Ended(leave) => self.leaving |= leave,
                Wake::Time => self.on_time(now),
                Wake::Notice(None) | Wake::Order(None) | Wake::Command(None) => return,
            }
            self.recycle_if_used_up(now);
            self.end_what_must_end(now).await;
            if self.flush(now).await.is_err() {
                return;
            }
            if self.leaving && self.process.is_none() && self.late.is_empty() {
                return self.leave(now).await;
            }
        }
    }

    /// The place is given up. What is on its way here goes back; what comes later, the dispatcher keeps.
    async fn leave(&mut self, now: Now) {
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            self.load.take(order.attempts);
        }
        if self.flush(now).await.is_ok() {
            let _ = self.shared.tell.send(Msg::Leave { key: self.key }).await;
        }
    }

    /// What runs at once: as the process says, else as the pool says.
    fn lanes(&self) -> u32 {
        let said = self.process.as_ref().and_then(|p| p.lanes);
        if self.spec.raw { 1 } else { said.unwrap_or(self.spec.lanes()) }
    }

    pub(super) fn set_manner(&mut self) {
        let lanes = self.lanes() as usize;
        let window = if self.spec.raw { 1 } else { lanes + self.spec.prefetch as usize };
        self.load.set_manner(Manner { lanes, window, ..manner(&self.spec) });
    }

    pub(super) fn set_spec(&mut self, spec: Arc<PoolSpec>) {
        self.launcher = swallowed::launcher(&spec.instance.plan);
        self.spec = spec;
    }

    /// The one wait. Bytes go before notices, so that a last answer is read before its process's end is acted on.
    async fn wait(&mut self) -> Wake {
        let due = self.due();
        let (channel, guest) = match self.process.as_mut() {
            Some(process) => (process.link.as_mut(), process.guest.as_mut()),
            None => (None, None),
        };
        let room = channel.as_ref().is_some_and(|link| !link.is_full());
        let reads = !guest.as_ref().is_some_and(|guest| guest.is_behind());
        tokio::select! {
            biased;
            result = async { channel.expect("the branch asks for a channel").ready(reads).await },
                if channel.is_some() => Wake::Channel(result),
            lines = async { guest.expect("the branch asks for a guest").next(room).await },
                if guest.is_some() => Wake::Peers(lines),
            order = self.orders.recv() => Wake::Order(order),
            notice = self.notices.recv() => Wake::Notice(notice.map(|(_, notice)| notice)),
            command = self.commands.recv() => Wake::Command(command),
            Some(late) = self.late.join_next() => Wake::Late(late.unwrap_or_default()),
            Some(leave) = self.tickets.join_next() => Wake::Ended(leave.unwrap_or(false)),
            () = until(due) => Wake::Time,
        }
    }

    fn due(&self) -> Option<Instant> {
        let of_process = self.process.as_ref().and_then(Process::due);
        let of_stop = self.stopping.as_ref().and_then(Stopping::due);
        let used_up = self.process.as_ref().filter(|_| self.accepts()).and_then(|p| p.used.until);
        let words = self.load.has_words().then_some(self.said_at);
        [self.load.deadline(), of_process, of_stop, used_up, words].into_iter().flatten().min()
    }

    fn on_order(&mut self, order: ToWorker, now: Now) {
        let ToWorker { attempts, committed, stops } = order;
        self.take(attempts, now);
        let session = self.session;
        for stop in stops {
            match self.load.stop(stop, now) {
                Stopped::Unknown => {}
                Stopped::Reported(report) => self.reports.push(*report),
                Stopped::Ask => self.say(|out| put_cancel(out, stop.id)),
            }
        }
        if let Some(Answers { session: of, count }) = committed
            && of == session
        {
            self.say_ack(count);
        }
    }

    fn take(&mut self, attempts: Vec<Attempt>, now: Now) {
        if self.load.is_empty() {
            self.busy_since = now.at;
        }
        self.load.take(attempts);
    }

    /// A control message, where the worker knows any.
    pub(super) fn say(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        if let Some(link) = self.process.as_mut().and_then(|p| p.link.as_mut()) {
            link.control(put);
        }
    }

    /// Only an SDK keeps answers until they are acknowledged.
    fn say_ack(&mut self, count: u64) {
        if self.process.as_ref().is_some_and(|p| p.sdk) {
            self.say(|out| put_ack(out, count));
        }
    }

    fn on_channel(&mut self, result: Result<(), ChannelError>, now: Now) {
        let Some(process) = self.process.as_mut() else { return };
        let heard = match (result, process.link.as_mut()) {
            (Ok(()), Some(link)) => link.hear(&mut self.load, process.guest.as_mut(), now),
            (Err(error), Some(link)) => {
                link.closed = true;
                Err(error)
            }
            (_, None) => return,
        };
        match heard {
            Ok(heard) => self.on_heard(heard, now),
            Err(error) => self.on_broken(&error, now),
        }
    }

    /// Measures the pace: only a busy worker's time counts.
    pub(super) fn note_pace(&mut self, answers: usize, now: Now) {
        if answers > 0 {
            self.pace.note(answers, now.at.saturating_duration_since(self.busy_since));
            self.busy_since = now.at;
        }
    }

    fn on_time(&mut self, now: Now) {
        for expired in self.load.expire(now) {
            match expired {
                Expired::Cancel(id) => self.say(|out| put_cancel(out, id)),
                Expired::Stuck(id) => {
                    tracing::warn!(worker = %self.id, task = %id, "does not let go of a task");
                }
                Expired::Began(id, token, began) => {
                    let pid = self.process.as_ref().map(|p| p.pid);
                    self.began.push((id, token, pid, began));
                }
            }
        }
        self.on_process_time(now);
        self.on_ping_time(now);
    }

    /// Sends what may be sent, and tells the dispatcher what changed.
    async fn flush(&mut self, now: Now) -> Result<(), Gone> {
        if std::mem::take(&mut self.announce) {
            self.instance.ready().await;
        }
        if let Some(process) = &mut self.process
            && let Some(answer) = process.pinged.take()
        {
            self.instance.answered(process.pid, answer).await;
        }
        let accepts = self.accepts();
        if !accepts {
            self.reports.extend(self.load.take_back());
        }
        if let Some(process) = &mut self.process
            && let Some(link) = &mut process.link
        {
            if accepts {
                link.send(&mut self.load, now);
            }
            if let Err(error) = link.flush() {
                link.closed = true;
                self.on_broken(&error, now);
            }
        }
        self.show_peers(accepts);
        self.watch_for_silence(now);
        let pid = self.process.as_ref().map_or(0, |p| p.pid);
        let room = self.room();
        let said = self.words_to_tell(now);
        let quiet = self.reports.is_empty() && self.began.is_empty() && said.is_empty();
        if quiet && self.told == (room, pid) {
            return Ok(());
        }
        self.told = (room, pid);
        let answers = Answers {
            session: self.session,
            count: self.process.as_ref().map_or(0, |p| p.answers),
        };
        let note = FromWorker {
            key: self.key,
            reports: std::mem::take(&mut self.reports),
            began: std::mem::take(&mut self.began),
            said,
            answers,
            room,
            lanes: self.lanes(),
            pid,
        };
        self.shared.tell.send(Msg::Worker(note)).await.map_err(|_| Gone)
    }

    /// What attempts said, at most once per [`SAY_EVERY`].
    fn words_to_tell(&mut self, now: Now) -> Vec<(TaskId, Token, Saying)> {
        if !self.load.has_words() || now.at < self.said_at {
            return Vec::new();
        }
        self.said_at = now.at + SAY_EVERY;
        self.load.take_words()
    }

    /// What it may have now; nothing when it takes nothing.
    fn room(&self) -> Room {
        if !self.accepts() {
            return Room::default();
        }
        let full = self.process.as_ref().and_then(|p| p.link.as_ref()).is_some_and(|l| l.is_full());
        if full {
            let held = u32::try_from(self.load.len()).unwrap_or(u32::MAX);
            return Room { credit: held, reach: held };
        }
        self.pace.room(self.lanes(), self.spec.prefetch)
    }

    /// A living process that may be sent tasks.
    pub(super) fn accepts(&self) -> bool {
        self.stopping.is_none() && self.process.as_ref().is_some_and(Process::accepts)
    }

    pub(super) fn show(&self, view: Arc<InstanceView>) {
        self.view.send_replace(Some(view));
        // Full: a ring already waits.
        let _ = self.shared.changed.try_send(());
    }
}

/// The dispatcher is gone.
struct Gone;

/// How workers of this pool take their tasks.
fn manner(spec: &PoolSpec) -> Manner {
    Manner {
        lanes: spec.lanes() as usize,
        window: if spec.raw { 1 } else { (spec.lanes() + spec.prefetch) as usize },
        // A raw worker can't be asked.
        grace: if spec.raw { Duration::ZERO } else { spec.cancel_grace },
    }
}
