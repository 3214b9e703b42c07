//! What is said about replacing ganger's own program.

use serde::{Deserialize, Serialize};

/// What a binary says of itself when it is asked whether it can go on from here. It has read a copy of the keeper's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Version of the program.
    pub version: String,
    /// Its [`super::WIRE_VERSION`].
    pub wire: u32,
    /// Newest version of the keeper's written state that it reads.
    pub resume: u32,
    /// Schema of the store that it works with.
    pub schema: u32,
}

/// The keeper's answers to `Examine` and `Upgrade`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum UpgradeNews {
    /// The binary can go on from here. `Upgrade` does it.
    Offered {
        /// In its own words.
        offer: Offer,
    },
    /// Nothing was changed.
    Refused {
        /// Why, and on what.
        why: String,
    },
    /// The keeper runs the new program and waits for this daemon to end.
    Done {
        /// What happened.
        upgrade: Upgrade,
    },
}

/// The last replacement of ganger's program, as later daemons are told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The version before.
    pub from: String,
    /// The version after.
    pub to: String,
    /// Wall-clock milliseconds since 1970 when the keeper was replaced.
    pub at_ms: u64,
    /// How long the keeper heard and did nothing, in microseconds.
    pub keeper_gap_us: u64,
    /// Children that went through it.
    pub children: u32,
    /// No daemon of the new version has served yet. One that can't do its work is to end, so that the old one comes back.
    #[serde(default)]
    pub on_trial: bool,
    /// Why the old version's daemon is back. The keeper is the new one all the same.
    #[serde(default)]
    pub failed: Option<String>,
}
