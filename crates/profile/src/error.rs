//! What can keep a profile from being made.

use std::io;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// None of the processes is there (any more).
    #[error("no process {0} to profile")]
    Gone(String),
    /// A wish that can't be met.
    #[error("{0}")]
    Wish(String),
    /// This machine has no processor list, or the kernel refuses in a way that is not about permission.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What came back.
        error: io::Error,
    },
}

impl ProfileError {
    pub(crate) const fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}
