//! Random crowds against a model: every request has exactly one answer, every subscriber knows exactly what it missed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ganger_core::InstanceId;
use proptest::prelude::*;

use crate::broker::{
    Answer, Attached, BodyIs, Broker, Cargo, Code, Event, Limits, PeerId, Said, ToPeer,
};

const LIMITS: Limits = Limits {
    way: 3,
    way_bytes: 4_096,
    asked: 4,
    given: 4,
    waiting_bytes: 4_096,
    body_bytes: 4_096,
    queue: 4,
    queue_bytes: 2_048,
    topics: 3,
    timeout: Duration::from_secs(10),
    timeout_max: Duration::from_secs(20),
};

const TOPICS: [&str; 4] = ["a.b", "a.*", "a.c", "*"];

#[derive(Debug, Clone)]
enum Step {
    Join(u8, bool),
    Leave(u8),
    Ready(u8, bool),
    Ask {
        by: u8,
        id: u8,
        to: u8,
        slot: bool,
        seconds: u8,
    },
    Cancel(u8, u8),
    /// The peer answers a request it has got: the first or the last, well or not, once or twice.
    Answer(u8, bool, bool, bool),
    Publish(u8, u8, bool),
    Subscribe(u8, u8, Option<u32>),
    Unsubscribe(u8, u8),
    Took(u8, u8, u32),
    /// It reads so many messages.
    Reads(u8, u8),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let peer = 0u8..5;
    prop_oneof![
        2 => (peer.clone(), any::<bool>()).prop_map(|(p, s)| Step::Join(p, s)),
        1 => peer.clone().prop_map(Step::Leave),
        2 => (peer.clone(), prop::bool::weighted(0.8)).prop_map(|(p, r)| Step::Ready(p, r)),
        6 => (peer.clone(), 0u8..6, 0u8..3, prop::bool::weighted(0.2), 0u8..30)
            .prop_map(|(by, id, to, slot, seconds)| Step::Ask { by, id, to, slot, seconds }),
        1 => (peer.clone(), 0u8..6).prop_map(|(p, i)| Step::Cancel(p, i)),
        4 => (peer.clone(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(p, f, w, t)| Step::Answer(p, f, w, t)),
        5 => (peer.clone(), 0u8..4, any::<bool>()).prop_map(|(p, t, b)| Step::Publish(p, t, b)),
        2 => (peer.clone(), 0u8..4, prop::option::of(1u32..3)).prop_map(|(p, t, w)| Step::Subscribe(p, t, w)),
        1 => (peer.clone(), 0u8..4).prop_map(|(p, t)| Step::Unsubscribe(p, t)),
        2 => (peer.clone(), 0u8..4, 1u32..3).prop_map(|(p, t, n)| Step::Took(p, t, n)),
        6 => (peer, 1u8..4).prop_map(|(p, n)| Step::Reads(p, n)),
        1 => (0u8..12).prop_map(Step::Wait),
    ]
}

/// What a subscriber should come to know.
#[derive(Debug, Default)]
struct Wanted {
    /// Numbers of messages published since it subscribed and not accounted for.
    due: VecDeque<u64>,
    window: Option<u32>,
    under_way: u32,
}

#[derive(Debug, Default)]
struct Peer {
    id: PeerId,
    inbox: VecDeque<ToPeer<u32>>,
    /// Requests that it has got and not answered.
    got: Vec<u64>,
    answered: BTreeSet<u64>,
    /// Requests without an answer, by id.
    open: BTreeMap<Box<str>, u32>,
    subs: BTreeMap<&'static str, Wanted>,
    /// Gaps on their way to it of subscriptions that it has ended.
    stale_gaps: BTreeMap<String, usize>,
}

struct World {
    broker: Broker<u32>,
    now: Instant,
    peers: BTreeMap<u8, Peer>,
    next_peer: PeerId,
    published: u64,
    names: BTreeMap<PeerId, u8>,
}

impl World {
    fn step(&mut self, event: Event<u32>) {
        self.broker.step(event, self.now);
        for (to, message) in self.broker.take_out() {
            let peer = self.names.get(&to).and_then(|name| self.peers.get_mut(name));
            let peer = peer.expect("nothing goes to who has left");
            assert_eq!(peer.id, to);
            if let ToPeer::Message { published, pattern } = &message {
                let topic = pattern.as_deref().unwrap_or(&published.topic);
                if let Some(Wanted { window: Some(window), under_way, .. }) =
                    peer.subs.get_mut(topic)
                {
                    *under_way += 1;
                    assert!(*under_way <= *window, "no more than its window without a word");
                }
            }
            peer.inbox.push_back(message);
            assert!(peer.inbox.len() <= LIMITS.way, "never more on its way than it has room for");
        }
    }

    fn say(&mut self, by: u8, said: Said<u32>) {
        if let Some(peer) = self.peers.get(&by) {
            let peer = peer.id;
            self.step(Event::Said { peer, said });
        }
    }

    /// A peer reads one message, and the model checks it.
    fn read(&mut self, by: u8) -> bool {
        let Some(peer) = self.peers.get_mut(&by) else { return false };
        let Some(message) = peer.inbox.pop_front() else { return false };
        let bytes = message.weight();
        match message {
            ToPeer::Request { number, .. } => peer.got.push(number),
            ToPeer::Cancel { number, .. } => {
                // It may have answered while this was on its way; else it is one of those it has.
                if !peer.answered.contains(&number) {
                    let at = peer.got.iter().position(|n| *n == number);
                    peer.got.remove(at.expect("only what it got is called off"));
                }
            }
            ToPeer::Response { id, answer } => {
                let open = peer.open.get_mut(&id).filter(|open| **open > 0);
                *open.unwrap_or_else(|| panic!("one answer for each request: {id} {answer:?}")) -=
                    1;
            }
            ToPeer::Message { published, pattern } => {
                let topic = pattern.as_deref().unwrap_or(&published.topic);
                let sub = peer.subs.get_mut(topic);
                // One that was on its way when it unsubscribed says nothing.
                let number: u64 =
                    published.cargo.payload.as_deref().unwrap().trim().parse().unwrap();
                if let Some(sub) = sub.filter(|sub| sub.due.contains(&number)) {
                    assert_eq!(sub.due.pop_front(), Some(number), "in order, and gaps are told");
                }
            }
            ToPeer::Gap { topic, missed } => {
                assert!(missed > 0);
                let stale = peer.stale_gaps.entry(topic.to_string()).or_default();
                if *stale > 0 {
                    *stale -= 1;
                } else if let Some(sub) = peer.subs.get_mut(&*topic) {
                    sub.due.drain(..usize::try_from(missed).unwrap().min(sub.due.len()));
                }
            }
            ToPeer::Refused { why } => {
                // Only the id that is open already has no answer of its own.
                if let Some(id) = why.strip_prefix("a request with the id ") {
                    *peer.open.get_mut(&id[..1]).unwrap() -= 1;
                }
            }
        }
        let peer = peer.id;
        self.step(Event::Went { peer, messages: 1, bytes });
        true
    }

    fn took(&mut self, by: u8, topic: &'static str, n: u32) {
        if let Some(sub) = self.peers.get_mut(&by).and_then(|peer| peer.subs.get_mut(topic)) {
            sub.under_way = sub.under_way.saturating_sub(n);
        }
        self.say(by, Said::Took { topic: topic.into(), n });
    }

    fn leave(&mut self, by: u8) {
        if let Some(peer) = self.peers.remove(&by) {
            self.names.remove(&peer.id);
            self.step(Event::Leave { peer: peer.id });
        }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Join(by, speaks) => {
                if self.peers.contains_key(&by) {
                    return;
                }
                let id = self.next_peer;
                self.next_peer += 1;
                self.peers.insert(by, Peer { id, ..Peer::default() });
                self.names.insert(id, by);
                let name = InstanceId::new(if by < 3 { "one" } else { "two" }, u32::from(by) + 1);
                self.step(Event::Join { peer: id, name: Some(name), speaks });
            }
            Step::Leave(by) => self.leave(by),
            Step::Ready(by, ready) => {
                if let Some(peer) = self.peers.get(&by).map(|peer| peer.id) {
                    self.step(Event::Ready { peer, ready });
                }
            }
            Step::Ask { by, id, to, slot, seconds } => {
                let to = ["one", "two", "three"][usize::from(to)];
                let to = if slot { format!("{to}#1") } else { to.to_owned() };
                let id: Box<str> = id.to_string().into();
                let Some(peer) = self.peers.get_mut(&by) else { return };
                *peer.open.entry(id.clone()).or_default() += 1;
                let timeout = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
                let cargo = Cargo::of("1".repeat(usize::from(seconds) * 40));
                self.say(by, Said::Request { id, to, kind: "k".into(), timeout, cargo });
            }
            Step::Cancel(by, id) => self.say(by, Said::Cancel { id: id.to_string().into() }),
            Step::Answer(by, first, well, twice) => {
                let Some(peer) = self.peers.get_mut(&by) else { return };
                if peer.got.is_empty() {
                    return;
                }
                let number = peer.got.remove(if first { 0 } else { peer.got.len() - 1 });
                peer.answered.insert(number);
                let number = Some(number);
                let answer = || match well {
                    true => Answer::Result(Cargo::of("7".repeat(900))),
                    false => Answer::Error("{}".into()),
                };
                self.say(by, Said::Response { number, answer: answer() });
                if twice {
                    self.say(by, Said::Response { number, answer: answer() });
                }
            }
            Step::Publish(by, topic, big) => self.publish(by, TOPICS[usize::from(topic)], big),
            Step::Subscribe(by, topic, window) => {
                let topic = TOPICS[usize::from(topic)];
                let Some(peer) = self.peers.get_mut(&by) else { return };
                if peer.subs.contains_key(topic) || peer.subs.len() < LIMITS.topics {
                    let sub = peer.subs.entry(topic).or_default();
                    // A new window counts from here: what is on its way was of the old one.
                    (sub.window, sub.under_way) = (window, 0);
                }
                self.say(by, Said::Subscribe { topic: topic.into(), window });
            }
            Step::Unsubscribe(by, topic) => {
                let topic = TOPICS[usize::from(topic)];
                if let Some(peer) = self.peers.get_mut(&by) {
                    peer.subs.remove(topic);
                    let gap = |m: &&ToPeer<u32>| matches!(m, ToPeer::Gap { topic: of, .. } if **of == *topic);
                    let stale = peer.inbox.iter().filter(gap).count();
                    peer.stale_gaps.insert(topic.to_owned(), stale);
                }
                self.say(by, Said::Unsubscribe { topic: topic.into() });
            }
            Step::Took(by, topic, n) => {
                self.took(by, TOPICS[usize::from(topic)], n);
            }
            Step::Reads(by, n) => {
                for _ in 0..n {
                    self.read(by);
                }
            }
            Step::Wait(seconds) => {
                self.now += Duration::from_secs(u64::from(seconds));
                self.step(Event::Time);
                assert!(self.broker.deadline().is_none_or(|due| due > self.now));
            }
        }
    }

    fn publish(&mut self, by: u8, topic: &'static str, big: bool) {
        if topic.contains('*') || !self.peers.contains_key(&by) {
            return;
        }
        self.published += 1;
        for sub in self.peers.values_mut().flat_map(|peer| &mut peer.subs) {
            let of =
                sub.0.strip_suffix('*').map_or(*sub.0 == topic, |start| topic.starts_with(start));
            if of {
                sub.1.due.push_back(self.published);
            }
        }
        let payload =
            if big { format!("{:900}", self.published) } else { self.published.to_string() };
        self.say(by, Said::Publish { topic: topic.into(), cargo: Cargo::of(payload) });
        for peer in self.peers.values() {
            for topic in peer.subs.keys() {
                let queued = self.broker.queued(peer.id, topic);
                assert!(queued.is_some_and(|n| n <= LIMITS.queue), "{queued:?}");
            }
        }
    }

    /// Everybody reads until nothing comes, all windows open; then nobody waits for anything.
    fn settle(&mut self) {
        self.now += LIMITS.timeout_max;
        self.step(Event::Time);
        let all: Vec<u8> = self.peers.keys().copied().collect();
        loop {
            let mut any = false;
            for by in &all {
                let topics: Vec<&'static str> = self.peers[by].subs.keys().copied().collect();
                for topic in topics {
                    self.took(*by, topic, 9);
                }
                any |= self.read(*by);
            }
            if !any {
                break;
            }
        }
        for peer in self.peers.values() {
            assert!(
                peer.open.values().all(|open| *open == 0),
                "every request has its answer: {:?}",
                peer.open
            );
            assert!(peer.got.is_empty(), "what nobody waits for was called off");
            for (topic, sub) in &peer.subs {
                assert!(sub.due.is_empty(), "{topic}: told of all it missed: {:?}", sub.due);
            }
        }
        for by in all {
            self.leave(by);
        }
        assert!(self.broker.is_empty(), "nothing is kept of who has left");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn each_request_has_one_answer_and_each_gap_is_told(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World {
            broker: Broker::new(LIMITS),
            now: Instant::now(),
            peers: BTreeMap::new(),
            next_peer: 1,
            published: 0,
            names: BTreeMap::new(),
        };
        for step in steps {
            world.act(step);
        }
        world.settle();
    }
}

/// Two ready instances of a service, and an asker.
fn three() -> (Broker<u32>, Instant) {
    three_with(Limits::default())
}

fn three_with(limits: Limits) -> (Broker<u32>, Instant) {
    let (mut broker, now) = (Broker::new(limits), Instant::now());
    for peer in 1..=3 {
        let name = if peer == 1 { "web" } else { "images" };
        let name = Some(InstanceId::new(name, u32::try_from(peer).unwrap()));
        broker.step(Event::Join { peer, name, speaks: true }, now);
        broker.step(Event::Ready { peer, ready: true }, now);
    }
    (broker, now)
}

fn ask(broker: &mut Broker<u32>, id: &str, to: &str, now: Instant) -> Vec<(PeerId, ToPeer<u32>)> {
    let (id, to) = (id.into(), to.to_owned());
    let said = Said::Request { id, to, kind: "k".into(), timeout: None, cargo: Cargo::of("1") };
    broker.step(Event::Said { peer: 1, said }, now);
    broker.take_out()
}

fn code(out: &[(PeerId, ToPeer<u32>)]) -> Option<Code> {
    out.iter().find_map(|(_, message)| match message {
        ToPeer::Response { answer: Answer::Ours(code, _), .. } => Some(*code),
        _ => None,
    })
}

#[test]
fn requests_go_round_and_to_whom_they_name() {
    let (mut broker, now) = three();
    let to = |out: Vec<(PeerId, ToPeer<u32>)>| out[0].0;
    let first = to(ask(&mut broker, "1", "images", now));
    let second = to(ask(&mut broker, "2", "images", now));
    assert_eq!([first, second].iter().sum::<u64>(), 5, "one each");
    assert_eq!(to(ask(&mut broker, "3", "images#3", now)), 3);
    assert_eq!(code(&ask(&mut broker, "4", "images#7", now)), Some(Code::Nobody));
    assert_eq!(code(&ask(&mut broker, "5", "image", now)), Some(Code::Nobody));
    assert_eq!(code(&ask(&mut broker, "6", "images#x", now)), Some(Code::Nobody));
    broker.step(Event::Ready { peer: 2, ready: false }, now);
    broker.step(Event::Leave { peer: 3 }, now);
    let out = broker.take_out();
    assert!(out.iter().all(|(to, _)| *to == 1) && code(&out) == Some(Code::Gone), "{out:?}");
    assert_eq!(code(&ask(&mut broker, "8", "images", now)), Some(Code::Nobody));
    assert_eq!(to(ask(&mut broker, "9", "images#2", now)), 2, "who names one means it");
}

#[test]
fn who_runs_tasks_is_asked_after_who_runs_none() {
    let (mut broker, now) = three();
    broker.step(Event::Busy { peer: 2, running: 2 }, now);
    let to = |out: Vec<(PeerId, ToPeer<u32>)>| out[0].0;
    assert_eq!(to(ask(&mut broker, "1", "images", now)), 3);
    assert_eq!(to(ask(&mut broker, "2", "images", now)), 3, "one request against two tasks");
    broker.step(Event::Busy { peer: 2, running: 0 }, now);
    assert_eq!(to(ask(&mut broker, "3", "images", now)), 2);
}

#[test]
fn who_has_not_spoken_is_not_asked() {
    let (mut broker, now) = three();
    let name = Some(InstanceId::new("quiet", 1));
    broker.step(Event::Join { peer: 9, name, speaks: false }, now);
    broker.step(Event::Ready { peer: 9, ready: true }, now);
    assert_eq!(code(&ask(&mut broker, "1", "quiet", now)), Some(Code::Nobody));
    let said = Said::Subscribe { topic: "t".into(), window: None };
    broker.step(Event::Said { peer: 9, said }, now);
    assert_eq!(ask(&mut broker, "1", "quiet", now)[0].0, 9);
}

#[test]
fn a_next_daemon_answers_for_what_it_does_not_know() {
    let (mut broker, now) = three();
    let known = ask(&mut broker, "\"a\"", "images", now);
    let said = Said::Open { ids: vec!["\"a\"".into(), "\"b\"".into()] };
    broker.step(Event::Said { peer: 1, said }, now);
    let out = broker.take_out();
    assert!(
        matches!(&out[..], [(1, ToPeer::Response { id, answer: Answer::Ours(Code::Gone, _) })] if &**id == "\"b\"")
    );
    let ToPeer::Request { number, .. } = known[0].1 else { panic!("{known:?}") };
    let answer = Answer::Result(Cargo::of("2"));
    broker.step(
        Event::Said { peer: known[0].0, said: Said::Response { number: Some(number), answer } },
        now,
    );
    assert_eq!(broker.take_out().len(), 1, "the other one is still answered");
    assert_eq!((broker.counts().answered, broker.counts().failed), (1, 0));
}

/// A peer that does not read: what is lent to it is somebody's memory, however short the messages are.
#[test]
fn bodies_that_wait_are_bounded() {
    let (mut broker, now) = three_with(Limits { way: 1, ..LIMITS });
    let of = |size| Cargo {
        payload: None,
        attached: Some(Attached::Body { fd: 0, size, is: BodyIs::Payload }),
    };
    let said = Said::Subscribe { topic: "t".into(), window: None };
    broker.step(Event::Said { peer: 2, said }, now);
    // One is on its way and one waits: two would be more than may wait, so the older goes.
    for _ in 0..3 {
        broker.publish(1, "t".into(), of(3_000));
    }
    assert_eq!((broker.queued(2, "t"), broker.counts().dropped), (Some(1), 1));
    let ended = ["1", "2", "3", "4"].map(|id| {
        let (id, to, kind) = (id.into(), "images#3".to_owned(), "k".into());
        let said = Said::Request { id, to, kind, timeout: None, cargo: of(2_000) };
        broker.step(Event::Said { peer: 1, said }, now);
        code(&broker.take_out())
    });
    assert_eq!(ended, [None, None, None, Some(Code::Busy)]);
}
