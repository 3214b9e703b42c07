//! What a peer did that its channel's rules don't know, by name.

use crate::envelope::Garbage;

/// One thing that was refused. The channel goes on; the owner counts these and decides when it has had enough of a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its bytes were skipped as they came.
    #[error("a message of {} (the most is {}); it was skipped", ganger_core::Size(*len), ganger_core::Size(*cap as u64))]
    TooLong {
        /// Its length in bytes.
        len: u64,
        /// The longest that is taken.
        cap: usize,
    },
    /// It is much too long and has not ended yet. Its bytes are skipped as they come; [`Self::TooLong`] follows at its end.
    #[error("a line without an end (the most is {}); it is skipped as it comes", ganger_core::Size(*cap as u64))]
    Endless {
        /// The longest that is taken.
        cap: usize,
    },
    /// Not a value of the channel's serialization, or one of Node's messages with a field that can't be.
    #[error(transparent)]
    Broken(#[from] Garbage),
    /// A descriptor came and no message spoke of it. It was closed.
    #[error("a handle that no message speaks of; it was closed")]
    UnsolicitedHandle,
    /// More descriptors than anybody sends were waiting for their messages. The one that came last was closed.
    #[error("more than {most} handles without their messages; the last was closed")]
    TooManyHandles {
        /// How many may wait.
        most: usize,
    },
    /// The kernel could not give us all descriptors of a message (`MSG_CTRUNC`).
    #[error("handles were lost on the way (is RLIMIT_NOFILE reached?)")]
    HandlesLost,
    /// An ACK or NACK with no handle under way.
    #[error("it answered a handle that nobody sent")]
    AnswerToNothing,
    /// A handle of a type that no Node knows. It was taken and closed.
    #[error("a handle of the unknown type `{0}`; it was closed")]
    UnknownHandleType(String),
    /// A message of the cluster protocol that does not fit what went before it.
    #[error("cluster: {0}")]
    Cluster(String),
}
