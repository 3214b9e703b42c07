//! The machine's vocabulary: states, events, actions.

use std::time::{Duration, Instant};

use ganger_core::FailureCause;

/// How the reason of a `backoff` begins that waits for the breaker.
pub const BREAKER_OPEN: &str = "breaker open";

/// Where the instance is, with the data only that state has.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// No process, none wanted.
    Stopped {
        /// It ended by itself with exit code 0.
        completed: bool,
    },
    /// A start is asked for (`spawned` false) or has happened and readiness is awaited.
    Starting {
        /// The keeper has answered.
        spawned: bool,
        /// A declared start-up is over.
        up: bool,
        /// When the start was asked for.
        since: Instant,
        /// When a missing readiness becomes a failure.
        deadline: Option<Instant>,
    },
    /// Up, and ready where readiness is declared.
    Running {
        /// When it became so.
        since: Instant,
        /// How long the start-up took.
        startup: Duration,
    },
    /// Its end is asked for and not yet told.
    Stopping {
        /// What follows the end.
        then: Then,
        /// How far the stop has come.
        phase: Phase,
    },
    /// No process; the next start has its time.
    Backoff {
        /// The time.
        until: Instant,
        /// What it waits for.
        waiting: Waiting,
        /// The time has come and a permit is asked for: it has no deadline of its own any more.
        asked: bool,
    },
    /// No process; only a person starts it again.
    Failed,
}

/// What an instance without a process waits for before its next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The wait after a failure.
    Retry,
    /// The breaker's time.
    Breaker,
    /// Its turn in the restart of its group. It did not fail.
    Group,
}

/// What a start waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The end of its start-up.
    StartUp,
    /// Readiness.
    Ready,
}

/// What follows the end of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Stop,
    /// A new start, asked for by a person or by a changed configuration.
    Start,
    /// The end counts as a failure: readiness never came, or health was lost.
    Fail,
    /// A new start when its group says so. The end counts as nothing.
    Yield,
}

/// How far a stop has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The keeper has not yet answered the start that is to be undone.
    Unspawned,
    /// It is told to finish what it has and end; the stop signal at this time.
    Draining(Instant),
    /// The stop signal is sent; by force at this time.
    Asked(Instant),
    /// The end of the tree by force is asked for; again at this time.
    Forced(Instant),
}

/// What may happen to an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody wants it up.
    Start,
    /// Somebody wants it down, and says why.
    Stop(String),
    /// Somebody wants a new process in place of the present one.
    Restart,
    /// The keeper started it.
    Spawned,
    /// The keeper could not start it: the text names step, path and errno.
    CouldNotSpawn(String),
    /// What its start waits for is seen: the end of its start-up, then readiness.
    Ready,
    /// Readiness will never come: the text says why.
    NeverReady(String),
    /// It ran and its health check failed: the text says how.
    Unhealthy(String),
    /// Its watchdog was silent too long: as [`Event::Unhealthy`], but it is asked for a core, not for its end.
    Hung(String),
    /// It asks for this much time from now on, for its start or its stop.
    Extend(Duration),
    /// Its group restarts: the text says why. What has a process makes room and waits for its turn.
    Yield(String),
    /// The permit that was asked for.
    Permitted,
    /// Its main process ended and its tree is empty.
    Exited {
        /// Exit code 0.
        success: bool,
        /// What it counts as if it is a failure.
        cause: FailureCause,
        /// How, as a person would say it.
        how: String,
        /// Processes of its tree that could not be proven dead.
        stuck: Vec<u32>,
    },
    /// The keeper ended its tree by force; these pids would not go.
    TreeEnded(Vec<u32>),
    /// The time of [`super::Machine::deadline`] has come.
    Deadline,
}

/// What the owner must do now, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask the keeper for a start.
    Spawn,
    /// Ask for a permit to restart; one asked for before is void.
    Ask,
    /// Look for what [`super::Machine::stage`] says, in place of anything looked for before.
    Probe,
    /// Stop looking.
    EndProbe,
    /// Tell it to finish what it has and end.
    Drain,
    /// Send the configured stop signal.
    Signal,
    /// Send SIGABRT to the main process.
    Abort,
    /// End the whole tree by force.
    EndTree,
}

/// What an adopted child was doing when its former daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    /// It had become ready.
    pub ready: bool,
    /// It was being ended, and what should follow.
    pub stopping: Option<Then>,
    /// Time since its start.
    pub age: Duration,
}
