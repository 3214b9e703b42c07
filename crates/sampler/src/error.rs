//! What can go wrong.

use std::io;

/// Why something is not watched.
#[derive(Debug, thiserror::Error)]
pub enum SamplerError {
    /// `/proc` is missing or may not be read.
    #[error("{path} can't be read: {source}; is /proc mounted?")]
    Proc {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There is no such process, or its number is another's by now.
    #[error("there is no process {pid}, or it is another one by now")]
    NoProcess {
        /// The number that was asked for.
        pid: u32,
    },
    /// It is there and may not be looked at (`hidepid`, proc(5)).
    #[error(
        "process {pid} may not be looked at: /proc is mounted with hidepid, or a policy forbids it"
    )]
    Refused {
        /// The process.
        pid: u32,
    },
    /// A bound is reached.
    #[error("{what}: {most} is the bound, nothing more is watched")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many.
        most: usize,
    },
}
