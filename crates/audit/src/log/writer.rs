//! The writer thread: one group after the other.
//!
//! ```text
//!            ┌──────── job ────────┐
//!   up ──────┤ group: push, commit ├── ok ──▶ acknowledged, up
//!   │        └─────────────────────┘
//!   │                 └── failed ──▶ down: every append fails at once ── reopen ──▶ up
//!   └── close, or the last handle gone ──▶ closed
//! ```
//!
//! There is no window to wait in: what arrives during an fsync forms the next group by itself. While nothing is unsigned
//! there is no timer either.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use super::state::State;
use super::{Job, Pending, Receipt, Reply, Shared};
use crate::error::AuditError;

/// Records of one group: at 5 µs each this keeps a group near 10 ms, so that nobody waits long behind others.
const GROUP_MAX: usize = 1_024;

pub(super) fn run(state: State, inbox: &Receiver<Job>, shared: &Arc<Shared>) {
    let options = state.options.clone();
    let mut writer = Writer { state: Some(state), shared };
    let mut closing = None;
    while closing.is_none() {
        let Some(job) = writer.next(inbox) else { break };
        match job {
            Job::Append(first) => {
                let (group, other) = gather(first, inbox);
                writer.group(group);
                match other {
                    Some(Job::Reopen { reply }) => writer.reopen(&options, reply),
                    Some(Job::Close { reply }) => closing = Some(reply),
                    Some(Job::Append(_)) | None => {}
                }
            }
            Job::Reopen { reply } => writer.reopen(&options, reply),
            Job::Close { reply } => closing = Some(reply),
        }
    }
    let closed = writer.close();
    if let Some(reply) = closing {
        answer(reply, closed);
    }
    // Whatever still comes finds a closed channel: `ask` turns that into `Closed`.
}

/// All that waits, up to the bound or to something that is no append.
fn gather(first: Pending, inbox: &Receiver<Job>) -> (Vec<Pending>, Option<Job>) {
    let mut group = vec![first];
    while group.len() < GROUP_MAX {
        match inbox.try_recv() {
            Ok(Job::Append(pending)) => group.push(pending),
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}

struct Writer<'a> {
    /// None while the log is down.
    state: Option<State>,
    shared: &'a Shared,
}

impl Writer<'_> {
    /// The next job; none when every handle is gone. Makes checkpoints when their time comes.
    fn next(&mut self, inbox: &Receiver<Job>) -> Option<Job> {
        loop {
            let Some(due) = self.state.as_ref().and_then(State::checkpoint_due) else {
                return inbox.recv().ok();
            };
            match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    let result = self.state.as_mut().map_or(Ok(()), State::checkpoint_now);
                    if let Err(error) = result {
                        self.fall(&error);
                    }
                }
            }
        }
    }

    fn group(&mut self, group: Vec<Pending>) {
        let Some(state) = &mut self.state else {
            let why = self.shared.why().unwrap_or_default();
            for pending in group {
                answer(pending.reply, Err(AuditError::Down { why: why.clone() }));
            }
            return;
        };
        state.begin_group();
        let written: Result<Vec<Receipt>, AuditError> =
            group.iter().map(|pending| state.push(&pending.prepared)).collect();
        let receipts = written.and_then(|receipts| state.commit().map(|()| receipts));
        match receipts {
            Ok(receipts) => {
                self.shared.seq.store(state.seq(), Ordering::Relaxed);
                self.shared.groups.fetch_add(1, Ordering::Relaxed);
                self.shared.records.fetch_add(receipts.len() as u64, Ordering::Relaxed);
                for (pending, receipt) in group.into_iter().zip(receipts) {
                    answer(pending.reply, Ok(receipt));
                }
            }
            Err(error) => {
                self.fall(&error);
                for pending in group {
                    answer(pending.reply, Err(error.clone()));
                }
            }
        }
    }

    /// Goes down: what is on disk is unknown, so the files are let go until somebody opens them anew.
    fn fall(&mut self, error: &AuditError) {
        tracing::error!(%error, "the audit log is down: nothing may run unrecorded");
        self.state = None;
        self.shared.set_down(Some(error.to_string()));
    }

    fn reopen(&mut self, options: &super::Options, reply: Reply<()>) {
        self.state = None;
        let result = State::open(options.clone()).and_then(|state| {
            if state.log() == self.shared.id {
                Ok(state)
            } else {
                let path = options.folder.clone();
                let why = "another log stands in the folder now".to_owned();
                Err(AuditError::Io { step: "opening", path, why })
            }
        });
        match result {
            Ok(state) => {
                self.shared.seq.store(state.seq(), Ordering::Relaxed);
                self.state = Some(state);
                self.shared.set_down(None);
                answer(reply, Ok(()));
            }
            Err(error) => {
                self.shared.set_down(Some(error.to_string()));
                answer(reply, Err(error));
            }
        }
    }

    fn close(&mut self) -> Result<(), AuditError> {
        let Some(state) = self.state.take() else { return Ok(()) };
        let closed = state.close();
        if let Err(error) = &closed {
            tracing::error!(%error, "the audit log could not be closed in order");
        }
        closed
    }
}

/// A caller that went away does not want the answer.
fn answer<T>(reply: Reply<T>, result: Result<T, AuditError>) {
    drop(reply.send(result));
}
