//! The sections of `ganger.toml` as they are written. The doc comments are the JSON Schema's descriptions.

use super::alert::{RawAlert, RawInhibit, RawNotify};
use super::incident::RawIncident;
use super::limits::{LaneWeights, QueueLimits};
use super::listen;
use super::model::{Kill, Protocol};
use super::policy_keys::RawPolicy;
use super::probes::{RawLive, RawPings, RawReady};
use super::reload::RawReload;
use super::restart::Restart;
use super::retry::{RawDead, RawRetry};
use super::sandbox::SandboxValue;
use super::schedule::{PriorityValue, RawSchedule};
use super::values::{
    Bytes, Command, Cores, Dependencies, DurabilityWord, EnvText, GroupStrategyWord, OneOrMany,
    ShellText, Signal, Time, Workers,
};
use super::walk::{At, Key, Named, Plain, section};

section! {
    /// What a folder's gang consists of.
    struct File in "the top level" {
        /// Version of this grammar. Only 1 exists.
        version: u32,
        /// Long-running programs kept alive.
        service: Named<Service>,
        /// Where tasks wait.
        queue: Named<Queue>,
        /// Processes that take tasks.
        pool: Named<Pool>,
        /// Services that fail together and are seen together.
        group: Named<Group>,
        /// Tasks pushed at set times.
        schedule: Named<RawSchedule>,
        /// Who may run which program with which arguments: what is not allowed is denied.
        policy: Plain<Named<RawPolicy>>,
        /// The audit log of commands that run under policies.
        audit: Audit,
        /// What counts as an attack or a fault among commands that run under policies.
        incident: RawIncident,
        /// When people are told that something is wrong.
        alert: Named<RawAlert>,
        /// How they are told.
        notify: Named<RawNotify>,
        /// Which alerts make others needless.
        inhibit: Named<RawInhibit>,
        /// The daemon's own listener.
        server: Server,
        /// What holds for all services and workers together.
        supervision: Supervision,
    }
}

section! {
    /// The audit log of commands that run under policies.
    struct Audit in "[audit]" {
        /// A second folder for signed heads and checkpoints, best on another file system: without it an older copy of the
        /// whole log, put back with its head, verifies.
        witness: String,
        /// Bytes of the log that are kept, in whole segments of 64 MiB; the oldest go first. Default: all.
        max_size: Bytes,
        /// Segments older than this go: "90d". Default: none.
        max_age: Time,
    }
}

section! {
    /// What holds for all services and workers together.
    struct Supervision in "[supervision]" {
        /// Restarts after failures in a second, in the long run; more wait, by `priority`. First starts and what a person
        /// starts don't count. Default: 50.
        restarts_per_second: u32,
        /// So many at once after a quiet time. Default: 200.
        restart_burst: u32,
    }
}

section! {
    /// Services that fail together and are seen together.
    struct Group in "[group.*]" {
        /// What the failure of one member means for the others: "one-for-one" (default) nothing, "one-for-all" all restart,
        /// "rest-for-one" those after it in `members` restart.
        strategy: GroupStrategyWord,
        /// Services and other groups, in the order in which they start again; they make room in the reverse order.
        members: Vec<At<String>>,
        /// Members whose failure makes the group "degraded" and touches no other.
        optional: Vec<At<String>>,
    }
}

section! {
    /// The daemon's own listener.
    struct Server in "[server]" {
        /// Only "unix" in this version: the socket in the state folder.
        listen: OneOrMany,
        /// A second socket, on which others than the daemon's own user ask for commands under policies, and for nothing else: { group =
        /// "ops" }. Which policies are for them `who` of each says. Default: none.
        exec_socket: RawExecSocket,
    }
}

section! {
    /// Where others ask for commands under policies.
    struct RawExecSocket in "`exec_socket`" {
        /// Absolute; nobody but root and the daemon's user may write to its folder or any above it. Default: "/run/ganger/exec.sock".
        path: String,
        /// Who may connect: members of this group, by name or number. Default: everybody.
        group: String,
    }
}

section! {
    /// What an instance may use.
    struct Limits in "`limits`" {
        /// Memory of the whole tree: "512M".
        memory: Bytes,
        /// Cores: 1, 0.5.
        cpu: Cores,
        /// Processes and threads.
        pids: u64,
        /// Open files of each process.
        files: u64,
    }
}

section! {
    /// What is kept of the output.
    struct Log in "`log`" {
        /// Bytes kept for all instances together; the oldest go first. Default: "100M".
        max_size: Bytes,
        /// Older output is removed. Default: only by size.
        max_age: Time,
    }
}

section! {
    /// No second task like one that is open.
    struct DedupeKeys in "`dedupe`" {
        /// What must be equal: "payload" for kind and payload, or a text (then all tasks with this rule are alike).
        key: String,
        /// How long the key is held: "start", "success", or a time from the push. Default: "success".
        until: String,
        /// What a second push does: "existing" answers with the task that is there, "reject" is refused, "replace" takes the
        /// place of one that waits. Default: "existing".
        on_conflict: String,
    }
}

section! {
    /// What tasks of one kind do differently from the queue's.
    struct KindKeys in "[queue.*.kind.*]" {
        /// No second task like one that is open.
        dedupe: DedupeKeys,
        /// Results serve tasks with the same kind and payload this long; "0s": not for this kind.
        cache_ttl: Time,
        /// Results are kept this long. Default: as long as the task.
        result_ttl: Time,
        /// A task that has not begun after this long is cancelled. Default: it waits for ever.
        expires_in: Time,
    }
}

section! {
    /// Where tasks wait.
    struct Queue in "[queue.*]" {
        /// What an acknowledgement promises: "fsync" survives power loss, "relaxed" any crash of ganger (a power
        /// loss takes at most the last second), "memory" nothing. Default: "fsync".
        durability: DurabilityWord,
        /// What happens after a failed attempt.
        retry: RawRetry,
        /// How many dead letters are kept.
        dead: RawDead,
        /// An attempt that takes longer is ended and failed. Default: "10m".
        timeout: Time,
        /// Pushes beyond so many open tasks are refused. Default: no bound.
        max_length: u64,
        /// Pushes beyond so many payload bytes of open tasks are refused. Default: no bound.
        max_bytes: Bytes,
        /// Pushes are refused while a task has been available for longer. Default: no bound.
        max_age: Time,
        /// How many tasks run at once and how often one starts. Default: no bounds.
        limits: QueueLimits,
        /// Shares of turns of high, normal and low priorities, so that low keeps a floor; for another order set `strict`.
        /// Default: { high = 80, normal = 15, low = 5 }.
        lanes: LaneWeights,
        /// In place of `lanes`: the largest priority always first, however long others wait. Default: false.
        strict: bool,
        /// A larger payload is refused. Default: "1M".
        max_payload: Bytes,
        /// Takes tasks but hands none out. Default: false.
        paused: bool,
        /// No second task like one that is open.
        dedupe: DedupeKeys,
        /// Results serve tasks with the same kind and payload this long. Default: no cache.
        cache_ttl: Time,
        /// Results in the cache; the one used longest ago goes first. Default: 10000.
        cache_max_entries: u64,
        /// Bytes of all of them. Default: "64M".
        cache_max_size: Bytes,
        /// Results are kept this long. Default: as long as the task.
        result_ttl: Time,
        /// A task that has not begun after this long is cancelled. Default: it waits for ever.
        expires_in: Time,
        /// What tasks of a kind do differently.
        kind: Named<KindKeys>,
        /// What is kept of its completed and cancelled tasks. Default: with all other queues', the newest million of 30 days.
        history: History,
    }
}

section! {
    /// What is kept of finished tasks.
    struct History in "`history`" {
        /// So many tasks; the oldest go first.
        max_count: u64,
        /// So long after their end.
        max_age: Time,
        /// So many bytes of payloads, results and errors.
        max_size: Bytes,
        /// Makes them findable by their words without reading them all (`ganger task list --text`), at the cost of an
        /// index that is written behind the commits. Default: false.
        search: bool,
    }
}

/// The borrowed keys that services and pools share.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProgramKeys<'a> {
    pub(super) command: &'a Key<Command>,
    pub(super) shell: &'a Key<ShellText>,
    pub(super) cwd: &'a Key<String>,
    pub(super) env: &'a Key<Named<EnvText>>,
    pub(super) env_file: &'a Key<OneOrMany>,
    pub(super) user: &'a Key<String>,
    pub(super) restart: &'a Key<Restart>,
    pub(super) stop_signal: &'a Key<Signal>,
    pub(super) stop_timeout: &'a Key<Time>,
    pub(super) kill: &'a Key<Kill>,
    pub(super) limits: &'a Key<Limits>,
    pub(super) log: &'a Key<Log>,
    pub(super) sandbox: &'a Key<SandboxValue>,
}

/// A section with the keys of a program before its own.
macro_rules! program_section {
    ($(#[$meta:meta])* struct $name:ident in $section:literal { $($own:tt)* }) => {
        section! {
            $(#[$meta])*
            struct $name in $section {
                /// What runs: a list of program and arguments, or one string that is split like a shell would, without
                /// a shell.
                command: Command,
                /// What runs, through `/bin/sh -c`, instead of `command`. In pools of protocol "command" nothing in it is a
                /// placeholder.
                shell: ShellText,
                /// Where it runs, relative to this file. Default: this file's folder.
                cwd: String,
                /// Environment variables, on top of those `ganger up` was called with.
                env: Named<EnvText>,
                /// Files of NAME=value lines, relative to this file. `env` wins over them.
                env_file: OneOrMany,
                /// Who it runs as: a name or uid, with ":group" if it is not the user's own.
                user: String,
                /// When it is started again: "always", "on-failure" (default), "never", or rules.
                restart: Restart,
                /// The signal that asks it to end. Default: "SIGTERM".
                stop_signal: Signal,
                /// How long that may take; then its whole tree is killed. Default: "10s".
                stop_timeout: Time,
                /// Who gets the stop signal: its whole "tree" (default) or only the "main" process.
                kill: Kill,
                /// What it may use.
                limits: Limits,
                /// What is kept of its output.
                log: Log,
                /// What contains it: "standard" (the machine's files read-only without secrets, a private /tmp, system calls by
                /// default-deny), "strict" (only its program, libraries and what is named, no network), "build", "none" (default), or
                /// a table of `profile` and more. It can only start when every layer stands that is required.
                sandbox: SandboxValue,
                $($own)*
            }
        }

        impl $name {
            pub(super) const fn program(&self) -> ProgramKeys<'_> {
                ProgramKeys {
                    command: &self.command,
                    shell: &self.shell,
                    cwd: &self.cwd,
                    env: &self.env,
                    env_file: &self.env_file,
                    user: &self.user,
                    restart: &self.restart,
                    stop_signal: &self.stop_signal,
                    stop_timeout: &self.stop_timeout,
                    kill: &self.kill,
                    limits: &self.limits,
                    log: &self.log,
                    sandbox: &self.sandbox,
                }
            }
        }
    };
}

program_section! {
    /// A long-running program kept alive.
    struct Service in "[service.*]" {
        /// How many instances. Default: 1.
        replicas: u32,
        /// Services that come first: a list (each must be ready), or a table from name to "started", "ready" or
        /// "completed".
        depends_on: Dependencies,
        /// When it counts as ready. Default: as soon as it runs.
        ready: RawReady,
        /// What ends its start-up, for programs that take long: `ready` and `live` are asked for only after it. Default:
        /// nothing.
        startup: RawReady,
        /// Whether it still works, asked again and again; if not, it is restarted with the cause "health". Default: it works
        /// as long as it runs.
        live: RawLive,
        /// Where it listens: "tcp://HOST:PORT", "udp://HOST:PORT", "unix:///path", or tables of `address` and more. ganger
        /// opens the sockets once and never closes them for a restart; instances get them as LISTEN_FDS does.
        listen: OneOrMany<listen::Entry>,
        /// How connections come to instances: "inherit" (default), all have the same sockets; "reuseport", each has its
        /// own and the kernel deals to those that are ready; "pass", ganger accepts and hands each connection over the
        /// channel to the instance that has the fewest under way. With `node_cluster`: "pass" (default) or "inherit".
        listen_mode: listen::ModeWord,
        /// It is a program that uses Node's `cluster` module: ganger starts its workers and is its primary. Where it listens
        /// the program says itself; it is ready when it does. Default: false.
        node_cluster: bool,
        /// "auto" (default), or "on-demand": it starts with the first connection to what it listens on.
        start: listen::StartWord,
        /// How its instances are replaced one after the other, by `ganger reload` and when this file changes. Default: by a
        /// rolling reload where it listens, else by a restart.
        reload: RawReload,
        /// Restarts it, or reloads it where a changed service is reloaded, when its files change: true for all of `cwd`, paths
        /// and patterns relative to it, or a table. Default: false.
        watch: super::watch::WatchKey,
        /// Lets Node's HTTP servers finish when they are stopped or replaced: from the stop signal on they accept nothing, answer
        /// each further request on a connection that is kept alive with `Connection: close`, and the signal reaches the
        /// program when all connections are gone, or after nine tenths of `stop_timeout`. The program needs no change: a
        /// script is loaded before it, by NODE_OPTIONS. Default: false.
        node_drain: bool,
        /// It is asked to end by the message "shutdown" on its channel, as PM2's `shutdown_with_message` does, and gets no `stop_signal`.
        /// Default: false.
        stop_message: bool,
        /// Who is restarted first after failures when `[supervision]` lets only so many start: "high", "normal" (default),
        /// "low", or 0 to 255.
        priority: PriorityValue,
        /// `PORT` of its first instance; each further instance gets one more.
        port: u16,
        /// The variable that tells an instance its number, from 0: "NODE_APP_INSTANCE" for programs written for PM2.
        instance_var: String,
        /// Its program talks with other services over its channel, `GANGER_CHANNEL_FD`: requests, topics, descriptors.
        /// Default: false, but `ready = { channel = true }` opens one too.
        channel: bool,
    }
}

section! {
    /// When a worker's process makes room for a fresh one, after what it holds.
    struct Recycle in "`recycle`" {
        /// After so many tasks.
        tasks: u64,
        /// After so long; later slots a little later.
        after: Time,
        /// When it has more memory resident than this after a task.
        memory: Bytes,
    }
}

program_section! {
    /// Processes that take tasks from queues.
    struct Pool in "[pool.*]" {
        /// The queues it takes from.
        queues: Vec<At<String>>,
        /// How many processes. Default: 1.
        workers: Workers,
        /// How ganger talks with them: "channel" (default), "stdio", or "command" for one process per task.
        protocol: Protocol,
        /// Send the bare payload and take the next message as the result: for scripts written for fork(). Default: false.
        raw: bool,
        /// Its workers talk with services and other workers over the channel that brings their tasks: requests by name, topics. Default: false.
        channel: bool,
        /// Tasks one worker runs at once. Default: 1.
        concurrency: u32,
        /// Tasks one worker may have waiting in its buffer. Default: 16.
        prefetch: u32,
        /// When a process makes room for a fresh one. Default: never.
        recycle: Recycle,
        /// Whether its processes still answer. Default: nobody asks.
        live: RawPings,
    }
}
