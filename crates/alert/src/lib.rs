//! Alerts: rules over metrics and findings, what becomes of them, who is told, and what they are told.
//!
//! ```text
//!  Values ─▶ Rule (expr) ─▶ State, Flap ─▶ Group (wait, interval, repeat; silence, inhibition, bucket) ─▶ Notification
//!            one verdict     per rule × object       per receiver × labels                                     │
//!                                                                                                              ▼
//!                                             log, exec, webhook ◀─ Outbox (retry, dead letters) ◀─ Message (facts of the caller)
//! ```
//!
//! All of it but `notify::http` is pure: time and values come in as parameters, actions go out. What must outlive the daemon is
//! [`Saved`] and the outbox's entries. The crate knows no samples, no store and no processes: the caller answers [`Values`] and gives
//! the facts of a message. Semantics are those of Prometheus and Alertmanager where they have any; differences and their
//! reasons: `docs/design/014-alert.md`.

mod alerts;
pub mod expr;
mod flap;
mod group;
mod instance;
pub mod labels;
pub mod notify;
mod replay;
mod rule;
mod silence;
mod state;
#[cfg(test)]
mod tests;
mod values;

pub use alerts::{
    Action, Alerts, Change, Counts, Event, INSTANCES_MAX, OUTAGE, Row, Saved, SavedVersion,
    Settings,
};
pub use flap::{CHECK, Flap};
pub use group::{Alert, FLAP_REPEAT, GROUP_INTERVAL, GROUP_WAIT, Notification, Reason, Status};
pub use labels::{Labels, Matcher};
pub use replay::{EPISODES_MAX, Episode, Replayed, STEPS_MAX, replay};
pub use rule::{Missing, Rule, RuleError, RuleSettings};
pub use silence::{Inhibition, RouteRate, SILENCES_MAX, Silence, SilenceError};
pub use state::{Ended, LOST_AFTER, Phase, STALE_AFTER, State, StateName, Step, Timing};
pub use values::{Object, Query, Read, Selector, Time, Values, reduce};
