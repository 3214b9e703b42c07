//! All policies of a machine, compiled, with an index by program.
//!
//! ```text
//! plain data ─ check ─ compile ─ examples ─ Policies ─ pin (looks at the programs) ─ ready to decide
//!                └──── every fault, by its key ────┘
//! ```

use std::collections::{BTreeMap, HashMap};

use regex::Regex;
use serde::Serialize;

use crate::argv::{Compiled, Matched};
use crate::check::check;
use crate::environment::Environment;
use crate::identity::{Identify, Pins, Untrusted, pin};
use crate::index::Index;
use crate::input::Principal;
use crate::model::{Deny, Policy, Total};
use crate::path::file_name;
use crate::veil::Veil;

/// Something that is wrong with a policy, so that none is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("policy `{policy}`: {message}")]
pub struct Fault {
    /// Its name.
    pub policy: String,
    /// Where: keys and positions with dots between them, like `allow.0.args.1`. The whole of an option's or variable's name is
    /// one part, whatever it is made of; it is always the last.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// All policies. Nothing changes in it but which files its programs are.
#[derive(Debug, Clone)]
pub struct Policies {
    /// By name, in order.
    pub(crate) all: Vec<Loaded>,
    by_name: HashMap<String, usize>,
    by_program: HashMap<String, Vec<usize>>,
    by_file_name: HashMap<String, Vec<usize>>,
    /// By device and inode of the pinned file (the script, if it is one): a program has many paths.
    by_file: HashMap<(u64, u64), Vec<usize>>,
}

/// A policy, ready to decide.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    /// By id, in order.
    rules: Vec<Compiled>,
    index: Index,
    pub(crate) veil: Veil,
    pub(crate) denies: Vec<Denial>,
    pub(crate) env: Environment,
    /// What holds for its program, by all its policies.
    pub(crate) total: Total,
    /// `None`: its program has not been looked at.
    pub(crate) pins: Option<Result<Pins, Untrusted>>,
}

/// A deny rule, ready to decide.
#[derive(Debug, Clone)]
pub(crate) struct Denial {
    pub(crate) id: String,
    pub(crate) deny: Deny,
    pattern: Option<Regex>,
}

impl Policies {
    /// Compiles policies and holds them against their examples.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the policies' names.
    pub fn new(policies: BTreeMap<String, Policy>) -> Result<Self, Vec<Fault>> {
        let mut all = Vec::with_capacity(policies.len());
        let mut faults = Vec::new();
        for (name, policy) in policies {
            match Loaded::new(name.clone(), policy) {
                Ok(loaded) => all.push(loaded),
                Err(wrong) => faults.extend(wrong.into_iter().map(|(key, message)| Fault {
                    policy: name.clone(),
                    key,
                    message,
                })),
            }
        }
        let mut set = Self {
            all,
            by_name: HashMap::new(),
            by_program: HashMap::new(),
            by_file_name: HashMap::new(),
            by_file: HashMap::new(),
        };
        for (at, loaded) in set.all.iter().enumerate() {
            set.by_name.insert(loaded.name.clone(), at);
            let program = &loaded.policy.program;
            set.by_program.entry(program.clone()).or_default().push(at);
            set.by_file_name.entry(file_name(program).to_owned()).or_default().push(at);
        }
        for policies in set.by_program.values() {
            let totals = policies.iter().map(|at| set.all[*at].policy.total);
            let total = totals.fold(Total::default(), Total::and);
            policies.iter().for_each(|at| set.all[*at].total = total);
        }
        faults.extend(set.examples());
        // Examples are held against what is sound of the others.
        faults.sort_by(|a, b| a.policy.cmp(&b.policy));
        if faults.is_empty() { Ok(set) } else { Err(faults) }
    }

    /// Looks at every program and pins it. What can't be trusted denies everything, by this reason.
    pub fn pin(&mut self, identify: &impl Identify) {
        for loaded in &mut self.all {
            loaded.pins = Some(pin(&loaded.policy, identify));
        }
        self.index_files();
    }

    /// The same, but programs that policies before these had pinned, and that are still what they were, are not read again:
    /// one stat(2) each.
    pub fn pin_again(&mut self, before: &Self, identify: &impl Identify) {
        for loaded in &mut self.all {
            let old = before.named(&loaded.name).filter(|old| {
                let key = |policy: &Policy| {
                    (policy.program.clone(), policy.sha256.clone(), policy.interpreter.clone())
                };
                key(&old.policy) == key(&loaded.policy)
            });
            let kept = old.and_then(|old| match &old.pins {
                Some(Ok(pins)) if pins.hold(identify) => Some(Ok(pins.clone())),
                _ => None,
            });
            loaded.pins = Some(kept.unwrap_or_else(|| pin(&loaded.policy, identify)));
        }
        self.index_files();
    }

    fn index_files(&mut self) {
        self.by_file.clear();
        for (at, loaded) in self.all.iter().enumerate() {
            if let Some(file) = loaded.file() {
                self.by_file.entry(file).or_default().push(at);
            }
        }
    }

    /// Policies whose program is pinned, and what it is pinned to.
    pub fn pinned(&self) -> impl Iterator<Item = (&str, &Pins)> {
        self.all.iter().filter_map(|loaded| match &loaded.pins {
            Some(Ok(pins)) => Some((loaded.name.as_str(), pins)),
            _ => None,
        })
    }

    /// This policy denies everything from here on, for this reason, until policies are loaded anew.
    pub fn distrust(&mut self, name: &str, why: Untrusted) {
        if let Some(loaded) = self.all.iter_mut().find(|loaded| loaded.name == name) {
            loaded.pins = Some(Err(why));
        }
        self.index_files();
    }

    /// Policies whose program can't be trusted, and why. Empty before [`Policies::pin`].
    pub fn untrusted(&self) -> impl Iterator<Item = (&str, &Untrusted)> {
        self.all.iter().filter_map(|loaded| match &loaded.pins {
            Some(Err(why)) => Some((loaded.name.as_str(), why)),
            _ => None,
        })
    }

    /// Names and policies, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Policy)> {
        self.all.iter().map(|loaded| (loaded.name.as_str(), &loaded.policy))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// There is none, so that everything is denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Loaded> {
        self.by_name.get(name).map(|at| &self.all[*at])
    }

    pub(crate) fn of_program(&self, path: &str) -> impl Iterator<Item = &Loaded> {
        self.by_program.get(path).into_iter().flatten().map(|at| &self.all[*at])
    }

    /// Policies of the program with this path, and of the same file by any other path, in the order of names.
    pub(crate) fn of_same_file(&self, path: &str) -> Vec<&Loaded> {
        let own = self.by_program.get(path).map(Vec::as_slice).unwrap_or_default();
        let files = own.iter().filter_map(|at| self.all[*at].file());
        let same = files.filter_map(|file| self.by_file.get(&file)).flatten();
        let mut all: Vec<usize> = own.iter().chain(same).copied().collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|at| &self.all[at]).collect()
    }

    pub(crate) fn of_file_name(&self, name: &str) -> impl Iterator<Item = &Loaded> {
        self.by_file_name.get(name).into_iter().flatten().map(|at| &self.all[*at])
    }
}

impl Loaded {
    fn new(name: String, policy: Policy) -> Result<Self, Vec<(String, String)>> {
        let mut wrong = check(&policy);
        let mut rules = Vec::with_capacity(policy.allow.len());
        for (at, rule) in policy.allow.iter().enumerate() {
            let id = if rule.id.is_empty() { name.clone() } else { format!("{name}/{}", rule.id) };
            match Compiled::new(id, rule) {
                Ok(rule) => rules.push(rule),
                Err((key, why)) => wrong.push((format!("allow.{at}.{key}"), why)),
            }
        }
        rules.sort_by(|a, b| a.id.cmp(&b.id));
        let mut denies = Vec::with_capacity(policy.deny.len());
        for (at, deny) in policy.deny.iter().enumerate() {
            match deny.pattern.as_deref().map(crate::value::anywhere).transpose() {
                Ok(pattern) => {
                    denies.push(Denial {
                        id: format!("{name}/{}", deny.id),
                        deny: deny.clone(),
                        pattern,
                    });
                }
                Err(why) => wrong.push((format!("deny.{at}.pattern"), why)),
            }
        }
        denies.sort_by(|a, b| a.id.cmp(&b.id));
        let env = Environment::new(&policy.env);
        let (Ok(env), true) = (&env, wrong.is_empty()) else {
            wrong.extend(env.err().into_iter().flatten());
            return Err(wrong);
        };
        Ok(Self {
            name,
            index: Index::new(&rules),
            veil: Veil::of(&policy),
            rules,
            denies,
            env: env.clone(),
            total: policy.total,
            pins: None,
            policy,
        })
    }

    /// Device and inode of the program: of the script, if it is one.
    fn file(&self) -> Option<(u64, u64)> {
        let Some(Ok(pins)) = &self.pins else { return None };
        let stamp = pins.script.as_ref().map_or(&pins.program, |(script, _)| script).stamp;
        Some((stamp.dev, stamp.ino))
    }

    /// True for whom it is.
    pub(crate) fn is_for(&self, who: &Principal) -> bool {
        let named = &self.policy.who;
        if named.uids.is_empty() && named.gids.is_empty() && named.tokens.is_empty() {
            return who.owner;
        }
        who.uid.is_some_and(|uid| named.uids.contains(&uid))
            || who.gids.iter().any(|gid| named.gids.contains(gid))
            || who.token.as_ref().is_some_and(|token| named.tokens.contains(token))
    }

    /// Rules that could agree with arguments, in the order of their ids.
    pub(crate) fn rules_for(&self, args: &[&str]) -> Vec<&Compiled> {
        self.index.find(&self.rules, args)
    }
}

impl Denial {
    /// True when it denies arguments that a rule has read.
    pub(crate) fn is_hit(&self, rule: &Compiled, matched: &Matched<'_>, args: &[&str]) -> bool {
        let words = || {
            let operands = matched.operands.iter().map(crate::value::Value::text);
            rule.rule.subcommand.iter().cloned().chain(operands)
        };
        let option = |given: &&str| self.deny.options.iter().any(|name| name == given);
        let values = || matched.options.iter().filter_map(|given| given.value.as_ref());
        let texts = || values().map(|(_, value)| value.text()).chain(words());
        self.begins(words())
            && (self.deny.options.is_empty()
                || matched.options.iter().map(|given| given.name).any(|name| option(&name)))
            && self.pattern.as_ref().is_none_or(|pattern| {
                // As it is launched too: values are written in one form, however they were given.
                let launched = rule.write("", matched).0;
                let launched =
                    launched.iter().skip(1).map(|arg| String::from_utf8_lossy(arg.bytes()));
                texts().any(|text| pattern.is_match(&text))
                    || args.iter().any(|arg| pattern.is_match(arg))
                    || launched.into_iter().any(|arg| pattern.is_match(&arg))
            })
    }

    /// True when it would deny arguments as they are written, which no rule has read.
    pub(crate) fn is_hit_by_text(&self, args: &[&str]) -> bool {
        let words = args.iter().filter(|arg| !arg.starts_with('-')).map(|arg| (*arg).to_owned());
        let given = |name: &String| {
            let with_value = |arg: &&str| {
                arg.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('='))
            };
            args.iter().any(|arg| arg == name || with_value(arg))
        };
        self.begins(words)
            && (self.deny.options.is_empty() || self.deny.options.iter().any(given))
            && self.pattern.as_ref().is_none_or(|it| args.iter().any(|arg| it.is_match(arg)))
    }

    fn begins(&self, mut words: impl Iterator<Item = String>) -> bool {
        self.deny.subcommand.iter().all(|word| words.next().as_ref() == Some(word))
    }
}
