//! A fully resolved plan of one child: nothing is left to look up.

use ganger_core::logwire::LogTarget;
use ganger_core::{InstanceId, InstanceKind};
use ganger_sandbox::Profile;
use serde::{Deserialize, Serialize};

/// Everything the keeper needs to start a child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Which place it fills.
    pub instance: InstanceId,
    /// What it is for.
    pub kind: InstanceKind,
    /// Absolute path of the program; the keeper searches no PATH.
    pub program: String,
    /// Arguments, the zeroth included.
    pub argv: Vec<String>,
    /// The whole environment; the keeper adds only its own variables.
    pub env: super::Env,
    /// Absolute working directory.
    pub cwd: String,
    /// Descriptor 0.
    #[serde(default)]
    pub stdin: Stdin,
    /// Descriptor 1.
    #[serde(default)]
    pub stdout: Output,
    /// Descriptor 2.
    #[serde(default)]
    pub stderr: Output,
    /// A worker channel.
    #[serde(default)]
    pub channel: Option<ChannelPlan>,
    /// Held descriptors (name) and the numbers under which the child gets them. LISTEN_FDS and LISTEN_PID are the
    /// planner's and the keeper's: the keeper sets LISTEN_PID wherever `env` has LISTEN_FDS, and WATCHDOG_PID wherever it
    /// has WATCHDOG_USEC.
    #[serde(default)]
    pub inherit: Vec<(String, u32)>,
    /// Limits and identity.
    #[serde(default)]
    pub profile: Profile,
    /// Name of the cgroup of the tree below ganger's own; from instance and spawn id when absent.
    #[serde(default)]
    pub tree: Option<String>,
    /// A session of its own. False only with `foreground` or for a caller that wants its own session's signals.
    #[serde(default = "yes")]
    pub setsid: bool,
    /// The child becomes the foreground process group of the keeper's controlling terminal (`ganger run`).
    #[serde(default)]
    pub foreground: bool,
    /// The rest of the tree lives on when the main process exits; it is ended by `EndTree` only.
    #[serde(default)]
    pub keep_leftovers: bool,
    /// The very file that is executed: the keeper opens the program, compares, and executes what it opened. For plans without
    /// channel and inherited descriptors, of programs that are no scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// For whom it runs, where one name runs for many: what is kept from one child for another (a network with nothing in it) is kept for
    /// the same name and the same of these. Absent: nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whose: Option<String>,
    /// At most [`super::MAX_BLOB`] bytes for the next daemon to read.
    #[serde(default)]
    pub blob: String,
}

impl Plan {
    /// A program in `/` with its arguments, the zeroth included: an empty environment, no input, no output, no limits, a session
    /// of its own. Callers set what they want otherwise.
    #[must_use]
    pub fn new(
        instance: InstanceId,
        kind: InstanceKind,
        program: impl Into<String>,
        argv: Vec<String>,
    ) -> Self {
        Self {
            instance,
            kind,
            program: program.into(),
            argv,
            env: super::Env::default(),
            cwd: "/".into(),
            stdin: Stdin::Null,
            stdout: Output::Null,
            stderr: Output::Null,
            channel: None,
            inherit: Vec::new(),
            profile: Profile::default(),
            tree: None,
            setsid: true,
            foreground: false,
            keep_leftovers: false,
            pin: None,
            whose: None,
            blob: String::new(),
        }
    }
}

const fn yes() -> bool {
    true
}

/// Which state of which file, as stat(2) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Time of the last change, seconds since 1970.
    pub ctime_s: i64,
    /// And nanoseconds.
    pub ctime_ns: u32,
}

/// Where descriptor 0 comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// The first descriptor of the `Spawn` frame.
    Passed,
    /// A pipe; its write end comes with `Spawned`.
    Pipe,
    /// The keeper's own (one-shot verbs).
    Inherit,
}

/// Where descriptor 1 or 2 goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// The log pipe of (name, slot, stream), moved to segments by the logger.
    Log(LogTarget),
    /// A memfd held by the keeper and sent with `Spawned`. Its size is right from the moment `Exited` is told; read it
    /// from offset 0 by pread. The kernel refuses writes over the cap (EPERM).
    Capture {
        /// Most bytes kept.
        cap_bytes: u64,
    },
    /// A pipe; its read end comes with `Spawned`.
    Pipe,
    /// `/dev/null`.
    #[default]
    Null,
    /// The keeper's own (one-shot verbs).
    Inherit,
}

/// A Unix stream socketpair: one end for the child at the number that `GANGER_CHANNEL_FD` and `NODE_CHANNEL_FD` say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChannelPlan {
    /// The number in the child; 3 + the count of `inherit` when absent.
    #[serde(default)]
    pub fd: Option<u32>,
}
