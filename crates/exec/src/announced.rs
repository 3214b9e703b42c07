//! What the log is told of policies: what came into force, what was replaced, what went; and what a load keeps for the next daemon.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ganger_audit as audit;
use ganger_policy::{Policies, Policy};
use sha2::{Digest, Sha256};

use crate::pins::{self, Kept};
use crate::task::Ground;

/// A policy as the log knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) sha256: String,
    pub(crate) program: Option<audit::Program>,
}

/// Who writes from here on.
pub(crate) fn started() -> audit::Started {
    let uname = rustix::system::uname();
    audit::Started {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        host: uname.nodename().to_string_lossy().into_owned(),
        boot_id: pins::boot(),
        exe: std::env::current_exe().ok().map(|path| audit::Text::from(path.as_path())),
    }
}

/// SHA-256 of a policy's resolved form, hex.
pub(crate) fn digest(policy: &Policy) -> String {
    let text = serde_json::to_vec(policy).expect("policies are plain data with texts for keys");
    audit::Hash(Sha256::digest(text).into()).to_string()
}

/// Holds policies against what a former load kept, and keeps what holds now. Gives the doubts by name, and what could not be
/// read or kept. Blocking.
pub(crate) fn remember(
    folder: &Path,
    policies: &mut Policies,
    digests: &HashMap<String, String>,
    resumed: bool,
) -> (BTreeMap<String, &'static str>, Option<String>) {
    let kept = match Kept::read(folder) {
        Ok(kept) => kept,
        // What is damaged is not written over by a daemon that begins: a person's load does it.
        Err(error) if resumed => {
            let why = format!("what programs were pinned to can't be read: {error}");
            return (BTreeMap::new(), Some(why));
        }
        Err(_) => None,
    };
    let hold = |kept: &Kept| kept.hold(policies, digests, resumed);
    let doubts = kept.as_ref().map(hold).unwrap_or_default();
    let next = Kept::next(kept.as_ref(), policies, digests);
    if (policies.is_empty() && kept.is_none()) || kept.as_ref() == Some(&next) {
        return (doubts, None);
    }
    let untold = next.write(folder).err();
    let untold = untold.map(|error| {
        format!("what programs are pinned to can't be kept for the next daemon: {error}")
    });
    (doubts, untold)
}

/// What of the policies in force the log does not say, by name.
pub(crate) fn changed(
    announced: &HashMap<String, Announced>,
    now: &Ground,
) -> Vec<audit::PolicyLoaded> {
    let loaded = |name: &str, sha256: Option<&String>| audit::PolicyLoaded {
        policy: name.to_owned(),
        sha256: sha256.cloned(),
        replaces: announced.get(name).map(|known| known.sha256.clone()),
        rules: 0,
        file: now.file.as_deref().map(audit::Text::from),
        program: None,
        resumed: now.resumed,
        doubt: now.doubts.get(name).filter(|_| now.resumed).map(|doubt| (*doubt).to_owned()),
    };
    let other = now.policies.iter().filter_map(|(name, policy)| {
        let (sha256, program) = (now.digests.get(name)?, now.programs.get(name));
        let rules = (policy.allow.len() + policy.deny.len()) as u64;
        let same = |known: &Announced| known.sha256 == *sha256 && known.program.as_ref() == program;
        let differs = !announced.get(name).is_some_and(same);
        differs.then(|| audit::PolicyLoaded {
            rules,
            program: program.cloned(),
            ..loaded(name, Some(sha256))
        })
    });
    let gone = announced.keys().filter(|name| !now.digests.contains_key(*name));
    let mut all: Vec<_> = other.chain(gone.map(|name| loaded(name, None))).collect();
    all.sort_by(|a, b| a.policy.cmp(&b.policy));
    all
}
