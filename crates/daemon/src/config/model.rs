//! The resolved configuration: every default filled in, every reference checked, every path absolute.

mod probes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ganger_core::{Backoff, CauseBackoffs, Dur, Durability, Priority, Rate, Size, TaskBackoff};
use ganger_supervise::RESTARTS;
use ganger_supervise::listeners::ListenMode;
use serde::{Deserialize, Serialize};

pub use probes::{HttpAddress, Live, LiveCheck, Pings, Ready, ReadyCheck};

use super::alert::Alerting;
use super::group::Group;
use super::listen::Listen;
use super::reload::Reload;
use super::schedule::Schedule;
use super::server::Server;
pub use super::source::SourceFile;
use super::watch::Watch;

/// All of it. Its JSON is what `apply` sends and the store keeps, so fields are only ever added, with defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Version of the file's grammar.
    pub version: u32,
    /// The files it was made from, the first being the configuration file itself.
    pub sources: Vec<SourceFile>,
    /// By name.
    pub services: BTreeMap<String, Service>,
    /// By name.
    pub queues: BTreeMap<String, Queue>,
    /// By name.
    pub pools: BTreeMap<String, Pool>,
    /// By name.
    #[serde(default)]
    pub schedules: BTreeMap<String, Schedule>,
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Group>,
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<String, ganger_policy::Policy>,
    /// The audit log of commands.
    #[serde(default, skip_serializing_if = "Audit::is_usual")]
    pub audit: Audit,
    /// What counts as an attack or a fault among commands.
    #[serde(default, skip_serializing_if = "ganger_incident::Settings::is_usual")]
    pub incident: ganger_incident::Settings,
    /// When people are told, who, and how.
    #[serde(default, skip_serializing_if = "Alerting::is_usual")]
    pub alerting: Alerting,
    /// The daemon's own listeners.
    #[serde(default, skip_serializing_if = "Server::is_usual")]
    pub server: Server,
    /// What holds for all services and workers together.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub supervision: Supervision,
}

/// `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// Where signed heads and checkpoints are copied to; absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<PathBuf>,
    /// Bytes of the log that are kept; the oldest segments go first. None: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Size>,
    /// Segments older than this go. None: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Dur>,
}

impl Audit {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// `[supervision]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervision {
    /// Restarts after failures, over all.
    pub restarts: Rate,
}

impl Default for Supervision {
    fn default() -> Self {
        Self { restarts: RESTARTS }
    }
}

fn is_usual(supervision: &Supervision) -> bool {
    *supervision == Supervision::default()
}

/// What is started and how it is treated: the part that services and pools share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Program and arguments. The program is looked up on the `PATH` of the child's environment at each start.
    pub command: Vec<String>,
    /// Absolute.
    pub cwd: PathBuf,
    /// On top of the environment of the `up`: `env_file` first, then `env`.
    pub env: BTreeMap<String, String>,
    /// `name`, `uid`, `name:group` or `uid:gid`.
    pub user: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// When it is started again.
    pub restart: Restart,
    /// How it is ended.
    pub stop: Stop,
    /// What is kept of its output.
    pub log: LogRules,
    /// What contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<ganger_sandbox::Sandbox>,
}

/// `[service.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// What runs.
    #[serde(flatten)]
    pub program: Program,
    /// How many of it.
    pub replicas: u32,
    /// What must be so before it starts.
    pub depends_on: BTreeMap<String, DependsOn>,
    /// When it counts as ready; `None`: as soon as it runs.
    pub ready: Option<Ready>,
    /// What ends its start-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Ready>,
    /// Whether it still works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
    /// `PORT` of its first instance; each further one gets one more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The variable that tells an instance its number, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_var: Option<String>,
    /// What it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<Listen>,
    /// How connections come to instances.
    #[serde(default, skip_serializing_if = "is_default")]
    pub listen_mode: ListenMode,
    /// It is a program of Node's `cluster` module, and ganger is its primary.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub node_cluster: bool,
    /// It starts with the first connection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_demand: bool,
    /// How its instances are replaced one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<Reload>,
    /// Files with whose changes it is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// Node's HTTP servers in it finish connections that are kept alive before they end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub node_drain: bool,
    /// It is asked to end by a message on its channel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop_message: bool,
    /// Larger is restarted first where restarts are short.
    #[serde(default, skip_serializing_if = "is_normal")]
    pub priority: Priority,
    /// Its program talks with other services over its channel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub channel: bool,
}

/// `[queue.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// What happens after a failure.
    pub retry: Retry,
    /// How many dead letters are kept.
    #[serde(default)]
    pub dead: Dead,
    /// An attempt that takes longer is ended.
    pub timeout: Dur,
    /// Pushes beyond so many open tasks are refused; `None`: no bound.
    pub max_length: Option<u64>,
    /// Pushes beyond so many payload bytes of open tasks are refused; `None`: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Size>,
    /// Pushes are refused while a task has been available for longer; `None`: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Dur>,
    /// How many tasks run at once and how often one starts.
    #[serde(default, skip_serializing_if = "ganger_queue::LimitRules::is_none")]
    pub limits: ganger_queue::LimitRules,
    /// How turns are dealt to priorities.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lanes: ganger_queue::Lanes,
    /// A larger payload is refused.
    pub max_payload: Size,
    /// Takes tasks but hands none out.
    pub paused: bool,
    /// What its tasks ask for beyond being run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Box<Control>>,
    /// What is kept of its completed and cancelled tasks.
    #[serde(default)]
    pub history: History,
}

/// What tasks ask for beyond being run, where they do not say so themselves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Every task.
    pub all: Wants,
    /// Tasks of a kind, before the former.
    #[serde(default)]
    pub kinds: BTreeMap<String, Wants>,
    /// Results in the cache; `None`: the default.
    #[serde(default)]
    pub cache_max_entries: Option<u64>,
    /// Bytes of all of them; `None`: the default.
    #[serde(default)]
    pub cache_max_size: Option<Size>,
}

/// What is wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Wants {
    /// No second task like it.
    #[serde(default)]
    pub dedupe: Option<ganger_api::Dedupe>,
    /// Results serve identical tasks this long.
    #[serde(default)]
    pub cache_ttl: Option<Dur>,
    /// Results are kept this long.
    #[serde(default)]
    pub result_ttl: Option<Dur>,
    /// Not begun after this long: cancelled.
    #[serde(default)]
    pub expires_in: Option<Dur>,
}

/// `history`. `None`: bounded with all other queues' only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// So many tasks.
    pub max_count: Option<u64>,
    /// So long after their end.
    pub max_age: Option<Dur>,
    /// So many bytes of payloads, results and errors.
    pub max_size: Option<Size>,
    /// Findable by their words.
    pub search: bool,
}

fn is_normal(priority: &Priority) -> bool {
    *priority == Priority::NORMAL
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `dead`: bounds of a queue's dead letters; the oldest leave first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// So many.
    pub max_count: u64,
    /// So long.
    pub max_age: Dur,
    /// So many bytes of payloads and errors.
    pub max_size: Size,
}

/// `retry`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all.
    pub max: u32,
    /// The waits between them.
    pub backoff: TaskBackoff,
    /// No further attempt would begin later than this after the push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Dur>,
    /// Attempts that may end by crash or timeout; 0: no limit but `max`.
    #[serde(default = "crash_limit")]
    pub crash_limit: u32,
    /// Classes of errors after which no attempt is made; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub non_retryable: Vec<String>,
    /// What is different, by class of error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub on: BTreeMap<String, RetryOn>,
}

/// `retry.on.CLASS`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryOn {
    /// Attempts in all; `None`: the queue's.
    pub max: Option<u32>,
    /// The waits between them; `None`: the queue's.
    pub backoff: Option<TaskBackoff>,
}

const fn crash_limit() -> u32 {
    ganger_queue::retry::CRASH_LIMIT
}

impl Default for Retry {
    fn default() -> Self {
        let ganger_queue::RetryRules { max, backoff, crash_limit, .. } = Default::default();
        let (max_age, non_retryable, on) = Default::default();
        Self { max, backoff, max_age, crash_limit, non_retryable, on }
    }
}

/// `[pool.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// What runs. For `command` pools its arguments are templates filled from the payload.
    #[serde(flatten)]
    pub program: Program,
    /// The queues it takes from.
    pub queues: Vec<String>,
    /// How many processes.
    pub workers: Workers,
    /// How ganger talks with them.
    pub protocol: Protocol,
    /// Bare payload out, next message is the result.
    pub raw: bool,
    /// Its workers talk with other processes over the channel that brings their tasks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: bool,
    /// What one worker runs at once.
    pub concurrency: u32,
    /// What one worker buffers.
    pub prefetch: u32,
    /// When a process makes room for a fresh one.
    #[serde(default)]
    pub recycle: Recycle,
    /// Whether a worker's process still answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Pings>,
}

/// When a worker's process makes room for a fresh one; all `None`: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recycle {
    /// After so many tasks.
    pub tasks: Option<u64>,
    /// After so long.
    pub after: Option<Dur>,
    /// Resident bytes after a task.
    pub memory: Option<Size>,
}

/// How many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workers {
    /// At least.
    pub min: u32,
    /// At most. More than `min`: the pool sizes itself.
    pub max: u32,
    /// How long a task should wait at most.
    #[serde(default = "Workers::target_wait")]
    pub target_wait: Dur,
    /// Workers that were not needed for so long go.
    #[serde(default = "Workers::cool_down")]
    pub cool_down: Dur,
}

impl Workers {
    /// Always so many.
    #[must_use]
    pub const fn fixed(workers: u32) -> Self {
        let (target_wait, cool_down) = (Self::target_wait(), Self::cool_down());
        Self { min: workers, max: workers, target_wait, cool_down }
    }

    const fn target_wait() -> Dur {
        Dur(Duration::from_secs(2))
    }

    const fn cool_down() -> Dur {
        Dur(Duration::from_secs(30))
    }
}

/// How ganger talks with workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Lines of JSON over a socket whose number is in `GANGER_CHANNEL_FD` and `NODE_CHANNEL_FD`.
    Channel,
    /// The same lines over stdin and stdout.
    Stdio,
    /// One process per task: payload on stdin, stdout is the result, the exit code the outcome.
    Command,
}

/// What an instance may use; `None` is no limit of ours.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<Size>,
    /// Cores.
    pub cpu: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Open files.
    pub files: Option<u64>,
}

/// When an instance is started again, and when not any more.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// After which ends.
    pub on: RestartOn,
    /// The waits.
    pub backoff: Backoff,
    /// More starts than this within `within` open the breaker.
    pub max: u32,
    /// The window of `max`.
    pub within: Dur,
    /// Other waits for some causes of failure.
    #[serde(default, skip_serializing_if = "CauseBackoffs::is_none")]
    pub backoff_by: CauseBackoffs,
    /// How long the breaker stays open; `None`: as long as `within`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Dur>,
    /// Up this long counts as healthy; `None`: by the start-up time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_after: Option<Dur>,
}

/// After which ends an instance is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartOn {
    /// Any end.
    Always,
    /// Any end but exit code 0.
    OnFailure,
    /// None.
    Never,
}

/// How an instance is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Number of the signal that asks.
    pub signal: i32,
    /// How long it may take; then its tree is killed.
    pub timeout: Dur,
    /// Who gets the signal that asks.
    pub kill: Kill,
}

/// Who gets the signal that asks an instance to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kill {
    /// Every process of the tree.
    Tree,
    /// The main process only; what is left after it is killed.
    Main,
}

/// What must be so with a service before one that depends on it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DependsOn {
    /// Its processes exist.
    Started,
    /// All its instances are ready.
    Ready,
    /// It has ended with exit code 0.
    Completed,
}

/// What is kept of an instance's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRules {
    /// Bytes kept for the service as a whole; the oldest go first.
    pub max_size: Size,
    /// Older output is removed; `None`: only by size.
    pub max_age: Option<Dur>,
}
