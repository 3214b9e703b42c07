//! Old segments go: announced in the log first, deleted then.

use std::time::Duration;

use super::state::State;
use crate::error::AuditError;
use crate::record::{Own, Retired};
use crate::segment::{self, Segment};
use crate::verify::{Header, first_line};

impl State {
    /// Deletes what the retention no longer keeps. Called when a segment begins.
    pub(super) fn retire(&mut self) -> Result<(), AuditError> {
        let retention = self.options.retention;
        if retention.max_bytes.is_none() && retention.max_age.is_none() {
            return Ok(());
        }
        let folder = self.options.folder.clone();
        let segments = segment::list(&folder).map_err(AuditError::io("listing", &folder))?;
        let Some((going, first_kept)) = self.going(&segments) else { return Ok(()) };
        let retired = Retired {
            through: first_kept.start.number - 1,
            seq: first_kept.seq - 1,
            hash: first_kept.prev,
            segments: going.len() as u64,
            bytes: going.iter().map(size).sum(),
        };
        self.push_own(&Own::Retired(retired))?;
        self.commit()?;
        for segment in going {
            std::fs::remove_file(&segment.path)
                .map_err(AuditError::io("deleting", &segment.path))?;
        }
        Ok(())
    }

    /// The oldest segments that go, and the first line of the one after them.
    fn going<'a>(&self, segments: &'a [Segment]) -> Option<(&'a [Segment], Header)> {
        let retention = self.options.retention;
        let mut bytes: u64 = segments.iter().map(size).sum();
        let mut kept = None;
        // The segment that is being written always stays.
        for (at, pair) in segments.windows(2).enumerate() {
            let next = first_line(&pair[1])?;
            let large = retention.max_bytes.is_some_and(|max| bytes > max);
            let old =
                retention.max_age.is_some_and(|max| age(&next.ts).is_some_and(|age| age > max));
            if !large && !old {
                break;
            }
            bytes = bytes.saturating_sub(size(&pair[0]));
            kept = Some((&segments[..=at], next));
        }
        kept
    }
}

fn size(segment: &Segment) -> u64 {
    std::fs::metadata(&segment.path).map_or(0, |meta| meta.len())
}

/// How long ago a time of the log is; none in the future.
fn age(ts: &str) -> Option<Duration> {
    let then: jiff::Timestamp = ts.parse().ok()?;
    Duration::try_from(jiff::Timestamp::now().duration_since(then)).ok()
}
