//! Daemon to keeper.

use ganger_core::SpawnId;
use serde::{Deserialize, Serialize};

use super::Plan;

/// What a daemon asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Request {
    /// First frame of a daemon.
    Hello {
        /// The daemon's [`super::WIRE_VERSION`].
        version: u32,
    },
    /// The daemon serves; a waiting systemd is told.
    Ready,
    /// Start a child. The same id again answers as before and starts nothing.
    Spawn {
        /// Chosen by the daemon.
        id: SpawnId,
        /// What to start.
        plan: Box<Plan>,
    },
    /// Send a signal. To a child that is gone: nothing happens.
    Signal {
        /// Which child.
        id: SpawnId,
        /// The number.
        signal: i32,
        /// To whom.
        scope: Scope,
    },
    /// End the whole tree at once; answered by `TreeEnded`.
    EndTree {
        /// Which child.
        id: SpawnId,
    },
    /// The exit is recorded: the keeper may forget the child and close what it held for it.
    AckExit {
        /// Which child.
        id: SpawnId,
    },
    /// Replace the child's blob.
    SetBlob {
        /// Which child.
        id: SpawnId,
        /// The new text.
        blob: String,
    },
    /// Hold the attached descriptor under a name, through every restart of the daemon. Replaces the earlier of that name.
    Hold {
        /// The name.
        name: String,
    },
    /// Close a held descriptor.
    Release {
        /// The name.
        name: String,
    },
    /// Drain and close the log pipes of a slot; answered by `Log(Retired)` per stream.
    RetireLog {
        /// The service's or pool's name.
        name: String,
        /// The slot.
        slot: u32,
    },
    /// Move what is in all log pipes; answered by `Log(Flushed)`.
    FlushLogs {
        /// Comes back in the answer.
        tag: u64,
    },
    /// Answer to `Ping`.
    Pong {
        /// The ping's number.
        n: u64,
    },
    /// Ask a binary whether it could go on from here; answered by `Upgrade(Offered)` or `Upgrade(Refused)`.
    Examine {
        /// Its absolute path.
        path: String,
    },
    /// Go on as the binary that was examined last; answered by `Upgrade(Done)` from there, or `Upgrade(Refused)`. The daemon
    /// is to end then; the next one runs the same binary.
    Upgrade,
    /// Everything is ended: the keeper retires the logs and exits 0.
    Shutdown,
}

/// Who gets a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The main process.
    Main,
    /// Every process of the tree.
    Tree,
}
