//! The closed vocabularies: one word per thing, the same in code, CLI, configuration, API and docs.

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word users see and scripts match.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::UnknownWord;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                match s {
                    $($word => Ok(Self::$variant),)+
                    other => Err($crate::words::UnknownWord {
                        given: other.to_owned(),
                        allowed: &[$($word),+],
                    }),
                }
            }
        }
    };
}
pub(crate) use words;

/// A word that is not in its vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown word `{given}`; allowed: {}", allowed.join(", "))]
pub struct UnknownWord {
    /// What was given.
    pub given: String,
    /// What would have been understood.
    pub allowed: &'static [&'static str],
}

words! {
    /// Why an instance failed; the key of its backoff.
    FailureCause {
        /// It ended with an exit code.
        ExitCode = "exit_code",
        /// A signal, or a limit other than memory, ended it.
        Signal = "signal",
        /// It ran into its memory limit, or the kernel's OOM killer chose it.
        Oom = "oom",
        /// It ran and its health check failed.
        Health = "health",
        /// It did not get ready in time, or never will.
        StartTimeout = "start_timeout",
        /// It could not be started at all.
        Spawn = "spawn",
    }
}

words! {
    /// Where an instance's circuit breaker is.
    #[derive(Default)]
    BreakerState {
        /// Failures lead to restarts after their backoff.
        #[default]
        Closed = "closed",
        /// Too many restarts: none before its time.
        Open = "open",
        /// The one probe start after that time is on trial.
        HalfOpen = "half-open",
    }
}

words! {
    /// What the restart of one member of a group means for the others.
    #[derive(Default)]
    GroupStrategy {
        /// Nothing.
        #[default]
        OneForOne = "one-for-one",
        /// All restart.
        OneForAll = "one-for-all",
        /// Those after it restart.
        RestForOne = "rest-for-one",
    }
}

words! {
    /// How a group is.
    GroupState {
        /// Every member is stopped.
        Stopped = "stopped",
        /// A required member is on its way.
        Starting = "starting",
        /// Every member is up.
        Running = "running",
        /// Every required member is up or stopped by hand, and not every member is up.
        Degraded = "degraded",
        /// A required member has failed, or its breaker is open.
        Failed = "failed",
    }
}

words! {
    /// What applying a specification does to a service.
    Effect {
        /// It starts.
        Start = "start",
        /// Its processes are ended and started again.
        Restart = "restart",
        /// New processes are ready before old ones go.
        Roll = "roll",
        /// Only its rules or the number of its instances change.
        Adjust = "adjust",
        /// It is stopped and forgotten.
        Stop = "stop",
        /// Nothing.
        Unchanged = "unchanged",
    }
}

words! {
    /// Where a rolling reload is.
    ReloadState {
        /// New instances take the places of old ones.
        Rolling = "rolling",
        /// What was replaced is taken back.
        GoingBack = "going-back",
        /// All instances are of the new version.
        Done = "done",
        /// All instances are of the old version again.
        TakenBack = "taken-back",
        /// It ended in the middle, by a stop or another configuration.
        CutShort = "cut-short",
    }
}

impl ReloadState {
    /// It is still going on.
    #[must_use]
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Rolling | Self::GoingBack)
    }
}

words! {
    /// Where a task is in its life.
    TaskState {
        /// Waits for its time.
        Scheduled = "scheduled",
        /// May be claimed now.
        Available = "available",
        /// A worker holds a claim on it.
        Running = "running",
        /// Failed and waits for its next attempt.
        Retryable = "retryable",
        /// Ended well; its result is stored.
        Completed = "completed",
        /// Ended by request.
        Cancelled = "cancelled",
        /// Ended without success and without attempts left: a dead letter.
        Discarded = "discarded",
    }
}

impl TaskState {
    /// True for the three states a task never leaves by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Discarded)
    }
}

words! {
    /// Where an instance (one process of a service or pool) is in its life.
    InstanceState {
        /// Not running and not wanted.
        Stopped = "stopped",
        /// Started, not yet ready.
        Starting = "starting",
        /// Up (and ready, where readiness is declared).
        Running = "running",
        /// Asked to end; its tree is not empty yet.
        Stopping = "stopping",
        /// Waits for its next start.
        Backoff = "backoff",
        /// Given up; the reason says why.
        Failed = "failed",
    }
}

words! {
    /// What a child process is for.
    InstanceKind {
        /// A long-running program kept alive.
        Service = "service",
        /// A long-running process that takes tasks.
        Worker = "worker",
        /// A one-shot program.
        Command = "command",
    }
}

words! {
    /// Which output of a child.
    Stream {
        /// Descriptor 1.
        Stdout = "stdout",
        /// Descriptor 2.
        Stderr = "stderr",
    }
}

words! {
    /// What an acknowledgement of a queue promises.
    Durability {
        /// Survives power loss: acknowledged after fsync.
        Fsync = "fsync",
        /// Survives any crash of ganger; the newest may be lost with power.
        Relaxed = "relaxed",
        /// Lives in the daemon's memory only.
        Memory = "memory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for state in TaskState::ALL {
            assert_eq!(state.as_str().parse::<TaskState>().as_ref(), Ok(state));
        }
        assert!("runing".parse::<InstanceState>().unwrap_err().to_string().contains("running"));
    }
}
