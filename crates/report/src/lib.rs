//! The security report: what a period of the audit log comes to.
//!
//! ```text
//! entries of the log ─▶ Tally (counts, bounded) ─┐
//! incidents' ledger, verification, policies ─────┴▶ Report ─▶ html() | markdown() | JSON (serde)
//! ```
//!
//! Pure: whoever reads the log hands over its entries, the earlier ones too, for they tell what is new. HTML is one file
//! without script, whose charts are SVG; every text that comes from the log is escaped, and the page's own policy would stop
//! what was forgotten.

mod chart;
mod groups;
mod html;
mod markdown;
mod model;
mod page;
mod score;
mod sections;
mod tally;

pub use html::html;
pub use markdown::markdown;
pub use model::{
    Count, Group, Groups, Incidents, Integrity, Kill, Lacking, NewProgram, PolicyChange, Refused,
    Report, Slot, Totals,
};
pub use score::{LayerShare, ProfileScore, Rating};
pub use tally::{Around, Tally};

#[cfg(test)]
mod tests;
