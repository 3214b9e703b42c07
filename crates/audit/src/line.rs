//! A line: the envelope around a record, put together so that the writer thread adds only what it alone knows.
//!
//! ```text
//! {"body":{…},"event":"intent","mono":1,"prev":"…","principal":{…},"run":"…","seq":7,"ts":"…","v":1}
//!  └──── caller's task ──────┘ └─── writer ─────┘ └──── caller's task ───┘ └──── writer ────────┘
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::canonical;
use crate::error::AuditError;
use crate::hash::{Hash, push_hex};
use crate::record::{Append, Own};
use crate::{FORMAT, LINE_MAX};

/// What the writer adds to a line: at most so many bytes (two numbers of 20 digits, a hash, a time, the names).
const FRAME_MAX: usize = 256;

/// A record in its form, all but what the writer adds.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// `{"body":…,"event":…`
    front: Vec<u8>,
    /// `,"principal":…,"run":…`
    back: Vec<u8>,
}

/// When a line is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment {
    /// RFC 3339 in UTC with nanoseconds.
    pub(crate) ts: String,
    /// Nanoseconds since the machine booted (`CLOCK_BOOTTIME`): tells order where the clock was moved.
    pub(crate) mono_ns: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(boot.tv_nsec).unwrap_or(0);
        Self {
            ts: format!("{:.9}", jiff::Timestamp::now()),
            mono_ns: seconds.saturating_mul(1_000_000_000).saturating_add(nanos),
        }
    }
}

impl Prepared {
    pub(crate) fn new(append: &Append) -> Result<Self, AuditError> {
        let mut prepared = Self::of(&append.record)?;
        if let Some(principal) = &append.principal {
            prepared.back.extend_from_slice(b",\"principal\":");
            form(principal, &mut prepared.back)?;
        }
        if let Some(run) = &append.run {
            prepared.back.extend_from_slice(b",\"run\":");
            canonical::string(&run.to_string(), &mut prepared.back);
        }
        let bytes = prepared.front.len() + prepared.back.len() + FRAME_MAX;
        if bytes > LINE_MAX {
            return Err(AuditError::TooLarge { bytes, max: LINE_MAX });
        }
        Ok(prepared)
    }

    pub(crate) fn own(record: &Own) -> Result<Self, AuditError> {
        Self::of(record)
    }

    fn of(record: &impl Serialize) -> Result<Self, AuditError> {
        // `{"body":…,"event":…}`; the rest of the envelope goes before the closing brace.
        let mut front = Vec::with_capacity(512);
        form(record, &mut front)?;
        front.pop();
        Ok(Self { front, back: Vec::new() })
    }

    /// Bytes of the line, at most.
    pub(crate) fn len_max(&self) -> usize {
        self.front.len() + self.back.len() + FRAME_MAX
    }

    /// Appends the line with its newline.
    pub(crate) fn write(&self, seq: u64, prev: Hash, at: &Moment, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.front);
        out.extend_from_slice(b",\"mono\":");
        out.extend_from_slice(at.mono_ns.to_string().as_bytes());
        out.extend_from_slice(b",\"prev\":\"");
        push_hex(&prev.0, out);
        out.push(b'"');
        out.extend_from_slice(&self.back);
        out.extend_from_slice(b",\"seq\":");
        out.extend_from_slice(seq.to_string().as_bytes());
        out.extend_from_slice(b",\"ts\":");
        canonical::string(&at.ts, out);
        out.extend_from_slice(b",\"v\":");
        out.extend_from_slice(FORMAT.to_string().as_bytes());
        out.extend_from_slice(b"}\n");
    }
}

fn form(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), AuditError> {
    let value: Value =
        serde_json::to_value(value).map_err(|error| AuditError::Form(error.to_string()))?;
    canonical::write(&value, out).map_err(|error| AuditError::Form(error.to_string()))
}
