//! What detectors see now, for conditions: `finding(leak{service:web})`.

use std::collections::BTreeMap;

use ganger_alert::Object;

use super::look::parts;

/// By kind, name and slot: detectors that look at it, and how sure each is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Findings {
    pub(crate) scores: BTreeMap<(String, u32), BTreeMap<&'static str, f64>>,
}

impl Findings {
    /// From 0 to 1, of the instance that is worst; `None`: nothing looks at it.
    pub(super) fn score(&self, object: &Object, detector: &str) -> Option<f64> {
        let (name, slot) = parts(&object.name);
        let mine = self
            .scores
            .iter()
            .filter(|((known, at), _)| known == name && slot.is_none_or(|slot| slot == *at));
        mine.map(|(_, scores)| scores.get(detector).copied().unwrap_or(0.0)).reduce(f64::max)
    }
}
