//! What the owner task has said and its holders have not yet taken.
//!
//! The task never waits for a slow holder: messages stand here in order and go out from the task's one wait point.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use ganger_core::InstanceId;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::handle::InstanceNotice;
use crate::view::Told;

/// Events kept for a recorder that doesn't take them. Restarts are spaced by backoff, so this many means that nobody has
/// recorded for minutes; the oldest go first.
const EVENTS_MAX: usize = 256;

/// An event, or one that waits for the last lines of a dead child.
pub(super) enum Item {
    Now(Box<Told>),
    Soon(Pin<Box<dyn Future<Output = Told> + Send>>),
}

pub(super) struct Outbox {
    id: InstanceId,
    notices: mpsc::Sender<(InstanceId, InstanceNotice)>,
    notice_queue: VecDeque<InstanceNotice>,
    told: mpsc::Sender<Told>,
    told_queue: VecDeque<Item>,
}

impl Outbox {
    pub(super) fn new(
        id: InstanceId,
        notices: mpsc::Sender<(InstanceId, InstanceNotice)>,
        told: mpsc::Sender<Told>,
    ) -> Self {
        let (notice_queue, told_queue) = (VecDeque::new(), VecDeque::new());
        Self { id, notices, notice_queue, told, told_queue }
    }

    /// Tells the holder, at once where there is room. A newer state takes the place of one that still waits.
    pub(super) fn notice(&mut self, notice: InstanceNotice) {
        if let (InstanceNotice::State(_), Some(last @ InstanceNotice::State(_))) =
            (&notice, self.notice_queue.back_mut())
        {
            *last = notice;
            return;
        }
        self.notice_queue.push_back(notice);
        while let Some(next) = self.notice_queue.pop_front() {
            match self.notices.try_send((self.id.clone(), next)) {
                Ok(()) => {}
                Err(TrySendError::Full((_, back))) => return self.notice_queue.push_front(back),
                Err(TrySendError::Closed(_)) => return self.notice_queue.clear(),
            }
        }
    }

    /// Tells the recorder, in order.
    pub(super) fn tell(&mut self, item: Item) {
        if self.told_queue.len() >= EVENTS_MAX {
            tracing::warn!(instance = %self.id, "nobody records events; the oldest is dropped");
            self.told_queue.pop_front();
        }
        self.told_queue.push_back(item);
        self.tell_ready();
    }

    fn tell_ready(&mut self) {
        while let Some(Item::Now(_)) = self.told_queue.front() {
            let Some(Item::Now(told)) = self.told_queue.pop_front() else { return };
            match self.told.try_send(*told) {
                Ok(()) => {}
                Err(TrySendError::Full(back)) => {
                    return self.told_queue.push_front(Item::Now(Box::new(back)));
                }
                Err(TrySendError::Closed(_)) => return self.told_queue.clear(),
            }
        }
    }

    /// Sends what waits; pending for ever when nothing does.
    ///
    /// # Cancel safety
    /// Safe: a message leaves its queue only when it is sent.
    pub(super) async fn pump(&mut self) {
        tokio::select! {
            () = pump_notices(&self.id, &self.notices, &mut self.notice_queue) => {}
            () = pump_told(&self.told, &mut self.told_queue) => {}
        }
    }
}

async fn pump_notices(
    id: &InstanceId,
    to: &mpsc::Sender<(InstanceId, InstanceNotice)>,
    queue: &mut VecDeque<InstanceNotice>,
) {
    while !queue.is_empty() {
        let Ok(slot) = to.reserve().await else { return queue.clear() };
        let Some(next) = queue.pop_front() else { break };
        slot.send((id.clone(), next));
    }
    std::future::pending().await
}

async fn pump_told(to: &mpsc::Sender<Told>, queue: &mut VecDeque<Item>) {
    while let Some(front) = queue.front_mut() {
        if let Item::Soon(future) = front {
            let told = future.await;
            *front = Item::Now(Box::new(told));
        }
        let Ok(slot) = to.reserve().await else { return queue.clear() };
        if let Some(Item::Now(told)) = queue.pop_front() {
            slot.send(*told);
        }
    }
    std::future::pending().await
}
