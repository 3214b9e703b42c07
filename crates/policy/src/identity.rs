//! Which file a program is: pinned when policies are loaded, compared at every decision and again by whoever launches.
//!
//! ```text
//! load:      path ─ inspect ─ trusted? (owner, modes up to the root, no setuid, script = pair, contents) ─ Pinned
//! decision:  path ─ stamp ─ the same device, inode, size and change time? ─ else ProgramChanged
//! launch:    open, stamp of the descriptor, execute that descriptor
//! ```
//!
//! A file whose contents, owner or links changed has another change time, which nobody but the kernel sets; so the stamp is
//! enough between two loads, and contents are only read at load.

use serde::{Deserialize, Serialize};

use crate::catalog;
use crate::decision::Code;
use crate::model::Policy;
use crate::path::file_name;

/// What tells one state of one file from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Time of the last change of contents or attributes: seconds and nanoseconds since 1970.
    pub ctime: (i64, u32),
}

/// A program file as it was when policies were loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// As the policy names it.
    pub path: String,
    /// Where that leads, every link followed.
    pub real: String,
    /// Which state of which file.
    pub stamp: Stamp,
    /// SHA-256 in hex, where the policy has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What there is to know about a program file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Where its path leads, every link followed.
    pub real: String,
    /// Which state of which file.
    pub stamp: Stamp,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// It has capabilities of its own (`security.capability`).
    pub capabilities: bool,
    /// Of the file and every folder on the way, links' folders too: the first that somebody but root and ganger's own user
    /// may change.
    pub writable: Option<String>,
    /// The first line of a script.
    pub script: Option<Shebang>,
    /// SHA-256 in hex, if it was asked for.
    pub sha256: Option<String>,
}

/// `#!INTERPRETER ARGUMENT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shebang {
    /// Path.
    pub interpreter: String,
    /// The rest of the line, one argument.
    pub argument: Option<String>,
}

/// Looks at program files. The real one is [`crate::Disk`].
pub trait Identify {
    /// Which state of which file a path leads to now; cheap.
    ///
    /// # Errors
    /// The system's.
    fn stamp(&self, path: &str) -> std::io::Result<Stamp>;

    /// Everything about it; reads its contents if `hash` is set.
    ///
    /// # Errors
    /// The system's.
    fn inspect(&self, path: &str, hash: bool) -> std::io::Result<Identity>;
}

/// The files of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// What is executed: the program, or a script's interpreter.
    pub program: Pinned,
    /// The script, and the argument that its first line puts before it.
    pub script: Option<(Pinned, Option<String>)>,
}

impl Pins {
    /// The first of its files that is not the one it was in `before`. `same_boot`: the machine has not been started anew in between.
    #[must_use]
    pub fn differs_from(&self, before: &Self, same_boot: bool) -> Option<&str> {
        let script = |pins: &'_ Self| pins.script.as_ref().map(|(script, _)| script.clone());
        if !self.program.is(&before.program, same_boot) {
            return Some(&self.program.path);
        }
        match (script(self), script(before)) {
            (None, None) => None,
            (Some(now), Some(then)) if now.is(&then, same_boot) => None,
            _ => Some(self.script.as_ref().map_or(&self.program.path, |(script, _)| &script.path)),
        }
    }

    /// Its files are what they were.
    pub(crate) fn hold(&self, identify: &impl Identify) -> bool {
        let script = self.script.as_ref().map(|(script, _)| script);
        let mut files = std::iter::once(&self.program).chain(script);
        files.all(|file| identify.stamp(&file.path).is_ok_and(|stamp| stamp == file.stamp))
    }
}

/// Why a program can't be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// The system's.
    #[error("{path} can't be looked at: {error}")]
    Missing {
        /// Which.
        path: String,
        /// Why.
        error: String,
    },
    /// Others may change it.
    #[error(
        "{writable}, on the way to {path}, may be changed by others than root and ganger's own user: chmod go-w, chown root"
    )]
    Writable {
        /// Which.
        path: String,
        /// What of it.
        writable: String,
    },
    /// It was exchanged while nobody watched it.
    #[error(
        "{0} is not the file that it was when its policy was loaded last: look at it; `ganger up` pins what is there now"
    )]
    Exchanged(String),
    /// The policy itself was, where ganger keeps it.
    #[error(
        "nobody loaded this policy as it stands: what ganger stored was changed; `ganger up` loads what the file says"
    )]
    NotLoaded,
    /// It runs with more rights than its caller.
    #[error(
        "{0} is setuid, setgid or has capabilities: it would run with more rights than its caller"
    )]
    Privileged(String),
    /// Nobody may execute it.
    #[error("{0} is not a file that can be executed")]
    NotExecutable(String),
    /// It starts whatever it is given.
    #[error("{0} is the system's program loader: it starts any file it is given")]
    Loader(String),
    /// A script without its other half.
    #[error(
        "{script} is a script of {found}: a script is allowed together with its interpreter, by `interpreter = \"/…\"`"
    )]
    Interpreter {
        /// Which.
        script: String,
        /// What its first line says.
        found: String,
    },
    /// Not a script.
    #[error("{0} is no script, but the policy has an `interpreter`")]
    NoScript(String),
    /// Other contents.
    #[error("{path} has other contents: its SHA-256 is {found}")]
    Contents {
        /// Which.
        path: String,
        /// In hex.
        found: String,
    },
}

impl Untrusted {
    /// As decisions say it.
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Exchanged(_) => Code::ProgramChanged,
            _ => Code::ProgramUnsafe,
        }
    }
}

impl Pinned {
    /// True when this is the file that was pinned before. Device numbers are given out anew by each boot; the change time is the
    /// kernel's, so that without them an inode is still told from its successors. Contents that the policy names are the file.
    fn is(&self, before: &Self, same_boot: bool) -> bool {
        let (now, then) = (self.stamp, before.stamp);
        let same = self.real == before.real
            && (now.ino, now.size, now.ctime) == (then.ino, then.size, then.ctime)
            && (now.dev == then.dev || !same_boot);
        self.path == before.path
            && (same || (self.sha256.is_some() && self.sha256 == before.sha256))
    }
}

/// Looks at a policy's program and pins it.
///
/// # Errors
/// [`Untrusted`].
pub fn pin(policy: &Policy, identify: &impl Identify) -> Result<Pins, Untrusted> {
    let program = look(&policy.program, policy.sha256.as_deref(), identify)?;
    match (&program.1.script, &policy.interpreter) {
        (None, None) => Ok(Pins { program: program.0, script: None }),
        (None, Some(_)) => Err(Untrusted::NoScript(policy.program.clone())),
        (Some(shebang), interpreter) => {
            let fail = || Untrusted::Interpreter {
                script: policy.program.clone(),
                found: shebang.interpreter.clone(),
            };
            let wanted =
                interpreter.as_ref().filter(|path| agrees(shebang, path)).ok_or_else(fail)?;
            // `env` and its kin would look for the interpreter themselves.
            let operands = catalog::operands(wanted);
            if operands.contains(&catalog::Class::Command) {
                return Err(fail());
            }
            let (pinned, identity) = look(wanted, None, identify)?;
            if let Some(further) = identity.script {
                return Err(Untrusted::Interpreter {
                    script: wanted.clone(),
                    found: further.interpreter,
                });
            }
            let argument = shebang.argument.clone().filter(|_| shebang.interpreter == *wanted);
            Ok(Pins { program: pinned, script: Some((program.0, argument)) })
        }
    }
}

/// `#!/usr/bin/env python3` would look the interpreter up in a `PATH`; what the policy names is executed instead.
fn agrees(shebang: &Shebang, interpreter: &str) -> bool {
    let by_env = file_name(&shebang.interpreter) == "env"
        && shebang.argument.as_deref() == Some(file_name(interpreter));
    shebang.interpreter == interpreter || by_env
}

fn look(
    path: &str,
    sha256: Option<&str>,
    identify: &impl Identify,
) -> Result<(Pinned, Identity), Untrusted> {
    let found = identify
        .inspect(path, sha256.is_some())
        .map_err(|error| Untrusted::Missing { path: path.to_owned(), error: error.to_string() })?;
    if is_loader(&found.real) {
        return Err(Untrusted::Loader(path.to_owned()));
    }
    if let Some(writable) = found.writable {
        return Err(Untrusted::Writable { path: path.to_owned(), writable });
    }
    if found.mode & 0o6000 != 0 || found.capabilities {
        return Err(Untrusted::Privileged(path.to_owned()));
    }
    if found.mode & 0o111 == 0 {
        return Err(Untrusted::NotExecutable(path.to_owned()));
    }
    if let (Some(wanted), Some(is)) = (sha256, &found.sha256)
        && wanted != is
    {
        return Err(Untrusted::Contents { path: path.to_owned(), found: is.clone() });
    }
    let pinned = Pinned {
        path: path.to_owned(),
        real: found.real.clone(),
        stamp: found.stamp,
        sha256: sha256.map(str::to_owned),
    };
    Ok((pinned, Identity { writable: None, ..found }))
}

fn is_loader(real: &str) -> bool {
    let name = file_name(real);
    (name.starts_with("ld-") && name.contains(".so")) || name == "ld.so"
}
