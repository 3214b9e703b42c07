//! The end of a history: everything runs to its end, and engine, store and model agree.

use std::time::Duration;

use ganger_core::{Durability, TaskState};
use ganger_store::StoreRead;

use super::{QUEUES, World};
use crate::How;

impl World {
    /// Lets everything come to its end, then compares with the store.
    pub(in crate::engine::tests) fn settle_all(&mut self) {
        for queue in 0..QUEUES.len() {
            self.pause(queue, false);
        }
        let mut quiet = 0;
        for _ in 0..5_000 {
            self.flush();
            self.commit(2, false);
            self.deliver();
            self.deliver();
            self.read();
            self.load();
            self.take(1, 5, 5);
            while !self.held.is_empty() {
                let number = self.held[0].attempt.payload.clone();
                self.finish(0, How::Completed(number));
            }
            let idle = self.writing.is_empty()
                && self.answers.is_empty()
                && self.reads.is_empty()
                && self.loads.is_empty()
                && self.queues.iter().all(|ix| self.engine.counts(*ix).unfinished() == 0);
            quiet = if idle { quiet + 1 } else { 0 };
            if quiet > 5 {
                break;
            }
            self.advance(Duration::from_secs(2));
        }
        self.check_the_end();
    }

    fn check_the_end(&mut self) {
        assert!(self.requests.is_empty(), "every request was answered");
        for (at, (name, durability)) in QUEUES.iter().enumerate() {
            let counts = self.engine.counts(self.queues[at]);
            assert_eq!(counts.unfinished(), 0, "tasks of queue {name} are left over: {counts:?}");
            if *durability != Durability::Memory
                && let Some(row) = self.reader.queue(name).unwrap()
            {
                assert_eq!(row.counts, counts, "engine and store disagree about {name}");
            }
        }
        for (number, known) in self.tasks.iter().enumerate().filter(|(_, t)| t.acked) {
            let id = known.id.unwrap();
            let memory = QUEUES[known.queue].1 == Durability::Memory;
            if memory && known.daemon != self.daemon {
                continue;
            }
            let task =
                if memory { self.engine.memory_task(id) } else { self.reader.task(id).unwrap() };
            let task = task.unwrap_or_else(|| panic!("acknowledged task {id} is lost"));
            assert!(task.state.is_final(), "task {id} is {}", task.state);
            if task.state == TaskState::Completed {
                assert_eq!(task.result.as_deref(), Some(number.to_string().as_bytes()));
            }
        }
    }
}
