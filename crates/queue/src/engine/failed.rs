//! Commits that did not happen: nothing may be lost, nothing may run twice, and nobody spins.
//!
//! Pushes, cancels, retries and pauses are answered with the error. Claims are taken back: the tasks wait again.
//! Outcomes can't be taken back, so they go out again with the first commit after [`HOLD`]. On a full disk they have the
//! first commit to themselves: pushes are refused at once meanwhile, for what is short fits where what is long does not.

use std::time::Duration;

use ganger_store::{Op, StoreError};

use super::lane::Waiting;
use super::{Engine, Now, Phase};
use crate::actions::{Failure, Returned};

/// How long nothing goes out after a failed commit. A full disk does not empty within milliseconds.
pub(super) const HOLD: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn failed(&mut self, ops: Vec<Op>, error: &StoreError, now: Now) {
        self.stats.failed_commits += 1;
        self.hold_until = Some(now.at + HOLD);
        self.held = Some(error.clone());
        let failure = || Err(Failure::Store(error.clone()));
        for op in ops {
            match op {
                Op::Push(push) => {
                    self.unpush(&push);
                    self.reply(push.req, failure());
                }
                Op::Claim(claim) => {
                    if let Some(ix) = self.queue(&claim.queue) {
                        let row = self.row_mut(ix);
                        row.claiming = row.claiming.saturating_sub(1);
                    }
                    self.unclaim(claim.id, claim.token);
                }
                Op::Outcome(_) | Op::Settle { .. } => self.redo.push(op),
                Op::Expire { id, due_ms, .. } => {
                    self.not_moved(id, true);
                    self.limits.lower(due_ms.max(now.wall_ms + HOLD.as_secs() * 1000));
                }
                Op::Priority { id, req, .. } => {
                    self.not_moved(id, true);
                    self.reply(req, failure());
                }
                Op::Promote { id, .. } => {
                    self.promoting.remove(&id);
                    self.due.lower(now.wall_ms + HOLD.as_secs() * 1000);
                }
                Op::Cancel { id, req, .. } => {
                    if let Some((ix, waiting)) = self.cancelling.remove(&id) {
                        self.row_mut(ix).admit(waiting, true);
                    }
                    self.reply(req, failure());
                }
                Op::Retry { req, .. } | Op::Purge { req, .. } | Op::Gate { req, .. } => {
                    self.reply(req, failure());
                }
                Op::Said { id, token, .. } => self.save_later(id, token, now),
                Op::Started { .. } | Op::Event(_) | Op::Desire { .. } => {}
                Op::Keep { .. } | Op::Searchable { .. } | Op::Fire(_) | Op::Schedule { .. } => {}
                // The claims it belongs to failed with it; the next commit that claims from a bucket stores it as it is then.
                Op::Buckets { .. } => {}
            }
        }
    }

    /// A task whose claim was not stored waits again, at its old place.
    fn unclaim(&mut self, id: ganger_core::TaskId, token: ganger_core::Token) {
        let Some(run) = self.running.get(&id) else { return };
        // One that was ended meanwhile has its outcome under way, and that will be refused.
        if run.token != token || run.phase != Phase::Claiming {
            return;
        }
        self.actions.returned.push(Returned { worker: run.worker, id, token });
        self.uncount(id, true);
        if let Some(run) = self.running.remove(&id) {
            let mut row = run.row;
            row.attempt -= 1;
            self.row_mut(run.ix).admit(Waiting::stored(row), true);
        }
    }

    /// The pause after a failure is over.
    pub(super) fn go_on(&mut self) {
        self.hold_until = None;
        self.batch.sync |= !self.redo.is_empty();
        for op in std::mem::take(&mut self.redo) {
            let late = if let Op::Outcome(outcome) = &op { self.late(outcome) } else { None };
            self.batch.ops.push(op);
            self.batch.ops.extend(late);
        }
    }
}
