//! Who need not be told: silences that people set, and alerts that say the same as a greater one.

use ganger_core::Dur;
use serde::{Deserialize, Serialize};

use crate::labels::{Labels, Matcher};
use crate::values::Time;

/// Silences kept at a time: people set them by hand.
pub const SILENCES_MAX: usize = 1_000;

/// Nobody is told of alerts that all matchers select, for a time. A firing that was already told still tells its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Given by the caller; the same again replaces it.
    pub id: String,
    /// All of them must match; at least one.
    pub matchers: Vec<Matcher>,
    /// Who set it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// From then.
    pub starts: Time,
    /// Until then; it is forgotten afterwards.
    pub ends: Time,
}

/// Why a silence was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// It would silence everything.
    #[error("silence {0}: needs at least one matcher, an author and a reason")]
    Incomplete(String),
    /// It is over, or ends before it starts.
    #[error("silence {0}: ends before it starts, or is over already")]
    Over(String),
    /// See [`SILENCES_MAX`].
    #[error("there are {SILENCES_MAX} silences already: end some")]
    TooMany,
}

impl Silence {
    pub(crate) fn check(&self, now: Time) -> Result<(), SilenceError> {
        if self.matchers.is_empty() || self.author.is_empty() || self.reason.is_empty() {
            return Err(SilenceError::Incomplete(self.id.clone()));
        }
        if self.ends <= now.max(self.starts) {
            return Err(SilenceError::Over(self.id.clone()));
        }
        Ok(())
    }

    /// Whether it silences the alert at that time.
    #[must_use]
    pub fn covers(&self, labels: &Labels, now: Time) -> bool {
        (self.starts..self.ends).contains(&now) && self.matchers.iter().all(|m| m.matches(labels))
    }
}

/// While an alert that `source` selects fires, those that `target` selects and that have the same values of `equal` are not told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibition {
    /// The greater alert.
    pub source: Vec<Matcher>,
    /// The lesser ones.
    pub target: Vec<Matcher>,
    /// Labels that must agree; one that both lack agrees.
    #[serde(default)]
    pub equal: Vec<String>,
}

impl Inhibition {
    /// Whether the firing alert `source` keeps `target` quiet. Never itself, nor one that is a source as well (two would silence each other).
    #[must_use]
    pub fn covers(&self, source: &Labels, target: &Labels) -> bool {
        let all = |matchers: &[Matcher], labels| matchers.iter().all(|m| m.matches(labels));
        all(&self.target, target)
            && !all(&self.source, target)
            && all(&self.source, source)
            && self.equal.iter().all(|name| source.get(name) == target.get(name))
    }
}

/// How often one receiver may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRate {
    /// One more comes in this time.
    pub every: Dur,
    /// So many may come at once; at least 1.
    pub burst: u32,
}

impl Default for RouteRate {
    /// Ten at once, then one a minute: more than a person reads.
    fn default() -> Self {
        Self { every: Dur(std::time::Duration::from_secs(60)), burst: 10 }
    }
}

/// A token bucket whose one number can be stored (ITU-T I.371's cell rate algorithm): when it would be full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tokens {
    full: Time,
}

impl Tokens {
    /// Takes one; else when the next is there.
    pub(crate) fn take(&mut self, rate: &RouteRate, now: Time) -> Result<(), Time> {
        let every = crate::state::ms(rate.every.0);
        let slack = every.saturating_mul(u64::from(rate.burst.max(1)) - 1);
        if self.full > now.saturating_add(slack) {
            return Err(self.full - slack);
        }
        self.full = self.full.max(now).saturating_add(every);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_gives_its_burst_and_then_its_rate() {
        let rate = RouteRate::default();
        let mut tokens = Tokens::default();
        let now = 1_000_000;
        assert!((0..10).all(|_| tokens.take(&rate, now).is_ok()));
        assert_eq!(tokens.take(&rate, now), Err(now + 60_000));
        assert_eq!(tokens.take(&rate, now + 60_000), Ok(()));
        assert_eq!(tokens.take(&rate, now + 60_000), Err(now + 120_000));
    }

    #[test]
    fn an_alert_does_not_silence_itself() {
        let rule = Inhibition {
            source: vec!["severity=page".parse().unwrap()],
            target: vec!["severity=~page|warning".parse().unwrap()],
            equal: vec!["host".to_owned()],
        };
        let labels = |severity: &str, host: &str| {
            Labels::from([("severity".into(), severity.into()), ("host".into(), host.into())])
        };
        assert!(rule.covers(&labels("page", "a"), &labels("warning", "a")));
        assert!(!rule.covers(&labels("page", "a"), &labels("warning", "b")));
        assert!(!rule.covers(&labels("page", "a"), &labels("page", "a")));
    }
}
