//! What attempts say on its way to the engine, and to those who listen.

use ganger_core::{TaskId, Token};
use ganger_queue::{Now, Saying};
use ganger_store::{Progress, Said};
use tokio::sync::mpsc;

use super::Answer;
use super::run::Dispatcher;
use crate::error::TaskError;
use crate::said::Heard;

/// Listeners at a time: each is a person or a page.
const LISTENERS_MAX: usize = 1_024;

impl Dispatcher {
    pub(super) fn on_said(&mut self, id: TaskId, token: Token, more: Saying, now: Now) {
        let heard = self.listeners.contains_key(&id).then(|| more.said().clone());
        match self.engine.said(id, token, more, now) {
            Ok((attempt, total)) => {
                if let Some(said) = heard {
                    self.tell_listeners(id, Heard { attempt, said: Said { total, ..said } });
                }
            }
            Err(stale) => tracing::debug!(%stale, "words that came too late"),
        }
    }

    fn tell_listeners(&mut self, id: TaskId, heard: Heard) {
        let Some(all) = self.listeners.get_mut(&id) else { return };
        // One that is too slow misses some: numbers of lines show the gap.
        all.retain(|to| {
            !matches!(to.try_send(heard.clone()), Err(mpsc::error::TrySendError::Closed(_)))
        });
        if all.is_empty() {
            self.listeners.remove(&id);
        }
    }

    pub(super) fn on_listen(&mut self, id: TaskId, to: mpsc::Sender<Heard>, reply: Answer<()>) {
        self.listeners.retain(|_, all| {
            all.retain(|to| !to.is_closed());
            !all.is_empty()
        });
        if self.listeners.values().map(Vec::len).sum::<usize>() >= LISTENERS_MAX {
            drop(reply.send(Err(TaskError::TooManyWaiters(LISTENERS_MAX))));
            return;
        }
        self.listeners.entry(id).or_default().push(to);
        drop(reply.send(Ok(())));
    }

    pub(super) fn progress_of(&self, ids: &[TaskId]) -> Vec<(TaskId, Progress)> {
        let of = |id: &TaskId| Some((*id, self.engine.said_by(*id)?.1.progress.clone()?));
        ids.iter().filter_map(of).collect()
    }
}
