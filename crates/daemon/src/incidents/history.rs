//! What a log has of incidents when a daemon begins. Blocking.

use std::collections::BTreeMap;
use std::path::Path;

use ganger_audit::{Event, Filter, ReadError, Reader, Record};
use ganger_incident::{Detector, Raised, Settings};

/// Records of so long are looked at again: what a principal usually does is learned within days, but anew within hours too.
const BACK_MS: u64 = 86_400_000;
/// Records that are looked at; a log with more in a day is read from the beginning of that day only so far.
const RECORDS_MAX: u64 = 200_000;
/// What is said of incidents counts for so long.
const INCIDENTS_BACK_MS: u64 = 30 * 86_400_000;

/// What was found.
#[derive(Debug)]
pub(super) struct History {
    pub(super) detector: Detector,
    /// The last record of the log.
    pub(super) last: u64,
    /// What the records of the last day come to and no record says.
    pub(super) unrecorded: Vec<Raised>,
}

/// Reads a log; one that is not there has nothing.
pub(super) fn read(folder: &Path, settings: Settings) -> Result<History, ReadError> {
    let mut history =
        History { detector: Detector::new(settings), last: 0, unrecorded: Vec::new() };
    let reader = match Reader::open(folder) {
        Ok(reader) => reader,
        Err(ReadError::NoLog(_)) => return Ok(history),
        Err(error) => return Err(error),
    };
    let now = ganger_api::Timestamp::now().0;
    for event in ["incident", "incident_state"] {
        let since_ms = Some(now.saturating_sub(INCIDENTS_BACK_MS));
        let filter = Filter { event: Some(event.into()), since_ms, ..Filter::default() };
        reader.search(&filter, |found| {
            // Lines that can't be read are the business of `audit verify`.
            if let Ok(found) = found {
                history.detector.see(&found.entry);
            }
            true
        })?;
    }
    let mut raised: BTreeMap<String, Raised> = BTreeMap::new();
    let mut left = RECORDS_MAX;
    let since_ms = Some(now.saturating_sub(BACK_MS));
    reader.search(&Filter { since_ms, ..Filter::default() }, |found| {
        let Ok(found) = found else { return true };
        for one in history.detector.see(&found.entry) {
            raised.insert(one.incident.id.clone(), one);
        }
        if let Event::Record(Record::Incident(incident)) = &found.entry.event {
            raised.remove(&incident.id);
        }
        history.last = found.entry.seq;
        left -= 1;
        left > 0
    })?;
    history.unrecorded = raised.into_values().collect();
    Ok(history)
}

/// Looks at the records after `last`: the last of them, and what they come to.
pub(super) fn since(
    folder: &Path,
    last: u64,
    detector: &mut Detector,
) -> Result<(u64, Vec<Raised>), ReadError> {
    let (mut last, mut raised) = (last, Vec::new());
    let since_ms = Some(ganger_api::Timestamp::now().0.saturating_sub(BACK_MS));
    Reader::open(folder)?.search(&Filter { since_ms, ..Filter::default() }, |found| {
        if let Ok(found) = found
            && found.entry.seq > last
        {
            last = found.entry.seq;
            raised.extend(detector.see(&found.entry));
        }
        true
    })?;
    Ok((last, raised))
}
