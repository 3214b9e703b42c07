//! The broker: pure. The drawing is in [`super`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::peer::{Peer, Sub};
use super::types::{Answer, Cargo, Code, Counts, Event, Limits, PeerId, Published, Said, ToPeer};

/// An open request.
#[derive(Debug)]
struct Call {
    asker: PeerId,
    id: Box<str>,
    responder: PeerId,
    deadline: Instant,
}

/// Who asked whom, and who wants to know what. `D` is a shared descriptor.
#[derive(Debug)]
pub struct Broker<D> {
    limits: Limits,
    peers: BTreeMap<PeerId, Peer<D>>,
    names: BTreeMap<String, BTreeSet<PeerId>>,
    calls: BTreeMap<u64, Call>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Subscribers by what they subscribed to.
    topics: BTreeMap<Box<str>, BTreeSet<PeerId>>,
    next: u64,
    out: Vec<(PeerId, ToPeer<D>)>,
    counts: Counts,
}

impl<D: Clone> Default for Broker<D> {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl<D: Clone> Broker<D> {
    /// One that knows nobody.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            peers: BTreeMap::new(),
            names: BTreeMap::new(),
            calls: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            topics: BTreeMap::new(),
            next: 1,
            out: Vec::new(),
            counts: Counts { answered: 0, failed: 0, delivered: 0, dropped: 0, peers: 0 },
        }
    }

    /// Does what follows from an event.
    pub fn step(&mut self, event: Event<D>, now: Instant) {
        match event {
            Event::Join { peer, name, speaks } => {
                if let Some(id) = &name {
                    self.names.entry(id.name.clone()).or_default().insert(peer);
                }
                self.peers.insert(peer, Peer::new(name, speaks));
            }
            Event::Ready { peer, ready } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.ready = ready;
                }
            }
            Event::Busy { peer, running } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.running = running;
                }
            }
            Event::Leave { peer } => self.leave(peer),
            Event::Said { peer, said } => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.speaks = true;
                    self.said(peer, said, now);
                }
            }
            Event::Went { peer, messages, bytes } => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.went(messages, bytes);
                    self.pump(peer);
                }
            }
            Event::Time => self.time(now),
        }
    }

    /// What is to be sent since the last call, in order.
    pub fn take_out(&mut self) -> Vec<(PeerId, ToPeer<D>)> {
        std::mem::take(&mut self.out)
    }

    /// When [`Event::Time`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { peers: self.peers.len() as u64, ..self.counts }
    }

    /// Tells all who subscribed, and says how many subscriptions that were.
    pub fn publish(&mut self, from: PeerId, topic: Arc<str>, cargo: Cargo<D>) -> u64 {
        let Some(peer) = self.peers.get(&from) else { return 0 };
        let published = Arc::new(Published { from: Arc::clone(&peer.shown), topic, cargo });
        let mut reached = 0;
        for (key, peer) in self.subscribers(&published.topic) {
            let Some(known) = self.peers.get_mut(&peer) else { continue };
            let Some(sub) = known.subs.get_mut(&key) else { continue };
            self.counts.dropped += sub.add(&published, &self.limits);
            self.counts.delivered += 1;
            reached += 1;
            self.pump(peer);
        }
        reached
    }

    fn subscribers(&self, topic: &str) -> Vec<(Box<str>, PeerId)> {
        let mut all = Vec::new();
        let mut add = |key: &str| {
            if let Some((key, peers)) = self.topics.get_key_value(key) {
                all.extend(peers.iter().map(|peer| (key.clone(), *peer)));
            }
        };
        add(topic);
        // Each beginning of it could be somebody's, and there are at most as many as a topic has characters.
        let ends = topic.char_indices().map(|(at, _)| at).chain([topic.len()]);
        let mut pattern = String::with_capacity(topic.len() + 1);
        for end in ends {
            pattern.clear();
            pattern.push_str(&topic[..end]);
            pattern.push('*');
            add(&pattern);
        }
        all
    }

    fn said(&mut self, peer: PeerId, said: Said<D>, now: Instant) {
        match said {
            Said::Request { id, to, kind, timeout, cargo } => {
                let timeout = timeout.unwrap_or(self.limits.timeout).min(self.limits.timeout_max);
                self.ask(peer, id, &to, (kind, now + timeout, cargo));
            }
            Said::Cancel { id } => {
                let number = self.peers.get(&peer).and_then(|peer| peer.asked.get(&id).copied());
                // Its answer may be on the way already.
                if let Some(number) = number {
                    self.end(number, Some((Code::Cancelled, "cancelled by its asker".to_owned())));
                }
            }
            Said::Response { number: Some(number), answer } if self.is_given(peer, number) => {
                self.answer(number, answer);
            }
            Said::Response { .. } => {}
            Said::Undeliverable { number, why } => {
                if self.is_given(peer, number) {
                    self.answer(number, Answer::Ours(Code::TooLarge, why));
                }
            }
            Said::Publish { topic, cargo } => {
                self.publish(peer, topic, cargo);
            }
            Said::Subscribe { topic, window } => self.subscribe(peer, topic, window),
            Said::Unsubscribe { topic } => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.subs.remove(&topic);
                }
                self.forget_topic(peer, &topic);
            }
            Said::Took { topic, n } => {
                let sub = self.peers.get_mut(&peer).and_then(|peer| peer.subs.get_mut(&topic));
                if let Some(sub) = sub {
                    sub.took(n);
                    self.pump(peer);
                }
            }
            Said::Open { ids } => {
                let Some(known) = self.peers.get_mut(&peer) else { return };
                for id in ids {
                    if !known.asked.contains_key(&id) {
                        let why = "the daemon that had this request is gone; whether it was done is not known";
                        let answer = Answer::Ours(Code::Gone, why.to_owned());
                        known.push(ToPeer::Response { id, answer });
                    }
                }
                self.pump(peer);
            }
        }
    }

    fn is_given(&self, peer: PeerId, number: u64) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.given.contains(&number))
    }

    fn ask(&mut self, asker: PeerId, id: Box<str>, to: &str, what: (Arc<str>, Instant, Cargo<D>)) {
        let (kind, deadline, cargo) = what;
        let Some(known) = self.peers.get(&asker) else { return };
        if known.asked.contains_key(&id) {
            let why = format!("a request with the id {id} is open already");
            return self.tell(asker, ToPeer::Refused { why });
        }
        let found = if known.asked.len() >= self.limits.asked {
            let most = self.limits.asked;
            Err((Code::Busy, format!("{most} requests of this process are open; wait for answers")))
        } else {
            self.responder(to, &cargo)
        };
        let responder = match found {
            Ok(responder) => responder,
            Err((code, why)) => {
                self.counts.failed += 1;
                return self.tell(asker, ToPeer::Response { id, answer: Answer::Ours(code, why) });
            }
        };
        let from = Arc::clone(&known.shown);
        let number = self.next;
        self.next += 1;
        if let Some(known) = self.peers.get_mut(&asker) {
            known.asked.insert(id.clone(), number);
        }
        self.deadlines.insert((deadline, number));
        self.calls.insert(number, Call { asker, id, responder, deadline });
        if let Some(known) = self.peers.get_mut(&responder) {
            known.given.insert(number);
            known.turn = number;
        }
        self.tell(responder, ToPeer::Request { number, from, kind, deadline, cargo });
    }

    /// Fewest unanswered requests and running tasks, then longest without a request.
    fn responder(&self, to: &str, cargo: &Cargo<D>) -> Result<PeerId, (Code, String)> {
        let (name, slot) = match to.rsplit_once('#') {
            Some((name, slot)) => (name, slot.parse::<u32>().ok()),
            None => (to, None),
        };
        let nobody = |why: &str| Err((Code::Nobody, format!("`{to}`: {why}")));
        if slot.is_none() && to.contains('#') {
            return nobody("what follows # is the number of an instance");
        }
        let Some(all) = self.names.get(name) else {
            return nobody(
                "no running service or pool of that name has a channel (`channel = true`)",
            );
        };
        let all = all.iter().filter_map(|peer| Some((*peer, self.peers.get(peer)?)));
        let right = all.filter(|(_, peer)| {
            let one = slot.is_none_or(|slot| peer.name.as_ref().is_some_and(|id| id.slot == slot));
            // Who names one means it, ready or not.
            one && peer.speaks && (peer.ready || slot.is_some())
        });
        let mut right = right.peekable();
        if right.peek().is_none() {
            return nobody("none that speaks on its channel is ready");
        }
        let limits = &self.limits;
        let (weight, body) = (cargo.weight(), cargo.body());
        let free = right.filter(|(_, peer)| {
            peer.given.len() < limits.given && peer.has_room(weight, body, limits)
        });
        let best = free.min_by_key(|(_, peer)| (peer.load(), peer.turn));
        let why = || (Code::Busy, format!("`{to}` has as many requests as may wait for it"));
        best.map(|(peer, _)| peer).ok_or_else(why)
    }

    /// The responder's answer, or the broker's about what came of it there.
    fn answer(&mut self, number: u64, answer: Answer<D>) {
        let Some(call) = self.forget(number) else { return };
        if let Some(known) = self.peers.get_mut(&call.responder) {
            known.given.remove(&number);
        }
        let ours = matches!(answer, Answer::Ours(..));
        *(if ours { &mut self.counts.failed } else { &mut self.counts.answered }) += 1;
        let message = ToPeer::Response { id: call.id.clone(), answer };
        let fits = self
            .peers
            .get(&call.asker)
            .is_some_and(|asker| asker.has_room(message.weight(), message.body(), &self.limits));
        if fits {
            self.tell(call.asker, message);
        } else {
            let why = "there was an answer, and no room for it: the asker does not read".to_owned();
            let answer = Answer::Ours(Code::Busy, why);
            self.tell(call.asker, ToPeer::Response { id: call.id, answer });
        }
    }

    /// Ends a request before its answer. Without a word for the asker: it is gone itself.
    fn end(&mut self, number: u64, word: Option<(Code, String)>) {
        let Some(call) = self.forget(number) else { return };
        self.counts.failed += 1;
        let why = word.as_ref().map_or(Code::Gone, |(code, _)| *code);
        if let Some(responder) = self.peers.get_mut(&call.responder) {
            responder.call_off(number, why);
            self.pump(call.responder);
        }
        if let Some((code, why)) = word {
            let answer = Answer::Ours(code, why);
            self.tell(call.asker, ToPeer::Response { id: call.id, answer });
        }
    }

    fn forget(&mut self, number: u64) -> Option<Call> {
        let call = self.calls.remove(&number)?;
        self.deadlines.remove(&(call.deadline, number));
        if let Some(asker) = self.peers.get_mut(&call.asker) {
            asker.asked.remove(&call.id);
        }
        Some(call)
    }

    fn time(&mut self, now: Instant) {
        while let Some((at, number)) = self.deadlines.first().copied()
            && at <= now
        {
            let who = self.calls.get(&number).and_then(|call| self.peers.get(&call.responder));
            let who = who.map_or_else(String::new, |peer| format!(" of {}", peer.shown));
            let why = format!("there was no answer{who} in time");
            self.end(number, Some((Code::Deadline, why)));
        }
    }

    fn subscribe(&mut self, peer: PeerId, topic: Box<str>, window: Option<u32>) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        if let Some(sub) = known.subs.get_mut(&topic) {
            sub.set_window(window);
            return self.pump(peer);
        }
        if known.subs.len() >= self.limits.topics {
            let most = self.limits.topics;
            let why = format!(
                "{topic}: {most} subscriptions are the most; a trailing * takes many topics"
            );
            return self.tell(peer, ToPeer::Refused { why });
        }
        known.subs.insert(topic.clone(), Sub::new(window));
        self.topics.entry(topic).or_default().insert(peer);
    }

    fn forget_topic(&mut self, peer: PeerId, topic: &str) {
        if let Some(peers) = self.topics.get_mut(topic) {
            peers.remove(&peer);
            if peers.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    fn leave(&mut self, peer: PeerId) {
        let Some(known) = self.peers.remove(&peer) else { return };
        if let Some(id) = &known.name
            && let Some(all) = self.names.get_mut(&id.name)
        {
            all.remove(&peer);
            if all.is_empty() {
                self.names.remove(&id.name);
            }
        }
        for topic in known.subs.keys() {
            self.forget_topic(peer, topic);
        }
        for number in known.given {
            let why = format!("{} ended or closed its channel before it answered", known.shown);
            self.end(number, Some((Code::Gone, why)));
        }
        for number in known.asked.into_values() {
            self.end(number, None);
        }
    }

    fn tell(&mut self, peer: PeerId, message: ToPeer<D>) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.push(message);
            self.pump(peer);
        }
    }

    fn pump(&mut self, peer: PeerId) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        while let Some(message) = known.next(&self.limits) {
            self.out.push((peer, message));
        }
    }

    #[cfg(test)]
    pub(super) fn queued(&self, peer: PeerId, topic: &str) -> Option<usize> {
        self.peers.get(&peer)?.subs.get(topic).map(Sub::len)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let books = self.names.is_empty() && self.topics.is_empty();
        books && self.peers.is_empty() && self.calls.is_empty() && self.deadlines.is_empty()
    }
}
