//! For random rules and arguments: what is launched means what was decided, and the order of rules means nothing.

use std::collections::BTreeMap;

use ganger_policy::{
    Access, Deny, Form, Kind, Operand, Opt, Order, Policies, Policy, Principal, Request, Rule,
};
use proptest::prelude::*;
use serde_json::json;

use super::Machine;

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        "[a-c]{1,2}".prop_map(Kind::Literal),
        proptest::collection::vec("[a-c]{0,2}", 1..3).prop_map(Kind::Enum),
        (0..5i64, 5..9i64).prop_map(|(min, max)| Kind::Int { min, max }),
        Just(Kind::Regex { pattern: "[a-c=-]*".into(), max: 8, lines: false }),
        Just(Kind::Path { access: Access::Write, beneath: "/srv".into() }),
        Just(Kind::Secret { max: 8, lines: false }),
    ]
}

fn operands() -> impl Strategy<Value = Vec<Operand>> {
    (proptest::collection::vec(kind(), 0..3), 1..3u32, any::<bool>()).prop_map(
        |(kinds, repeat, optional)| {
            let last = kinds.len();
            let one = |(at, kind)| {
                let end = at + 1 == last;
                Operand { kind, optional: end && optional, repeat: if end { repeat } else { 1 } }
            };
            kinds.into_iter().enumerate().map(one).collect()
        },
    )
}

fn option() -> impl Strategy<Value = (String, Opt)> {
    let name = prop_oneof!["-[a-c]", "--[a-c]{1,2}", "-[a-c]{2,3}"];
    let forms =
        proptest::sample::subsequence(vec![Form::Equals, Form::Separate, Form::Joined], 1..3)
            .prop_shuffle();
    (name, proptest::option::of(kind()), forms, 1..3u32).prop_map(
        |(name, value, mut forms, repeat)| {
            if name.len() != 2 {
                forms.retain(|form| *form != Form::Joined);
            }
            if forms.is_empty() {
                forms.push(Form::Equals);
            }
            let forms = if value.is_some() { forms } else { Vec::new() };
            (name, Opt { value, forms, repeat, required: false })
        },
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    let words = proptest::collection::vec("[a-c]", 0..2);
    (
        words,
        operands(),
        proptest::collection::vec(option(), 0..4).prop_map(|all| all.into_iter().collect()),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(subcommand, args, options, clusters, first)| Rule {
            subcommand,
            args,
            options,
            clusters,
            dashes: !first,
            order: if first { Order::ArgsFirst } else { Order::OptionsFirst },
            ..Rule::default()
        })
}

/// Rules that load: a joined option that could be read as another is a fault.
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec(rule(), 1..4).prop_map(|mut rules| {
        for (at, rule) in rules.iter_mut().enumerate() {
            rule.id = format!("r{at}");
            let long: Vec<String> =
                rule.options.keys().filter(|name| name.len() > 2).cloned().collect();
            for (name, option) in &mut rule.options {
                if long.iter().any(|other| other.starts_with(name.as_str())) {
                    option.forms.retain(|form| *form != Form::Joined);
                    if option.value.is_some() && option.forms.is_empty() {
                        option.forms.push(Form::Equals);
                    }
                }
            }
        }
        rules
    })
}

fn denies() -> impl Strategy<Value = Vec<Deny>> {
    let deny = ("[a-c]{2}", "-[a-c]", any::<bool>()).prop_map(|(pattern, name, by_pattern)| Deny {
        pattern: by_pattern.then_some(pattern),
        options: if by_pattern { Vec::new() } else { vec![name] },
        ..Deny::default()
    });
    proptest::collection::vec(deny, 0..2).prop_map(|mut denies| {
        for (at, deny) in denies.iter_mut().enumerate() {
            deny.id = format!("d{at}");
        }
        denies
    })
}

fn policy(allow: Vec<Rule>, deny: Vec<Deny>) -> Policy {
    let policy = json!({ "program": "/bin/tool", "cwd": { "fixed": "/srv" } });
    Policy { allow, deny, ..serde_json::from_value(policy).unwrap() }
}

fn load(policies: BTreeMap<String, Policy>) -> Policies {
    let mut policies = Policies::new(policies).unwrap_or_else(|faults| panic!("{faults:?}"));
    policies.pin(&Machine::default());
    policies
}

fn arguments() -> impl Strategy<Value = Vec<String>> {
    let argument = prop_oneof![
        3 => "[a-c]{0,2}",
        2 => "-[a-c]{1,3}",
        1 => "-[a-c]=?[0-9a-c-]{0,2}",
        2 => "--[a-c]{1,2}(=[0-9a-c-]{0,2})?",
        1 => "[0-9]",
        1 => "--",
        1 => "-",
        1 => "(\\.\\./|/srv/|/)?[a-c]",
    ];
    proptest::collection::vec(argument, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::cases(250), ..ProptestConfig::default() })]

    #[test]
    fn what_is_launched_means_what_was_decided(allow in rules(), args in arguments()) {
        // One rule at a time: of several another one could read the same arguments.
        for mut rule in allow {
            rule.id = "r".into();
            let policies = load(BTreeMap::from([("p".to_owned(), policy(vec![rule], Vec::new()))]));
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            super::fuzzed::hold(&policies, &Request::policy("p", &args));
        }
    }

    #[test]
    fn the_order_of_rules_means_nothing(allow in rules(), deny in denies(), args in arguments(), turn in 0..4usize) {
        let mut turned = (allow.clone(), deny.clone());
        let by = turn % turned.0.len();
        turned.0.rotate_left(by);
        turned.0.reverse();
        turned.1.reverse();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let decide = |policy| {
            let policies = load(BTreeMap::from([("p".to_owned(), policy)]));
            policies.decide(&Principal::owner(), &Request::policy("p", &args), &Machine::default())
        };
        prop_assert_eq!(decide(policy(allow, deny)), decide(policy(turned.0, turned.1)));
    }

    #[test]
    fn an_index_finds_what_trying_every_rule_finds(some in proptest::collection::vec(rules(), 14), args in arguments()) {
        let mut all: Vec<Rule> = some.concat();
        let spare = all.clone();
        all.extend(spare.into_iter().cycle().take(40));
        all.iter_mut().enumerate().for_each(|(at, rule)| rule.id = format!("r{at:03}"));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let verdict = |rules: Vec<Rule>| {
            let policies = load(BTreeMap::from([("p".to_owned(), policy(rules, Vec::new()))]));
            let decision = policies.decide(&Principal::owner(), &Request::policy("p", &args), &Machine::default());
            decision.is_allowed().then(|| decision.rule().map(str::to_owned))
        };
        let one_by_one = all.chunks(32).find_map(|few| verdict(few.to_vec()));
        prop_assert_eq!(verdict(all), one_by_one);
    }

    #[test]
    fn a_deny_rule_only_ever_takes_away(allow in rules(), deny in denies(), args in arguments()) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let allowed = |deny| {
            let policies = load(BTreeMap::from([("p".to_owned(), policy(allow.clone(), deny))]));
            policies.decide(&Principal::owner(), &Request::policy("p", &args), &Machine::default()).is_allowed()
        };
        prop_assert!(!allowed(deny) || allowed(Vec::new()));
    }
}
