//! The keeper's state as it goes through exec, version 1: one line that names the version, then JSON.
//!
//! Pure. Later versions only add fields with defaults, or raise [`VERSION`] and go on reading the older ones: a keeper
//! writes its own, the program that follows must read it. What is newer than the reader is refused by name.

use ganger_core::{End, SpawnId, Stream, Usage};
use ganger_sandbox::cgroup::SavedTree;
use serde::{Deserialize, Serialize};

use super::codec;
use crate::KeeperError;
use crate::life::SavedLife;
use crate::wire::{Event, Table};

/// Of what is written here.
pub(super) const VERSION: u32 = 1;
/// So it begins; the version and a line feed follow.
const HEAD: &str = "ganger keeper state ";

/// Everything. Descriptor numbers are those of the process, which exec keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Image {
    /// Version of the program that wrote it.
    pub(super) writer: String,
    /// When it stopped listening, in microseconds of the monotonic clock.
    pub(super) paused_us: u64,
    /// What every daemon is told, with this process's numbers.
    pub(super) table: Table,
    pub(super) foreground: bool,
    /// RLIMIT_NOFILE that children get.
    pub(super) files: (u64, u64),
    /// Of each child what the table does not tell.
    pub(super) inner: Vec<Inner>,
    /// Answers to spawns that are no more.
    #[serde(default)]
    pub(super) past: Vec<(SpawnId, Event)>,
    /// Log pipes that are being retired.
    #[serde(default)]
    pub(super) retiring: Vec<(String, u32, Stream)>,
    /// Flushes the logger has not answered.
    #[serde(default)]
    pub(super) flushes: Vec<u64>,
    /// Cgroup folders that wait.
    #[serde(default)]
    pub(super) idle: Vec<String>,
    #[serde(default)]
    pub(super) logger: Option<HelperRow>,
    /// The wire that the running logger speaks.
    pub(super) log_wire: u32,
    #[serde(default)]
    pub(super) daemon: Option<HelperRow>,
    /// systemd was told that ganger is ready.
    #[serde(default)]
    pub(super) notified: bool,
    /// The binary of the running daemon.
    pub(super) previous: i32,
}

/// A child's inner state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Inner {
    pub(super) id: SpawnId,
    /// One bit per signal that ganger sent to the main process.
    #[serde(default)]
    pub(super) sent: u64,
    /// How the main process ended, when that is not yet told.
    #[serde(default)]
    pub(super) ended: Option<(End, Usage, u64)>,
    pub(super) life: SavedLife,
    #[serde(default)]
    pub(super) tree: Option<SavedTree>,
}

/// Logger or daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HelperRow {
    pub(super) pid: u32,
    pub(super) pidfd: i32,
    /// Absent when it is not to be talked to any more.
    #[serde(default)]
    pub(super) socket: Option<SocketRow>,
}

/// A private socket, and what is under way on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SocketRow {
    pub(super) fd: i32,
    /// Read, and less than a frame.
    #[serde(default)]
    pub(super) read: Bytes,
    /// Queued and not yet taken by the socket.
    #[serde(default)]
    pub(super) unsent: Vec<Bytes>,
}

/// Bytes, and descriptors that go with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bytes {
    #[serde(with = "codec")]
    pub(super) bytes: Vec<u8>,
    #[serde(default)]
    pub(super) fds: Vec<i32>,
}

/// As it stands in the memfd.
pub(super) fn encode(image: &Image) -> Vec<u8> {
    let mut body = format!("{HEAD}{VERSION}\n").into_bytes();
    body.append(&mut crate::wire::encode(image));
    body
}

/// The other way.
///
/// # Errors
/// It is no keeper's state, one of a newer program, or broken.
pub(super) fn decode(body: &[u8]) -> Result<Image, KeeperError> {
    let refuse = |why: String| KeeperError::Resume { why };
    let line = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
    let head = std::str::from_utf8(&body[..line]).ok().and_then(|head| head.strip_prefix(HEAD));
    let version: Option<u32> = head.and_then(|version| version.parse().ok());
    let Some(version) = version else {
        return Err(refuse("this is no keeper's state".into()));
    };
    if version != VERSION {
        let own = super::PROGRAM;
        return Err(refuse(format!("it is of version {version}; ganger {own} reads {VERSION}")));
    }
    let image = crate::wire::decode("the keeper's state", &body[line + 1..]);
    image.map_err(|error| refuse(error.to_string()))
}
