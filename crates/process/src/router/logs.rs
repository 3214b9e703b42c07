//! Who waits for the logger: flushes and retirements.

use std::collections::HashMap;

use ganger_core::logwire::LogReply;
use ganger_keeper::wire::{Held, Request};
use tokio::sync::oneshot;

use super::Router;
use crate::control::answer;
use crate::processes::Notice;

/// Waits for the logger. One flush is under way at a time; who comes meanwhile shares the next one, so that a thousand
/// exits at once cost two flushes.
#[derive(Default)]
pub(super) struct LogTickets {
    tag: u64,
    under_way: Vec<oneshot::Sender<()>>,
    next: Vec<oneshot::Sender<()>>,
    retiring: HashMap<(String, u32), Vec<oneshot::Sender<()>>>,
}

impl LogTickets {
    /// Tags begin with the epoch: the answer to a former daemon's flush is not taken for one of ours.
    pub(super) fn new(epoch: u32) -> Self {
        Self { tag: u64::from(epoch) << 32, ..Self::default() }
    }
}

impl Router {
    pub(super) fn flush_logs(&mut self, reply: oneshot::Sender<()>) {
        self.logs.next.push(reply);
        if self.logs.under_way.is_empty() {
            self.begin_flush();
        }
    }

    fn begin_flush(&mut self) {
        if self.logs.next.is_empty() {
            return;
        }
        self.logs.under_way = std::mem::take(&mut self.logs.next);
        self.logs.tag += 1;
        let tag = self.logs.tag;
        self.ask(Request::FlushLogs { tag }, vec![]);
    }

    pub(super) fn retire_log(&mut self, name: String, slot: u32, reply: oneshot::Sender<()>) {
        if self.open_logs(&name, slot) == 0 {
            return answer(reply, ());
        }
        self.logs.retiring.entry((name.clone(), slot)).or_default().push(reply);
        self.ask(Request::RetireLog { name, slot }, vec![]);
    }

    pub(super) fn on_log(&mut self, reply: LogReply) {
        match &reply {
            LogReply::Flushed { tag } => {
                if *tag == self.logs.tag {
                    self.logs.under_way.drain(..).for_each(|waiter| answer(waiter, ()));
                    self.begin_flush();
                }
                return;
            }
            LogReply::Retired { name, slot, stream } => {
                self.mirror.drop_log(name, *slot, *stream);
                if self.open_logs(name, *slot) == 0 {
                    let key = (name.clone(), *slot);
                    let waiting = self.logs.retiring.remove(&key).unwrap_or_default();
                    waiting.into_iter().for_each(|waiter| answer(waiter, ()));
                }
            }
            LogReply::Dropped { .. } => {}
        }
        self.tell(Notice::Log(reply));
    }

    /// Read ends of the slot's log pipes.
    fn open_logs(&self, name: &str, slot: u32) -> usize {
        let is_its = |what: &Held| matches!(what, Held::LogRead { target, .. } if target.name == name && target.slot == slot);
        self.mirror.held.values().filter(|(what, _)| is_its(what)).count()
    }
}
