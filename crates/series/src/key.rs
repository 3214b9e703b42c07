//! What a series is of: an object by name and slot, and its metrics.
//!
//! The identity is never a pid: a service that restarts a thousand times stays one object, and its restarts are marks on
//! the time axis.

use std::sync::Arc;

use crate::bytes::{Take, put_bytes, put_uint};

/// Seconds since the Unix epoch: the one clock of all series.
pub type Tick = i64;

/// Bytes of a name: as long as a file's name may be.
pub const NAME_MAX: usize = 255;
/// Metrics of one object: twenty times what a process has.
pub const METRICS_MAX: usize = 256;

/// A name or a list of metrics that can't be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Empty, or too long.
    #[error("a name has 1 to {NAME_MAX} bytes, and this one {0}")]
    Name(usize),
    /// None, or too many.
    #[error("an object has 1 to {METRICS_MAX} metrics, and this one {0}")]
    Metrics(usize),
    /// The same metric twice.
    #[error("the metric `{0}` is there twice")]
    Twice(Arc<str>),
}

fn checked(name: &str) -> Result<Arc<str>, KeyError> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(KeyError::Name(name.len()));
    }
    Ok(name.into())
}

/// An object: one instance of a service or pool, a queue, the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    name: Arc<str>,
    slot: u32,
}

impl Key {
    /// The object `name#slot`.
    ///
    /// # Errors
    /// The name is empty or longer than [`NAME_MAX`].
    pub fn new(name: &str, slot: u32) -> Result<Self, KeyError> {
        Ok(Self { name: checked(name)?, slot })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its slot.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        put_uint(out, u64::from(self.slot));
    }

    pub(crate) fn take(from: &mut Take<'_>) -> Option<Self> {
        let name = std::str::from_utf8(from.bytes()?).ok()?;
        Self::new(name, u32::try_from(from.uint()?).ok()?).ok()
    }
}

/// How a metric's values are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A level: what is told of it is the value.
    Gauge,
    /// A total that only grows, but for resets: what is told of it is its increase a second.
    Counter,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Metric {
    name: Arc<str>,
    kind: Kind,
    sketch: bool,
}

impl Metric {
    /// A metric without percentiles in the tiers of minutes and hours.
    ///
    /// # Errors
    /// The name is empty or longer than [`NAME_MAX`].
    pub fn new(name: &str, kind: Kind) -> Result<Self, KeyError> {
        Ok(Self { name: checked(name)?, kind, sketch: false })
    }

    /// Keeps a sketch a minute and an hour, so that any window has percentiles: for CPU, memory, latencies.
    #[must_use]
    pub fn sketched(mut self) -> Self {
        self.sketch = true;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its values are meant.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the tiers keep its percentiles.
    #[must_use]
    pub fn is_sketched(&self) -> bool {
        self.sketch
    }
}

/// The metrics of an object, in the order in which a row has them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Schema(Arc<[Metric]>);

impl Schema {
    /// A list of metrics. Objects of one sort share a clone of one schema.
    ///
    /// # Errors
    /// None, more than [`METRICS_MAX`], or one twice.
    pub fn new(metrics: Vec<Metric>) -> Result<Self, KeyError> {
        if metrics.is_empty() || metrics.len() > METRICS_MAX {
            return Err(KeyError::Metrics(metrics.len()));
        }
        for (n, metric) in metrics.iter().enumerate() {
            if metrics[..n].iter().any(|other| other.name == metric.name) {
                return Err(KeyError::Twice(metric.name.clone()));
            }
        }
        Ok(Self(metrics.into()))
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.0
    }

    /// Values of a row.
    pub(crate) fn width(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.0.len() as u64);
        for metric in self.0.iter() {
            let flags = u8::from(metric.kind == Kind::Counter) | u8::from(metric.sketch) << 1;
            out.push(flags);
            put_bytes(out, metric.name.as_bytes());
        }
    }

    pub(crate) fn take(from: &mut Take<'_>) -> Option<Self> {
        let n = from.count(METRICS_MAX)?;
        let mut metrics = Vec::with_capacity(n);
        for _ in 0..n {
            let flags = from.byte()?;
            let name = std::str::from_utf8(from.bytes()?).ok()?;
            let kind = if flags & 1 == 1 { Kind::Counter } else { Kind::Gauge };
            let metric = Metric::new(name, kind).ok()?;
            metrics.push(if flags & 2 == 2 { metric.sketched() } else { metric });
        }
        Self::new(metrics).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_lists_are_bounded() {
        assert_eq!(Key::new("", 0).unwrap_err(), KeyError::Name(0));
        assert_eq!(Key::new(&"x".repeat(256), 0).unwrap_err(), KeyError::Name(256));
        let metric = |name: &str| Metric::new(name, Kind::Gauge).unwrap();
        assert_eq!(Schema::new(vec![]).unwrap_err(), KeyError::Metrics(0));
        let twice = Schema::new(vec![metric("a"), metric("b"), metric("a")]);
        assert_eq!(twice.unwrap_err(), KeyError::Twice("a".into()));
        let many = (0..257).map(|n| metric(&n.to_string())).collect();
        assert_eq!(Schema::new(many).unwrap_err(), KeyError::Metrics(257));
    }

    #[test]
    fn both_are_read_as_written() {
        let key = Key::new("web", 7).unwrap();
        let schema = Schema::new(vec![
            Metric::new("cpu", Kind::Counter).unwrap().sketched(),
            Metric::new("rss", Kind::Gauge).unwrap(),
        ])
        .unwrap();
        let mut out = Vec::new();
        key.put(&mut out);
        schema.put(&mut out);
        let mut take = Take(&out);
        assert_eq!(Key::take(&mut take), Some(key));
        assert_eq!(Schema::take(&mut take), Some(schema));
        for cut in 0..out.len() {
            let mut take = Take(&out[..cut]);
            assert!(Key::take(&mut take).is_none() || Schema::take(&mut take).is_none(), "{cut}");
        }
    }
}
