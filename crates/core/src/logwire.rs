//! What the keeper tells the logger, and what it hears back.
//!
//! Frames of these types travel over a socketpair (`ganger_sys::frame`); a descriptor goes with `Add`. They stand here
//! because keeper, logs and the daemon's tables share them.

use serde::{Deserialize, Serialize};

use crate::Stream;

/// Version of this wire. Additive changes keep it; a reader ignores fields it doesn't know.
pub const LOG_WIRE_VERSION: u32 = 1;

/// Where the bytes of one stream go and how many are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTarget {
    /// The service's or pool's name; also the folder's name.
    pub name: String,
    /// The instance's slot, from 1.
    pub slot: u32,
    /// Total bytes kept for this stream of this slot. The configured cap of a service is shared among its streams.
    pub max_bytes: u64,
    /// Segments whose newest byte is older than this many seconds are removed; 0 keeps them.
    #[serde(default)]
    pub max_age_s: u64,
}

/// Keeper to logger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum LogRequest {
    /// First frame: where the logs are.
    Hello {
        /// [`LOG_WIRE_VERSION`].
        version: u32,
        /// The folder that holds one folder per name.
        dir: String,
    },
    /// Move what arrives on the attached pipe end. The same (name, slot, stream) twice replaces target values only.
    Add {
        /// Where to.
        target: LogTarget,
        /// Which output.
        stream: Stream,
    },
    /// Move what is in the pipe now, then close it and answer `Retired`.
    Retire {
        /// The service's name.
        name: String,
        /// Its slot.
        slot: u32,
        /// Which output.
        stream: Stream,
    },
    /// Move what is in all pipes now, then answer `Flushed` with the same number.
    Flush {
        /// Chosen by the asker.
        tag: u64,
    },
}

/// Logger to keeper, passed on to the daemon inside an event that has a tag `is` of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "log")]
pub enum LogReply {
    /// A stream is closed.
    Retired {
        /// The service's name.
        name: String,
        /// Its slot.
        slot: u32,
        /// Which output.
        stream: Stream,
    },
    /// Answer to `Flush`.
    Flushed {
        /// The asker's number.
        tag: u64,
    },
    /// Bytes could not be written and are gone. Sent at most once a second per stream.
    Dropped {
        /// The service's name.
        name: String,
        /// Its slot.
        slot: u32,
        /// Which output.
        stream: Stream,
        /// How many since the last report.
        bytes: u64,
        /// Why: the text of the error.
        why: String,
    },
}
