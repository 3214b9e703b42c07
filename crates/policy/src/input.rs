//! What somebody asks for, and what is refused of it before any rule is looked at.
//!
//! A request is a vector of arguments; there is no shell, so `;`, `|`, `$(…)`, `*` and `~` are text like any other. Where
//! they look as if somebody tried for a shell, the decision says so ([`Probe`]), whatever it is.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decision::{Code, Denied};

/// Arguments of one request. `xargs` sends up to some thousands; what needs more reads a list from a file.
pub const ARGS_MAX: usize = 4_096;
/// Bytes of one argument: the kernel's own bound is 128 KiB (MAX_ARG_STRLEN).
pub const ARG_BYTES_MAX: usize = 64 << 10;
/// Bytes of all arguments and variables: well below what the kernel takes with a stack of 8 MiB (2 MiB), and kept in every
/// record of the run.
pub const ARGV_BYTES_MAX: usize = 256 << 10;
/// Variables of one request.
pub const ENV_MAX: usize = 256;
/// Probes that one decision tells: a request made of nothing else must not make a record of any size.
const PROBES_MAX: usize = 16;

/// A request: what to run, under which policy or by which path, and around it. Who asks is the connection's to say, so it
/// is no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// What to run.
    pub target: Target,
    /// Arguments after the program's name.
    pub args: Vec<Vec<u8>>,
    /// Variables to pass.
    pub env: BTreeMap<String, String>,
    /// Where to run it; `None`: where the policy says.
    pub cwd: Option<String>,
    /// What it reads.
    pub stdin: Input,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The program of a policy, by the policy's name.
    Policy(String),
    /// A program by its absolute path, or by its name alone if only one policy's program has it. Nothing is ever looked up
    /// along a `PATH`.
    Program(Vec<u8>),
}

impl Default for Target {
    fn default() -> Self {
        Self::Policy(String::new())
    }
}

/// What comes with a request for the program's standard input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Input {
    /// Nothing.
    #[default]
    None,
    /// So many bytes.
    Bytes(u64),
    /// A file.
    File(String),
}

impl Request {
    /// A request under a policy.
    pub fn policy(name: &str, args: &[&str]) -> Self {
        Self { target: Target::Policy(name.to_owned()), args: bytes(args), ..Self::default() }
    }

    /// A request for a program.
    pub fn program(program: &str, args: &[&str]) -> Self {
        Self { target: Target::Program(program.into()), args: bytes(args), ..Self::default() }
    }

    /// The arguments as text, after every check that needs no rule.
    ///
    /// # Errors
    /// Too many, too long, NUL, control characters, other than UTF-8; variables twice or with impossible names.
    pub(crate) fn checked(&self) -> Result<Vec<&str>, Denied> {
        let total: usize = self.args.iter().map(Vec::len).sum::<usize>()
            + self.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if self.args.len() > ARGS_MAX {
            let many = self.args.len();
            return Err(denied(
                Code::ArgLimit,
                None,
                format!("{many} arguments: at most {ARGS_MAX}"),
            ));
        }
        if let Some(at) = self.args.iter().position(|arg| arg.len() > ARG_BYTES_MAX) {
            let why = format!("an argument may have {ARG_BYTES_MAX} bytes");
            return Err(denied(Code::ArgLimit, Some(at), why));
        }
        if total > ARGV_BYTES_MAX || self.env.len() > ENV_MAX {
            let why = format!(
                "arguments and variables may have {ARGV_BYTES_MAX} bytes together, and there may be {ENV_MAX} variables"
            );
            return Err(denied(Code::ArgLimit, None, why));
        }
        let text = |(at, arg): (usize, &'_ Vec<u8>)| match readable(arg) {
            Ok(_) => Ok(()),
            Err(why) => Err(denied(Code::Bytes, Some(at), why)),
        };
        self.args.iter().enumerate().try_for_each(text)?;
        if let Target::Program(program) = &self.target {
            readable(program)
                .map_err(|why| denied(Code::Bytes, None, format!("program: {why}")))?;
        }
        self.check_texts()?;
        Ok(self.args.iter().filter_map(|arg| std::str::from_utf8(arg).ok()).collect())
    }

    fn check_texts(&self) -> Result<(), Denied> {
        let refuse = |what: &str, why: String| denied(Code::Bytes, None, format!("{what}: {why}"));
        for (name, value) in &self.env {
            if name.is_empty() || name.contains('=') {
                let why = "this can't be the name of a variable".to_owned();
                return Err(refuse("environment", why));
            }
            let all = [name, value].map(|text| readable(text.as_bytes()));
            if let Some(why) = all.into_iter().find_map(Result::err) {
                return Err(refuse("environment", why));
            }
        }
        let file = match &self.stdin {
            Input::File(file) => Some(file),
            _ => None,
        };
        for (what, text) in [("cwd", self.cwd.as_ref()), ("stdin", file)] {
            let Some(text) = text else { continue };
            readable(text.as_bytes()).map_err(|why| refuse(what, why))?;
            // Paths among the arguments may begin with them, and there no value has newlines unasked.
            if text.contains(['\n', '\r', '\t']) {
                return Err(refuse(what, "a path has no newlines or tabs".to_owned()));
            }
        }
        Ok(())
    }
}

/// Who asks, as the connection told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Principal {
    /// It runs as the user that ganger runs as.
    pub owner: bool,
    /// User id of the peer.
    pub uid: Option<u32>,
    /// Its groups.
    pub gids: Vec<u32>,
    /// Name of the token that was shown.
    pub token: Option<String>,
}

impl Principal {
    /// The user that ganger itself runs as.
    #[must_use]
    pub fn owner() -> Self {
        Self { owner: true, ..Self::default() }
    }
}

/// Reads a user or group id: decimal digits and nothing else, and none of the numbers that mean "no id" to the kernel.
///
/// # Errors
/// Why it is none. Texts like `-1`, `0x0` and ` 0` have made other programs run things as root (CVE-2019-14287).
pub fn id(text: &str) -> Result<u32, String> {
    let fail = || format!("`{text}` is not a user or group id: write it as a plain number");
    if text.is_empty()
        || !text.bytes().all(|b| b.is_ascii_digit())
        || (text.len() > 1 && text.starts_with('0'))
    {
        return Err(fail());
    }
    let id: u32 = text.parse().map_err(|_| fail())?;
    if is_reserved(id) { Err(format!("{id} means \"no id\" to the kernel")) } else { Ok(id) }
}

/// Numbers that mean "leave it as it is" to setuid(2) and its kin, in 32 bits and in 16.
#[must_use]
pub const fn is_reserved(id: u32) -> bool {
    id == u32::MAX || id == u16::MAX as u32
}

/// Something in a request that a shell, a terminal or a reader would take for more than text. It does nothing here; that
/// somebody tries is worth knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// Index of the argument.
    pub argument: usize,
    /// What it looks like.
    pub kind: ProbeKind,
}

/// What a probe looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// `;`, `|`, `&`, `<`, `>`, a newline: separators and redirections.
    Separator,
    /// `$(…)`, `${…}`, a backtick.
    Substitution,
    /// Escape sequences, NUL and other control characters.
    Control,
    /// Characters that are not seen or turn the direction of text.
    Invisible,
    /// Dashes and letters that look like those of an option but are others.
    Confusable,
    /// `..` as a part of a path.
    Traversal,
    /// A variable that changes what programs load or run.
    Environment,
}

/// What looks like an attempt, the first of each argument.
pub(crate) fn probes(args: &[Vec<u8>]) -> Vec<Probe> {
    let found = args.iter().enumerate().filter_map(|(argument, arg)| {
        probe(&String::from_utf8_lossy(arg)).map(|kind| Probe { argument, kind })
    });
    found.take(PROBES_MAX).collect()
}

fn probe(text: &str) -> Option<ProbeKind> {
    // What most arguments are has none of it.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_=:,+@%/".contains(&b);
    if text.bytes().all(plain) {
        return None;
    }
    if text.chars().any(|c| c.is_control() && !"\n\r\t".contains(c)) {
        return Some(ProbeKind::Control);
    }
    if text.contains("$(") || text.contains("${") || text.contains('`') {
        return Some(ProbeKind::Substitution);
    }
    if text.contains([';', '|', '&', '<', '>', '\n', '\r']) {
        return Some(ProbeKind::Separator);
    }
    if text.chars().any(is_invisible) {
        return Some(ProbeKind::Invisible);
    }
    let looks_like_option = |c: char| "‐‑‒–—―−﹘﹣－".contains(c);
    let mixed = text.starts_with('-') && !text.split('=').next().unwrap_or(text).is_ascii();
    if text.starts_with(looks_like_option) || mixed {
        return Some(ProbeKind::Confusable);
    }
    text.split('/').any(|name| name == "..").then_some(ProbeKind::Traversal)
}

/// Zero-width characters, and those that turn the direction of text (Trojan Source, CVE-2021-42574).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{00AD}')
}

/// Newline, carriage return and tab are the value's to judge; of the others none belongs into an argument.
fn readable(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "this is not UTF-8".to_owned())?;
    match text.chars().find(|c| c.is_control() && !"\n\r\t".contains(*c)) {
        Some('\0') => Err("a NUL byte ends an argument early".to_owned()),
        Some(c) => Err(format!("control character {}", c.escape_unicode())),
        None => Ok(text),
    }
}

fn bytes(args: &[&str]) -> Vec<Vec<u8>> {
    args.iter().map(|arg| arg.as_bytes().to_vec()).collect()
}

fn denied(code: Code, argument: Option<usize>, reason: String) -> Denied {
    Denied { argument, ..Denied::new(code, reason) }
}
