//! The end of a history: everything runs to its end, and engine, store and model agree.

use ganger_core::TaskState;
use ganger_store::StoreRead as _;

use super::scene::{QUEUES, Scene};
use super::{End, Step};
use crate::GateSet;

const STATES: [TaskState; 7] = [
    TaskState::Scheduled,
    TaskState::Available,
    TaskState::Running,
    TaskState::Retryable,
    TaskState::Completed,
    TaskState::Cancelled,
    TaskState::Discarded,
];

impl Scene {
    /// Lets everything come to its end and compares.
    pub(super) fn run_to_the_end(&mut self) {
        // What a failed commit left behind goes out again after a while.
        self.quiet();
        self.step(Step::Advance { ms: 1_500 });
        for queue in 0..QUEUES.len() {
            self.gate(queue, GateSet::Resume);
        }
        self.quiet();
        self.agree();
        self.step(Step::Advance { ms: 1_500 });
        self.begin_all();
        self.quiet();
        self.all_late_are_told();
        for _ in 0..200 {
            self.step(Step::Take { n: 5, starts: 5 });
            self.quiet();
            while !self.held.is_empty() {
                self.step(Step::End { pick: 0, how: End::Done });
            }
            self.quiet();
            if self.queues.iter().all(|ix| self.engine.counts(*ix).unfinished() == 0) {
                break;
            }
            self.step(Step::Advance { ms: 2_000 });
        }
        self.agree();
        self.all_ended();
    }

    /// What a worker still has behind its deadline, it was told to stop; what waits behind a last moment is cancelled,
    /// whether anybody wants to take it or not.
    fn all_late_are_told(&self) {
        for (id, task) in &self.ledger.tasks {
            assert!(!task.is_over(self.now.wall_ms), "task {id} waits behind its last moment");
        }
        for held in &self.held {
            let control = self.ledger.tasks[&held.id].control.as_ref();
            let late = control.and_then(|c| c.deadline_ms).is_some_and(|at| at <= self.now.wall_ms);
            assert!(held.told || !late, "task {} runs behind its deadline", held.id);
        }
    }

    /// Engine, store and model count the same.
    fn agree(&mut self) {
        for (at, (name, _)) in QUEUES.into_iter().enumerate() {
            let ix = self.queues[at];
            let counts = self.engine.counts(ix);
            for state in STATES {
                let n = self.ledger.count(name, state);
                assert_eq!(counts.get(state), n, "{state} tasks of queue {name}: {counts:?}");
            }
            if let Some(row) = self.reader().queue(name).unwrap() {
                assert_eq!(row.counts, counts, "the store's counters of queue {name}");
            }
            let bytes = self.ledger.bytes(name);
            assert_eq!(self.engine.row(ix).bytes, bytes, "bytes of queue {name}");
            assert_eq!(self.reader().open_bytes(name).unwrap(), bytes, "stored bytes of {name}");
        }
    }

    fn all_ended(&mut self) {
        let engine = &self.engine;
        assert_eq!(engine.running.len() + engine.cancelling.len() + engine.promoting.len(), 0);
        for id in &self.acked {
            assert!(self.ledger.tasks.contains_key(id), "acknowledged task {id} is lost");
        }
        let tasks: Vec<_> =
            self.ledger.tasks.iter().map(|(id, t)| (*id, t.state, t.result.clone())).collect();
        for (id, state, result) in tasks {
            assert!(state.is_final(), "task {id} is {state} for ever");
            let row =
                self.reader().task(id).unwrap().unwrap_or_else(|| panic!("task {id} is lost"));
            assert_eq!((row.state, row.result), (state, result), "task {id}");
            assert_eq!(self.reader().leader(id).unwrap(), None, "task {id} follows for ever");
        }
    }
}
