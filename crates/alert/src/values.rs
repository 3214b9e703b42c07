//! What rules read: objects, their metrics at a time, and what the detectors found. The owner of the samples answers.

use std::fmt;
use std::time::Duration;

use ganger_core::pattern;
use serde::{Deserialize, Serialize};

use crate::labels::Labels;

/// Milliseconds since 1970, as the caller's clock tells them. A time before the last one is taken as the last one.
pub type Time = u64;

/// Something that has metrics: `service:web`, `service:web#1`, `pool:images`, `queue:images`, `host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Object {
    /// `service`, `pool`, `queue`, `task`, `host`, …
    pub kind: String,
    /// Its name; empty for the host.
    pub name: String,
}

impl Object {
    /// `kind:name`.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), name: name.into() }
    }

    /// The machine.
    #[must_use]
    pub fn host() -> Self {
        Self::new("host", "")
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => f.write_str(&self.kind),
            name => write!(f, "{}:{name}", self.kind),
        }
    }
}

/// Which objects: `service:web`, `pool:*`, `host`. `*` in the name stands for any text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Selector {
    /// As [`Object::kind`], no pattern.
    pub kind: String,
    /// A name or a pattern; empty for the host.
    pub name: String,
}

impl Selector {
    /// The machine.
    #[must_use]
    pub fn host() -> Self {
        Self { kind: "host".to_owned(), name: String::new() }
    }

    /// Whether it selects the object.
    #[must_use]
    pub fn matches(&self, object: &Object) -> bool {
        self.kind == object.kind && pattern::matches(&self.name, &object.name)
    }

    /// The one object that it names; `None` for a pattern.
    #[must_use]
    pub fn only(&self) -> Option<Object> {
        (!self.name.contains('*')).then(|| Object::new(self.kind.clone(), self.name.clone()))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Object::new(self.kind.clone(), self.name.clone()).fmt(f)
    }
}

/// What is made of the samples of a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    /// The newest value; of a window, the newest in it.
    Last,
    /// The mean.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The sum.
    Sum,
    /// Growth per second of a counter; a fall is a counter that began anew.
    Rate,
    /// This part of the values is no greater: 0.95 for `p95`.
    Quantile(f64),
}

/// One value that a rule reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// `cpu`, `rss`, `queue.depth`, …
    pub metric: String,
    /// Labels that the series must have: `task_duration{kind='resize'}`.
    pub labels: Labels,
    /// How samples become one value.
    pub read: Read,
    /// The window before the time asked for; `None`: the newest value that still counts as present.
    pub range: Option<Duration>,
}

/// Answers rules. Implemented by who has the samples, live or stored; [`crate::replay()`] asks for times long past.
pub trait Values {
    /// The objects that exist at that time and are selected. An object that is not named is missing.
    fn objects(&self, selector: &Selector, now: Time) -> Vec<Object>;

    /// The value, in base units (bytes, seconds, parts of one: a CPU is 1.0). `None`: missing.
    fn value(&self, object: &Object, query: &Query, now: Time) -> Option<f64>;

    /// What a detector thinks, from 0 (nothing found) to 1 (sure). `None`: the detector has no data.
    fn finding(&self, object: &Object, detector: &str, now: Time) -> Option<f64>;
}

/// Makes one value of the samples of a window, oldest first; for those who keep plain samples. `None` without a sample, and for a
/// rate of fewer than two. Quantiles are those of the nearest rank.
#[must_use]
pub fn reduce(read: Read, samples: &[(Time, f64)]) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    let values = samples.iter().map(|(_, value)| *value);
    let value = match read {
        Read::Last => last.1,
        Read::Sum => values.sum(),
        Read::Avg => values.sum::<f64>() / samples.len() as f64,
        Read::Min => values.fold(f64::INFINITY, f64::min),
        Read::Max => values.fold(f64::NEG_INFINITY, f64::max),
        Read::Rate => {
            let seconds = last.0.saturating_sub(first.0) as f64 / 1_000.0;
            if seconds == 0.0 {
                return None;
            }
            let growth = |pair: &[(Time, f64)]| {
                let (before, after) = (pair[0].1, pair[1].1);
                if after < before { after } else { after - before }
            };
            samples.windows(2).map(growth).sum::<f64>() / seconds
        }
        Read::Quantile(part) => {
            let mut sorted: Vec<f64> = values.collect();
            sorted.sort_by(f64::total_cmp);
            let rank = (part * sorted.len() as f64).ceil() as usize;
            sorted[rank.clamp(1, sorted.len()) - 1]
        }
    };
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_become_values() {
        let samples: Vec<(Time, f64)> = (0..=10).map(|n| (n * 1_000, n as f64)).collect();
        let of = |read| reduce(read, &samples);
        assert_eq!(of(Read::Last), Some(10.0));
        assert_eq!((of(Read::Min), of(Read::Max)), (Some(0.0), Some(10.0)));
        assert_eq!((of(Read::Avg), of(Read::Sum)), (Some(5.0), Some(55.0)));
        assert_eq!(of(Read::Quantile(0.5)), Some(5.0));
        assert_eq!((of(Read::Quantile(0.0)), of(Read::Quantile(1.0))), (Some(0.0), Some(10.0)));
        assert_eq!(of(Read::Rate), Some(1.0));
        assert_eq!(reduce(Read::Last, &[]), None);
    }

    #[test]
    fn a_counter_that_began_anew_has_no_negative_rate() {
        let samples = [(0, 100.0), (1_000, 110.0), (2_000, 4.0)];
        assert_eq!(reduce(Read::Rate, &samples), Some(7.0));
        assert_eq!(reduce(Read::Rate, &samples[..1]), None);
    }

    #[test]
    fn selectors() {
        let all = Selector { kind: "pool".into(), name: "*".into() };
        assert!(all.matches(&Object::new("pool", "images")));
        assert!(!all.matches(&Object::new("service", "images")));
        assert_eq!(all.only(), None);
        assert_eq!(Selector::host().only(), Some(Object::host()));
        assert_eq!((Object::host().to_string(), all.to_string()), ("host".into(), "pool:*".into()));
    }
}
