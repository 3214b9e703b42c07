//! What `up` says about instances while they come up, end and come back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ganger_api::EventLine;
use ganger_core::InstanceState;

use crate::text;

/// A screen has little more lines than this.
const MANY: usize = 20;

/// Turns events into lines of talk; remembers when each instance was started.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    coloured: bool,
    /// Too many instances for a line each: only what goes wrong is told.
    many: bool,
    started_ms: BTreeMap<(String, u32), u64>,
}

impl Progress {
    /// For `instances` that come up. Those whose start is not seen count from `began`.
    pub(crate) fn new(began: Instant, coloured: bool, instances: usize) -> Self {
        Self { began, coloured, many: instances > MANY, started_ms: BTreeMap::new() }
    }

    /// The end of a wait for readiness, where single lines were not told.
    pub(crate) fn all_ready(&self, instances: usize) -> Option<String> {
        let took = text::age(self.began.elapsed());
        let all = text::count(instances, "instance");
        self.many.then(|| format!("{} {all} ready in {took}", self.mark('✓', "32")))
    }

    /// A line for those events that a person waits for.
    pub(crate) fn on(&mut self, event: &EventLine) -> Option<String> {
        if event.kind == "service.reload" {
            return Some(crate::verbs::reload_line(event));
        }
        let slot = event.slot?;
        let name = format!("{}#{slot}", event.name);
        let state = event.to.as_deref().and_then(|word| word.parse::<InstanceState>().ok());
        let because = if event.reason.is_empty() {
            String::new()
        } else {
            format!(": {}", text::printable(&event.reason))
        };
        match (event.kind.as_str(), state) {
            ("instance.state", Some(InstanceState::Running)) if !self.many => {
                let started = self.started_ms.remove(&(event.name.clone(), slot));
                let took = started.map_or_else(
                    || self.began.elapsed(),
                    |at| Duration::from_millis(event.ts.0.saturating_sub(at)),
                );
                Some(format!("{} {name} ready in {}", self.mark('✓', "32"), text::age(took)))
            }
            ("instance.state", Some(InstanceState::Starting)) => {
                self.started_ms.insert((event.name.clone(), slot), event.ts.0);
                None
            }
            ("instance.state", Some(InstanceState::Failed)) => {
                Some(format!("{} {name} failed{because}", self.mark('✗', "31")))
            }
            ("instance.state", Some(InstanceState::Backoff)) => {
                Some(format!("{} {name}{because}", self.mark('!', "33")))
            }
            _ => None,
        }
    }

    fn mark(&self, mark: char, colour: &str) -> String {
        if self.coloured { format!("\x1b[{colour}m{mark}\x1b[0m") } else { mark.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use ganger_api::{Timestamp, V1};

    use super::*;

    fn event(ts: u64, kind: &str, to: &str, reason: &str) -> EventLine {
        EventLine {
            v: V1,
            seq: 1,
            ts: Timestamp(ts),
            kind: kind.into(),
            name: "web".into(),
            slot: Some(1),
            from: None,
            to: Some(to.into()),
            reason: reason.into(),
            exit: None,
        }
    }

    #[test]
    fn tells_what_matters() {
        let mut progress = Progress::new(Instant::now(), false, 1);
        assert_eq!(progress.on(&event(1_000, "instance.state", "starting", "")), None);
        assert_eq!(
            progress.on(&event(1_400, "instance.state", "running", "")).as_deref(),
            Some("✓ web#1 ready in 0.4s")
        );
        assert_eq!(
            progress.on(&event(2_000, "instance.state", "failed", "10 restarts in 1m")).as_deref(),
            Some("✗ web#1 failed: 10 restarts in 1m")
        );
    }
}
