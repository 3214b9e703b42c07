//! One peer: what it asked, what it was given, what waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ganger_core::InstanceId;

use super::types::{Code, Limits, Published, ToPeer};

#[derive(Debug)]
pub(super) struct Peer<D> {
    pub(super) name: Option<InstanceId>,
    /// As others see it.
    pub(super) shown: Arc<str>,
    pub(super) ready: bool,
    pub(super) speaks: bool,
    /// Tasks that it runs beside its requests.
    pub(super) running: u32,
    /// Its open requests, by its own ids.
    pub(super) asked: BTreeMap<Box<str>, u64>,
    /// Requests it has not answered.
    pub(super) given: BTreeSet<u64>,
    /// When it was given the last one, in requests.
    pub(super) turn: u64,
    /// Requests, answers and what else must come.
    waiting: VecDeque<ToPeer<D>>,
    waiting_bytes: usize,
    waiting_bodies: u64,
    pub(super) subs: BTreeMap<Box<str>, Sub<D>>,
    /// The subscription whose turn was last.
    served: Option<Box<str>>,
    way: usize,
    way_bytes: usize,
}

/// A subscription.
#[derive(Debug)]
pub(super) struct Sub<D> {
    window: Option<u32>,
    /// Sent and not taken.
    under_way: u32,
    queue: VecDeque<Arc<Published<D>>>,
    bytes: usize,
    bodies: u64,
    missed: u64,
}

impl<D> Sub<D> {
    pub(super) const fn new(window: Option<u32>) -> Self {
        Self { window, under_way: 0, queue: VecDeque::new(), bytes: 0, bodies: 0, missed: 0 }
    }

    pub(super) fn set_window(&mut self, window: Option<u32>) {
        (self.window, self.under_way) = (window, 0);
    }

    pub(super) fn took(&mut self, n: u32) {
        self.under_way = self.under_way.saturating_sub(n);
    }

    /// Adds a message; says how many old ones were dropped for it.
    pub(super) fn add(&mut self, published: &Arc<Published<D>>, limits: &Limits) -> u64 {
        self.bytes += published.cargo.weight();
        self.bodies += published.cargo.body();
        self.queue.push_back(Arc::clone(published));
        let mut dropped = 0;
        while self.queue.len() > limits.queue
            || (self.queue.len() > 1
                && (self.bytes > limits.queue_bytes || self.bodies > limits.body_bytes))
        {
            if self.pop().is_none() {
                break;
            }
            dropped += 1;
        }
        self.missed += dropped;
        dropped
    }

    fn pop(&mut self) -> Option<Arc<Published<D>>> {
        let published = self.queue.pop_front()?;
        self.bytes -= published.cargo.weight();
        self.bodies -= published.cargo.body();
        Some(published)
    }

    fn is_due(&self) -> bool {
        let open = self.window.is_none_or(|window| self.under_way < window);
        open && !self.queue.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

impl<D> Peer<D> {
    /// What it has to do.
    pub(super) fn load(&self) -> usize {
        self.given.len() + self.running as usize
    }

    pub(super) fn new(name: Option<InstanceId>, speaks: bool) -> Self {
        let shown = name.as_ref().map_or_else(|| "api".to_owned(), ToString::to_string);
        Self {
            name,
            shown: shown.into(),
            ready: false,
            speaks,
            running: 0,
            asked: BTreeMap::new(),
            given: BTreeSet::new(),
            turn: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            waiting_bodies: 0,
            subs: BTreeMap::new(),
            served: None,
            way: 0,
            way_bytes: 0,
        }
    }

    /// May so much more wait for it, in a message and in its body?
    pub(super) const fn has_room(&self, weight: usize, body: u64, limits: &Limits) -> bool {
        self.waiting_bytes + weight <= limits.waiting_bytes
            && self.waiting_bodies + body <= limits.body_bytes
    }

    pub(super) fn push(&mut self, message: ToPeer<D>) {
        self.waiting_bytes += message.weight();
        self.waiting_bodies += message.body();
        self.waiting.push_back(message);
    }

    /// A message that waits no longer.
    fn drop_load(&mut self, message: &ToPeer<D>) {
        self.waiting_bytes -= message.weight();
        self.waiting_bodies -= message.body();
    }

    /// Takes a request back: from what waits, or by a word.
    pub(super) fn call_off(&mut self, number: u64, why: Code) {
        self.given.remove(&number);
        let is_it = |message: &ToPeer<D>| matches!(message, ToPeer::Request { number: n, .. } if *n == number);
        match self.waiting.iter().position(is_it).and_then(|at| self.waiting.remove(at)) {
            Some(message) => self.drop_load(&message),
            None => self.push(ToPeer::Cancel { number, why }),
        }
    }

    pub(super) fn went(&mut self, messages: usize, bytes: usize) {
        self.way = self.way.saturating_sub(messages);
        self.way_bytes = self.way_bytes.saturating_sub(bytes);
    }

    /// What may go to it now.
    pub(super) fn next(&mut self, limits: &Limits) -> Option<ToPeer<D>> {
        if self.way >= limits.way || (self.way > 0 && self.way_bytes >= limits.way_bytes) {
            return None;
        }
        let message = match self.waiting.pop_front() {
            Some(message) => {
                self.drop_load(&message);
                message
            }
            None => self.next_of_subs()?,
        };
        self.way += 1;
        self.way_bytes += message.weight();
        Some(message)
    }

    /// Subscriptions take turns, so that one with much to tell does not keep the others from theirs.
    fn next_of_subs(&mut self) -> Option<ToPeer<D>> {
        use std::ops::Bound::{Excluded, Unbounded};
        fn due<K: Clone, D>((topic, sub): (&K, &Sub<D>)) -> Option<K> {
            sub.is_due().then(|| topic.clone())
        }
        let after = match &self.served {
            Some(last) => self.subs.range::<str, _>((Excluded(&**last), Unbounded)).find_map(due),
            None => None,
        };
        let topic = after.or_else(|| self.subs.iter().find_map(due))?;
        let sub = self.subs.get_mut(&topic)?;
        if sub.missed > 0 {
            let missed = std::mem::take(&mut sub.missed);
            return Some(ToPeer::Gap { topic, missed });
        }
        let published = sub.pop()?;
        sub.under_way += u32::from(sub.window.is_some());
        let pattern = topic.ends_with('*').then(|| topic.clone());
        self.served = Some(topic);
        Some(ToPeer::Message { published, pattern })
    }
}
