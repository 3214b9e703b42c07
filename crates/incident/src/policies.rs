//! What is remembered of policies: which is in force, and which layers its runs had.

use std::collections::{BTreeSet, HashMap};

use ganger_audit::{Intent, Outcome, PolicyLoaded};

use crate::rule::Rule;
use crate::signal::Signal;

/// Policies that are remembered; `ganger up` with more of them is no machine that anybody reads incidents of.
const POLICIES_MAX: usize = 4_096;
/// What was decided under the former policy may be recorded so long after it was replaced.
const OVERLAP_NS: u64 = 60_000_000_000;

/// Of all policies.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    all: HashMap<String, Policy>,
}

#[derive(Debug, Default)]
struct Policy {
    sha256: Option<String>,
    former: Option<(String, u64)>,
    /// What was missing in its last run; none before the first.
    missing: Option<BTreeSet<String>>,
}

impl Policies {
    /// A policy comes into force, or goes.
    pub(crate) fn loaded(&mut self, loaded: &PolicyLoaded, mono: u64) -> Option<Signal> {
        let policy = self.of(&loaded.policy)?;
        let known = policy.sha256.take();
        let replaced = loaded.replaces.as_ref().zip(known.as_ref());
        let wrong = replaced.filter(|(said, known)| said != known).map(|(said, known)| {
            let (said, known) = (short(said), short(known));
            Signal::now(
                Rule::PolicyTamper,
                format!(
                    "policy {} replaced {said}, but {known} was in force: what is stored was changed past ganger",
                    loaded.policy
                ),
            )
        });
        // A sandbox that the policy no longer asks for is no loss; a daemon that goes on with the same policy changes nothing.
        if known != loaded.sha256 {
            policy.missing = None;
        }
        policy.former =
            known.filter(|known| loaded.sha256.as_ref() != Some(known)).map(|sha| (sha, mono));
        policy.sha256.clone_from(&loaded.sha256);
        wrong
    }

    /// A run was decided by it.
    pub(crate) fn decided(&mut self, intent: &Intent, mono: u64) -> Option<Signal> {
        let said = intent.policy_sha256.as_ref()?;
        let policy = self.all.get(&intent.policy)?;
        let known = policy.sha256.as_ref()?;
        let former = policy.former.as_ref().is_some_and(|(sha, replaced)| {
            sha == said && mono.saturating_sub(*replaced) < OVERLAP_NS
        });
        (said != known && !former).then(|| {
            let (said, known) = (short(said), short(known));
            Signal::now(
                Rule::PolicyTamper,
                format!(
                    "a run was decided by policy {} as {said}, but {known} is in force",
                    intent.policy
                ),
            )
        })
    }

    /// A run is over: does it lack what the one before had?
    pub(crate) fn ran(&mut self, outcome: &Outcome) -> Option<Signal> {
        if outcome.enforced.is_empty() && outcome.degraded.is_empty() {
            return None;
        }
        let missing: BTreeSet<String> =
            outcome.degraded.iter().map(|layer| layer.what.clone()).collect();
        let policy = self.of(&outcome.policy)?;
        let before = policy.missing.replace(missing.clone())?;
        let lost: Vec<&str> = missing.difference(&before).map(String::as_str).collect();
        (!lost.is_empty()).then(|| {
            let why = outcome.degraded.iter().find(|layer| layer.what == lost[0]);
            Signal::now(
                Rule::LessSecurity,
                format!(
                    "runs of policy {} lack {}, which the run before had: {}",
                    outcome.policy,
                    lost.join(", "),
                    why.map_or("", |layer| &layer.why)
                ),
            )
        })
    }

    fn of(&mut self, name: &str) -> Option<&mut Policy> {
        if self.all.len() >= POLICIES_MAX && !self.all.contains_key(name) {
            return None;
        }
        Some(self.all.entry(name.to_owned()).or_default())
    }
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
