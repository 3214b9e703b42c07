//! Groups against a world with random trees and random crashes.

use fastrand::Rng;

use super::*;

/// What a process place does in this world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Up,
    /// Told to make room and not yet gone.
    Leaving,
    /// Gone, and it wants to start again.
    Wishes,
    /// Permitted and not yet ready.
    Starts,
    /// Stopped by a person.
    Off,
}

struct World {
    groups: Groups,
    /// Every service in the order of the tree.
    line: Vec<String>,
    places: BTreeMap<String, Place>,
    optional: BTreeSet<String>,
    late: BTreeSet<String>,
}

/// A tree of up to three levels; each service is a leaf.
fn tree(random: &mut Rng) -> (Vec<GroupSpec>, BTreeSet<String>) {
    let (mut specs, mut services, mut optional) = (vec![], 0, BTreeSet::new());
    let mut open = vec![("g".to_owned(), 0)];
    while let Some((name, level)) = open.pop() {
        let strategies = GroupStrategy::ALL;
        let strategy = strategies[random.usize(..strategies.len())];
        let mut spec = GroupSpec { name: name.clone(), strategy, ..GroupSpec::default() };
        for n in 0..random.usize(1..5) {
            let member = if level < 2 && random.u8(..4) == 0 {
                open.push((format!("{name}.{n}"), level + 1));
                format!("{name}.{n}")
            } else {
                services += 1;
                format!("s{services}")
            };
            if random.u8(..6) == 0 {
                spec.optional.insert(member.clone());
                optional.insert(member.clone());
            }
            spec.members.push(member);
        }
        specs.push(spec);
    }
    (specs, optional)
}

/// Who restarts, written from the description and not from the code: from the outermost group inwards.
fn model(specs: &[GroupSpec], at: &str, crashed: &str, gave_up: bool) -> (BTreeSet<String>, bool) {
    let below = |member: &String| -> BTreeSet<String> {
        let mut open = vec![member.clone()];
        let mut found = BTreeSet::new();
        while let Some(name) = open.pop() {
            match specs.iter().find(|spec| spec.name == name) {
                Some(group) => open.extend(group.members.clone()),
                None => {
                    found.insert(name);
                }
            }
        }
        found
    };
    let group = specs.iter().find(|spec| spec.name == at).unwrap();
    let holds = |member: &&String| below(member).contains(crashed);
    let member = group.members.iter().find(holds).unwrap();
    // What the member's own group makes of it, and whether that reaches this one.
    let (mut hit, reaches) = match specs.iter().any(|spec| spec.name == *member) {
        true => model(specs, member, crashed, gave_up),
        false => (BTreeSet::new(), true),
    };
    if !reaches || group.optional.contains(member) {
        return (hit, false);
    }
    let at = group.members.iter().position(|m| m == member).unwrap();
    match group.strategy {
        GroupStrategy::OneForOne => {}
        GroupStrategy::OneForAll => group.members.iter().for_each(|m| hit.extend(below(m))),
        GroupStrategy::RestForOne => {
            group.members[at + 1..].iter().for_each(|m| hit.extend(below(m)));
        }
    }
    (hit, gave_up)
}

impl World {
    fn new(specs: Vec<GroupSpec>, optional: BTreeSet<String>) -> Self {
        let groups = Groups::new(specs);
        let line = groups.services_of("g");
        let places = line.iter().map(|name| (name.clone(), Place::Up)).collect();
        Self { groups, line, places, optional, late: BTreeSet::new() }
    }

    fn standing(&self, name: &str) -> Standing {
        match self.places[name] {
            Place::Up => Standing::Up,
            Place::Off => Standing::Off,
            Place::Wishes if self.late.contains(name) => Standing::Coming { late: true },
            _ => Standing::Coming { late: false },
        }
    }

    fn at(&self, name: &str) -> usize {
        self.line.iter().position(|other| other == name).unwrap()
    }

    fn set(&mut self, name: &str, place: Place) {
        self.places.insert(name.to_owned(), place);
    }

    fn crash(&mut self, name: &str, gave_up: bool) {
        let specs: Vec<GroupSpec> = self.groups.specs().cloned().collect();
        let (hit, _) = model(&specs, "g", name, gave_up);
        let halting: BTreeSet<String> = self.halting();
        self.groups.failed(name, gave_up, "crashed");
        let expected: BTreeSet<String> = halting.union(&hit).cloned().collect();
        assert_eq!(self.halting(), expected, "{name} of {specs:?}");
        self.set(name, Place::Wishes);
        self.late.insert(name.to_owned());
    }

    fn halting(&self) -> BTreeSet<String> {
        self.groups.runs.values().flat_map(|run| run.halt.iter().cloned()).collect()
    }

    /// What the owner does after each event.
    fn turns(&mut self) {
        loop {
            let next = self.groups.next_halt();
            if next.is_empty() {
                break;
            }
            for (name, _) in next {
                let halted_after_it = self.halting();
                assert!(halted_after_it.iter().all(|other| self.at(other) < self.at(&name)));
                match self.places[&name] {
                    Place::Up | Place::Starts => self.set(&name, Place::Leaving),
                    // It has no process, or is on its way out: the ticket is answered when it is gone.
                    Place::Leaving => {}
                    Place::Wishes | Place::Off => continue,
                }
                self.groups.leaves(InstanceId::new(&name, 1));
            }
        }
        let standing: BTreeMap<String, Standing> =
            self.line.iter().map(|name| (name.clone(), self.standing(name))).collect();
        self.groups.settle(|name| standing[name]);
        for name in self.line.clone() {
            let free = self.groups.may_start(&name, |other| self.standing(other));
            if self.places[&name] == Place::Wishes && free {
                self.check_start(&name);
                self.set(&name, Place::Starts);
                self.late.remove(&name);
            }
        }
    }

    /// Nothing that restarts with it is still there, and everything before it in the restart is up or not to come.
    fn check_start(&self, name: &str) {
        let Some(run) = self.groups.runs.values().next() else { return };
        let Some(at) = run.order.iter().position(|other| other == name) else { return };
        assert!(run.halt.is_empty() && run.leaving.is_empty(), "{name} starts in a halt");
        for before in &run.order[..at] {
            let place = self.places[before];
            let outer_optional = self.groups.is_optional(before);
            let fine = matches!(place, Place::Up | Place::Off)
                || (outer_optional && place == Place::Wishes);
            assert!(fine, "{name} starts before {before}, which is {place:?}");
        }
    }

    fn step(&mut self, random: &mut Rng, crashes: bool) {
        let name = self.line[random.usize(..self.line.len())].clone();
        match (self.places[&name], random.u8(..10)) {
            (Place::Up | Place::Starts, 0..=2) if crashes => self.crash(&name, random.u8(..3) == 0),
            (Place::Leaving, _) => {
                self.groups.left(&InstanceId::new(&name, 1));
                self.set(&name, Place::Wishes);
            }
            (Place::Starts, _) => self.set(&name, Place::Up),
            (Place::Up | Place::Wishes, 9) if crashes => self.set(&name, Place::Off),
            (Place::Off, 5..) => self.set(&name, Place::Starts),
            _ => return,
        }
        self.turns();
    }
}

/// As many steps as `GANGER_STEPS` says, over ever new trees.
#[test]
fn any_tree_any_crashes() {
    let steps = std::env::var("GANGER_STEPS").ok().and_then(|n| n.parse().ok()).unwrap_or(30_000);
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let mut done = 0_u64;
    while done < steps {
        let (specs, optional) = tree(&mut random);
        assert!(faults(&specs, |name| name.starts_with('s')).is_empty());
        let mut world = World::new(specs, optional);
        for _ in 0..random.usize(1..400) {
            world.step(&mut random, true);
            done += 1;
        }
        // Then the storm is over.
        for _ in 0..world.line.len() * 400 {
            if world.places.values().all(|place| *place == Place::Up) && !world.groups.is_busy() {
                break;
            }
            world.step(&mut random, false);
        }
        let all_up = world.places.values().all(|place| *place == Place::Up);
        assert!(all_up && !world.groups.is_busy(), "stuck: {:?} {:?}", world.places, world.groups);
        assert!(world.optional.len() <= world.line.len() + world.groups.specs.len());
    }
}

fn group(name: &str, strategy: GroupStrategy, members: &[&str]) -> GroupSpec {
    let members = members.iter().map(|m| (*m).to_owned()).collect();
    GroupSpec { name: name.into(), strategy, members, optional: BTreeSet::new() }
}

/// Cases of OTP's `supervisor_SUITE`, by name.
#[test]
fn as_otp_does() {
    use GroupStrategy::{OneForAll, OneForOne, RestForOne};
    let concerned = |specs: &[GroupSpec], who: &str, gave_up: bool| {
        Groups::new(specs.to_vec()).concerned(who, gave_up)
    };
    let flat = |strategy| [group("g", strategy, &["a", "b", "c"])];
    assert!(concerned(&flat(OneForOne), "b", false).is_empty(), "one_for_one");
    assert_eq!(concerned(&flat(OneForAll), "b", false), ["a", "b", "c"], "one_for_all");
    assert_eq!(concerned(&flat(RestForOne), "b", false), ["c"], "rest_for_one");
    assert!(concerned(&flat(RestForOne), "c", false).is_empty());
    let nested = [
        group("outer", RestForOne, &["db", "inner", "web"]),
        group("inner", OneForOne, &["x", "y"]),
    ];
    assert!(concerned(&nested, "x", false).is_empty());
    assert_eq!(concerned(&nested, "x", true), ["web"], "escalation");
    assert_eq!(concerned(&nested, "db", false), ["x", "y", "web"]);
}

#[test]
fn faults_are_named() {
    let strategy = GroupStrategy::OneForAll;
    let mut odd = group("odd", strategy, &["a", "nope", "ring"]);
    odd.optional.insert("z".into());
    let specs = [odd, group("ring", strategy, &["odd", "a"]), group("a", strategy, &[])];
    let wrong = faults(&specs, |name| name == "a");
    for part in [
        "there is no service or group `nope`",
        "`z` is optional but no member",
        "of itself",
        "`a` is a member of `odd` and of `ring`",
        "`a` is the name of a service and of a group",
    ] {
        assert!(wrong.iter().any(|fault| fault.why.contains(part)), "{part}: {wrong:?}");
    }
}
