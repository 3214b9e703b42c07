//! The environments that services and workers inherit.
//!
//! What a program inherits is the environment of the `up` that brought it: a later `up` from another shell restarts
//! nothing because of its `SSH_CLIENT`. A program that itself has changed takes the new one, and `up --update-env` gives
//! it to all (as `pm2 restart --update-env` does).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{Config, Program};

/// Variables by name, one copy for all who inherit them.
pub(crate) type Variables = Arc<BTreeMap<String, String>>;

/// Variables that mean ganger or its own starter, never a child.
const NEVER_INHERITED: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "NODE_CHANNEL_", "NODE_UNIQUE_ID", "GANGER_"];
/// Variables of a terminal session: that they differ is not worth a word.
const OF_A_SESSION: [&str; 13] = [
    "_",
    "SHLVL",
    "PWD",
    "OLDPWD",
    "COLUMNS",
    "LINES",
    "TERM",
    "SSH_",
    "XDG_SESSION_",
    "WINDOWID",
    "TMUX",
    "STY",
    "HISTFILE",
];
/// Names shown of those that differ.
const SHOWN: usize = 5;

/// Who inherits what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Environments {
    all: Vec<Variables>,
    /// Index into `all` by the name of the service or pool.
    of: BTreeMap<String, usize>,
}

impl Environments {
    /// What a service or pool inherits.
    pub(crate) fn of(&self, name: &str) -> Variables {
        let found = self.of.get(name).and_then(|index| self.all.get(*index));
        found.cloned().unwrap_or_default()
    }

    /// Those of a new configuration. Programs that `old` has and that run the same keep theirs, unless all are updated.
    pub(crate) fn next(
        &self,
        old: &Config,
        new: &Config,
        caller: BTreeMap<String, String>,
        update: bool,
    ) -> Self {
        let caller = Arc::new(inheritable(caller));
        let mut next = Self::default();
        let had = programs(old);
        for (name, program) in programs(new) {
            let same = had.get(name).is_some_and(|before| runs_the_same(before, program));
            let kept = (same && !update).then(|| self.of.get(name)).flatten();
            let variables = kept.and_then(|index| self.all.get(*index)).unwrap_or(&caller);
            next.give(name, variables);
        }
        next
    }

    fn give(&mut self, name: &str, variables: &Variables) {
        let known =
            self.all.iter().position(|other| Arc::ptr_eq(other, variables) || other == variables);
        let index = known.unwrap_or_else(|| {
            self.all.push(Arc::clone(variables));
            self.all.len() - 1
        });
        self.of.insert(name.to_owned(), index);
    }

    /// A word about those that keep another environment than the caller's. Names of variables only, never values.
    pub(crate) fn differing(&self, caller: BTreeMap<String, String>) -> Option<String> {
        let caller = inheritable(caller);
        let mut names = BTreeSet::new();
        let mut programs = 0;
        for (index, variables) in self.all.iter().enumerate() {
            let differ = difference(variables, &caller);
            if !differ.is_empty() {
                programs += self.of.values().filter(|of| **of == index).count();
                names.extend(differ.into_iter().map(str::to_owned));
            }
        }
        let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
        let more = match names.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let these =
            if programs == 1 { "1 program keeps" } else { &format!("{programs} programs keep") };
        (programs > 0).then(|| {
            format!(
                "{these} the environment of an earlier `up`; this shell's differs in {}{more}: `ganger up --update-env` gives it to them by a restart",
                shown.join(", ")
            )
        })
    }
}

fn inheritable(mut variables: BTreeMap<String, String>) -> BTreeMap<String, String> {
    variables.retain(|name, _| !NEVER_INHERITED.iter().any(|prefix| name.starts_with(prefix)));
    variables
}

fn programs(config: &Config) -> BTreeMap<&str, &Program> {
    let services = config.services.iter().map(|(name, service)| (name.as_str(), &service.program));
    services.chain(config.pools.iter().map(|(name, pool)| (name.as_str(), &pool.program))).collect()
}

fn runs_the_same(a: &Program, b: &Program) -> bool {
    (&a.command, &a.cwd, &a.env, &a.user) == (&b.command, &b.cwd, &b.env, &b.user)
}

fn difference<'a>(
    a: &'a BTreeMap<String, String>,
    b: &'a BTreeMap<String, String>,
) -> BTreeSet<&'a str> {
    let of_a_session = |name: &str| {
        OF_A_SESSION.iter().any(|word| match word.strip_suffix('_').filter(|w| !w.is_empty()) {
            Some(_) => name.starts_with(word),
            None => name == *word,
        })
    };
    let names = a.keys().chain(b.keys()).map(String::as_str);
    names.filter(|name| a.get(*name) != b.get(*name) && !of_a_session(name)).collect()
}

#[cfg(test)]
mod tests;
