//! What is decided: the one typed value that is launched, or who refused what and why.

use std::collections::BTreeMap;
use std::fmt;

use ganger_core::{Rate, Size};
use serde::{Serialize, Serializer};

use crate::catalog::Class;
use crate::identity::Pinned;
use crate::input::Probe;
use crate::model::{Access, Layers, Limits, Profile, Total};
use crate::path::Beneath;

/// Shown in place of a secret.
pub const HIDDEN: &str = "[secret]";

/// A verdict. There is no third one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Decision {
    /// It may run, as what the launch says and nothing else.
    Allowed(Box<Allowed>),
    /// It may not.
    Denied(Box<Denied>),
}

impl Decision {
    /// True for [`Decision::Allowed`].
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// The rule that decided.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::Allowed(allowed) => Some(&allowed.rule),
            Self::Denied(denied) => denied.rule.as_deref(),
        }
    }
}

/// It may run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Allowed {
    /// `POLICY` or `POLICY/RULE`.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// What is launched.
    pub launch: Launch,
    /// What looked like an attempt, and is plain text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
}

/// It may not run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Denied {
    /// The rule that denied, or that came nearest to allowing; `None`: there is none.
    pub rule: Option<String>,
    /// For programs and counters.
    pub code: Code,
    /// For people. It never shows what a secret holds.
    pub reason: String,
    /// Index of the argument it is about, the program's name not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argument: Option<usize>,
    /// The line of configuration that would allow it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// The danger of what was asked for, if it is a known one: then the line above is not advice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub danger: Option<Class>,
    /// What looked like an attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
}

impl Denied {
    pub(crate) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self {
            rule: None,
            code,
            reason: reason.into(),
            argument: None,
            allow: None,
            danger: None,
            probes: Vec::new(),
        }
    }
}

/// Why something is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No policy that this principal may use allows it.
    NotAllowed,
    /// The policy is there, but not for this principal. Whoever asks is told what [`Code::NotAllowed`] tells.
    NotYours,
    /// A deny rule.
    DenyRule,
    /// Not UTF-8, or control characters.
    Bytes,
    /// Too many or too long arguments.
    ArgLimit,
    /// The first words are not those of a subcommand that is allowed.
    Subcommand,
    /// An option that is not in the table.
    Option,
    /// An option in a form, or with a value, that it does not have.
    OptionForm,
    /// An option that is missing, or given too often, or beside one that excludes it.
    OptionCount,
    /// A value that is not what it may be.
    Value,
    /// A value that would be taken for an option.
    Dash,
    /// Too many or too few operands.
    ArgCount,
    /// A path outside of its folder.
    Path,
    /// A variable that may not be passed.
    Env,
    /// A variable that changes what programs load or run.
    EnvDanger,
    /// A working folder that is not allowed.
    Cwd,
    /// A standard input that is not allowed.
    Stdin,
    /// The file is not the one that was pinned.
    ProgramChanged,
    /// The program can't be trusted at all, or has not been looked at.
    ProgramUnsafe,
}

impl Code {
    /// As scripts see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::NotYours => "not_yours",
            Self::DenyRule => "deny_rule",
            Self::Bytes => "bytes",
            Self::ArgLimit => "arg_limit",
            Self::Subcommand => "subcommand",
            Self::Option => "option",
            Self::OptionForm => "option_form",
            Self::OptionCount => "option_count",
            Self::Value => "value",
            Self::Dash => "dash",
            Self::ArgCount => "arg_count",
            Self::Path => "path",
            Self::Env => "env",
            Self::EnvDanger => "env_danger",
            Self::Cwd => "cwd",
            Self::Stdin => "stdin",
            Self::ProgramChanged => "program_changed",
            Self::ProgramUnsafe => "program_unsafe",
        }
    }
}

/// What is launched: made from the typed values that were decided on, never from the request's text again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Launch {
    /// The file that is executed: open it, compare it with the stamp, execute that descriptor.
    pub program: Pinned,
    /// The script that the program reads, if it is an interpreter; its path stands in `argv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<Pinned>,
    /// From the program's own name on.
    pub argv: Vec<Argument>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Where it runs.
    pub cwd: Beneath,
    /// What it reads.
    pub stdin: Feed,
    /// Paths to open beneath their folders and hand on before it starts.
    pub paths: Vec<Open>,
    /// What contains it.
    pub sandbox: Profile,
    /// Layers of it that are treated otherwise than the profile does.
    #[serde(skip_serializing_if = "Layers::is_empty")]
    pub layers: Layers,
    /// What it may use.
    pub limits: Limits,
    /// How often one principal may run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many of it one principal may have running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// The same of the program, over all principals and its policies.
    #[serde(skip_serializing_if = "Total::is_none")]
    pub total: Total,
}

/// One argument as it is launched. What shows or serialises it never shows a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Argument {
    text: String,
    /// Bytes from here on are secret.
    secret_from: Option<usize>,
}

impl Argument {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), secret_from: None }
    }

    pub(crate) fn secret(before: &str, secret: &str) -> Self {
        Self { text: format!("{before}{secret}"), secret_from: Some(before.len()) }
    }

    /// The bytes that the program gets, secrets and all: for launching, and for keyed digests.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// True when some of it is secret.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.secret_from.is_some()
    }

    /// As it may be shown.
    #[must_use]
    pub fn shown(&self) -> String {
        match self.secret_from {
            Some(from) => format!("{}{HIDDEN}", &self.text[..from]),
            None => self.text.clone(),
        }
    }
}

impl fmt::Debug for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

impl Serialize for Argument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

/// A path to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Open {
    /// Where it stands in `argv`, maybe behind an option's name.
    pub argument: usize,
    /// What to open.
    pub path: Beneath,
    /// How.
    pub access: Access,
}

/// What the program reads on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Feed {
    /// `/dev/null`.
    None,
    /// Bytes that come with the request, at most so many.
    Bytes(Size),
    /// This file, opened for reading.
    File(Beneath),
}
