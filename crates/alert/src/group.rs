//! Alerts that are told together, and when.
//!
//! ```text
//!   first alert ──▶ wait 30 s ──▶ flush ──▶ every 5 min: flush ──▶ empty: forgotten
//! ```
//!
//! A flush tells something when an alert is new, one that was told has ended, one began or ceased to flap or lost its data, or `repeat` is
//! over. An alert that ends before it was told is never told. Where a receiver's bucket is empty, the flush waits for the next token, and what
//! comes in the meantime goes with it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::expr::Evidence;
use crate::labels::{self, Labels};
use crate::silence::{RouteRate, Tokens};
use crate::state::{Ended, ms};
use crate::values::{Object, Time};

/// Before the first notification of a group (Alertmanager's `group_wait`).
pub const GROUP_WAIT: Duration = Duration::from_secs(30);
/// Between notifications of a group (Alertmanager's `group_interval`).
pub const GROUP_INTERVAL: Duration = Duration::from_secs(300);
/// A group in which all alerts flap is told again after this.
pub const FLAP_REPEAT: Duration = Duration::from_secs(24 * 3_600);

/// `firing` or `resolved`, as Alertmanager has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It fires, or it flaps.
    Firing,
    /// It ended.
    Resolved,
}

/// An alert as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule's name.
    pub rule: String,
    /// What it is about.
    pub object: Object,
    /// Its labels, with `alertname` and `severity`.
    pub labels: Labels,
    /// See [`labels::fingerprint`].
    pub fingerprint: u64,
    /// See [`Status`].
    pub status: Status,
    /// Fires since then.
    pub starts: Time,
    /// Ended then.
    pub ends: Option<Time>,
    /// Why it ended.
    pub ended: Option<Ended>,
    /// It comes and goes since then.
    pub flapping: Option<Time>,
    /// It fires, and there is no data since then.
    pub stale: Option<Time>,
    /// The value that made it fire, or that ended it.
    pub evidence: Option<Evidence>,
    /// The rule's line, filled in.
    pub summary: String,
}

/// Why a group is told; the texts are Alertmanager's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Nothing of the group was told before.
    #[serde(rename = "first notification")]
    First,
    /// An alert is new, or it began or ceased to flap, or it lost its data.
    #[serde(rename = "new alerts added")]
    New,
    /// One ended.
    #[serde(rename = "some alerts resolved")]
    Some,
    /// All ended.
    #[serde(rename = "all alerts resolved")]
    All,
    /// They still fire.
    #[serde(rename = "repeat interval elapsed")]
    Repeat,
}

/// What one receiver is to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// The same for the same news, also when it is made again after a crash: the `Idempotency-Key`.
    pub id: String,
    /// NAME of `[notify.NAME]`.
    pub receiver: String,
    /// See [`Reason`].
    pub reason: Reason,
    /// The labels that its alerts are grouped by.
    pub group: Labels,
    /// Firing ones first, then by labels.
    pub alerts: Vec<Alert>,
    /// When it was made.
    pub at: Time,
}

/// How an alert was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    flapping: bool,
    stale: bool,
}

impl Told {
    fn of(alert: &Alert) -> Self {
        Self { flapping: alert.flapping.is_some(), stale: alert.stale.is_some() }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) receiver: String,
    labels: Labels,
    /// The shortest of its rules.
    repeat: Duration,
    next: Time,
    last: Option<Time>,
    /// Notifications so far.
    count: u64,
    told: BTreeMap<u64, Told>,
    members: BTreeMap<u64, Alert>,
}

impl Group {
    pub(crate) fn new(receiver: String, labels: Labels, repeat: Duration, now: Time) -> Self {
        let next = now + ms(GROUP_WAIT);
        let (told, members) = Default::default();
        Self { receiver, labels, repeat, next, last: None, count: 0, told, members }
    }

    /// What a group is known by.
    pub(crate) fn key(receiver: &str, labels: &Labels) -> String {
        format!("{receiver}/{}", labels::shown(labels))
    }

    /// The alert as it is now; ends of what was never told are forgotten.
    pub(crate) fn update(&mut self, alert: Alert, repeat: Duration) {
        self.repeat = self.repeat.min(repeat);
        if alert.status == Status::Resolved && !self.told.contains_key(&alert.fingerprint) {
            self.members.remove(&alert.fingerprint);
        } else {
            self.members.insert(alert.fingerprint, alert);
        }
    }

    /// Until [`Group::update`] names one.
    pub(crate) fn forget_repeat(&mut self) {
        self.repeat = Duration::MAX;
    }

    /// Ends members whose rule is not known any more, or that are told elsewhere.
    pub(crate) fn end(&mut self, selected: impl Fn(&Alert) -> bool, why: Ended, now: Time) {
        let alerts: Vec<Alert> = self.members.values().filter(|a| selected(a)).cloned().collect();
        for mut alert in alerts {
            (alert.status, alert.ends, alert.ended) = (Status::Resolved, Some(now), Some(why));
            (alert.flapping, alert.stale) = (None, None);
            self.update(alert, self.repeat);
        }
    }

    /// Nothing is left to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What is to be told now, if anything. `Err`: the receiver's bucket was empty.
    pub(crate) fn flush(
        &mut self,
        muted: impl Fn(&Alert) -> bool,
        bucket: (&mut Tokens, &RouteRate),
        now: Time,
    ) -> Result<Option<Notification>, ()> {
        if now < self.next {
            return Ok(None);
        }
        self.next = now + ms(GROUP_INTERVAL);
        let tellable = |alert: &&Alert| alert.status == Status::Resolved || !muted(alert);
        let (firing, resolved): (Vec<&Alert>, Vec<&Alert>) = self
            .members
            .values()
            .filter(tellable)
            .partition(|alert| alert.status == Status::Firing);
        let Some(reason) = self.reason(&firing, &resolved, now) else { return Ok(None) };
        if let Err(at) = bucket.0.take(bucket.1, now) {
            self.next = at;
            return Err(());
        }
        let told = firing.iter().map(|alert| (alert.fingerprint, Told::of(alert))).collect();
        let alerts: Vec<Alert> = firing.into_iter().chain(resolved).cloned().collect();
        let notification = self.notification(reason, alerts, now);
        for alert in &notification.alerts {
            if alert.status == Status::Resolved {
                self.members.remove(&alert.fingerprint);
            }
        }
        // What was told and is silenced now still fires for the receiver, and its end is told.
        let members = &self.members;
        self.told.retain(|fingerprint, _| members.contains_key(fingerprint));
        self.told.extend::<BTreeMap<u64, Told>>(told);
        self.last = Some(now);
        self.count += 1;
        Ok(Some(notification))
    }

    fn reason(&self, firing: &[&Alert], resolved: &[&Alert], now: Time) -> Option<Reason> {
        let news = firing.iter().any(|a| self.told.get(&a.fingerprint) != Some(&Told::of(a)));
        if news {
            return Some(if self.told.is_empty() { Reason::First } else { Reason::New });
        }
        if !resolved.is_empty() {
            return Some(if firing.is_empty() { Reason::All } else { Reason::Some });
        }
        let flaps = firing.iter().all(|alert| alert.flapping.is_some());
        let repeat = if flaps { self.repeat.max(FLAP_REPEAT) } else { self.repeat };
        let due = self.last.is_some_and(|last| now.saturating_sub(last) >= ms(repeat));
        (due && !firing.is_empty()).then_some(Reason::Repeat)
    }

    fn notification(&self, reason: Reason, alerts: Vec<Alert>, now: Time) -> Notification {
        let mut hash = Sha256::new();
        hash.update(Self::key(&self.receiver, &self.labels));
        hash.update(self.count.to_be_bytes());
        for alert in &alerts {
            hash.update(alert.fingerprint.to_be_bytes());
            hash.update(alert.starts.to_be_bytes());
            let told = Told::of(alert);
            let resolved = alert.status == Status::Resolved;
            hash.update([u8::from(resolved), u8::from(told.flapping), u8::from(told.stale)]);
        }
        let id = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let (receiver, group) = (self.receiver.clone(), self.labels.clone());
        Notification { id, receiver, reason, group, alerts, at: now }
    }
}
