//! One child's life as a pure state machine: when its tree is cleared and when its exit is told.
//!
//! ```text
//! running ──main ended──▶ clearing ──tree empty, or deadline──▶ told ──ack──▶ forgotten
//!    │  └─(keep_leftovers)──────────────────────────────────────▲
//!    └──end asked──▶ running + clearing ──empty──▶ TreeEnded told, main's end as above
//! ```
//!
//! No descriptor, no clock, no kernel call in here. A round is one look at the tree with a kill of what is there.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// After this a tree that still has processes is reported with them as stuck: SIGKILL takes effect within microseconds
/// unless a process sits in uninterruptible sleep, and a stop must be over a second after its timeout.
pub(crate) const CLEAR_DEADLINE: Duration = Duration::from_millis(900);
const FIRST_GAP: Duration = Duration::from_millis(1);
const LAST_GAP: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    main_ended: bool,
    told: bool,
    keep: bool,
    clearing: Option<Clearing>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Clearing {
    begun: Instant,
    gap: Duration,
    next: Instant,
    /// Somebody waits for `TreeEnded`.
    asked: bool,
    rounds: u32,
    leftovers: u32,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tell {
    TreeEnded { stuck: Vec<u32> },
    Exit { leftovers: u32, stuck: Vec<u32> },
}

impl Life {
    pub(crate) const fn new(keep_leftovers: bool) -> Self {
        Self { main_ended: false, told: false, keep: keep_leftovers, clearing: None }
    }

    /// A child whose exit an earlier keeper has told.
    pub(crate) const fn over() -> Self {
        Self { main_ended: true, told: true, keep: false, clearing: None }
    }

    pub(crate) const fn main_ended(&self) -> bool {
        self.main_ended
    }

    /// The main process was reaped.
    #[must_use]
    pub(crate) fn on_main_ended(&mut self, now: Instant) -> Vec<Tell> {
        if self.main_ended {
            return Vec::new();
        }
        self.main_ended = true;
        match &mut self.clearing {
            Some(clearing) => clearing.next = now,
            None if self.keep => return self.exit(0, Vec::new()).into_iter().collect(),
            None => self.clearing = Some(Clearing::new(now, false)),
        }
        Vec::new()
    }

    /// Somebody wants the whole tree to end.
    pub(crate) fn on_end_asked(&mut self, now: Instant) {
        match &mut self.clearing {
            Some(clearing) => {
                clearing.asked = true;
                clearing.next = now;
            }
            None => self.clearing = Some(Clearing::new(now, true)),
        }
    }

    /// An orphan was reaped somewhere: look again at once.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if let Some(clearing) = &mut self.clearing {
            clearing.next = clearing.next.min(now);
        }
    }

    /// When the next round is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.clearing.as_ref().map(|clearing| clearing.next)
    }

    /// A round was made: `alive` were in the tree, the unended main process included.
    #[must_use]
    pub(crate) fn on_round(&mut self, alive: Vec<u32>, now: Instant) -> Vec<Tell> {
        let Some(clearing) = &mut self.clearing else { return Vec::new() };
        clearing.rounds += 1;
        if clearing.rounds == 1 && !clearing.asked {
            clearing.leftovers = u32::try_from(alive.len()).unwrap_or(u32::MAX);
        }
        let empty = alive.is_empty() && self.main_ended;
        if !empty && now < clearing.begun + CLEAR_DEADLINE {
            clearing.next = now + clearing.gap;
            clearing.gap = (clearing.gap * 2).min(LAST_GAP);
            return Vec::new();
        }
        let (asked, leftovers) = (clearing.asked, clearing.leftovers);
        self.clearing = None;
        let mut tell = Vec::new();
        if asked {
            tell.push(Tell::TreeEnded { stuck: alive.clone() });
        }
        if self.main_ended {
            tell.extend(self.exit(leftovers, alive));
        }
        tell
    }

    fn exit(&mut self, leftovers: u32, stuck: Vec<u32>) -> Option<Tell> {
        let first = !std::mem::replace(&mut self.told, true);
        first.then_some(Tell::Exit { leftovers, stuck })
    }
}

/// A life as it is written down for the program that replaces the keeper's own: instants mean nothing there, so that a
/// clearing has its whole time again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedLife {
    pub(crate) main_ended: bool,
    pub(crate) told: bool,
    pub(crate) keep: bool,
    #[serde(default)]
    pub(crate) clearing: Option<SavedClearing>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedClearing {
    pub(crate) asked: bool,
    pub(crate) rounds: u32,
    pub(crate) leftovers: u32,
}

impl Life {
    pub(crate) fn saved(&self) -> SavedLife {
        let clearing = self.clearing.as_ref().map(|clearing| SavedClearing {
            asked: clearing.asked,
            rounds: clearing.rounds,
            leftovers: clearing.leftovers,
        });
        let Self { main_ended, told, keep, .. } = *self;
        SavedLife { main_ended, told, keep, clearing }
    }

    pub(crate) fn resumed(saved: SavedLife, now: Instant) -> Self {
        let SavedLife { main_ended, told, keep, clearing } = saved;
        let clearing = clearing.map(|SavedClearing { asked, rounds, leftovers }| Clearing {
            rounds,
            leftovers,
            ..Clearing::new(now, asked)
        });
        Self { main_ended, told, keep, clearing }
    }
}

impl Clearing {
    const fn new(now: Instant, asked: bool) -> Self {
        Self { begun: now, gap: FIRST_GAP, next: now, asked, rounds: 0, leftovers: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        MainEnded,
        EndAsked,
        Hurry,
        Round { strangers: usize },
        Wait(u64),
        Resume,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::MainEnded),
            Just(Step::EndAsked),
            Just(Step::Hurry),
            (0..3usize).prop_map(|strangers| Step::Round { strangers }),
            (0..500u64).prop_map(Step::Wait),
            Just(Step::Resume),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: the exit is told once, after the main process ended and with an empty tree
        /// or the stuck ones named; every asked end is answered; nothing is left waiting past the deadline.
        #[test]
        fn exit_once_and_every_end_answered(keep: bool, steps in prop::collection::vec(step(), 0..60)) {
            let mut life = Life::new(keep);
            let mut now = Instant::now();
            let (mut ended, mut exits, mut waiting) = (false, 0, false);
            let rounds = (0..200).map(|_| Step::Wait(30)).zip((0..200).map(|_| Step::Round { strangers: 1 }));
            let drain = rounds.flat_map(|(a, b)| [a, b]);
            for step in steps.into_iter().chain([Step::MainEnded]).chain(drain) {
                let mut told = Vec::new();
                let mut alive = Vec::new();
                match step {
                    Step::MainEnded => { ended = true; told = life.on_main_ended(now) }
                    Step::EndAsked => { waiting = true; life.on_end_asked(now) }
                    Step::Hurry => life.hurry(now),
                    Step::Wait(ms) => now += Duration::from_millis(ms),
                    Step::Resume => life = Life::resumed(life.saved(), now),
                    Step::Round { strangers } => {
                        if life.due().is_some_and(|due| due <= now) {
                            alive = (0..strangers).map(|n| n as u32 + 10).chain((!ended).then_some(1)).collect();
                            told = life.on_round(alive.clone(), now);
                        }
                    }
                }
                for tell in told {
                    match tell {
                        Tell::TreeEnded { stuck } => {
                            prop_assert!(waiting);
                            prop_assert_eq!(&stuck, &alive);
                            waiting = false;
                        }
                        Tell::Exit { stuck, .. } => {
                            prop_assert!(ended);
                            prop_assert_eq!(&stuck, &alive);
                            exits += 1;
                        }
                    }
                }
            }
            prop_assert_eq!(exits, 1);
            prop_assert!(!waiting);
            prop_assert!(life.due().is_none());
        }
    }

    #[test]
    fn leftovers_are_those_the_main_process_left_behind() {
        let now = Instant::now();
        let mut life = Life::new(false);
        assert!(life.on_main_ended(now).is_empty());
        assert!(life.on_round(vec![7, 8], now).is_empty());
        let told = life.on_round(Vec::new(), now);
        assert_eq!(told, [Tell::Exit { leftovers: 2, stuck: Vec::new() }]);
    }
}
