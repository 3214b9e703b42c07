//! New tasks.

use ganger_core::{TaskId, TaskState};
use ganger_store::{Enqueue, Fire, Op, Push, ReadyRow};

use super::lane::{Birth, Waiting};
use super::{Engine, Now, QueueIx};
use crate::actions::{Done, Reply};
use crate::config::{NewTask, PushError};

impl Engine {
    /// New tasks. The reply with tag `req` comes when they are acknowledged.
    ///
    /// # Errors
    /// [`PushError`]; nothing was taken then and no reply follows.
    pub fn push(
        &mut self,
        req: u64,
        ix: QueueIx,
        key: Option<Box<str>>,
        tasks: Vec<NewTask>,
        now: Now,
    ) -> Result<(), PushError> {
        self.enter(req, ix, (key, None), tasks, now)
    }

    /// The task of a schedule's fire, in one commit with the fire's row: a fire that has its task adds nothing and
    /// answers with it. For a memory queue the row follows the task, which is lost with the daemon anyway.
    ///
    /// # Errors
    /// As [`Engine::push`].
    pub fn push_fire(
        &mut self,
        req: u64,
        ix: QueueIx,
        fire: Box<Fire>,
        task: NewTask,
        now: Now,
    ) -> Result<(), PushError> {
        self.enter(req, ix, (None, Some(fire)), vec![task], now)
    }

    fn enter(
        &mut self,
        req: u64,
        ix: QueueIx,
        (key, fire): (Option<Box<str>>, Option<Box<Fire>>),
        mut tasks: Vec<NewTask>,
        now: Now,
    ) -> Result<(), PushError> {
        self.clock = now;
        self.may_push(ix, tasks.len(), tasks.iter())?;
        self.resolve(ix, &mut tasks, now)?;
        self.stats.pushed += tasks.len() as u64;
        if !self.row(ix).is_memory() {
            self.push_durable(req, ix, key, fire, tasks, now);
            return Ok(());
        }
        self.push_memory(req, ix, key, tasks, now);
        if let Some(mut fire) = fire {
            fire.task = self.last_id;
            self.batch.ops.push(Op::Fire(fire));
        }
        Ok(())
    }

    fn push_durable(
        &mut self,
        req: u64,
        ix: QueueIx,
        key: Option<Box<str>>,
        fire: Option<Box<Fire>>,
        tasks: Vec<NewTask>,
        now: Now,
    ) {
        let (batch, op) = (self.batch.no, self.batch.ops.len());
        let mut enqueues = Vec::with_capacity(tasks.len());
        for (at, new) in tasks.into_iter().enumerate() {
            let id = self.draw();
            let later = new.run_at_ms > now.wall_ms;
            let run_at_ms = if later { new.run_at_ms } else { 0 };
            let row = self.row_mut(ix);
            row.pending[usize::from(later)] += 1;
            row.add_bytes(new.payload.len());
            if !later {
                let birth = Some(Birth { batch, op, task: at });
                let waiting = Waiting { row: ready_row(id, &new), history: Vec::new(), birth };
                row.admit(waiting, false);
            }
            enqueues.push(Enqueue {
                id,
                kind: new.kind,
                priority: new.priority,
                run_at_ms,
                payload: new.payload,
                options: new.options,
                claim: None,
            });
        }
        let row = self.row(ix);
        let (queue, synced) = (row.name.clone(), row.is_synced());
        self.batch.sync |= synced;
        self.batch.ops.push(Op::Push(Push { req, queue, key, fire, tasks: enqueues }));
    }

    fn push_memory(
        &mut self,
        req: u64,
        ix: QueueIx,
        key: Option<Box<str>>,
        tasks: Vec<NewTask>,
        now: Now,
    ) {
        if let Some(ids) = key.as_deref().and_then(|key| self.row(ix).known_key(key)) {
            let ids = ids.clone();
            let done = Done::Pushed { ids, duplicate: true, known: Vec::new() };
            self.actions.replies.push(Reply { req, result: Ok(done) });
            return;
        }
        let mut ids = Vec::with_capacity(tasks.len());
        for new in tasks {
            let id = self.draw();
            ids.push(id);
            self.row_mut(ix).add_bytes(new.payload.len());
            let waiting = Waiting::stored(ready_row(id, &new));
            if new.run_at_ms > now.wall_ms {
                self.park(ix, waiting, new.run_at_ms, TaskState::Scheduled);
            } else {
                let row = self.row_mut(ix);
                row.moved(None, Some(TaskState::Available));
                row.admit(waiting, true);
            }
        }
        if let Some(key) = key {
            self.row_mut(ix).remember_key(key, ids.clone());
        }
        let done = Done::Pushed { ids, duplicate: false, known: Vec::new() };
        self.actions.replies.push(Reply { req, result: Ok(done) });
    }
}

fn ready_row(id: TaskId, new: &NewTask) -> ReadyRow {
    ReadyRow {
        id,
        priority: new.priority,
        seq: id.raw(),
        kind: new.kind.clone(),
        payload: new.payload.clone(),
        attempt: 0,
        base: 0,
        crashes: 0,
        options: new.options.clone(),
    }
}
