//! The machine beside a world that does what it orders and fails as it likes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Act, Found, Happened, Rolling, Version};

/// `None`: of a version before the old one.
type Is = Option<Version>;
const OLD: Is = Some(Version::Old);
const NEW: Is = Some(Version::New);

/// Where a slot of the world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// Ready; connections may come to it.
    Serves(Is),
    Drains(Is),
    Comes(Is),
    Trial,
    /// It has failed, and tries again by its own rules.
    Down(Is),
    Leaves,
    Off,
}

impl Slot {
    const fn of(Found { version, ready }: Found) -> Self {
        if ready { Self::Serves(version) } else { Self::Down(version) }
    }
}

struct World {
    slots: BTreeMap<u32, Slot>,
    machine: Rolling,
    replicas: usize,
    surge: usize,
    unavailable: usize,
    over: Option<Result<(), String>>,
    goes_back: bool,
    /// Instances in service less those it takes itself never fall below this; deaths lower it.
    proved: bool,
    /// Those that no connection can come to.
    apart: BTreeSet<u32>,
}

impl World {
    fn new(replicas: u32, surge: u32, unavailable: u32) -> Self {
        let main = (1..=replicas).map(|slot| (slot, Found::old(true))).collect();
        Self::found(&main, surge, 0, unavailable)
    }

    /// The last `apart` of the surge slots have their trial on sockets of their own.
    fn found(main: &BTreeMap<u32, Found>, surge: u32, apart: u32, unavailable: u32) -> Self {
        let replicas = u32::try_from(main.len()).unwrap();
        let further: Vec<u32> = (replicas + 1..=replicas + surge).collect();
        let apart: Vec<u32> = further.iter().copied().rev().take(apart as usize).collect();
        let (machine, acts) = Rolling::begin(main, &further, &apart, unavailable);
        let size = |n: u32| usize::try_from(n).unwrap();
        let least = usize::from(surge == 0);
        let mut world = Self {
            slots: main.iter().map(|(slot, found)| (*slot, Slot::of(*found))).collect(),
            machine,
            replicas: size(replicas),
            surge: size(surge),
            unavailable: size(unavailable).max(least),
            over: None,
            goes_back: false,
            proved: false,
            apart: apart.into_iter().collect(),
        };
        world.obey(acts);
        world
    }

    fn serving(&self) -> usize {
        self.slots.values().filter(|slot| matches!(slot, Slot::Serves(_))).count()
    }

    fn wanted(&self) -> usize {
        let off = self.slots.values().filter(|slot| **slot == Slot::Off).count();
        self.replicas - off
    }

    fn on(&mut self, happened: Happened) {
        let acts = self.machine.on(happened);
        self.goes_back |= self.machine.goes_back();
        self.obey(acts);
    }

    fn obey(&mut self, acts: Vec<Act>) {
        for act in acts {
            assert_eq!(self.over, None, "nothing is ordered after the end");
            match act {
                Act::Surge(slot) => {
                    let there = self.slots.insert(slot, Slot::Comes(NEW));
                    assert_eq!(there, None, "never two processes in one slot");
                    assert!(self.slots.len() <= self.replicas + self.surge);
                }
                Act::Drain(slot) => {
                    let Some(Slot::Serves(version)) = self.slots.get(&slot).copied() else {
                        panic!("only what serves is drained: {:?}", self.slots);
                    };
                    let is_main = usize::try_from(slot).unwrap() <= self.replicas;
                    let spare = self.serving() + self.unavailable > self.wanted();
                    assert!(spare || self.goes_back || !is_main, "{:?}", self.slots);
                    assert!(self.proved || self.surge == 0 || self.goes_back, "{:?}", self.slots);
                    self.slots.insert(slot, Slot::Drains(version));
                }
                Act::Renew(slot, version) => {
                    assert_ne!(self.slots[&slot], Slot::Off, "a person's stop wins");
                    assert!(!matches!(self.slots[&slot], Slot::Serves(_)), "it is drained first");
                    assert!(!self.goes_back || version == Version::Old);
                    self.proved |= self.apart.remove(&slot);
                    self.slots.insert(slot, Slot::Comes(Some(version)));
                }
                Act::Watch(slot) => {
                    self.slots.insert(slot, Slot::Trial);
                }
                Act::Serve(slot) if self.apart.contains(&slot) => {
                    panic!("#{slot} can't serve: nothing comes to it")
                }
                Act::Serve(slot) => match self.slots[&slot] {
                    Slot::Trial => {
                        self.proved = true;
                        self.slots.insert(slot, Slot::Serves(NEW));
                    }
                    Slot::Comes(v) | Slot::Drains(v) => {
                        self.slots.insert(slot, Slot::Serves(v));
                    }
                    Slot::Down(OLD) => {}
                    other => panic!("{other:?} can't serve"),
                },
                Act::Leave(slot) => {
                    assert!(usize::try_from(slot).unwrap() > self.replicas);
                    self.slots.insert(slot, Slot::Leaves);
                }
                Act::Done(result) => {
                    let version = if result.is_ok() { NEW } else { OLD };
                    for (slot, is) in &self.slots {
                        let settled = match is {
                            Slot::Serves(v) | Slot::Down(v) => *v == version,
                            Slot::Off => true,
                            _ => false,
                        };
                        assert!(settled, "#{slot} is {is:?} at the end: {result:?}");
                    }
                    assert_eq!(result.is_err(), self.goes_back);
                    self.over = Some(result);
                }
            }
        }
    }

    /// One slot goes on: well, or with a failure.
    fn turn(&mut self, slot: u32, well: bool) {
        let Some(is) = self.slots.get(&slot).copied() else { return };
        let fault = || Err("as it happens".to_owned());
        match (is, well) {
            (Slot::Comes(v), true) => {
                // Whether it is on trial is the machine's to say.
                let before = self.slots.clone();
                self.on(Happened::Came(slot, Ok(())));
                if self.slots == before {
                    self.slots.insert(slot, Slot::Serves(v));
                }
            }
            (Slot::Comes(v), false) => {
                self.slots.insert(slot, Slot::Down(v));
                self.on(Happened::Came(slot, fault()));
            }
            (Slot::Trial, true) => self.on(Happened::Healthy(slot)),
            (Slot::Serves(v), false) => {
                self.slots.insert(slot, Slot::Down(v));
                self.on(Happened::Seen(slot, fault()));
            }
            (Slot::Trial, false) => {
                self.slots.insert(slot, Slot::Down(NEW));
                self.on(Happened::Seen(slot, fault()));
            }
            (Slot::Down(v), true) => {
                self.slots.insert(slot, Slot::Serves(v));
                self.on(Happened::Seen(slot, Ok(())));
            }
            (Slot::Drains(_), true) => self.on(Happened::Drained(slot)),
            (Slot::Leaves, true) => {
                self.slots.remove(&slot);
                self.on(Happened::Gone(slot));
            }
            _ => {}
        }
    }

    /// Everything goes well from here: it must come to its end.
    fn settle(&mut self) {
        for _ in 0..200 {
            if self.over.is_some() {
                return;
            }
            let slots: Vec<u32> = self.slots.keys().copied().collect();
            for slot in slots {
                self.turn(slot, true);
            }
        }
        panic!("it never ends: {:?} {:?}", self.slots, self.machine);
    }
}

#[test]
fn new_ones_are_healthy_before_old_ones_go_one_by_one() {
    let mut world = World::new(2, 1, 0);
    assert_eq!(world.slots[&3], Slot::Comes(NEW));
    world.turn(3, true);
    assert_eq!(world.slots[&3], Slot::Trial);
    assert_eq!(world.serving(), 2, "nothing goes before the trial is over");
    world.turn(3, true);
    assert_eq!(world.slots[&1], Slot::Drains(OLD));
    assert_eq!(world.slots[&2], Slot::Serves(OLD));
    world.turn(1, true);
    world.turn(1, true);
    assert_eq!(world.slots[&1], Slot::Serves(NEW));
    assert_eq!(world.slots[&2], Slot::Drains(OLD));
    world.settle();
    assert_eq!(world.over, Some(Ok(())));
    assert_eq!(world.slots.len(), 2);
}

#[test]
fn a_trial_apart_ends_with_a_start_among_the_others() {
    let main = [(1, Found::old(true))].into();
    let mut world = World::found(&main, 1, 1, 0);
    world.turn(2, true);
    assert_eq!(world.slots[&2], Slot::Trial);
    world.turn(2, true);
    assert_eq!(world.slots[&2], Slot::Comes(NEW), "on the sockets of the others");
    assert_eq!(world.slots[&1], Slot::Serves(OLD), "nothing goes before it serves");
    world.turn(2, true);
    assert_eq!((world.slots[&2], world.slots[&1]), (Slot::Serves(NEW), Slot::Drains(OLD)));
    world.settle();
    assert_eq!(world.over, Some(Ok(())));

    for turns in [0, 1, 2] {
        let mut world = World::found(&main, 1, 1, 0);
        (0..turns).for_each(|_| world.turn(2, true));
        world.turn(2, false);
        assert_eq!(world.slots[&1], Slot::Serves(OLD), "fails after {turns} good turns");
        world.settle();
        assert!(world.over.clone().unwrap().is_err());
    }
}

#[test]
fn what_dies_on_trial_touches_no_old_one() {
    let mut world = World::new(3, 1, 0);
    world.turn(4, true);
    world.turn(4, false);
    assert_eq!(world.serving(), 3);
    world.settle();
    let why = world.over.clone().unwrap().unwrap_err();
    assert_eq!(why, "#4 did not stay up: as it happens");
    assert!((1..=3).all(|slot| world.slots[&slot] == Slot::Serves(OLD)));
}

#[test]
fn what_fails_half_way_goes_back() {
    let mut world = World::new(2, 1, 0);
    for slot in [3, 3, 1, 1, 2] {
        world.turn(slot, true);
    }
    assert_eq!(world.slots[&1], Slot::Serves(NEW));
    world.turn(2, false);
    assert_eq!(world.slots[&2], Slot::Comes(OLD), "the failed one first");
    world.settle();
    assert!(world.over.clone().unwrap().is_err());
    assert!((1..=2).all(|slot| world.slots[&slot] == Slot::Serves(OLD)));
}

#[test]
fn without_surge_the_first_in_place_is_the_one_on_trial() {
    let mut world = World::new(3, 0, 1);
    world.turn(1, true);
    world.turn(1, true);
    assert_eq!(world.slots[&1], Slot::Trial);
    assert_eq!(world.serving(), 2);
    world.turn(1, false);
    world.settle();
    assert!(world.over.clone().unwrap().is_err());
    assert!((1..=3).all(|slot| world.slots[&slot] == Slot::Serves(OLD)));
}

#[test]
fn another_daemon_goes_on_where_it_was() {
    let [new, old] = [Some(Version::New), Some(Version::Old)];
    let ready = |version| Found { version, ready: true };
    let main = [(1, ready(new)), (2, Found::old(false)), (3, ready(old)), (4, ready(None))].into();
    let mut world = World::found(&main, 1, 0, 0);
    assert_eq!(world.slots[&5], Slot::Comes(NEW));
    assert_eq!(world.slots[&2], Slot::Down(OLD), "nothing goes before the trial is over");
    world.turn(5, true);
    world.turn(5, true);
    assert_eq!(world.slots[&2], Slot::Comes(NEW), "what doesn't serve comes first");
    assert_eq!(world.slots[&3], Slot::Serves(OLD));
    world.settle();
    assert_eq!(world.over, Some(Ok(())));

    let mut world = World::found(&main, 1, 0, 0);
    world.turn(5, false);
    assert_eq!(world.slots[&1], Slot::Drains(NEW));
    assert_eq!(world.slots[&4], Slot::Serves(None), "one at a time");
    world.settle();
    assert!(world.over.clone().unwrap().is_err());
    assert!((1..=4).all(|slot| world.slots[&slot] == Slot::Serves(OLD)), "{:?}", world.slots);
}

#[test]
fn a_trial_that_was_cut_short_is_taken_again() {
    let tried = Found { version: Some(Version::New), ready: true };
    let main = [(1, tried), (2, Found::old(true))].into();
    let mut world = World::found(&main, 0, 0, 1);
    assert_eq!((world.slots[&1], world.slots[&2]), (Slot::Trial, Slot::Serves(OLD)));
    world.turn(1, false);
    world.settle();
    assert!((1..=2).all(|slot| world.slots[&slot] == Slot::Serves(OLD)));
}

/// Slots as a daemon that died may have left them.
fn left() -> impl Strategy<Value = Vec<Found>> {
    let version = prop_oneof![
        4 => Just(Some(Version::Old)),
        2 => Just(Some(Version::New)),
        1 => Just(None),
    ];
    let found = (version, prop::bool::weighted(0.8));
    prop::collection::vec(found.prop_map(|(version, ready)| Found { version, ready }), 1..5)
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold_and_it_ends(
        left in left(),
        (surge, apart) in (0_u32..3, 0_u32..3),
        unavailable in 0_u32..3,
        turns in prop::collection::vec((1_u32..8, 0_u8..100), 0..60),
    ) {
        let replicas = u32::try_from(left.len()).unwrap();
        let mut world = World::found(&(1..).zip(left).collect(), surge, apart, unavailable);
        for (slot, what) in turns {
            if world.over.is_some() {
                break;
            }
            match what {
                0..=1 => world.on(Happened::Abort("the configuration changed".into())),
                2..=3 if slot <= replicas => {
                    world.slots.insert(slot, Slot::Off);
                    world.on(Happened::Off(slot));
                }
                _ => world.turn(slot, what > 12),
            }
        }
        world.settle();
    }
}
