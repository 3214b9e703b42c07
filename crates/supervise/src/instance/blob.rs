//! The note each child carries for the next daemon: small JSON, held by the keeper.

use ganger_core::BreakerState;
use ganger_keeper::wire::{Output, Plan};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::state::{Machine, Phase, State, Then};
use crate::spec::{InstanceSpec, NodeCluster, Ready, ReadyBy};

/// What a later daemon must know of a child it did not start. Additive: unknown fields are ignored, new ones default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Blob {
    /// [`fingerprint`] of the spec it was started from.
    pub(crate) spec: String,
    /// Readiness is declared and was seen.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ready: bool,
    /// It is being ended: `stop`, `start` or `fail` follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stopping: Option<Follows>,
    /// Starts after the first.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) restarts: u32,
    /// Failures in a row.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) failures: u32,
    /// It is the breaker's probe.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) half_open: bool,
    /// It gets its connections over its channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<Box<WorkerNote>>,
}

/// What the next primary must know of one of its workers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WorkerNote {
    /// `NODE_UNIQUE_ID`: never used before by its service.
    pub(crate) id: u32,
    /// What it listens on; absent while that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<Vec<String>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// [`Then`] as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Follows {
    Stop,
    Start,
    Fail,
    Yield,
}

impl From<Then> for Follows {
    fn from(then: Then) -> Self {
        match then {
            Then::Stop => Self::Stop,
            Then::Start => Self::Start,
            Then::Fail => Self::Fail,
            Then::Yield => Self::Yield,
        }
    }
}

impl From<Follows> for Then {
    fn from(follows: Follows) -> Self {
        match follows {
            Follows::Stop => Self::Stop,
            Follows::Start => Self::Start,
            Follows::Fail => Self::Fail,
            Follows::Yield => Self::Yield,
        }
    }
}

impl Blob {
    /// The note for the machine's present state.
    pub(crate) fn of(machine: &Machine, spec: String, readiness: bool) -> Self {
        let stopping = match machine.state() {
            State::Stopping { phase: Phase::Unspawned, .. } => None,
            State::Stopping { then, .. } => Some((*then).into()),
            _ => None,
        };
        Self {
            spec,
            ready: readiness && matches!(machine.state(), State::Running { .. }),
            stopping,
            restarts: machine.restarts(),
            failures: machine.failures(),
            half_open: machine.breaker() == BreakerState::HalfOpen,
            worker: None,
        }
    }

    /// Reads a note; an empty or foreign one says nothing, and the child is then replaced as if its spec had changed.
    pub(crate) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub(crate) fn write(&self) -> String {
        serde_json::to_string(self).expect("a struct of strings and numbers is JSON")
    }
}

/// Sixteen hex digits that change when the process should be replaced: plan and readiness, not restart policy.
///
/// Values that are null, false, zero or empty count as absent, so that a field added by a later ganger leaves the
/// fingerprints of old plans as they are and an upgrade replaces nothing.
pub(crate) fn fingerprint(spec: &InstanceSpec) -> String {
    let mut plan = Plan { blob: String::new(), ..spec.plan.clone() };
    for output in [&mut plan.stdout, &mut plan.stderr] {
        // How much of a log is kept is the logger's matter; no process has to end for it.
        if let Output::Log(target) = output {
            (target.max_bytes, target.max_age_s) = (0, 0);
        }
    }
    let by = spec.ready.as_ref().map(|Ready { by, .. }| by);
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    // A plan has string keys and no failing serializer; should that ever change, equal plans still hash alike.
    hash.value(&serde_json::to_value(plan).unwrap_or_default());
    hash.value(&serde_json::to_value(by).unwrap_or_default());
    // What the child itself must be given for it; absent ones change no fingerprint of before.
    let by_notify = spec.startup.as_ref().filter(|startup| startup.by == ReadyBy::Notify);
    for given in [spec.watchdog(), by_notify.map(|startup| startup.timeout)].into_iter().flatten() {
        hash.value(&Value::from(given.as_micros().to_string()));
    }
    if let Some(NodeCluster { shared, .. }) = spec.node_cluster {
        hash.value(&Value::from(if shared { "shared" } else { "dealt" }));
    }
    if spec.node_drain {
        hash.value(&Value::from("node_drain"));
    }
    format!("{:016x}", hash.0)
}

/// A child with this note was started from another spec and is not on its way out.
pub(crate) fn is_outdated(note: &str, spec: &InstanceSpec) -> bool {
    let note = Blob::read(note);
    !note.spec.is_empty() && note.stopping.is_none() && note.spec != fingerprint(spec)
}

/// A child with this note was started from this spec.
pub(crate) fn is_of(note: &str, spec: &InstanceSpec) -> bool {
    Blob::read(note).spec == fingerprint(spec)
}

/// A child with this note had become ready, or need not.
pub(crate) fn is_ready(note: &str, spec: &InstanceSpec) -> bool {
    (spec.ready.is_none() && spec.startup.is_none()) || Blob::read(note).ready
}

/// A child with this note is on its way out.
pub(crate) fn is_ending(note: &str) -> bool {
    Blob::read(note).stopping.is_some()
}

/// A short name for what these processes are: eight digits of [`fingerprint`].
pub(crate) fn version(spec: &InstanceSpec) -> String {
    let mut version = fingerprint(spec);
    version.truncate(8);
    version
}

/// Neither plan nor readiness differ.
pub(crate) fn same_process(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    fingerprint(a) == fingerprint(b)
}

/// FNV-1a, 64 bits (draft-eastlake-fnv): the same on every machine and in every version, which std's hasher is not.
struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Array(items) => {
                self.bytes(b"[");
                items.iter().for_each(|item| self.value(item));
                self.bytes(b"]");
            }
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().filter(|(_, v)| !is_absent(v)).collect();
                fields.sort_by_key(|(name, _)| name.as_str());
                self.bytes(b"{");
                for (name, value) in fields {
                    self.bytes(name.as_bytes());
                    self.bytes(b"\0");
                    self.value(value);
                }
                self.bytes(b"}");
            }
            scalar => {
                self.bytes(scalar.to_string().as_bytes());
                self.bytes(b"\0");
            }
        }
    }
}

fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_absent),
        Value::Bool(true) => false,
    }
}
