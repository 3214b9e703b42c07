//! Decisions: attacks with their controls, properties, and hostile input without panics.
#![expect(clippy::unwrap_used, reason = "the whole program is a test")]

mod arguments;
mod corpus;
#[expect(unreachable_pub, reason = "the fuzzers of `fuzz/` include this file")]
mod fuzzed;
mod linted;
mod programs;
mod properties;
mod requests;
mod secrets;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use ganger_policy::{
    Code, Decision, Identify, Identity, Policies, Policy, Principal, Request, Stamp,
};
use serde_json::{Value, json};

/// A machine's programs, as a test says.
#[derive(Debug, Default)]
struct Machine {
    files: RefCell<BTreeMap<String, Identity>>,
}

impl Machine {
    /// Every path is a trustworthy program, until it is put otherwise.
    fn identity(&self, path: &str) -> Identity {
        let known = self.files.borrow().get(path).cloned();
        known.unwrap_or_else(|| Identity {
            real: path.to_owned(),
            stamp: Stamp { dev: 1, ino: path.len() as u64, size: 4_096, ctime: (1, 0) },
            mode: 0o100_755,
            capabilities: false,
            writable: None,
            script: None,
            sha256: Some("a".repeat(64)),
        })
    }

    fn put(&self, path: &str, change: impl FnOnce(&mut Identity)) {
        let mut identity = self.identity(path);
        change(&mut identity);
        self.files.borrow_mut().insert(path.to_owned(), identity);
    }
}

impl Identify for Machine {
    fn stamp(&self, path: &str) -> io::Result<Stamp> {
        Ok(self.identity(path).stamp)
    }

    fn inspect(&self, path: &str, _: bool) -> io::Result<Identity> {
        Ok(self.identity(path))
    }
}

/// How many cases a property is held against: `GANGER_CASES`, if somebody has more time than CI.
fn cases(usual: u32) -> u32 {
    std::env::var("GANGER_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn policy(json: &Value) -> Policy {
    serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// One policy `p`, pinned on a machine where everything is in order.
fn one(json: &Value) -> Policies {
    many(&json!({ "p": json }), &Machine::default())
}

fn many(json: &Value, machine: &Machine) -> Policies {
    let all = json.as_object().unwrap().iter();
    let all = all.map(|(name, json)| (name.clone(), policy(json))).collect();
    let mut policies = Policies::new(all).unwrap_or_else(|faults| panic!("{faults:?}"));
    policies.pin(machine);
    policies
}

fn decide(policies: &Policies, request: &Request) -> Decision {
    policies.decide(&Principal::owner(), request, &Machine::default())
}

fn code(decision: &Decision) -> Option<Code> {
    match decision {
        Decision::Allowed(_) => None,
        Decision::Denied(denied) => Some(denied.code),
    }
}

/// The arguments that are launched, as they may be shown.
fn argv(decision: &Decision) -> Vec<String> {
    match decision {
        Decision::Allowed(allowed) => allowed.launch.argv.iter().map(|arg| arg.shown()).collect(),
        Decision::Denied(denied) => panic!("denied: {denied:?}"),
    }
}
