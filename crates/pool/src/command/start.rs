//! Making the plan of one task's process, and the note that tells a next daemon whose it is.

use std::os::fd::OwnedFd;

use ganger_core::{TaskId, Token};
use ganger_keeper::wire::Plan;
use ganger_process::Child;
use ganger_queue::Attempt;
use ganger_sys::memfd::sealed;
use serde::{Deserialize, Serialize};

use crate::template::{FillError, Subject, Template};

/// The note on a command's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub task: TaskId,
    pub token: Token,
}

/// The note of a child, if it is a command's.
pub(crate) fn note_of(child: &Child) -> Option<Note> {
    serde_json::from_str(child.blob()).ok()
}

/// Why a command was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Fill(#[from] FillError),
    #[error("can't make the command's stdin (memfd): {0}")]
    Stdin(std::io::Error),
}

/// The plan of one attempt, and its stdin.
pub(crate) fn plan(
    base: &Plan,
    template: &Template,
    attempt: &Attempt,
) -> Result<(Plan, OwnedFd), StartError> {
    let arguments = template.fill(&Subject {
        id: attempt.id,
        kind: attempt.kind.as_deref().unwrap_or_default(),
        queue: &attempt.queue,
        attempt: attempt.n,
        payload: &attempt.payload,
    })?;
    let mut plan = base.clone();
    plan.argv.truncate(1);
    plan.argv.extend(arguments);
    let given = [
        ("GANGER_TASK_ID", attempt.id.to_string()),
        ("GANGER_ATTEMPT", attempt.n.to_string()),
        ("GANGER_FENCE", attempt.token.to_string()),
    ];
    for (name, value) in given {
        plan.env.set(name, value);
    }
    let note = Note { task: attempt.id, token: attempt.token };
    plan.blob = serde_json::to_string(&note).expect("ids and tokens are JSON");
    Ok((plan, sealed("ganger-payload", &attempt.payload).map_err(StartError::Stdin)?))
}
