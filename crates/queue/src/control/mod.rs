//! What tasks may ask for beyond being run, as rules of a queue, of a kind, or of one task; and how the rules meet.
//!
//! A task's own word wins over its kind's, its kind's over the queue's. What comes out is [`ganger_store::Control`],
//! which goes with the task for good: a configuration that changes later changes new tasks only.

mod canonical;

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_store::{Caching, Control, Dedupe, OnConflict, Until};
use serde::{Deserialize, Serialize};

pub use canonical::digest;

/// Entries of a queue's cache when its rules name no bound.
pub const CACHE_ENTRIES: u64 = 10_000;
/// Bytes of a queue's cache when its rules name no bound.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// The rules of a queue, and of kinds in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ControlRules {
    /// For every task.
    pub all: Wants,
    /// For tasks of a kind, before the former.
    pub kinds: BTreeMap<String, Wants>,
    /// Bounds of the result cache.
    pub cache_entries: Option<u64>,
    /// Bytes of all results in it.
    pub cache_bytes: Option<u64>,
}

impl ControlRules {
    /// True when no task is touched by them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all == Wants::default() && self.kinds.is_empty()
    }
}

/// What is wanted for a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Wants {
    /// No second task like it.
    pub dedupe: Option<DedupeRule>,
    /// Results serve identical tasks for so long; zero: not this one.
    pub cache: Option<Duration>,
    /// Its result is kept for so long.
    pub result_ttl: Option<Duration>,
    /// It is cancelled when its first attempt has not begun after so long.
    pub expires_in: Option<Duration>,
    /// It is cancelled at this moment, wherever it is; milliseconds since 1970.
    pub deadline_ms: Option<u64>,
}

/// No second task like it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupeRule {
    /// What must be equal.
    pub key: DedupeKey,
    /// How long the key is held.
    pub until: Until,
    /// What a second push does.
    pub on_conflict: OnConflict,
}

/// What must be equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DedupeKey {
    /// Kind and payload.
    Payload,
    /// This text.
    Text(Box<str>),
}

impl ControlRules {
    /// What goes with a task, if anything.
    #[must_use]
    pub fn control(
        &self,
        queue: &str,
        kind: Option<&str>,
        payload: &[u8],
        own: Option<&Wants>,
        now_ms: u64,
    ) -> Option<Box<Control>> {
        let none = Wants::default();
        let own = own.unwrap_or(&none);
        let of_kind = kind.and_then(|kind| self.kinds.get(kind)).unwrap_or(&none);
        let layers = [own, of_kind, &self.all];
        let dedupe = layers.iter().find_map(|wants| wants.dedupe.as_ref());
        let cache = layers.iter().find_map(|wants| wants.cache).filter(|ttl| !ttl.is_zero());
        let same = (dedupe.is_some_and(|rule| rule.key == DedupeKey::Payload) || cache.is_some())
            .then(|| digest(queue, kind.unwrap_or_default(), payload));
        let expires_in = layers.iter().find_map(|wants| wants.expires_in);
        let control = Control {
            dedupe: dedupe.map(|rule| Dedupe {
                key: match &rule.key {
                    DedupeKey::Payload => same.as_deref().map(by_payload).unwrap_or_default(),
                    DedupeKey::Text(text) => text.clone(),
                },
                until: rule.until,
                on_conflict: rule.on_conflict,
            }),
            deadline_ms: layers.iter().find_map(|wants| wants.deadline_ms),
            expires_ms: expires_in.map(|time| now_ms.saturating_add(millis(time))),
            result_ttl: layers.iter().find_map(|wants| wants.result_ttl),
            cache: cache.zip(same.as_deref()).map(|(ttl, key)| Caching {
                key: key.into(),
                ttl,
                max_entries: self.cache_entries.unwrap_or(CACHE_ENTRIES),
                max_bytes: self.cache_bytes.unwrap_or(CACHE_BYTES),
            }),
            cached: false,
        };
        (control != Control::default()).then(|| Box::new(control))
    }
}

/// No text of a user's can be mistaken for it: texts are kept as they are, and this has a control character.
fn by_payload(digest: &str) -> Box<str> {
    format!("\u{1}{digest}").into()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> ControlRules {
        let kind = Wants { cache: Some(Duration::ZERO), ..Wants::default() };
        let all = Wants { cache: Some(Duration::from_secs(60)), ..Wants::default() };
        ControlRules { all, kinds: [("now".to_owned(), kind)].into(), ..ControlRules::default() }
    }

    #[test]
    fn the_nearest_word_wins() {
        let of = |kind: &str, own: Option<&Wants>| {
            rules().control("q", Some(kind), b"1", own, 5).and_then(|c| c.cache).map(|c| c.ttl)
        };
        assert_eq!(of("other", None), Some(Duration::from_secs(60)));
        assert_eq!(of("now", None), None);
        let own = Wants { cache: Some(Duration::from_secs(9)), ..Wants::default() };
        assert_eq!(of("now", Some(&own)), Some(Duration::from_secs(9)));
    }

    #[test]
    fn nothing_wanted_is_nothing_kept() {
        assert_eq!(ControlRules::default().control("q", None, b"1", None, 5), None);
        assert!(ControlRules::default().is_empty() && !rules().is_empty());
    }

    #[test]
    fn a_text_is_never_a_payload() {
        let rule = |key| Wants {
            dedupe: Some(DedupeRule {
                key,
                until: Until::Success,
                on_conflict: OnConflict::Existing,
            }),
            expires_in: Some(Duration::from_secs(1)),
            ..Wants::default()
        };
        let key = |wants: &Wants, payload: &[u8]| {
            let control = ControlRules::default().control("q", None, payload, Some(wants), 5);
            control.map(|c| (c.expires_ms, c.dedupe.map(|d| d.key)))
        };
        let payload = rule(DedupeKey::Payload);
        assert_eq!(key(&payload, b"{\"a\":1,\"b\":2}"), key(&payload, b"{ \"b\":2, \"a\":1 }"));
        assert_ne!(key(&payload, b"1"), key(&payload, b"2"));
        let text = rule(DedupeKey::Text("x".into()));
        assert_eq!(key(&text, b"1"), Some((Some(1_005), Some("x".into()))));
    }
}
