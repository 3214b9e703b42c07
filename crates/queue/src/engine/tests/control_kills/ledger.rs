//! The model: what must be true of tasks with control options after each commit, in the plainest words. It reads what
//! the engine asked the store for and what the store answered, and takes neither's word for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use ganger_core::{TaskId, TaskState, Token};
use ganger_store::{
    Applied, Batch, Cancelled, Claim, Control, Enqueue, Followed, Next, OnConflict, Op, Outcome,
    Push, Until, What,
};

/// What is known of a stored task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) queue: Arc<str>,
    pub(super) payload_len: u64,
    pub(super) state: TaskState,
    pub(super) result: Option<Bytes>,
    pub(super) token: Option<Token>,
    /// As it was pushed; `None` once it was brought back by hand.
    pub(super) control: Option<Control>,
    born_ms: u64,
    /// Attempts charged or under way.
    attempt: u32,
    /// Its key, until it lets go of it.
    key: Option<(Box<str>, Until)>,
    /// Whose result it waits for.
    follows: Option<TaskId>,
}

/// The end of a task that a commit brought.
pub(super) type Ended = (TaskId, TaskState, Option<Bytes>);

type Place = (Arc<str>, Box<str>);

/// All that was committed.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) tasks: BTreeMap<TaskId, Task>,
    /// Ids of the first request with an idempotency key.
    pub(super) keys: HashMap<Place, Vec<TaskId>>,
    /// Results by input, with the moment from which they serve no more.
    cache: HashMap<Place, (Bytes, u64)>,
    /// The task that is under way for an input.
    flights: HashMap<Place, TaskId>,
    ended: Vec<Ended>,
}

/// What the store says beside yes and no, per operation; all of it must be expected.
struct Told<'a> {
    cancelled: Vec<&'a Cancelled>,
    followed: Vec<&'a Followed>,
}

fn control(task: &Enqueue) -> Option<&Control> {
    task.options.as_ref()?.control.as_deref()
}

fn ended(op: &Op) -> Option<TaskId> {
    if let Op::Outcome(outcome) = op { Some(outcome.id) } else { None }
}

fn ms(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

impl Ledger {
    /// Follows one committed batch. Returns the ends it brought.
    pub(super) fn commit(&mut self, batch: &Batch, applied: &Applied) -> Vec<Ended> {
        for (at, op) in batch.ops.iter().enumerate() {
            // What an outcome sets free is said of the settlement behind it.
            let next = batch.ops.get(at + 1);
            let settles = matches!(next, Some(Op::Settle { id }) if ended(op) == Some(*id));
            let said = at + usize::from(settles);
            let mut told = Told {
                cancelled: applied.cancelled.iter().filter(|c| c.op == at).collect(),
                followed: applied.followed.iter().filter(|f| f.op == said).collect(),
            };
            let refused = applied.refused.iter().any(|r| r.op == at);
            match op {
                Op::Push(push) => self.push(at, push, applied, &mut told),
                Op::Claim(claim) if refused => {
                    let state = self.tasks.get(&claim.id).map(|task| task.state);
                    assert_ne!(
                        state,
                        Some(TaskState::Available),
                        "a claim that was due is refused"
                    );
                }
                Op::Claim(claim) => self.claim(claim),
                Op::Outcome(outcome) if !refused => self.outcome(outcome, &mut told),
                Op::Promote { id, .. } if !refused => {
                    let task = self.task(*id);
                    assert_eq!(task.follows, None, "a follower was made available");
                    task.state = TaskState::Available;
                }
                Op::Cancel { id, .. } if !refused => {
                    told.cancel(*id);
                    self.end(*id, TaskState::Cancelled, None, 0, &mut told);
                }
                Op::Expire { id, at_ms, .. } => self.expire(*id, *at_ms, &mut told),
                Op::Retry { id, .. } if !refused => {
                    let task = self.task(*id);
                    assert!(matches!(task.state, TaskState::Cancelled | TaskState::Discarded));
                    (task.state, task.control) = (TaskState::Available, None);
                }
                // Its outcome has said it.
                Op::Settle { id } if at > 0 && ended(&batch.ops[at - 1]) == Some(*id) => {
                    told.followed.clear();
                }
                _ => {}
            }
            assert!(told.cancelled.is_empty() && told.followed.is_empty(), "{op:?}: {applied:?}");
        }
        std::mem::take(&mut self.ended)
    }

    fn task(&mut self, id: TaskId) -> &mut Task {
        self.tasks.get_mut(&id).unwrap_or_else(|| panic!("nothing is known of task {id}"))
    }

    /// Who holds a key of a queue at a moment.
    fn holder(&self, queue: &str, key: &str, at_ms: u64) -> Option<TaskId> {
        let holds = |task: &Task| match &task.key {
            Some((held, Until::For(time))) => &**held == key && task.born_ms + ms(*time) > at_ms,
            Some((held, _)) => &**held == key,
            None => false,
        };
        let mut all = self.tasks.iter().filter(|(_, task)| &*task.queue == queue && holds(task));
        let first = all.next().map(|(id, _)| *id);
        assert_eq!(
            all.next().map(|(id, _)| *id),
            None,
            "a second task holds key {key:?} of {first:?}"
        );
        first
    }

    fn push(&mut self, at: usize, push: &Push, applied: &Applied, told: &mut Told<'_>) {
        let place = push.key.clone().map(|key| (Arc::clone(&push.queue), key));
        let known = place.as_ref().and_then(|place| self.keys.get(place));
        let duplicate = applied.duplicates.iter().find(|d| d.op == at);
        assert_eq!(duplicate.map(|d| &d.ids), known, "a request is known by its idempotency key");
        if duplicate.is_some() {
            return;
        }
        let mut special = applied.special.iter().filter(|s| s.op == at).peekable();
        if let Some(one) = special.next_if(|s| matches!(s.what, What::Rejected(_))) {
            let What::Rejected(holder) = one.what else { return };
            return self.rejected(push, one.task, holder);
        }
        let mut ids = Vec::new();
        for n in 0..push.tasks.len() {
            let what = special.next_if(|s| s.task == n).map(|s| &s.what);
            ids.push(self.enqueue(push, n, what, told));
        }
        if let Some(place) = place {
            self.keys.insert(place, ids);
        }
    }

    /// All of a push was refused for one task of it: its key is held by one of the same push, or by one that was there.
    fn rejected(&self, push: &Push, n: usize, holder: TaskId) {
        let dedupe = control(&push.tasks[n]).and_then(|c| c.dedupe.as_ref()).unwrap();
        assert_ne!(dedupe.on_conflict, OnConflict::Existing);
        if push.tasks[..n].iter().any(|task| task.id == holder) {
            return;
        }
        let at_ms = push.tasks[n].id.drawn_at_ms();
        assert_eq!(self.holder(&push.queue, &dedupe.key, at_ms), Some(holder));
        let state = self.tasks[&holder].state;
        let waits = state != TaskState::Running && !state.is_final();
        assert!(dedupe.on_conflict == OnConflict::Reject || !waits, "it could have been replaced");
    }

    /// One task of a push that was taken. Returns the id that stands for it.
    fn enqueue(
        &mut self,
        push: &Push,
        n: usize,
        what: Option<&What>,
        told: &mut Told<'_>,
    ) -> TaskId {
        let new = &push.tasks[n];
        let (id, queue, at_ms) = (new.id, &push.queue, new.id.drawn_at_ms());
        let dedupe = control(new).and_then(|c| c.dedupe.as_ref());
        let holder = dedupe.and_then(|dedupe| self.holder(queue, &dedupe.key, at_ms));
        if let Some(What::Existing(instead)) = what {
            assert_eq!(holder, Some(*instead), "a task that holds nothing stands for another");
            let own = push.tasks[..n].iter().any(|task| task.id == *instead);
            let on_conflict = dedupe.unwrap().on_conflict;
            assert!(on_conflict == OnConflict::Existing || own, "{on_conflict:?} was asked for");
            return *instead;
        }
        if let Some(holder) = holder {
            assert_eq!(dedupe.unwrap().on_conflict, OnConflict::Replace, "two tasks hold a key");
            told.cancel(holder);
            self.end(holder, TaskState::Cancelled, None, at_ms, told);
            self.task(holder).key = None;
        }
        let mut task = Task {
            queue: Arc::clone(queue),
            payload_len: new.payload.len() as u64,
            state: if new.run_at_ms > 0 { TaskState::Scheduled } else { TaskState::Available },
            result: None,
            token: None,
            control: control(new).cloned(),
            born_ms: at_ms,
            attempt: 0,
            key: dedupe.map(|dedupe| (dedupe.key.clone(), dedupe.until)),
            follows: None,
        };
        let place = task.place();
        let cached = place.as_ref().and_then(|place| self.cache.get(place));
        let cached =
            cached.filter(|(_, expires)| *expires > at_ms).map(|(result, _)| result.clone());
        let leader = place.as_ref().and_then(|place| self.flights.get(place)).copied();
        match what {
            Some(What::Hit(result)) => {
                assert_eq!(
                    cached.as_ref(),
                    Some(result),
                    "served, but not what was committed in time"
                );
                self.tasks.insert(id, task);
                self.close(id, TaskState::Completed, Some(result.clone()));
                return id;
            }
            Some(What::Follows(of)) => {
                assert_eq!((cached, leader), (None, Some(*of)), "it waits for a task under way");
                assert!(!self.tasks[of].state.is_final());
                (task.state, task.follows) = (TaskState::Scheduled, Some(*of));
            }
            _ => {
                assert_eq!((cached, leader), (None, None), "identical work is done or under way");
                if let Some(place) = place {
                    self.flights.insert(place, id);
                }
            }
        }
        let follows = task.follows.is_some();
        self.tasks.insert(id, task);
        if let Some(claim) = new.claim.as_ref().filter(|_| !follows) {
            self.task(id).state = TaskState::Available;
            self.claim(claim);
        }
        id
    }

    fn claim(&mut self, claim: &Claim) {
        let task = self.task(claim.id);
        assert_eq!((task.state, task.follows), (TaskState::Available, None), "{claim:?}");
        assert_eq!(task.attempt + 1, claim.attempt);
        if let Some(control) = &task.control {
            let over = control.over(task.attempt, 0, claim.at_ms);
            assert_eq!(over, None, "it was given out after its last moment");
        }
        if task.key.as_ref().is_some_and(|(_, until)| *until == Until::Start) {
            task.key = None;
        }
        (task.state, task.token, task.attempt) =
            (TaskState::Running, Some(claim.token), claim.attempt);
    }

    fn outcome(&mut self, outcome: &Outcome, told: &mut Told<'_>) {
        let (id, state) = (outcome.id, outcome.state());
        let task = self.task(id);
        assert_eq!((task.state, task.token), (TaskState::Running, Some(outcome.token)));
        task.token = None;
        if outcome.word == ganger_store::AttemptWord::Released {
            task.attempt -= 1;
        }
        if !state.is_final() {
            task.state = state;
            return;
        }
        let result = match &outcome.next {
            Next::Completed { result } => Some(result.clone()),
            _ => None,
        };
        self.end(id, state, result, outcome.ended_at_ms, told);
    }

    fn expire(&mut self, id: TaskId, at_ms: u64, told: &mut Told<'_>) {
        if self.tasks.get(&id).is_some_and(|task| task.is_over(at_ms)) {
            told.cancel(id);
            self.end(id, TaskState::Cancelled, None, at_ms, told);
        }
    }

    /// A task ended: others get its result, or the oldest of them runs in its place.
    fn end(
        &mut self,
        id: TaskId,
        state: TaskState,
        result: Option<Bytes>,
        at_ms: u64,
        told: &mut Told<'_>,
    ) {
        self.close(id, state, result.clone());
        let task = self.task(id);
        let Some(place) = task.place() else { return };
        let ttl = task.control.as_ref().and_then(|c| c.cache.as_ref()).map_or(0, |c| ms(c.ttl));
        if let Some(result) = result.clone() {
            self.cache.insert(place.clone(), (result, at_ms + ttl));
        }
        if self.flights.get(&place) != Some(&id) {
            self.task(id).follows = None;
            return;
        }
        self.flights.remove(&place);
        let followers = self.tasks.iter().filter(|(_, task)| task.follows == Some(id));
        let followers: Vec<TaskId> = followers.map(|(id, _)| *id).collect();
        let heir = followers.first().copied().filter(|_| result.is_none());
        for follower in followers {
            self.task(follower).follows = heir.filter(|heir| *heir != follower);
            if result.is_some() || heir == Some(follower) {
                let said = told.followed.iter().position(|f| f.id == follower);
                let said = told.followed.remove(said.expect("a follower is told of the end"));
                assert_eq!(said.result, result, "a follower has its leader's result");
            }
            if result.is_some() {
                self.close(follower, TaskState::Completed, result.clone());
            }
        }
        if let Some(heir) = heir {
            self.flights.insert(place, heir);
        }
    }

    fn close(&mut self, id: TaskId, state: TaskState, result: Option<Bytes>) {
        let task = self.task(id);
        assert!(!task.state.is_final() || task.token.is_none(), "{task:?} ends twice");
        (task.state, task.result) = (state, result.clone());
        if task.key.as_ref().is_some_and(|(_, until)| !matches!(until, Until::For(_))) {
            task.key = None;
        }
        self.ended.push((id, state, result));
    }

    /// Tasks of a queue in a state.
    pub(super) fn count(&self, queue: &str, state: TaskState) -> u64 {
        self.open(queue, |task| task.state == state).count() as u64
    }

    /// Payload bytes of a queue's unfinished tasks.
    pub(super) fn bytes(&self, queue: &str) -> u64 {
        self.open(queue, |task| !task.state.is_final()).map(|task| task.payload_len).sum()
    }

    fn open<'a>(
        &'a self,
        queue: &'a str,
        like: impl Fn(&Task) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Task> {
        self.tasks.values().filter(move |task| &*task.queue == queue && like(task))
    }
}

impl Task {
    /// It waits, though its last moment has come.
    pub(super) fn is_over(&self, at_ms: u64) -> bool {
        let waits = !self.state.is_final() && self.state != TaskState::Running;
        waits && self.control.as_ref().is_some_and(|c| c.over(self.attempt, 0, at_ms).is_some())
    }

    fn place(&self) -> Option<Place> {
        let cache = self.control.as_ref()?.cache.as_ref()?;
        Some((Arc::clone(&self.queue), cache.key.clone()))
    }
}

impl Told<'_> {
    fn cancel(&mut self, id: TaskId) {
        let said = self.cancelled.iter().position(|c| c.id == id);
        self.cancelled.remove(said.expect("the store tells whom it cancelled"));
    }
}
