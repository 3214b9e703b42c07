//! Rolling reload as a pure state machine: which slot gets which version when, and when to go back.
//!
//! ```text
//! forward:  surge slots: coming ──up──► trial ──healthy_for──► serving
//!             then old slots in place: drain ──► coming ──up──► serving, as many at once as `unavailable` allows
//!             then surge slots: drain ──► leave ──► done
//!           (gone on with by another daemon: slots of the new version stay, surge slots that are there are on trial again)
//! back:     (a new one fails before all serve, or is told to) what was replaced goes back the same way, the failed ones
//!             first; surge slots that serve stay until then ──► leave ──► done, with the reason
//! ```
//!
//! Where all have the same sockets a surge slot's trial is held apart, on sockets that no connection comes to: then it is started once more, on
//! those of the others, and serves when it is up.
//!
//! Without surge slots the first batch in place is the one on trial. At least `slots − unavailable` instances serve at every
//! moment unless some die by themselves. On the way back, when the surge slots have failed too, one slot may be out: there
//! is nothing to stand in for it.

use std::collections::BTreeMap;

/// Which of the two specs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Old,
    New,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    /// Ready, and connections may come to it.
    Serving,
    /// Not ready by itself; its own rules bring it back.
    Down,
    /// Gets no new connections and finishes what it has.
    Draining,
    /// Told to start.
    Coming,
    /// Ready, but not for long enough yet.
    Trial,
    /// A surge slot on its way out.
    Leaving,
    Gone,
    /// A person stopped it.
    Off,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    surge: bool,
    /// `None`: of neither, which no way through leaves.
    version: Option<Version>,
    is: Is,
    trial: Trial,
}

/// Where a slot's trial is held, if it comes to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    Here,
    /// On sockets of its own.
    Apart,
    /// It was held apart and is over.
    Passed,
}

/// A slot as a reload finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// What its process is of; `None`: of a version before the old one.
    pub(super) version: Option<Version>,
    pub(super) ready: bool,
}

impl Found {
    pub(super) const fn old(ready: bool) -> Self {
        Self { version: Some(Version::Old), ready }
    }
}

impl Place {
    fn is_of(&self, version: Version) -> bool {
        self.version == Some(version)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Forward,
    Back,
    /// All serve the new version; surge slots leave.
    Thinning,
    Done,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Happened {
    /// A slot that was told to start is ready, or won't be and why.
    Came(u32, Result<(), String>),
    /// A slot was seen ready or not, and why not.
    Seen(u32, Result<(), String>),
    /// A slot on trial has stayed ready for long enough.
    Healthy(u32),
    /// A slot has finished what it had.
    Drained(u32),
    /// A surge slot is gone.
    Gone(u32),
    /// A person stops a slot.
    Off(u32),
    /// Go back, and why.
    Abort(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Start the new version in a further slot.
    Surge(u32),
    /// Give a slot no new connections, and say when it has finished what it has.
    Drain(u32),
    /// Replace a slot's process by one of this version.
    Renew(u32, Version),
    /// Say when a slot has been ready for long enough.
    Watch(u32),
    /// New connections may go to a slot.
    Serve(u32),
    /// Stop a surge slot and forget it.
    Leave(u32),
    /// It is over: the new version runs, or the old one and why.
    Done(Result<(), String>),
}

/// One reload under way.
#[derive(Debug)]
pub(super) struct Rolling {
    places: BTreeMap<u32, Place>,
    unavailable: usize,
    phase: Phase,
    /// A new instance has stayed ready for as long as asked.
    proved: bool,
    why: String,
}

impl Rolling {
    /// Begins, or goes on. `slots`: those to replace; `surge`: numbers that are free, or whose instance is of the new version; `apart`: those
    /// of them whose trial is held apart.
    pub(super) fn begin(
        slots: &BTreeMap<u32, Found>,
        surge: &[u32],
        apart: &[u32],
        unavailable: u32,
    ) -> (Self, Vec<Act>) {
        let is_new = |found: &Found| found.version == Some(Version::New);
        let mut acts: Vec<Act> = surge.iter().map(|slot| Act::Surge(*slot)).collect();
        let mut places = BTreeMap::new();
        for (slot, found) in slots {
            let is = match (is_new(found), found.ready) {
                // Without surge slots it may be the one whose trial was cut short.
                (true, true) if surge.is_empty() => {
                    acts.push(Act::Watch(*slot));
                    Is::Trial
                }
                (_, true) => Is::Serving,
                (true, false) => {
                    acts.push(Act::Renew(*slot, Version::New));
                    Is::Coming
                }
                (false, false) => Is::Down,
            };
            let version = found.version;
            places.insert(*slot, Place { surge: false, version, is, trial: Trial::Here });
        }
        let new = |slot: &u32| {
            let trial = if apart.contains(slot) { Trial::Apart } else { Trial::Here };
            Place { surge: true, version: Some(Version::New), is: Is::Coming, trial }
        };
        places.extend(surge.iter().map(|slot| (*slot, new(slot))));
        // With neither, nothing could ever be replaced.
        let least = usize::from(surge.is_empty());
        let unavailable = usize::try_from(unavailable).unwrap_or(usize::MAX).max(least);
        let mut rolling =
            Self { places, unavailable, phase: Phase::Forward, proved: false, why: String::new() };
        rolling.go(&mut acts);
        (rolling, acts)
    }

    /// How many of the slots to replace serve the new version, and how many there are.
    pub(super) fn progress(&self) -> (usize, usize) {
        let main = self.main();
        let done = main.iter().filter(|p| p.is_of(Version::New) && p.is == Is::Serving).count();
        (done, main.len())
    }

    /// It is one of the slots to replace, and no person has stopped it.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.places.get(&slot).is_some_and(|place| !place.surge && place.is != Is::Off)
    }

    /// It goes back, or went.
    pub(super) fn goes_back(&self) -> bool {
        !self.why.is_empty()
    }

    /// Takes what has happened; gives what is to be done, in order.
    pub(super) fn on(&mut self, happened: Happened) -> Vec<Act> {
        let mut acts = vec![];
        if self.phase == Phase::Done {
            return acts;
        }
        match happened {
            Happened::Came(slot, result) => self.came(slot, result, &mut acts),
            Happened::Seen(slot, result) => self.seen(slot, result, &mut acts),
            Happened::Healthy(slot) => self.healthy(slot, &mut acts),
            Happened::Drained(slot) => {
                let surge = self.places.get(&slot).is_some_and(|place| place.surge);
                if surge && self.set(slot, Is::Draining, Is::Leaving) {
                    acts.push(Act::Leave(slot));
                } else if self.set(slot, Is::Draining, Is::Coming) {
                    self.renew(slot, &mut acts);
                }
            }
            Happened::Gone(slot) => {
                self.set(slot, Is::Leaving, Is::Gone);
            }
            Happened::Off(slot) => {
                match self.places.get_mut(&slot) {
                    Some(place) if place.surge => self.leave(slot, &mut acts),
                    Some(place) => place.is = Is::Off,
                    None => return acts,
                }
                self.back("stopped on request".to_owned());
            }
            Happened::Abort(why) => self.back(why),
        }
        self.go(&mut acts);
        acts
    }

    fn came(&mut self, slot: u32, result: Result<(), String>, acts: &mut Vec<Act>) {
        let (proved, forward) = (self.proved, self.phase == Phase::Forward);
        let Some(place) = self.places.get_mut(&slot).filter(|p| p.is == Is::Coming) else { return };
        match (result, place.version) {
            (Ok(()), Some(Version::New)) if !proved && forward && place.trial != Trial::Passed => {
                place.is = Is::Trial;
                acts.push(Act::Watch(slot));
            }
            (Ok(()), _) => {
                place.is = Is::Serving;
                acts.push(Act::Serve(slot));
            }
            (Err(why), version) => {
                place.is = Is::Down;
                if version != Some(Version::New) {
                    // Its own rules try again; connections are for it as for any other.
                    acts.push(Act::Serve(slot));
                } else {
                    self.failed(slot, format!("#{slot} did not come up: {why}"), acts);
                }
            }
        }
    }

    fn healthy(&mut self, slot: u32, acts: &mut Vec<Act>) {
        let Some(place) = self.places.get_mut(&slot).filter(|p| p.is == Is::Trial) else { return };
        if place.trial == Trial::Apart {
            (place.is, place.trial) = (Is::Coming, Trial::Passed);
            acts.push(Act::Renew(slot, Version::New));
        } else {
            place.is = Is::Serving;
            acts.push(Act::Serve(slot));
        }
    }

    fn seen(&mut self, slot: u32, result: Result<(), String>, acts: &mut Vec<Act>) {
        let Some(place) = self.places.get_mut(&slot) else { return };
        match (result, place.is) {
            (Ok(()), Is::Down) => place.is = Is::Serving,
            (Err(why), Is::Serving | Is::Trial) => {
                place.is = Is::Down;
                if place.is_of(Version::New) {
                    self.failed(slot, format!("#{slot} did not stay up: {why}"), acts);
                }
            }
            _ => {}
        }
    }

    /// A new instance has failed.
    fn failed(&mut self, slot: u32, why: String, acts: &mut Vec<Act>) {
        if self.places.get(&slot).is_some_and(|place| place.surge) {
            self.leave(slot, acts);
        }
        self.back(why);
    }

    fn back(&mut self, why: String) {
        if self.phase == Phase::Forward {
            self.phase = Phase::Back;
            self.why = why;
        }
    }

    fn leave(&mut self, slot: u32, acts: &mut Vec<Act>) {
        if let Some(place) = self.places.get_mut(&slot)
            && !matches!(place.is, Is::Leaving | Is::Gone)
        {
            place.is = Is::Leaving;
            acts.push(Act::Leave(slot));
        }
    }

    fn set(&mut self, slot: u32, from: Is, to: Is) -> bool {
        match self.places.get_mut(&slot) {
            Some(place) if place.is == from => {
                place.is = to;
                true
            }
            _ => false,
        }
    }

    fn renew(&mut self, slot: u32, acts: &mut Vec<Act>) {
        let version = if self.phase == Phase::Back { Version::Old } else { Version::New };
        if let Some(place) = self.places.get_mut(&slot) {
            (place.version, place.is) = (Some(version), Is::Coming);
            acts.push(Act::Renew(slot, version));
        }
    }

    /// The slots to replace; those a person stopped are no longer any.
    fn main(&self) -> Vec<&Place> {
        self.places.values().filter(|place| !place.surge && place.is != Is::Off).collect()
    }

    fn surge(&self) -> Vec<(u32, Is)> {
        self.places.iter().filter(|(_, p)| p.surge).map(|(slot, p)| (*slot, p.is)).collect()
    }

    /// Whatever may happen now.
    fn go(&mut self, acts: &mut Vec<Act>) {
        if self.phase == Phase::Forward {
            self.forward(acts);
        }
        if self.phase == Phase::Back {
            self.backward(acts);
        }
        if self.phase == Phase::Thinning && self.surge().iter().all(|(_, is)| *is == Is::Gone) {
            self.phase = Phase::Done;
            let why = self.why.clone();
            acts.push(Act::Done(if why.is_empty() { Ok(()) } else { Err(why) }));
        }
    }

    fn forward(&mut self, acts: &mut Vec<Act>) {
        let surge = self.surge();
        self.proved |= match surge.is_empty() {
            true => self.progress().0 > 0,
            false => surge.iter().all(|(_, is)| *is == Is::Serving),
        };
        if !self.proved && !surge.is_empty() {
            return;
        }
        while let Some(slot) = self.next(Version::New) {
            self.take(slot, acts);
        }
        let (done, all) = self.progress();
        if done == all {
            self.thin(acts);
        }
    }

    fn backward(&mut self, acts: &mut Vec<Act>) {
        let all: Vec<(u32, Place)> = self.places.iter().map(|(slot, p)| (*slot, *p)).collect();
        for (slot, place) in all {
            match (place.surge, place.version, place.is) {
                (true, _, Is::Coming | Is::Trial) => self.leave(slot, acts),
                // It is not served from anyway.
                (false, Some(Version::Old), Is::Draining) => {
                    self.set(slot, Is::Draining, Is::Serving);
                    acts.push(Act::Serve(slot));
                }
                (false, Some(Version::Old), _) => {}
                (false, _, Is::Coming | Is::Trial | Is::Down) => self.renew(slot, acts),
                _ => {}
            }
        }
        while let Some(slot) = self.next(Version::Old) {
            self.take(slot, acts);
        }
        let busy = |place: &&Place| matches!(place.is, Is::Coming | Is::Draining);
        if !self.main().iter().any(busy) {
            let slot = self
                .places
                .iter()
                .find(|(_, p)| !p.surge && !p.is_of(Version::Old) && p.is != Is::Off);
            match slot.map(|(slot, _)| *slot) {
                Some(slot) => self.take(slot, acts),
                None => self.thin(acts),
            }
        }
    }

    /// The next slot that is not of this version yet and may be replaced: one that doesn't serve first.
    fn next(&self, to: Version) -> Option<u32> {
        let of = |is: Is| {
            let mut those = self.places.iter();
            let fits = |p: &Place| !p.surge && !p.is_of(to) && p.is == is;
            those.find(|(_, place)| fits(place)).map(|(slot, _)| *slot)
        };
        let serving = self.places.values().filter(|place| place.is == Is::Serving).count();
        let spare = serving + self.unavailable > self.main().len();
        of(Is::Down).or_else(|| of(Is::Serving).filter(|_| spare))
    }

    fn take(&mut self, slot: u32, acts: &mut Vec<Act>) {
        if self.set(slot, Is::Serving, Is::Draining) {
            acts.push(Act::Drain(slot));
        } else {
            self.renew(slot, acts);
        }
    }

    fn thin(&mut self, acts: &mut Vec<Act>) {
        self.phase = Phase::Thinning;
        for (slot, is) in self.surge() {
            match is {
                Is::Serving => {
                    self.set(slot, Is::Serving, Is::Draining);
                    acts.push(Act::Drain(slot));
                }
                Is::Draining | Is::Leaving | Is::Gone => {}
                _ => self.leave(slot, acts),
            }
        }
    }
}

#[cfg(test)]
mod tests;
