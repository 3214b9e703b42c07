//! How a keeper is to run.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Command line of a process the keeper keeps alive: an absolute program and its arguments, the zeroth included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// Absolute path; `/proc/self/exe` is ganger itself.
    pub program: String,
    /// Arguments, the zeroth included.
    pub argv: Vec<String>,
}

impl Helper {
    /// This binary with a hidden verb.
    #[must_use]
    pub fn own(verb: &str) -> Self {
        Self { program: "/proc/self/exe".into(), argv: vec!["ganger".into(), verb.into()] }
    }
}

/// What [`crate::run`] needs to know.
#[derive(Debug)]
pub struct KeeperOptions {
    /// The state folder; made when missing, mode 0700.
    pub state_dir: PathBuf,
    /// Stay with the caller's stdio and session (`ganger daemon`, one-shot verbs); else stdio goes to `keeper.log`.
    pub foreground: bool,
    /// A memfd with a [`crate::wire::Table`]: take over what a dead keeper left.
    pub adopt: Option<OwnedFd>,
    /// A memfd that the keeper wrote before this program replaced its own: go on from there; nothing else counts then but
    /// the command lines.
    pub resume: Option<OwnedFd>,
    /// How another binary becomes a keeper; [`Helper::own`]`("__keeper")`. Its program is not used.
    pub keeper: Helper,
    /// The logger's command line; [`Helper::own`]`("__logger")`.
    pub logger: Helper,
    /// The daemon's command line; [`Helper::own`]`("__daemon")`.
    pub daemon: Helper,
}
