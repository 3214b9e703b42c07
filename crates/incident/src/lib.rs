//! What the records of the audit log add up to: incidents, each with the records that show it.
//!
//! ```text
//! Entry ─▶ signals (what one record says) ─▶ Memory of the principal (windows, what it usually does) ─▶ Live: one incident
//!                                                                     for rule, principal, program ─▶ Raised ─▶ log, event, hook
//!                                                                                                  └▶ LockOut (asked before a decision)
//! ```
//!
//! An incident is *opened*, grows (*again*, told at 10, 100, … and after a day of silence), gets *worse*, and is dealt with by people:
//!
//! ```text
//!            ack                 close
//!   open ───────────▶ ack ───────────────▶ closed      more of the same: open and ack count on, closed opens a new one
//!     └───────────────────────────────────────▲
//! ```
//!
//! Pure: no clock, no task, no file. Times are those of the records, windows are measured by `mono`, so a clock that was
//! moved hides nothing. The same records give the same incidents with the same ids, live or read again years later.
//! Everything that is remembered is bounded; what is forgotten first is what was quiet longest.

mod detector;
mod hook;
mod ledger;
mod live;
mod memory;
mod policies;
mod rule;
mod settings;
mod signal;
mod window;

pub use detector::Detector;
pub use hook::Hook;
pub use ledger::{Ledger, Note, Standing};
pub use live::{Change, Raised};
pub use memory::Who;
pub use rule::Rule;
pub use settings::{COUNT_MAX, LockOutRule, Settings, Threshold};

/// Text from outside, for people: letters and digits of all scripts and printable ASCII stay, everything else (controls,
/// what turns the direction of text, what is not seen) is written as `\u{…}`.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ' '..='~') || c.is_alphanumeric() || matches!(c, '–' | '—' | '…') {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out
}

/// A principal may run nothing until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOut {
    /// The incident that did it; closing it ends the lock-out.
    pub incident: String,
    /// Its rule.
    pub rule: Rule,
    /// Nanoseconds since boot, as `mono` of the records.
    pub until_ns: u64,
}
