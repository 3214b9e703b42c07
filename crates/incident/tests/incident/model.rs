//! Against a model that remembers everything and counts anew each time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Denied(u8),
    Limited(u8),
    Env(u8),
    Close(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0u64..40_000).prop_map(Step::Wait),
        4 => (0u8..3).prop_map(Step::Denied),
        3 => (0u8..3).prop_map(Step::Limited),
        1 => (0u8..3).prop_map(Step::Env),
        1 => (0u8..6).prop_map(Step::Close),
    ]
}

/// Denials and incidents of each principal, all of them.
#[derive(Default)]
struct Model {
    denials: BTreeMap<u8, Vec<u64>>,
    open: BTreeMap<(&'static str, u8), (String, u64)>,
}

impl Model {
    fn denied(&mut self, name: u8, now: u64, seq: u64) {
        let all = self.denials.entry(name).or_default();
        all.push(now);
        let within = all.iter().filter(|at| **at + 60_000_000_000 >= now).count() as u64;
        if within >= 10 {
            let one = self.open.entry(("I01", name));
            one.and_modify(|(_, count)| *count += 1).or_insert((format!("I01-{seq}"), 10));
        }
    }

    fn env(&mut self, name: u8, seq: u64) {
        let one = self.open.entry(("I07", name));
        one.and_modify(|(_, count)| *count += 1).or_insert((format!("I07-{seq}"), 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn incidents_are_those_of_the_model(steps in prop::collection::vec(step(), 1..200)) {
        let mut story = Story::plain();
        let mut model = Model::default();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for step in steps {
            let name = |n: u8| format!("p{n}");
            let before = story.raised.len();
            match step {
                Step::Wait(ms) => { story.wait_ms(ms); }
                Step::Denied(n) => {
                    let seq = story.denied(&name(n), "not_allowed", |_| {});
                    model.denied(n, story.now_ns, seq);
                }
                Step::Limited(n) => { story.denied(&name(n), "rate", |_| {}); }
                Step::Env(n) => {
                    let seq = story.denied(&name(n), "env_danger", |_| {});
                    model.denied(n, story.now_ns, seq);
                    model.env(n, seq);
                }
                Step::Close(n) => {
                    let rule = if n < 3 { "I01" } else { "I07" };
                    if let Some((id, _)) = model.open.remove(&(rule, n % 3)) {
                        story.handle(&id, Handling::Closed);
                    }
                }
            }
            for raised in &story.raised[before..] {
                counts.insert(raised.incident.id.clone(), raised.incident.count);
                let of = raised.principal.as_ref().unwrap().name[1..].parse::<u8>().unwrap();
                let known = model.open.iter().find(|((rule, n), _)| (*rule, *n) == (raised.incident.rule.as_str(), of));
                let (_, (id, count)) = known.unwrap();
                prop_assert_eq!((&raised.incident.id, raised.incident.count), (id, *count));
            }
        }
        for (id, _) in model.open.values() {
            prop_assert!(counts.contains_key(id), "{} was never raised", id);
        }
    }
}
