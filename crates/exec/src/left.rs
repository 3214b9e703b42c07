//! What a former daemon left: runs whose callers' connections are cut, and intents without an outcome.
//!
//! ```text
//! keeper's table ─ child with a note ─ ended by force ─ its real end recorded ─ acknowledged
//! log since the session before the last ─ intent without outcome, and no such child ─ recorded as `lost`
//!                                       └ starts of this boot ─ counted by rates as if this daemon had made them
//! ```

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use ganger_audit as audit;
use ganger_audit::{Event, Filter, ReadError, Reader, Record, RunId};
use ganger_process::Child;
use serde::{Deserialize, Serialize};

use crate::pins::boot;
use crate::records::mono_ns;

/// In an instance's name: no service or pool may be called so.
pub(crate) const SUFFIX: &str = ":exec";

/// What a daemon after this one must know of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) run: RunId,
    pub(crate) policy: String,
    pub(crate) who: audit::Principal,
}

impl Note {
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("ids and texts are JSON")
    }

    pub(crate) fn of(child: &Child) -> Option<Self> {
        serde_json::from_str(child.blob()).ok()
    }
}

/// A child that is a run of a policy.
#[must_use]
pub fn is_run(child: &Child) -> bool {
    child.instance().name.ends_with(SUFFIX)
}

/// An intent that nothing is known of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenIntent {
    pub(crate) run: RunId,
    pub(crate) policy: String,
    pub(crate) who: Option<audit::Principal>,
}

/// What the log has of former daemons that this one must know.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// Intents without an outcome.
    pub(crate) open: Vec<OpenIntent>,
    /// Starts of this boot, the oldest first: rates go on over a daemon's end.
    pub(crate) recent: Vec<Start>,
}

/// A start of a former daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) uid: u32,
    pub(crate) policy: String,
    pub(crate) program: String,
    /// How long ago.
    pub(crate) age: Duration,
}

/// Starts that are remembered: those of a rate that is larger within its time are nothing that a restart would help anybody with.
const RECENT_MAX: usize = 10_000;
/// Longer ago than any rate looks back in practice.
const RECENT_AGE: Duration = Duration::from_secs(86_400);

/// Reads the log since the session before the last: everything older was closed by that one's successor. Blocking.
pub(crate) fn of_log(folder: &Path) -> Result<Before, ReadError> {
    let reader = match Reader::open(folder) {
        Ok(reader) => reader,
        Err(ReadError::NoLog(_)) => return Ok(Before::default()),
        Err(error) => return Err(error),
    };
    let started = Filter { event: Some("started".into()), ..Filter::default() };
    let from = reader.last(2, &started)?.first().map_or(0, |found| found.entry.seq);
    let mut open = HashMap::new();
    let mut order = 0u64;
    let mut recent = VecDeque::new();
    let (now, boot) = (mono_ns(), boot());
    let mut this_boot = false;
    reader.search_from(from, &Filter::default(), |found| {
        // A line that is none is `audit verify`'s business.
        let Ok(found) = found else { return true };
        let entry = found.entry;
        if let Event::Record(Record::Started(started)) = &entry.event {
            this_boot = boot.is_some() && started.boot_id == boot;
        }
        let Some(run) = entry.run else { return true };
        match entry.event {
            Event::Record(Record::Intent(intent)) => {
                order += 1;
                let age = Duration::from_nanos(now.saturating_sub(entry.mono_ns));
                if let Some(who) =
                    entry.principal.as_ref().filter(|_| this_boot && age < RECENT_AGE)
                {
                    let (uid, policy) = (who.uid, intent.policy.clone());
                    let program = intent.program.path.to_string();
                    recent.push_back(Start { uid, policy, program, age });
                    if recent.len() > RECENT_MAX {
                        recent.pop_front();
                    }
                }
                let one = OpenIntent { run, policy: intent.policy.clone(), who: entry.principal };
                open.insert(run, (order, one));
            }
            Event::Record(Record::Outcome(_)) => drop(open.remove(&run)),
            _ => {}
        }
        true
    })?;
    let mut open: Vec<_> = open.into_values().collect();
    open.sort_by_key(|(order, _)| *order);
    let open = open.into_iter().map(|(_, one)| one).collect();
    Ok(Before { open, recent: recent.into() })
}

/// The outcome of a run that nobody knows the end of.
pub(crate) fn lost(policy: String) -> Record {
    outcome(policy, audit::Ending::Lost)
}

pub(crate) fn outcome(policy: String, end: audit::Ending) -> Record {
    Record::Outcome(Box::new(audit::Outcome {
        policy,
        end,
        pid: None,
        usage: audit::Usage::default(),
        enforced: Vec::new(),
        degraded: Vec::new(),
        breach: None,
        output_cut: false,
        flags: Vec::new(),
    }))
}
