//! What running attempts say: kept here, written now and then, and handed to the outcome.

use std::time::Instant;

use ganger_core::{TaskId, Token};
use ganger_store::{Op, Said};

use super::{Engine, Now, Phase, Stale};
use crate::said::{SAVE_EVERY, Saying};

/// Writes of attempts that are over which are tolerated before the list is gone through.
const STALE_MAX: usize = 1_024;

impl Engine {
    /// An attempt said more. Answers which lines it has now in all, and the number of the attempt.
    ///
    /// # Errors
    /// [`Stale`]: it is not the task's attempt (any more); nothing is kept.
    pub fn said(
        &mut self,
        id: TaskId,
        token: Token,
        more: Saying,
        now: Now,
    ) -> Result<(u32, u64), Stale> {
        self.clock = now;
        let found = self.running.get_mut(&id).filter(|r| r.token == token);
        let Some(run) = found.filter(|r| matches!(r.phase, Phase::Sent | Phase::Started)) else {
            return self.stale(id, token);
        };
        let saying = run.said.get_or_insert_default();
        saying.absorb(more);
        let told = (run.row.attempt, saying.said().total);
        let ix = run.ix;
        if !saying.save_due && !self.queues[ix.0 as usize].is_memory() {
            saying.save_due = true;
            self.saves.push_back((now.at + SAVE_EVERY, id, token));
        }
        Ok(told)
    }

    /// What the running attempt of a task said, with its number.
    #[must_use]
    pub fn said_by(&self, id: TaskId) -> Option<(u32, &Said)> {
        let run = self.running.get(&id)?;
        Some((run.row.attempt, run.said.as_ref()?.said()))
    }

    /// Writes what is not written yet: the last words of a daemon that goes.
    pub fn save_all_said(&mut self) {
        for (_, id, token) in std::mem::take(&mut self.saves) {
            self.save(id, token);
        }
    }

    pub(super) fn save_said(&mut self, now: Now) {
        while let Some((at, id, token)) = self.saves.front().copied()
            && at <= now.at
        {
            self.saves.pop_front();
            self.save(id, token);
        }
    }

    pub(super) fn next_save(&self) -> Option<Instant> {
        self.saves.front().map(|(at, _, _)| *at)
    }

    /// A commit with it failed: once more, later.
    pub(super) fn save_later(&mut self, id: TaskId, token: Token, now: Now) {
        if let Some(saying) = self.saying(id, token)
            && !std::mem::replace(&mut saying.save_due, true)
        {
            self.saves.push_back((now.at + SAVE_EVERY, id, token));
        }
    }

    fn save(&mut self, id: TaskId, token: Token) {
        let Some(saying) = self.saying(id, token) else { return };
        saying.save_due = false;
        let said = Box::new(saying.said().clone());
        self.stats.said_writes += 1;
        self.batch.ops.push(Op::Said { id, token, said });
    }

    fn saying(&mut self, id: TaskId, token: Token) -> Option<&mut Saying> {
        self.running.get_mut(&id).filter(|r| r.token == token)?.said.as_deref_mut()
    }

    /// Forgets writes of attempts that are over: their outcome has it all.
    pub(super) fn purge_saves(&mut self) {
        while let Some((_, id, token)) = self.saves.front().copied()
            && self.saying(id, token).is_none()
        {
            self.saves.pop_front();
        }
        if self.saves.len() > 2 * self.running.len() + STALE_MAX {
            let mut saves = std::mem::take(&mut self.saves);
            saves.retain(|(_, id, token)| self.saying(*id, *token).is_some());
            self.saves = saves;
        }
    }
}
