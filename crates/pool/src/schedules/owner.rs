//! The owner task: every schedule's machine, and one loop.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use ganger_core::TaskId;
use ganger_queue::schedule::{
    Order, Overlap, Resumed, Schedule, ScheduleConfig, Settle, Step, What,
};
use ganger_store::{Batch, Op, ScheduleMark, ScheduleRow, StoreRead as _, Writer};
use ganger_supervise::Told;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::alarm::Alarm;
use super::steps::{Doing, ended, event};
use super::telling::Telling;
use super::{Fired, Reply, Request, ScheduleError, ScheduleParts, not_run};
use crate::dispatcher::{now, until};
use crate::tasks::{StoreReaders, Tasks};

/// One schedule and what its machine does not know.
#[derive(Debug)]
struct Place {
    /// Tells this one from a later one of the same name.
    key: u64,
    machine: Schedule,
    config: ScheduleConfig,
    /// The task whose end is waited for.
    watch: Option<(TaskId, AbortHandle)>,
    /// Who waits for fires by hand.
    runs: HashMap<u64, Reply<Fired>>,
    telling: Telling,
}

/// Something that was begun has come to its end.
#[derive(Debug)]
enum Done {
    Step { name: Arc<str>, key: u64, step: Step, settle: Settle },
    Ended { name: Arc<str>, key: u64, task: TaskId },
    Nothing,
}

/// The owner task's state.
#[derive(Debug)]
pub(super) struct Owner {
    tasks: Tasks,
    writer: Writer,
    readers: StoreReaders,
    told: mpsc::Sender<Told>,
    asked: mpsc::Receiver<Request>,
    alarm: Alarm,
    places: BTreeMap<Arc<str>, Place>,
    under_way: JoinSet<Done>,
    next_key: u64,
    stopped: Option<Vec<oneshot::Sender<()>>>,
}

impl Owner {
    pub(super) async fn begin(
        parts: ScheduleParts,
        asked: mpsc::Receiver<Request>,
    ) -> io::Result<Self> {
        let ScheduleParts { tasks, writer, readers, told, schedules } = parts;
        let mut owner = Self {
            tasks,
            writer,
            readers,
            told,
            asked,
            alarm: Alarm::new()?,
            places: BTreeMap::new(),
            under_way: JoinSet::new(),
            next_key: 0,
            stopped: None,
        };
        // What is not configured stays in the store: after a `down` nothing is, and all of it goes on with the next `up`.
        owner.adopt(schedules, false).await.map_err(io::Error::other)?;
        Ok(owner)
    }

    pub(super) async fn run(mut self) {
        loop {
            self.perform();
            let (wake, retry) = self.deadlines();
            if let Err(error) = self.alarm.set(wake) {
                // It can only be refused for a moment that no calendar has.
                tracing::error!(%error, "the alarm for schedules can't be set");
            }
            tokio::select! {
                request = self.asked.recv() => match request {
                    Some(request) => self.on_request(request).await,
                    None => return,
                },
                rung = self.alarm.rung() => {
                    if let Err(error) = rung {
                        tracing::error!(%error, "the alarm for schedules can't be read; nothing fires any more");
                        return;
                    }
                    self.tick_all();
                }
                () = until(retry) => self.tick_all(),
                Some(Ok(done)) = self.under_way.join_next() => self.on_done(done),
            }
        }
    }

    fn deadlines(&self) -> (Option<u64>, Option<Instant>) {
        if self.stopped.is_some() {
            return (None, None);
        }
        let machines = || self.places.values().map(|place| &place.machine);
        (
            machines().filter_map(Schedule::wake_ms).min(),
            machines().filter_map(Schedule::retry_at).min(),
        )
    }

    fn tick_all(&mut self) {
        let now = now();
        for place in self.places.values_mut() {
            place.machine.tick(now);
        }
    }

    /// Begins what the machines order.
    fn perform(&mut self) {
        if let Some(waiting) = self.stopped.as_mut() {
            let busy = self.places.values().any(|place| place.machine.is_busy());
            if !busy {
                for reply in waiting.drain(..) {
                    let _ = reply.send(());
                }
            }
            return;
        }
        for (name, place) in &mut self.places {
            while let Some(order) = place.machine.order() {
                let (name, key) = (Arc::clone(name), place.key);
                let tasks = self.tasks.clone();
                match order {
                    Order::Cancel(task) => {
                        self.under_way.spawn(async move {
                            // One that has ended meanwhile is what was wanted.
                            if let Err(error) = tasks.cancel(task).await {
                                tracing::debug!(%task, %error, "the task before was not cancelled");
                            }
                            Done::Nothing
                        });
                    }
                    Order::Step(step) => {
                        let (queue, task) =
                            (Arc::clone(&place.config.queue), place.config.task.clone());
                        let writer = self.writer.clone();
                        let doing =
                            Doing { tasks, writer, name: Arc::clone(&name), queue, task, step };
                        self.under_way.spawn(async move {
                            let (step, settle) = doing.done().await;
                            Done::Step { name, key, step, settle }
                        });
                    }
                }
            }
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Ended { name, key, task } => {
                if let Some(place) = self.places.get_mut(&name).filter(|p| p.key == key) {
                    place.watch = None;
                    place.machine.ended(task);
                }
            }
            Done::Step { name, key, step, settle } => {
                let Some(place) = self.places.get_mut(&name).filter(|p| p.key == key) else {
                    return;
                };
                let by_hand = place.runs.contains_key(&step.fire_ms);
                if let Some(mut event) = event(&name, &step, &settle, by_hand)
                    && let Some(untold) = place.telling.may(now().at)
                {
                    if untold > 0 {
                        event.reason.push_str(&format!("; {untold} more since the last event"));
                    }
                    crate::events::tell(&self.told, event);
                }
                place.answer(&name, &step, &settle);
                place.machine.settle(settle, now());
                self.watch(&name);
            }
        }
    }

    /// Waits for the end of the last fire's task where somebody has to know of it.
    fn watch(&mut self, name: &Arc<str>) {
        let Some(place) = self.places.get_mut(name) else { return };
        let wanted = place.machine.former().filter(|_| place.config.overlap != Overlap::Allow);
        if place.watch.as_ref().map(|(task, _)| *task) == wanted {
            return;
        }
        if let Some((_, watch)) = place.watch.take() {
            watch.abort();
        }
        let Some(task) = wanted else { return };
        let (name, key, tasks) = (Arc::clone(name), place.key, self.tasks.clone());
        let handle = self.under_way.spawn(async move {
            ended(tasks, task).await;
            Done::Ended { name, key, task }
        });
        place.watch = Some((task, handle));
    }

    async fn on_request(&mut self, request: Request) {
        match request {
            Request::Configure(schedules, reply) => {
                let _ = reply.send(self.adopt(schedules, true).await);
            }
            Request::Look(name, reply) => {
                let views = match name {
                    None => Ok(self.places.values().map(|p| p.machine.view()).collect()),
                    Some(name) => self.place(&name).map(|place| vec![place.machine.view()]),
                };
                let _ = reply.send(views);
            }
            Request::Pause { name, paused, reply } => {
                let _ = reply.send(self.pause(&name, paused).await);
            }
            Request::Run { name, reply } => match self.place(&name) {
                Err(error) => drop(reply.send(Err(error))),
                Ok(place) => match place.machine.run(now()) {
                    Err(why) => drop(reply.send(Err(not_run(&name, why)))),
                    Ok(fire_ms) => drop(place.runs.insert(fire_ms, reply)),
                },
            },
            Request::Stop(reply) => self.stopped.get_or_insert_default().push(reply),
        }
    }

    fn place(&mut self, name: &str) -> Result<&mut Place, ScheduleError> {
        if !self.places.contains_key(name) {
            let known = self.places.keys().map(ToString::to_string).collect();
            return Err(ScheduleError::Unknown { name: name.to_owned(), known });
        }
        self.places.get_mut(name).ok_or(ScheduleError::ShuttingDown)
    }

    /// Durable first: a pause that a restart forgets is none.
    async fn pause(&mut self, name: &str, paused: bool) -> Result<(), ScheduleError> {
        let place = self.place(name)?;
        let after_ms = (!paused).then(|| place.machine.after_ms().max(now().wall_ms));
        let op = mark(name, &place.config, after_ms, paused);
        self.writer.commit(Batch::synced(vec![op])).await.result?;
        let place = self.place(name)?;
        match paused {
            true => place.machine.pause(),
            false => place.machine.resume(now()),
        }
        Ok(())
    }

    /// Makes the schedules those. `forget`: what the store has of others is dropped.
    async fn adopt(
        &mut self,
        schedules: Vec<(String, ScheduleConfig)>,
        forget: bool,
    ) -> Result<(), ScheduleError> {
        let rows = self.readers.run(|store| store.schedules()).await?;
        let rows: BTreeMap<Arc<str>, ScheduleRow> =
            rows.into_iter().map(|row| (Arc::clone(&row.name), row)).collect();
        let now = now();
        let begins: Vec<(Arc<str>, ScheduleConfig, Begin)> = schedules
            .into_iter()
            .map(|(name, config)| {
                let begin = Begin::of(&config, rows.get(name.as_str()), now.wall_ms);
                (name.into(), config, begin)
            })
            .collect();
        let marks = begins.iter().filter(|(_, _, begin)| begin.changed);
        let mut ops: Vec<Op> = marks
            .map(|(name, config, begin)| mark(name, config, begin.new_after, begin.paused))
            .collect();
        let gone = |name: &Arc<str>| !begins.iter().any(|(other, _, _)| other == name);
        if forget {
            let others = rows.keys().filter(|name| gone(name)).cloned();
            ops.extend(others.map(|name| Op::Schedule { name, mark: None }));
        }
        if !ops.is_empty() {
            self.writer.commit(Batch::synced(ops)).await.result?;
        }
        let dropped: Vec<_> = self.places.keys().filter(|name| gone(name)).cloned().collect();
        for name in dropped {
            if let Some(Place { watch: Some((_, watch)), .. }) = self.places.remove(&name) {
                watch.abort();
            }
        }
        for (name, config, begin) in begins {
            self.place_or_change(&name, config, begin, rows.get(&name)).await;
            self.watch(&name);
        }
        Ok(())
    }

    async fn place_or_change(
        &mut self,
        name: &Arc<str>,
        config: ScheduleConfig,
        begin: Begin,
        row: Option<&ScheduleRow>,
    ) {
        if let Some(place) = self.places.get_mut(name) {
            place.config = config.clone();
            place.machine.configure(config, now());
            match begin.paused {
                true => place.machine.pause(),
                false => place.machine.resume(now()),
            }
            return;
        }
        let former = row.and_then(|row| row.task);
        let resumed = Resumed {
            after_ms: begin.after_ms,
            paused: begin.paused,
            former: match former {
                Some(task) if self.is_unfinished(task).await => Some(task),
                _ => None,
            },
            held: row.map(|row| row.held.clone()).unwrap_or_default(),
        };
        self.next_key += 1;
        let machine = Schedule::new(name, config.clone(), resumed, now());
        let place = Place {
            key: self.next_key,
            machine,
            config,
            watch: None,
            runs: HashMap::new(),
            telling: Telling::new(now().at),
        };
        self.places.insert(Arc::clone(name), place);
    }

    /// A task that can't be looked at counts as unfinished: the wait for its end tells.
    async fn is_unfinished(&self, task: TaskId) -> bool {
        match self.tasks.get(task).await {
            Ok(row) => !row.state.is_final(),
            Err(crate::TaskError::NoTask(_)) => false,
            Err(_) => true,
        }
    }
}

impl Place {
    /// Tells who waits for a fire by hand.
    fn answer(&mut self, name: &str, step: &Step, settle: &Settle) {
        let fire_ms = step.fire_ms;
        let answer = match (&step.what, settle) {
            (What::Push, Settle::Pushed(task)) => Ok(Fired { fire_ms, task: Some(*task) }),
            (What::Hold, Settle::Recorded) => Ok(Fired { fire_ms, task: None }),
            (_, Settle::Refused(why)) => {
                Err(ScheduleError::NotRun { name: name.to_owned(), why: why.clone() })
            }
            _ => return,
        };
        if let Some(reply) = self.runs.remove(&fire_ms) {
            let _ = reply.send(answer);
        }
    }
}

/// Where a schedule begins, from its configuration and what the store has of it.
#[derive(Debug)]
struct Begin {
    after_ms: u64,
    /// Set when the mark has to be written.
    new_after: Option<u64>,
    paused: bool,
    /// The row has to be written.
    changed: bool,
}

impl Begin {
    fn of(config: &ScheduleConfig, row: Option<&ScheduleRow>, now_ms: u64) -> Self {
        let same_plan = row.filter(|row| *row.mark.plan == *config.plan.to_string());
        let kept = same_plan.and_then(|row| row.mark.after_ms);
        // `paused` of the file counts when it is new or has changed; else a person's word stays.
        let paused = row
            .filter(|row| row.mark.config_paused == config.paused)
            .map_or(config.paused, |row| row.mark.paused);
        let resumes = !paused && row.is_some_and(|row| row.mark.paused);
        let kept = kept.filter(|_| !resumes);
        let changed = kept.is_none()
            || row.is_none_or(|row| {
                (row.mark.paused, row.mark.config_paused) != (paused, config.paused)
            });
        Self {
            after_ms: kept.unwrap_or(now_ms),
            new_after: kept.is_none().then_some(now_ms),
            paused,
            changed,
        }
    }
}

fn mark(name: &str, config: &ScheduleConfig, after_ms: Option<u64>, paused: bool) -> Op {
    let plan = config.plan.to_string().into();
    let mark = ScheduleMark { plan, after_ms, paused, config_paused: config.paused };
    Op::Schedule { name: name.into(), mark: Some(Box::new(mark)) }
}
