//! `[policy.NAME]` as it is written. The doc comments are the JSON Schema's descriptions.

use ganger_policy::{Access, Class, Form, Order, Profile};
use schemars::JsonSchema;
use toml::de::DeValue;

use super::limits::RateText;
use super::sandbox::LayerModes;
use super::values::{Bytes, Cores, Time};
use super::walk::{At, FromNode, Named, Node, Walk, section};

/// Text that is taken as it is: no `${VAR}` of whoever calls decides what a policy says.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(inline)]
pub(super) struct Exact(pub(super) String);

impl FromNode for Exact {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let Some(text) = node.get_ref().as_str() else {
            walk.mismatch(node, "a string");
            return None;
        };
        if text.contains('\0') {
            walk.error(node.span(), "a NUL character can't be passed to a program");
            return None;
        }
        Some(Self(text.to_owned()))
    }
}

/// The least and the greatest number.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct IntRange(
    #[schemars(with = "String", regex(pattern = r"^-?[0-9]+\.\.-?[0-9]+$"))] pub(super) (i64, i64),
);

impl std::str::FromStr for IntRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = || format!("`{text}` is not a range of numbers: write it like \"1..100\"");
        let (min, max) = text.split_once("..").ok_or_else(fail)?;
        let number = |text: &str| text.trim().parse::<i64>().map_err(|_| fail());
        Ok(Self((number(min)?, number(max)?)))
    }
}

impl FromNode for IntRange {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        super::values::parsed(node, walk, "a range of numbers like \"1..100\"")
    }
}

/// Words of a closed vocabulary that the policy crate has.
macro_rules! words {
    ($($(#[$meta:meta])* $name:ident($inner:ty) = [$($word:literal => $value:expr),+ $(,)?];)+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, JsonSchema)]
        #[schemars(inline)]
        pub(super) struct $name(
            #[schemars(with = "String", extend("enum" = [$($word),+]))] pub(super) $inner,
        );

        impl FromNode for $name {
            fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
                walk.word(node, &[$(($word, $value)),+]).map(Self)
            }
        }
    )+};
}

words! {
    /// What happens with a path.
    AccessWord(Access) = ["read" => Access::Read, "write" => Access::Write];
    /// How a value is written.
    FormWord(Form) = ["equals" => Form::Equals, "separate" => Form::Separate, "joined" => Form::Joined];
    /// What comes first.
    OrderWord(Order) = ["options-first" => Order::OptionsFirst, "args-first" => Order::ArgsFirst];
    /// A sandbox profile.
    ProfileWord(Profile) = [
        "strict" => Profile::Strict, "standard" => Profile::Standard, "build" => Profile::Build, "none" => Profile::None,
    ];
    /// A danger.
    ClassWord(Class) = [
        "shell" => Class::Shell, "command" => Class::Command, "read" => Class::Read, "write" => Class::Write,
        "connect" => Class::Connect, "load" => Class::Load, "privilege" => Class::Privilege,
    ];
    /// Nothing to read.
    NoneWord(()) = ["none" => ()];
    /// An option without a value.
    FlagWord(()) = ["flag" => ()];
}

/// What an argument may be: the keys that arguments, options and variables share, before their own.
macro_rules! kind_section {
    ($(#[$meta:meta])* struct $name:ident in $section:literal { $($own:tt)* }) => {
        section! {
            $(#[$meta])*
            struct $name in $section {
                /// One of these texts.
                one_of: Vec<At<Exact>>,
                /// A whole number in these bounds: "1..100".
                int: IntRange,
                /// A text that agrees with this pattern from its first to its last character.
                regex: Exact,
                /// A path beneath `beneath`: "read" or "write". The program gets it absolute.
                path: AccessWord,
                /// The folder of `path`, absolute.
                beneath: Exact,
                /// A text that is never shown nor logged.
                secret: bool,
                /// Bytes that a `regex` or `secret` may have. Default: 256, of a secret 4096.
                max: u32,
                /// Newlines and tabs may be in it. Default: false.
                lines: bool,
                $($own)*
            }
        }

        impl $name {
            pub(super) const fn kind(&self) -> super::policy::KindKeys<'_> {
                super::policy::KindKeys {
                    one_of: &self.one_of,
                    int: &self.int,
                    regex: &self.regex,
                    path: &self.path,
                    beneath: &self.beneath,
                    secret: &self.secret,
                    max: &self.max,
                    lines: &self.lines,
                }
            }
        }
    };
}

kind_section! {
    /// What an argument may be.
    struct RawOperand in "an argument" {
        /// It may be missing; only at the end. Default: false.
        optional: bool,
        /// How often it may come; only the last argument. Default: 1.
        repeat: u32,
    }
}

kind_section! {
    /// What the value of an option may be; without any of `one_of`, `int`, `regex`, `path` and `secret` it is a flag.
    struct RawOption in "an option" {
        /// How the value may be written: "equals" (`--opt=value`), "separate" (`--opt value`), "joined" (`-ovalue`). The first is
        /// how it is launched. Default: ["equals"], of options with one letter ["separate"].
        forms: Vec<At<FormWord>>,
        /// How often it may be given. Default: 1.
        repeat: u32,
        /// It must be given. Default: false.
        required: bool,
    }
}

kind_section! {
    /// What the value of a variable may be.
    struct RawVariable in "a variable" {}
}

/// A text, exactly, or what it may be.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum Argument {
    Text(Exact),
    Table(Box<RawOperand>),
}

impl FromNode for Argument {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => {
                RawOperand::from_node(node, walk).map(|t| Self::Table(Box::new(t)))
            }
            DeValue::String(_) => Exact::from_node(node, walk).map(Self::Text),
            _ => {
                walk.mismatch(node, "a text, or a table like { one_of = [\"a\", \"b\"] }");
                None
            }
        }
    }
}

/// `"flag"`, or what its value may be.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum OptionValue {
    Flag(FlagWord),
    Table(Box<RawOption>),
}

impl FromNode for OptionValue {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => RawOption::from_node(node, walk).map(|t| Self::Table(Box::new(t))),
            _ => FlagWord::from_node(node, walk).map(Self::Flag),
        }
    }
}

/// Names, or a table from name to what its value may be.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum Pass {
    Names(Vec<At<Exact>>),
    Table(Named<RawVariable>),
}

impl FromNode for Pass {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => Named::from_node(node, walk).map(Self::Table),
            _ => Vec::from_node(node, walk).map(Self::Names),
        }
    }
}

section! {
    /// A folder.
    struct Folder in "`cwd`" {
        /// The folder, absolute.
        beneath: Exact,
    }
}

/// A folder, or one beneath which the request chooses.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum RawCwd {
    Fixed(Exact),
    Beneath(Box<Folder>),
}

impl FromNode for RawCwd {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => Folder::from_node(node, walk).map(|t| Self::Beneath(Box::new(t))),
            _ => Exact::from_node(node, walk).map(Self::Fixed),
        }
    }
}

section! {
    /// What the program reads.
    struct StdinTable in "`stdin`" {
        /// Up to so many bytes that come with the request.
        bytes: Bytes,
        /// A file beneath this folder.
        beneath: Exact,
    }
}

/// `"none"`, or what it reads.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum RawStdin {
    None(NoneWord),
    Table(Box<StdinTable>),
}

impl FromNode for RawStdin {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => {
                StdinTable::from_node(node, walk).map(|t| Self::Table(Box::new(t)))
            }
            _ => NoneWord::from_node(node, walk).map(Self::None),
        }
    }
}

section! {
    /// The environment: empty but for PATH, HOME and what is said here.
    struct RawEnv in "`env` of a policy" {
        /// Variables with fixed values.
        set: Named<Exact>,
        /// Variables that a request may set: names, or a table from name to what the value may be.
        pass: Pass,
        /// Names that are refused, `*` for any text. What loads code (LD_*, BASH_ENV, NODE_OPTIONS, …) always is.
        refuse: Vec<At<Exact>>,
    }
}

section! {
    /// What one run may use.
    struct RawLimits in "`limits` of a policy" {
        /// Time by the clock.
        time: Time,
        /// Time on a core, of the whole tree.
        cpu_time: Time,
        /// Cores: 1, 0.5.
        cpu: Cores,
        /// Memory of the whole tree: "512M".
        memory: Bytes,
        /// Processes and threads.
        pids: u64,
        /// Open files of each process.
        files: u64,
        /// The largest file it writes.
        file_size: Bytes,
        /// All its temporary files.
        disk: Bytes,
        /// What it says on stdout and stderr.
        output: Bytes,
        /// Memory, cores and processes are held by the kernel's controllers, or nothing runs. Default: what holds them is told.
        require: bool,
    }
}

section! {
    /// Who may.
    struct RawWho in "`who`" {
        /// User ids.
        uids: Vec<At<u32>>,
        /// Group ids.
        gids: Vec<At<u32>>,
        /// Names of API tokens.
        tokens: Vec<At<Exact>>,
    }
}

section! {
    /// Calls whose verdict is known, as lists of arguments. A policy that decides one otherwise does not load.
    struct RawExamples in "`examples`" {
        /// Must be allowed.
        allow: Vec<At<Vec<At<Exact>>>>,
        /// Must be denied.
        deny: Vec<At<Vec<At<Exact>>>>,
    }
}

section! {
    /// What is denied whatever allows it. All conditions that are given must hold.
    struct RawDeny in "[[policy.*.deny]]" {
        /// Its name in decisions.
        id: Exact,
        /// Told to whoever is denied.
        reason: Exact,
        /// The first words.
        subcommand: Vec<At<Exact>>,
        /// One of these options is given.
        options: Vec<At<Exact>>,
        /// A pattern that is found anywhere in an argument.
        pattern: Exact,
    }
}

/// What allows: the keys that a policy and its further rules share.
macro_rules! rule_section {
    ($(#[$meta:meta])* struct $name:ident in $section:literal { $($own:tt)* }) => {
        section! {
            $(#[$meta])*
            struct $name in $section {
                /// The first words, exactly; they come before options: ["remote", "show"].
                subcommand: Vec<At<Exact>>,
                /// The arguments that are no options, in order: a text stands for itself, a table says what it may be.
                args: Vec<At<Argument>>,
                /// Options by their exact names: "flag", or a table of what the value may be. There are no abbreviations.
                options: Named<OptionValue>,
                /// Lists of options of which at most one may be given.
                exclusive: Vec<At<Vec<At<Exact>>>>,
                /// `-ab` is read as `-a -b`. Default: false.
                clusters: bool,
                /// A `--` is put before arguments that are no options. Default: true, with "args-first" false.
                dashes: bool,
                /// What comes first in what is launched: "options-first" (default) or, for programs like find, "args-first".
                order: OrderWord,
                $($own)*
            }
        }

        impl $name {
            pub(super) const fn rule(&self) -> super::policy::RuleKeys<'_> {
                super::policy::RuleKeys {
                    subcommand: &self.subcommand,
                    args: &self.args,
                    options: &self.options,
                    exclusive: &self.exclusive,
                    clusters: &self.clusters,
                    dashes: &self.dashes,
                    order: &self.order,
                }
            }
        }
    };
}

rule_section! {
    /// One more way in which the program may be called.
    struct RawRule in "[[policy.*.allow]]" {
        /// Its name in decisions.
        id: Exact,
    }
}

section! {
    /// Bounds of a program over all principals, and over all policies of that program.
    struct RawTotal in "`total` of a policy" {
        /// How often it may be started, by whomever: "100/m".
        rate: RateText,
        /// How many at once after a quiet time. Default: the count of `rate`.
        burst: u32,
        /// How many of it may run at once, by whomever.
        running: u32,
    }
}

rule_section! {
    /// Who may run which program with which arguments, and as what. What is not allowed is denied.
    struct RawPolicy in "[policy.*]" {
        /// The program, by its absolute path. The file is pinned when this is loaded; another file there is not run.
        program: Exact,
        /// Its SHA-256 in hex, as sha256sum prints it.
        sha256: Exact,
        /// Of a script: its interpreter, absolute.
        interpreter: Exact,
        /// Further ways to call it. Without any rule it may be called without arguments.
        allow: Vec<At<RawRule>>,
        /// What is denied all the same, also where another policy of this program allows it.
        deny: Vec<At<RawDeny>>,
        /// Its environment. Default: PATH and HOME only.
        env: RawEnv,
        /// Where it runs: a folder, or { beneath = "/folder" } for one that the request chooses. Default: "/".
        cwd: RawCwd,
        /// What it reads: "none" (default), { bytes = "64K" } or { beneath = "/folder" } for a file.
        stdin: RawStdin,
        /// What contains it: "strict" (default), "standard", "build" or "none".
        sandbox: ProfileWord,
        /// Layers of it that are treated otherwise than the profile does: { landlock = "prefer" }.
        layers: LayerModes,
        /// What one run may use.
        limits: RawLimits,
        /// How often one principal may run it: "10/m".
        rate: RateText,
        /// How many at once after a quiet time. Default: the count of `rate`.
        burst: u32,
        /// How many of it one principal may have running.
        running: u32,
        /// The same of the program over all principals and all its policies: { rate = "100/m", running = 8 }. The tightest holds.
        total: RawTotal,
        /// Who may. Default: the user that ganger runs as.
        who: RawWho,
        /// Dangers of this program that are meant, by GTFOBins' classes: "shell", "command", "read", "write", "connect", "load",
        /// "privilege". `ganger policy lint` is silent about them.
        accept: Vec<At<ClassWord>>,
        /// Calls whose verdict is known; checked when this is loaded.
        examples: RawExamples,
    }
}
