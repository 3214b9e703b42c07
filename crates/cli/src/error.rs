//! What can go wrong in a verb: one look (`error: …` + `help: …`) and one exit code per kind.

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::ui::Ui;

/// The kind decides the exit code; scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything without a code of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The config file is wrong or missing.
    Config = 3,
    /// The named thing does not exist.
    NotFound = 4,
    /// No daemon answers.
    NoDaemon = 5,
    /// Not allowed.
    Denied = 6,
    /// Waited long enough.
    Timeout = 7,
    /// Some of it worked, or there are differences.
    Partial = 8,
    /// It clashes with what is there.
    Conflict = 9,
    /// A queue takes nothing now; the same again later may work.
    Full = 10,
    /// `run`: ganger itself failed, not the command.
    Run = 125,
}

/// A verb's failure, ready to be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A message with its ways out.
    #[error("{message}")]
    Told {
        /// Decides the exit code.
        kind: Kind,
        /// What failed, on what, why.
        message: String,
        /// What to do, one line each.
        hints: Vec<String>,
    },
    /// Text that already has the look (config errors with source lines).
    #[error("{text}")]
    Rendered {
        /// Decides the exit code.
        kind: Kind,
        /// Shown as it is.
        text: String,
    },
    /// The reader of our output went away: not an error worth a word.
    #[error("the reader of the output is gone")]
    Pipe,
}

/// 128 + SIGPIPE, what a shell shows for `yes | head -1`.
const PIPE_CODE: u8 = 141;

impl CliError {
    /// A failure of a kind; add ways out with [`CliError::help`].
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self::Told { kind, message: message.into(), hints: Vec::new() }
    }

    /// Adds a way out.
    #[must_use]
    pub(crate) fn help(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told { hints, .. } = &mut self {
            hints.push(hint.into());
        }
        self
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Told { kind, .. } | Self::Rendered { kind, .. } => *kind as u8,
            Self::Pipe => PIPE_CODE,
        }
    }

    /// Shows it on stderr and gives the exit code.
    pub(crate) fn show(&self, ui: &Ui) -> ExitCode {
        match self {
            Self::Told { .. } => ui.talk(&self.render(ui.talk_is_coloured())),
            Self::Rendered { text, .. } => ui.talk(text.trim_end()),
            Self::Pipe => {}
        }
        ExitCode::from(self.code())
    }

    fn render(&self, coloured: bool) -> String {
        let Self::Told { message, hints, .. } = self else {
            return self.to_string();
        };
        let (red, cyan, bold, off) = if coloured {
            ("\x1b[1;31m", "\x1b[1;36m", "\x1b[1m", "\x1b[0m")
        } else {
            ("", "", "", "")
        };
        let mut text = format!("{red}error{off}{bold}:{off} {message}");
        for hint in hints {
            let _ = write!(text, "\n{cyan}help{off}{bold}:{off} {hint}");
        }
        text
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::Pipe
        } else {
            Self::new(Kind::Failed, format!("can't write the output: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_documented_code() {
        let codes: Vec<u8> = [
            Kind::Failed,
            Kind::Usage,
            Kind::Config,
            Kind::NotFound,
            Kind::NoDaemon,
            Kind::Denied,
            Kind::Timeout,
            Kind::Partial,
            Kind::Conflict,
            Kind::Full,
            Kind::Run,
        ]
        .map(|kind| CliError::new(kind, "x").code())
        .to_vec();
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 125]);
        assert_eq!(
            CliError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)).code(),
            141
        );
    }

    #[test]
    fn one_look() {
        let error = CliError::new(Kind::NoDaemon, "no daemon").help("start one").help("or two");
        assert_eq!(error.render(false), "error: no daemon\nhelp: start one\nhelp: or two");
        assert!(error.render(true).starts_with("\x1b[1;31merror"));
    }
}
