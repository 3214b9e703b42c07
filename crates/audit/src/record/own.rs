//! Records that the log writes about itself. Nobody can append them.

use serde::{Deserialize, Serialize};

use crate::hash::{Hash, LogId};
use crate::keys::PublicKey;
use crate::seal::Seal;
use crate::text::Text;

/// A record of the log about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "body", rename_all = "snake_case")]
pub enum Own {
    /// First line of each segment.
    Segment(SegmentStart),
    /// The chain's head, signed.
    Checkpoint {
        /// Over the line before this one.
        seal: Seal,
        /// What made it due.
        why: Why,
    },
    /// The log was not closed in order and was opened again.
    Recovered(Recovered),
    /// Old segments are about to be deleted.
    Retired(Retired),
}

impl Own {
    /// Names of all, as in `event`.
    pub const EVENTS: [&str; 4] = ["checkpoint", "recovered", "retired", "segment"];
}

/// First line of a segment: whose it is and what it goes on from. Its `prev` is the hash of the former segment's last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentStart {
    /// The log.
    pub log: LogId,
    /// Counted from 1.
    pub number: u64,
    /// The key that its seals verify with.
    pub key: PublicKey,
    /// Where copies of the seals go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<Text>,
}

/// What made a checkpoint due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// So many records since the last.
    Count,
    /// So long since the first record after the last.
    Time,
    /// The segment ends.
    Rotation,
    /// The log is closed in order.
    Close,
}

/// What a crash left, as it was found. None of it was ever acknowledged, unless the machine lost power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Recovered {
    /// Bytes of a line without its end that were cut off.
    pub torn_bytes: u64,
    /// Whole records beyond the last signed head. They are kept: the chain goes on over them.
    pub unsigned: u64,
    /// No head was there, or it could not be read: the records it covered count as unsigned.
    pub head_lost: bool,
}

/// Old segments go. Written and synced before the first is deleted, so that a hole nobody announced is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Number of the last segment that goes.
    pub through: u64,
    /// Number of its last record.
    pub seq: u64,
    /// Hash of its last line: what the first segment that stays names as `prev`.
    pub hash: Hash,
    /// Segments that go with it.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Own {
    /// In words.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Segment(start) => format!("segment {} of log {}", start.number, start.log),
            Self::Checkpoint { seal, why } => {
                let why = match why {
                    Why::Count => "so many records",
                    Why::Time => "its time",
                    Why::Rotation => "the segment ends",
                    Why::Close => "closed in order",
                };
                format!("record {} sealed: {why}", seal.seq)
            }
            Self::Recovered(left) => format!(
                "opened again after a crash: {} bytes of a torn line cut off, {} records beyond the signed head",
                left.torn_bytes, left.unsigned
            ),
            Self::Retired(retired) => format!(
                "{} segments up to number {} (record {}) are deleted",
                retired.segments, retired.through, retired.seq
            ),
        }
    }
}
