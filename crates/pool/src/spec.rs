//! What a pool is to be: resolved, nothing left to look up.

use std::time::Duration;

use ganger_core::{InstanceId, InstanceKind, logwire::LogTarget};
use ganger_keeper::wire::{ChannelPlan, Output, Stdin};
use ganger_supervise::{InstanceSpec, Restart};

use crate::autoscale::Autoscale;

/// The most workers of one pool: each may hold a process, a channel and two log pipes.
pub const WORKERS_MAX: u32 = 1_024;

/// Bytes of a command's stdout that are its result, unless its pool says otherwise: a result is a row in the store.
pub const OUTPUT_MAX: u64 = 1 << 20;

/// Tells an SDK that words for other processes go in the lines of the worker's own channel, without descriptors.
const PEERS_ENV: &str = "GANGER_PEERS";

/// How ganger talks with the processes of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Lines of JSON over a socket whose number is in `GANGER_CHANNEL_FD` and `NODE_CHANNEL_FD`.
    Channel,
    /// The same lines over stdin and stdout; only stderr is a log then.
    Stdio,
    /// One process per task: payload on stdin, stdout is the result, the exit code the outcome.
    Command,
}

/// When a worker's process has done enough and a fresh one takes over. It finishes what it holds first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recycle {
    /// After so many tasks.
    pub tasks: Option<u64>,
    /// After so long; later slots a little later, so that not all go at once.
    pub after: Option<Duration>,
    /// When its main process has more resident bytes than this after a task.
    pub memory: Option<u64>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSpec {
    /// Its name.
    pub name: String,
    /// How many workers, in slots 1 to this. With `autoscale`: those to begin with.
    pub workers: u32,
    /// Its size follows its load.
    pub autoscale: Option<Autoscale>,
    /// The queues it takes from.
    pub queues: Vec<String>,
    /// How ganger talks with its processes.
    pub protocol: Protocol,
    /// Bare payload out, next message is the result; one at a time.
    pub raw: bool,
    /// Its workers talk with other processes over the channel that brings their tasks.
    pub peers: bool,
    /// What one worker runs at once.
    pub concurrency: u32,
    /// What one worker buffers beyond that.
    pub prefetch: u32,
    /// Program, environment, limits, restarts and stop. Slot, kind, log targets, stdin, stdout and channel are filled in per
    /// worker. For `command` pools the arguments (but not the program) are templates.
    pub instance: InstanceSpec,
    /// How long a worker may take to answer a `$cancel` before it is ended.
    pub cancel_grace: Duration,
    /// How long a worker that is asked to stop may finish what it holds.
    pub drain: Duration,
    /// The longest line a worker may send.
    pub line_max: usize,
    /// The most bytes of a command's stdout.
    pub output_max: u64,
    /// When a process makes room for a fresh one.
    pub recycle: Recycle,
    /// Not to be started: a person stopped it.
    pub stopped: bool,
}

impl PoolSpec {
    /// A pool of one `channel` worker for a queue of its own name, with the defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, instance: InstanceSpec) -> Self {
        let name = name.into();
        Self {
            queues: vec![name.clone()],
            name,
            workers: 1,
            autoscale: None,
            protocol: Protocol::Channel,
            raw: false,
            peers: false,
            concurrency: 1,
            prefetch: 16,
            instance,
            cancel_grace: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            line_max: ganger_ipc::lines::LINE_MAX,
            output_max: OUTPUT_MAX,
            recycle: Recycle::default(),
            stopped: false,
        }
    }

    /// What runs at once in one worker: raw workers and commands can't tell two tasks apart.
    #[must_use]
    pub const fn lanes(&self) -> u32 {
        let alone = self.raw || matches!(self.protocol, Protocol::Command);
        if alone || self.concurrency == 0 { 1 } else { self.concurrency }
    }

    /// The spec of one worker.
    #[must_use]
    pub fn slot(&self, slot: u32) -> InstanceSpec {
        let mut spec = self.instance.clone();
        // A worker that ends by itself has only made room for a fresh one.
        spec.restart = Restart::Always;
        let plan = &mut spec.plan;
        plan.instance = InstanceId::new(&self.name, slot);
        plan.stderr = self.log(slot);
        if self.peers {
            plan.env.set(PEERS_ENV, "lines");
        }
        match self.protocol {
            Protocol::Channel => {
                plan.kind = InstanceKind::Worker;
                plan.channel = Some(ChannelPlan::default());
                plan.stdin = Stdin::Null;
                plan.stdout = self.log(slot);
            }
            Protocol::Stdio => {
                plan.kind = InstanceKind::Worker;
                plan.channel = None;
                plan.stdin = Stdin::Pipe;
                plan.stdout = Output::Pipe;
            }
            Protocol::Command => {
                plan.kind = InstanceKind::Command;
                plan.channel = None;
                plan.stdin = Stdin::Passed;
                plan.stdout = Output::Capture { cap_bytes: self.output_max };
            }
        }
        spec
    }

    fn log(&self, slot: u32) -> Output {
        match &self.instance.plan.stderr {
            Output::Log(target) => {
                Output::Log(LogTarget { name: self.name.clone(), slot, ..target.clone() })
            }
            other => other.clone(),
        }
    }
}
