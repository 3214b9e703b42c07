//! What keys hold: the small grammars inside values.

use std::collections::BTreeMap;
use std::ops::Range;

use ganger_core::end::signal_number;
use ganger_core::{Dur, DurRange, Durability, GroupStrategy, Size};
use schemars::JsonSchema;
use toml::de::DeValue;

use super::interpolate::interpolate;
use super::model::{DependsOn, Kill, Protocol, RestartOn};
use super::walk::{At, FromNode, Named, Node, Walk, section};

impl FromNode for String {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let DeValue::String(text) = node.get_ref() else {
            walk.mismatch(node, "a string");
            return None;
        };
        if text.contains('\0') {
            walk.error(node.span(), "a NUL character can't be passed to a program");
            return None;
        }
        if walk.plain {
            return Some(text.to_string());
        }
        match interpolate(text, walk.env) {
            Ok(text) => Some(text),
            Err(error) => {
                walk.error(node.span(), error.message).help(error.help);
                None
            }
        }
    }
}

impl FromNode for bool {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let value = node.get_ref().as_bool();
        if value.is_none() {
            walk.mismatch(node, "true or false");
        }
        value
    }
}

impl FromNode for u64 {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let DeValue::Integer(number) = node.get_ref() else {
            walk.mismatch(node, "a whole number");
            return None;
        };
        let value = Self::from_str_radix(number.as_str(), number.radix()).ok();
        if value.is_none() {
            walk.error(node.span(), "expected a whole number that is not negative");
        }
        value
    }
}

impl FromNode for u32 {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let value = u64::from_node(node, walk)?;
        let small = Self::try_from(value).ok();
        if small.is_none() {
            walk.error(node.span(), format!("{value} is too large"));
        }
        small
    }
}

impl FromNode for u16 {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let value = u64::from_node(node, walk)?;
        let small = Self::try_from(value).ok();
        if small.is_none() {
            walk.error(node.span(), format!("{value} is too large: at most {}", Self::MAX));
        }
        small
    }
}

/// A string read by a type's own parser.
pub(super) fn parsed<T>(node: &Node<'_>, walk: &mut Walk<'_>, wanted: &str) -> Option<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    if !node.get_ref().is_str() {
        walk.mismatch(node, wanted);
        return None;
    }
    match String::from_node(node, walk)?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            walk.error(node.span(), error);
            None
        }
    }
}

/// A type that is a string with a grammar of its own.
macro_rules! text_value {
    ($($(#[$meta:meta])* $name:ident($inner:ty), $wanted:literal, $pattern:literal;)+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, JsonSchema)]
        #[schemars(inline)]
        pub(super) struct $name(#[schemars(with = "String", regex(pattern = $pattern))] pub(super) $inner);

        impl FromNode for $name {
            fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
                parsed(node, walk, $wanted).map(Self)
            }
        }
    )+};
}

text_value! {
    Time(Dur), "a duration like \"250ms\" or \"1h30m\"", r"^(0|([0-9.]+(us|ms|s|m|h|d))+|.*\$\{.*)$";
    Times(DurRange), "a range of durations like \"200ms..30s\"", r"^([0-9.]+(us|ms|s|m|h|d))+(\.\.([0-9.]+(us|ms|s|m|h|d))+)?$|\$\{";
    Bytes(Size), "a size like \"64M\" or \"1GiB\"", r"^[0-9.]+ ?([KMGT](i?B)?|B)?$|\$\{";
}

/// A signal by name or number.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct Signal(#[schemars(with = "String")] pub(super) i32);

impl FromNode for Signal {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let text = String::from_node(node, walk)?;
        let number = signal_number(&text);
        if number.is_none() {
            walk.error(node.span(), format!("`{text}` is not a signal"))
                .help("write it like \"SIGTERM\", \"INT\" or \"10\"".into());
        }
        number.map(Self)
    }
}

/// Closed vocabularies.
macro_rules! word_value {
    ($($name:ident { $($word:literal => $variant:ident),+ })+) => {$(
        impl FromNode for $name {
            fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
                walk.word(node, &[$(($word, Self::$variant)),+])
            }
        }
    )+};
}

word_value! {
    RestartOn { "always" => Always, "on-failure" => OnFailure, "never" => Never }
    Kill { "tree" => Tree, "main" => Main }
    DependsOn { "started" => Started, "ready" => Ready, "completed" => Completed }
    Protocol { "channel" => Channel, "stdio" => Stdio, "command" => Command }
}

/// `fsync`, `relaxed` or `memory`.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct DurabilityWord(
    #[schemars(with = "String", extend("enum" = ["fsync", "relaxed", "memory"]))]
    pub(super)  Durability,
);

impl FromNode for DurabilityWord {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let words: Vec<_> = Durability::ALL.iter().map(|d| (d.as_str(), *d)).collect();
        walk.word(node, &words).map(Self)
    }
}

/// `one-for-one`, `one-for-all` or `rest-for-one`.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct GroupStrategyWord(
    #[schemars(with = "String", extend("enum" = ["one-for-one", "one-for-all", "rest-for-one"]))]
    pub(super) GroupStrategy,
);

impl FromNode for GroupStrategyWord {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let words: Vec<_> = GroupStrategy::ALL.iter().map(|word| (word.as_str(), *word)).collect();
        walk.word(node, &words).map(Self)
    }
}

/// A list of arguments, or one string that is split by shell rules without a shell.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum Command {
    List(Vec<At<String>>),
    Text(String),
}

impl FromNode for Command {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Array(_) => Vec::from_node(node, walk).map(Self::List),
            DeValue::String(_) => String::from_node(node, walk).map(Self::Text),
            _ => {
                walk.mismatch(node, "a list of arguments, or a string");
                None
            }
        }
    }
}

/// Text for a shell. `${…}` in it is the shell's own.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(inline)]
pub(super) struct ShellText(pub(super) String);

impl FromNode for ShellText {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let text = node.get_ref().as_str();
        if text.is_none() {
            walk.mismatch(node, "a line for a shell, as a string");
        }
        text.map(|text| Self(text.to_owned()))
    }
}

/// One thing or a list of them.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum OneOrMany<T = String> {
    One(T),
    Many(Vec<At<T>>),
}

impl<T> OneOrMany<T> {
    /// All of them, each with its place in the file; `whole`: the place of all.
    pub(super) fn each(&self, whole: &Range<usize>) -> Vec<(Range<usize>, &T)> {
        match self {
            Self::One(one) => vec![(whole.clone(), one)],
            Self::Many(list) => list.iter().map(|at| (at.span.clone(), &at.value)).collect(),
        }
    }
}

impl<T: FromNode> FromNode for OneOrMany<T> {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Array(_) => Vec::from_node(node, walk).map(Self::Many),
            _ => T::from_node(node, walk).map(Self::One),
        }
    }
}

/// A string, number or truth value that becomes the text of an environment variable.
#[derive(Debug, Clone)]
pub(super) struct EnvText(pub(super) String);

impl JsonSchema for EnvText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EnvText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl FromNode for EnvText {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Integer(number) => Some(Self(number.to_string())),
            DeValue::Float(number) => Some(Self(number.to_string())),
            DeValue::Boolean(value) => Some(Self(value.to_string())),
            _ => String::from_node(node, walk).map(Self),
        }
    }
}

/// Cores: a number, or a string that holds one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cores(pub(super) f64);

impl JsonSchema for Cores {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cores".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["number", "string"], "exclusiveMinimum": 0 })
    }
}

impl FromNode for Cores {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let text = match node.get_ref() {
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            _ => String::from_node(node, walk)?,
        };
        let cores = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.01);
        if cores.is_none() {
            walk.error(node.span(), format!("`{text}` is not a number of cores"))
                .help("write it like 1, 0.5 or \"1.5\"; at least 0.01".into());
        }
        cores.map(Self)
    }
}

/// A list of names, or a table from name to what must be so.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum Dependencies {
    List(Vec<At<String>>),
    Table(Named<DependsOn>),
}

impl FromNode for Dependencies {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => Named::from_node(node, walk).map(Self::Table),
            _ => Vec::from_node(node, walk).map(Self::List),
        }
    }
}

section! {
    /// Bounds of a pool's size.
    struct WorkersRange in "`workers`" {
        /// At least so many, 0 included. Default: 0.
        min: u32,
        /// At most so many.
        max: u32,
        /// How long a task should wait at most: more workers start when it would be longer. Default: "2s".
        target_wait: Time,
        /// Workers that were not needed for so long go. Default: "30s".
        cool_down: Time,
    }
}

/// A number, or bounds.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum Workers {
    Number(u32),
    Range(Box<WorkersRange>),
}

impl FromNode for Workers {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => {
                WorkersRange::from_node(node, walk).map(|range| Self::Range(Box::new(range)))
            }
            _ => u32::from_node(node, walk).map(Self::Number),
        }
    }
}

/// The keys of a table of environment variables, in a map.
pub(super) fn env_map(named: &Named<EnvText>, walk: &mut Walk<'_>) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for (name, text) in &named.0 {
        if name.value.is_empty() || name.value.contains(['=', '\0']) {
            walk.error(name.span.clone(), "this can't be the name of an environment variable");
        }
        map.insert(name.value.clone(), text.value.0.clone());
    }
    map
}
