//! Keeper to daemon.

use ganger_core::logwire::{LogReply, LogTarget};
use ganger_core::{End, InstanceId, SpawnId, StateId, Stream, Usage};
use ganger_sandbox::Report;
use serde::{Deserialize, Serialize};

use super::UpgradeNews;

/// What a keeper tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// Answer to `Hello`.
    Welcome {
        /// The keeper's [`super::WIRE_VERSION`].
        version: u32,
        /// The keeper's process id.
        keeper_pid: u32,
        /// The state folder's id.
        state_id: StateId,
    },
    /// The child runs its program. Attached: pidfd, then those the plan asked for in the order channel, stdin pipe,
    /// stdout pipe or memfd, stderr pipe or memfd.
    Spawned {
        /// Which spawn.
        id: SpawnId,
        /// Its process id.
        pid: u32,
        /// Wall-clock milliseconds since 1970 right after the clone.
        started_at_ms: u64,
        /// The cgroup folder that holds the tree, to be told to the next keeper.
        #[serde(default)]
        tree: Option<String>,
        /// What holds the child and what doesn't.
        #[serde(default)]
        report: Report,
    },
    /// The program was not started; nothing is left of the try.
    SpawnFailed {
        /// Which spawn.
        id: SpawnId,
        /// `plan`, `cgroup`, `clone3`, `chdir`, `setuid`, `execve`, …
        step: String,
        /// The errno of that step; 0 where there is none.
        errno: i32,
        /// On what, and what to do.
        detail: String,
    },
    /// A child ended. Told once to each daemon until acknowledged.
    Exited(ExitReport),
    /// Answer to `EndTree`: the tree is empty but for those listed.
    TreeEnded {
        /// Which child.
        id: SpawnId,
        /// Processes that could not be proven dead.
        stuck: Vec<u32>,
    },
    /// The attached descriptor is held from now on; the daemon keeps its own copy for the case that the keeper dies.
    Held {
        /// Its name.
        name: String,
        /// What it is.
        what: Held,
    },
    /// From the logger.
    Log(LogReply),
    /// A logger runs.
    LoggerStarted {
        /// Its process id.
        pid: u32,
        /// How the one before ended.
        #[serde(default)]
        previous: Option<End>,
    },
    /// Answer within 10 s; after three misses the daemon is ended and a new one started.
    Ping {
        /// Counts up.
        n: u64,
    },
    /// Somebody wants ganger to end: bring everything down, then send `Shutdown`.
    ShutdownAsked {
        /// `SIGTERM`, …
        why: String,
    },
    /// About the replacement of ganger's own program.
    Upgrade {
        /// What.
        news: UpgradeNews,
    },
    /// A request that can't be done.
    Refused {
        /// The child it was about, if any.
        id: Option<SpawnId>,
        /// Why.
        why: String,
    },
}

/// What a held descriptor is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Given by the daemon.
    Named,
    /// The read end of a log pipe.
    LogRead {
        /// Where its bytes go.
        target: LogTarget,
        /// Which output.
        stream: Stream,
    },
    /// The write end of a log pipe.
    LogWrite {
        /// Where its bytes go.
        target: LogTarget,
        /// Which output.
        stream: Stream,
    },
    /// The state folder's lock.
    Lock,
    /// The API's listening socket.
    Api,
}

/// How a child ended: the only authority on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    /// Which spawn.
    pub id: SpawnId,
    /// Which place it filled.
    pub instance: InstanceId,
    /// Its process id.
    pub pid: u32,
    /// How.
    pub end: End,
    /// What it used, without descendants it did not wait for.
    pub usage: Usage,
    /// Wall-clock milliseconds since 1970 when it was reaped.
    pub at_ms: u64,
    /// Processes of its tree that were still there and were ended.
    pub leftovers: u32,
    /// Processes of its tree that could not be proven dead.
    #[serde(default)]
    pub stuck: Vec<u32>,
    /// It was not this keeper's child: its own keeper had died.
    #[serde(default)]
    pub adopted: bool,
}
