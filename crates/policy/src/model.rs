//! What a policy says, as plain data: the resolved `[policy.NAME]` sections. Nothing here decides.

use std::collections::BTreeMap;

use ganger_core::{Dur, Mode, Rate, Size, Wall};
use serde::{Deserialize, Serialize};

use crate::catalog::Class;

/// Layers of a sandbox that are treated otherwise than its profile does.
pub type Layers = BTreeMap<Wall, Mode>;

/// `[policy.NAME]`: one program, what it may be given, and as what it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Absolute path, without `.`, `..` and doubled slashes.
    pub program: String,
    /// SHA-256 of the program (of the script, if it is one), 64 lower-case hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// A script's interpreter, absolute. A script without it is refused: the pair is what is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// What is allowed. Nothing else is.
    #[serde(default)]
    pub allow: Vec<Rule>,
    /// What is denied of it all the same, to everybody `who` names, and whatever policy of this program allows it.
    #[serde(default)]
    pub deny: Vec<Deny>,
    /// Environment variables; the environment begins empty.
    #[serde(default)]
    pub env: EnvRules,
    /// Where it runs.
    #[serde(default)]
    pub cwd: Cwd,
    /// What it reads on its standard input.
    #[serde(default)]
    pub stdin: Stdin,
    /// What contains it.
    #[serde(default)]
    pub sandbox: Profile,
    /// Layers of it that are treated otherwise than the profile does.
    #[serde(default, skip_serializing_if = "Layers::is_empty")]
    pub layers: Layers,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// How often one principal may run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many of it one principal may have running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// How often and how many of its program may run over all principals and all policies of that program.
    #[serde(default, skip_serializing_if = "Total::is_none")]
    pub total: Total,
    /// Who may.
    #[serde(default)]
    pub who: Who,
    /// Dangers of the program that whoever wrote this knows of and wants: `lint` is silent about them, and what would run
    /// any other program loads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<Class>,
    /// Calls whose verdict is known. A policy that decides one of them otherwise does not load.
    #[serde(default)]
    pub examples: Examples,
}

/// Bounds of a program, whoever runs it and under whichever policy. Where several policies of a program have some, the tightest hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Total {
    /// How often it may be started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many of it may run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
}

impl Total {
    /// Nothing is bounded.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What both allow.
    pub(crate) fn and(self, other: Self) -> Self {
        let tighter = |a: Rate, b: Rate| {
            if (a.interval(), b.burst) >= (b.interval(), a.burst) { a } else { b }
        };
        let least = |a: u32, b: u32| a.min(b);
        Self {
            rate: both(self.rate, other.rate, tighter),
            running: both(self.running, other.running, least),
        }
    }
}

fn both<T>(a: Option<T>, b: Option<T>, choose: impl Fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(choose(a, b)),
        (a, b) => a.or(b),
    }
}

/// One way in which the program may be called.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rule {
    /// Unique in its policy; empty for the rule that is written in the policy itself.
    #[serde(default)]
    pub id: String,
    /// The first words, exactly; they come before every option: `git` **`remote show`** `-n -- origin`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subcommand: Vec<String>,
    /// Operands in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Operand>,
    /// The options by their exact names with dashes. No abbreviation is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Opt>,
    /// Sets of options of which at most one may be given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusive: Vec<Vec<String>>,
    /// `-ab` is read as `-a -b`.
    #[serde(default)]
    pub clusters: bool,
    /// A `--` is put before operands.
    #[serde(default = "yes")]
    pub dashes: bool,
    /// What comes first in what is launched.
    #[serde(default)]
    pub order: Order,
}

const fn yes() -> bool {
    true
}

/// One operand, or a row of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operand {
    /// What it may be.
    #[serde(flatten)]
    pub kind: Kind,
    /// It may be missing; only operands at the end.
    #[serde(default)]
    pub optional: bool,
    /// How often it may come, only the last one; 1 or more.
    #[serde(default = "one")]
    pub repeat: u32,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opt {
    /// What its value may be; `None`: it is a flag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Kind>,
    /// How its value may be written; the first is how it is launched. Empty for flags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forms: Vec<Form>,
    /// How often it may be given.
    #[serde(default = "one")]
    pub repeat: u32,
    /// It must be given.
    #[serde(default)]
    pub required: bool,
}

const fn one() -> u32 {
    1
}

/// How an option and its value are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `--opt=value`
    Equals,
    /// `--opt value`, `-o value`
    Separate,
    /// `-ovalue`
    Joined,
}

/// What stands first in what is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As almost every program wants it.
    #[default]
    OptionsFirst,
    /// As `find` wants it. No `--` is possible then.
    ArgsFirst,
}

/// What an argument may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Exactly this.
    Literal(String),
    /// One of these.
    Enum(Vec<String>),
    /// A whole number in decimal, without `+`, leading zeros and spaces.
    Int {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A text that agrees with the pattern from its first to its last character.
    Regex {
        /// As the `regex` crate reads it.
        pattern: String,
        /// Bytes it may have.
        max: u32,
        /// Newlines and tabs may be in it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lines: bool,
    },
    /// A path beneath a folder. It is launched as an absolute path, and opened beneath the folder before.
    Path {
        /// What happens with it.
        access: Access,
        /// The folder, absolute.
        beneath: String,
    },
    /// A text that is never shown.
    Secret {
        /// Bytes it may have.
        max: u32,
        /// Newlines and tabs may be in it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lines: bool,
    },
}

/// What happens with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// It is read.
    Read,
    /// It is read and written.
    Write,
}

/// What is denied. Every condition that is given must hold; without any, the whole program is denied.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Deny {
    /// Unique in its policy.
    pub id: String,
    /// Told to whoever is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The first words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subcommand: Vec<String>,
    /// One of these options is given, in any form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// A pattern that is found anywhere in an argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// The environment of what is launched: what is said here, `PATH` and `HOME`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EnvRules {
    /// Variables with fixed values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Variables a request may set, and what to; `None`: any text without control characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pass: BTreeMap<String, Option<Kind>>,
    /// Names that are refused, `*` for any text, also where `pass` has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refuse: Vec<String>,
}

/// Where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cwd {
    /// Always here.
    Fixed(String),
    /// Where the request says, beneath this folder; in the folder itself if it says nothing.
    Beneath(String),
}

impl Default for Cwd {
    fn default() -> Self {
        Self::Fixed("/".to_owned())
    }
}

/// What the program reads on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// Nothing: `/dev/null`.
    #[default]
    None,
    /// A file beneath this folder.
    File(String),
    /// Up to so many bytes that come with the request.
    Bytes(Size),
}

/// Sandbox profiles by name; what each does is the sandbox's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Every layer.
    #[default]
    Strict,
    /// Every layer that ordinary programs bear.
    Standard,
    /// For compilers and test runs.
    Build,
    /// Nothing but no new privileges, limits and a clean environment.
    None,
}

impl Profile {
    /// All of them with their names, the strictest first.
    pub const ALL: [(&'static str, Self); 4] = [
        ("strict", Self::Strict),
        ("standard", Self::Standard),
        ("build", Self::Build),
        ("none", Self::None),
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, profile)| *profile == self).map_or("strict", |(name, _)| name)
    }
}

/// What one run may use; `None` is no limit of the policy's own.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Time by the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Dur>,
    /// Time on a core, the whole tree's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<Dur>,
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Memory of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Open files of each process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// The largest file it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<Size>,
    /// Everything it writes to its own temporary files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Size>,
    /// Bytes it says on stdout and stderr together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Size>,
    /// Memory, cores and processes are held by the kernel's controllers, or nothing runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require: bool,
}

/// Who may. With nothing in it: only the user that ganger itself runs as.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Who {
    /// User ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uids: Vec<u32>,
    /// Group ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gids: Vec<u32>,
    /// Names of API tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
}

/// Calls whose verdict is known: arguments without the program. A program without an absolute path can't be told apart
/// from an argument, so it is not written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Examples {
    /// Must be allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Vec<String>>,
    /// Must be denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Vec<String>>,
}
