//! What can go wrong between the daemon and its keeper.

use std::io;

use ganger_core::InstanceId;
use ganger_core::end::errno_text;
use ganger_keeper::wire::WireError;

/// The keeper's socket is closed: nothing more can be asked, and nothing may be concluded about the children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keeper is gone; its children live on and a new keeper takes them over")]
pub struct KeeperGone;

/// A child was not started. Nothing is left of the try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// The keeper tried and failed.
    #[error("{}", failed_text(.instance, .program, .step, *.errno, .detail))]
    Failed {
        /// The place that stays empty.
        instance: InstanceId,
        /// The program of the plan.
        program: String,
        /// The step: `execve`, `chdir`, …
        step: String,
        /// Its errno; 0 where there is none.
        errno: i32,
        /// On what, and what to do.
        detail: String,
    },
    /// What the plan needs could not be had; the keeper was not asked.
    #[error("{why}")]
    NotPrepared {
        /// The place that stays empty.
        instance: InstanceId,
        /// What is missing, and what to do.
        why: String,
    },
    /// The keeper refused the plan.
    #[error("{instance}: the keeper refused the start: {why}")]
    Refused {
        /// The place that stays empty.
        instance: InstanceId,
        /// Its words.
        why: String,
    },
    /// The keeper ended before it answered; whether the child runs is for the next daemon to see.
    #[error(transparent)]
    KeeperGone(#[from] KeeperGone),
}

fn failed_text(
    instance: &InstanceId,
    program: &str,
    step: &str,
    errno: i32,
    detail: &str,
) -> String {
    let mut text = format!("{instance}: can't start {program}: {step}");
    if errno != 0 {
        text.push_str(": ");
        text.push_str(&errno_text(errno));
    }
    if !detail.is_empty() {
        text.push_str(": ");
        text.push_str(detail);
    }
    text
}

/// Ganger's own program was not replaced; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The keeper says why.
    #[error("{why}")]
    Refused {
        /// Its words, or those of the binary.
        why: String,
    },
    /// Somebody else waits for the same.
    #[error("another upgrade is under way; wait for it")]
    Busy,
    /// The keeper ended before it answered.
    #[error(transparent)]
    KeeperGone(#[from] KeeperGone),
}

/// What came through exec is not what a keeper gives.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// Not started by a keeper.
    #[error(
        "{name} is not set: the daemon is started by `ganger up` or `ganger daemon`, not by hand"
    )]
    NoVariable {
        /// The variable.
        name: &'static str,
    },
    /// A descriptor is missing or the table can't be read.
    #[error("can't take over {what} (descriptor {fd}) from the keeper: {source}")]
    Descriptor {
        /// What it should be.
        what: String,
        /// Its number.
        fd: i32,
        /// The system's reason.
        source: io::Error,
    },
    /// The table is not one.
    #[error(transparent)]
    Table(#[from] WireError),
}

/// No new keeper could be started; the children live on without one.
#[derive(Debug, thiserror::Error)]
pub enum ReviveError {
    /// The table for it could not be written.
    #[error("can't write the table for a new keeper: {source}")]
    Table {
        /// The system's reason.
        source: io::Error,
    },
    /// It could not be executed.
    #[error("can't start a new keeper from {program}: {source}")]
    Spawn {
        /// Which program.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It ended before it had taken over.
    #[error(
        "the new keeper ended before it had taken over ({how}); see keeper.log in the state folder"
    )]
    Ended {
        /// How.
        how: String,
    },
    /// It neither took over nor ended.
    #[error(
        "the new keeper (pid {pid}) has not taken over after {after_s} s; see keeper.log in the state folder"
    )]
    TooSlow {
        /// Its pid.
        pid: u32,
        /// How long was waited.
        after_s: u64,
    },
}
