//! One incident for an object and a cause, however often a detector says it.
//!
//! ```text
//!            finding                 calm for CLOSE_MS              silent for the refractory time
//!   (none) ──────────▶ open ───────────────────────▶ closed ───────────────────────────────▶ (none)
//!            Opened     │  ▲ score + 0.2: Worse         │  ▲  Closed
//!                       └──┘                            └──┴─ finding: open again, told as Again, never as new
//! ```

use serde::{Deserialize, Serialize};

use crate::engine::BASELINE;
use crate::finding::{Cause, Finding};

/// An incident closes when its detector was silent for so long.
pub const CLOSE_MS: u64 = 60_000;
/// One step of the engine under spike and shift.
pub const STEP_MS: u64 = 10_000;
/// A cause that comes back within this belongs to the old incident: max(10 min, 10 % of the baseline), which is 4,000 s.
pub const REFRACTORY_MS: u64 = {
    let tenth = BASELINE as u64 * STEP_MS / 10;
    if tenth > 600_000 { tenth } else { 600_000 }
};
/// Incidents that are remembered for one desk; beyond, the one that was silent longest is forgotten.
pub const DESK_MAX: usize = 64;
/// A score that rose by so much is told again.
const WORSE: f64 = 0.2;

/// What happened once or again to an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The finding that opened it, or the worst since.
    pub finding: Finding,
    /// When it was opened, in milliseconds since 1970.
    pub opened_ms: u64,
    /// When a detector last saw it.
    pub last_ms: u64,
    /// When it was closed; `None` while open.
    pub closed_ms: Option<u64>,
    /// How often it came back after it was closed.
    pub returns: u32,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// New.
    Opened(Incident),
    /// The score rose clearly.
    Worse(Incident),
    /// Back within the refractory time: for the record, not for a call.
    Again(Incident),
    /// Calm.
    Closed(Incident),
}

impl Change {
    /// The incident it is about.
    #[must_use]
    pub const fn incident(&self) -> &Incident {
        match self {
            Self::Opened(incident)
            | Self::Worse(incident)
            | Self::Again(incident)
            | Self::Closed(incident) => incident,
        }
    }
}

/// Incidents, open or lately closed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Desk {
    incidents: Vec<Incident>,
}

impl Desk {
    /// Nothing happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What detectors see at `now_ms`. All of them, each time: silence is what closes.
    pub fn observe(&mut self, now_ms: u64, findings: Vec<Finding>) -> Vec<Change> {
        let mut changes = Vec::new();
        for finding in findings {
            changes.extend(self.take(now_ms, finding));
        }
        for incident in &mut self.incidents {
            if incident.closed_ms.is_none() && now_ms.saturating_sub(incident.last_ms) >= CLOSE_MS {
                incident.closed_ms = Some(now_ms);
                changes.push(Change::Closed(incident.clone()));
            }
        }
        self.incidents.retain(|incident| {
            incident.closed_ms.is_none() || now_ms.saturating_sub(incident.last_ms) < REFRACTORY_MS
        });
        changes
    }

    /// Those that are open.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.iter().filter(|incident| incident.closed_ms.is_none())
    }

    fn take(&mut self, now_ms: u64, finding: Finding) -> Option<Change> {
        let Some(incident) = self.find(&finding.object, finding.cause) else {
            return Some(self.opened(now_ms, finding));
        };
        incident.last_ms = now_ms;
        if incident.closed_ms.take().is_some() {
            incident.returns = incident.returns.saturating_add(1);
            incident.finding = finding;
            return Some(Change::Again(incident.clone()));
        }
        let rise = finding.score - incident.finding.score;
        if rise >= WORSE {
            incident.finding = Finding { since_ms: incident.finding.since_ms, ..finding };
            return Some(Change::Worse(incident.clone()));
        }
        None
    }

    fn find(&mut self, object: &str, cause: Cause) -> Option<&mut Incident> {
        self.incidents.iter_mut().find(|i| i.finding.cause == cause && i.finding.object == object)
    }

    fn opened(&mut self, now_ms: u64, finding: Finding) -> Change {
        if self.incidents.len() >= DESK_MAX {
            // Closed ones first, then the one that was silent longest.
            let quietest = (0..self.incidents.len()).min_by_key(|i| {
                (self.incidents[*i].closed_ms.is_none(), self.incidents[*i].last_ms)
            });
            quietest.map(|i| self.incidents.swap_remove(i));
        }
        let incident =
            Incident { finding, opened_ms: now_ms, last_ms: now_ms, closed_ms: None, returns: 0 };
        self.incidents.push(incident.clone());
        Change::Opened(incident)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::finding::{Detector, Metric};

    fn finding(object: &str, score: f64) -> Finding {
        Finding {
            detector: Detector::Spike,
            object: object.to_owned(),
            cause: Cause::Unusual(Metric::Cpu),
            since_ms: 0,
            score,
            value: 1.0,
            baseline: 0.1,
            samples: 1,
            evidence: Vec::new(),
            eta_s: None,
            deploy: false,
        }
    }

    #[test]
    fn a_square_wave_for_a_day_is_told_once_in_full() {
        let mut desk = Desk::new();
        let (mut opened, mut again) = (0, 0);
        for second in 0..86_400_u64 {
            let seen = if (second / 300) % 2 == 0 { vec![finding("web#1", 0.6)] } else { vec![] };
            for change in desk.observe(second * 1_000, seen) {
                match change {
                    Change::Opened(_) => opened += 1,
                    Change::Again(_) => again += 1,
                    Change::Worse(_) => panic!("the score never rose"),
                    Change::Closed(_) => {}
                }
            }
        }
        assert_eq!((opened, again), (1, 143));
    }

    #[test]
    fn it_is_new_after_the_refractory_time_and_worse_is_told() {
        let mut desk = Desk::new();
        assert!(matches!(desk.observe(0, vec![finding("a", 0.5)])[..], [Change::Opened(_)]));
        assert!(matches!(desk.observe(1_000, vec![finding("a", 0.6)])[..], []));
        assert!(matches!(desk.observe(2_000, vec![finding("a", 0.8)])[..], [Change::Worse(_)]));
        assert!(matches!(desk.observe(2_000 + CLOSE_MS, vec![])[..], [Change::Closed(_)]));
        assert_eq!(desk.open().count(), 0);
        let later = 2_000 + REFRACTORY_MS;
        assert!(desk.observe(later, vec![]).is_empty());
        assert!(matches!(
            desk.observe(later + 1, vec![finding("a", 0.5)])[..],
            [Change::Opened(_)]
        ));
    }

    proptest! {
        /// Each open incident was opened or came back, and is closed once; the desk never outgrows its bound.
        #[test]
        fn openings_and_closings_alternate(steps in prop::collection::vec((0u8..100, 0u64..90_000), 1..300)) {
            let (mut desk, mut now) = (Desk::new(), 0);
            let mut open = std::collections::HashSet::new();
            for (object, gap) in steps {
                now += gap;
                for change in desk.observe(now, vec![finding(&object.to_string(), 0.5)]) {
                    let name = change.incident().finding.object.clone();
                    match change {
                        Change::Opened(_) => { open.insert(name); }
                        Change::Again(_) => prop_assert!(open.insert(name)),
                        Change::Closed(_) => { open.remove(&name); }
                        Change::Worse(_) => prop_assert!(open.contains(&name)),
                    }
                }
                prop_assert!(desk.incidents.len() <= DESK_MAX);
            }
        }
    }
}
