//! The span-aware walk over parsed TOML: reads every key it knows, reports every one it does not, and never stops at
//! the first mistake.
//!
//! Each section is one [`section!`] definition: field names are the keys, doc comments their description, types their
//! grammar. Reading, the list of known keys and the JSON Schema all come from it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Severity};
use super::words;

pub(super) type Node<'a> = Spanned<DeValue<'a>>;

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) span: Range<usize>,
    pub(super) value: T,
}

/// What a walk looks things up in, and what it has found.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    /// For `${VAR}`.
    pub(super) env: &'a BTreeMap<String, String>,
    /// Relative paths start here.
    pub(super) dir: &'a Path,
    pub(super) found: Vec<Diagnostic>,
    /// Strings are taken as they stand: `${VAR}` means nothing. See [`Plain`].
    pub(super) plain: bool,
}

/// Something in which no `${VAR}` of whoever calls decides what is said, also not in its durations, sizes and rates.
#[derive(Debug, schemars::JsonSchema)]
#[schemars(transparent, inline)]
pub(super) struct Plain<T>(pub(super) T);

impl<T: FromNode> FromNode for Plain<T> {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let before = std::mem::replace(&mut walk.plain, true);
        let value = T::from_node(node, walk);
        walk.plain = before;
        value.map(Self)
    }
}

/// A type that can be read from a node. `None` means that the reason has been reported.
pub(super) trait FromNode: Sized {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self>;
}

impl Walk<'_> {
    pub(super) fn error(&mut self, span: Range<usize>, message: impl Display) -> &mut Diagnostic {
        self.report(Severity::Error, span, message)
    }

    pub(super) fn warning(&mut self, span: Range<usize>, message: impl Display) -> &mut Diagnostic {
        self.report(Severity::Warning, span, message)
    }

    /// An error about the file as a whole.
    pub(super) fn file_error(&mut self, message: impl Display) -> &mut Diagnostic {
        self.found.push(Diagnostic::new(Severity::Error, message.to_string(), None));
        self.found.last_mut().expect("one was just pushed")
    }

    fn report(
        &mut self,
        severity: Severity,
        span: Range<usize>,
        message: impl Display,
    ) -> &mut Diagnostic {
        self.found.push(Diagnostic::new(severity, message.to_string(), Some(span)));
        self.found.last_mut().expect("one was just pushed")
    }

    /// Reports that `node` is of the wrong type.
    pub(super) fn mismatch(&mut self, node: &Node<'_>, wanted: &str) {
        let is = type_word(node.get_ref());
        self.error(node.span(), format!("expected {wanted}, found {is}"))
            .label(format!("this is {is}"));
    }

    /// The node as a table whose keys are all in `known`; others are reported and skipped.
    pub(super) fn table<'n, 'i>(
        &mut self,
        node: &'n Node<'i>,
        section: &str,
        known: &[&str],
    ) -> Option<&'n DeTable<'i>> {
        let DeValue::Table(table) = node.get_ref() else {
            self.mismatch(node, "a table of keys");
            return None;
        };
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            words::unknown_key(self, key.span(), key.get_ref(), section, known);
        }
        Some(table)
    }

    /// The value of one of `words`.
    pub(super) fn word<T: Copy>(&mut self, node: &Node<'_>, words: &[(&str, T)]) -> Option<T> {
        let allowed = || words.iter().map(|(w, _)| format!("{w:?}")).collect::<Vec<_>>().join(", ");
        let DeValue::String(text) = node.get_ref() else {
            self.mismatch(node, &format!("one of {}", allowed()));
            return None;
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
            return Some(*value);
        }
        let near = words::nearest(text, words.iter().map(|(w, _)| *w));
        let diagnostic = self.error(node.span(), format!("`{text}` has no meaning here"));
        if let Some(near) = near {
            diagnostic.label(format!("did you mean {near:?}?"));
        }
        diagnostic.help(format!("allowed: {}", allowed()));
        None
    }
}

impl<T: FromNode> FromNode for At<T> {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        Some(Self { span: node.span(), value: T::from_node(node, walk)? })
    }
}

/// What a key may hold: its value if it is there. The flag: it is there, but its value made no sense (and was reported).
#[derive(Debug, Clone)]
pub(super) struct Key<T>(pub(super) Option<At<T>>, bool);

impl<T> Default for Key<T> {
    fn default() -> Self {
        Self(None, false)
    }
}

impl<T> Key<T> {
    /// It is not written at all.
    pub(super) fn is_absent(&self) -> bool {
        self.0.is_none() && !self.1
    }

    pub(super) fn get(&self) -> Option<&T> {
        self.0.as_ref().map(|at| &at.value)
    }

    pub(super) fn span(&self) -> Option<Range<usize>> {
        self.0.as_ref().map(|at| at.span.clone())
    }
}

impl<T: Copy> Key<T> {
    pub(super) fn or(&self, default: T) -> T {
        self.get().copied().unwrap_or(default)
    }
}

impl<T: FromNode> Key<T> {
    pub(super) fn read(table: &DeTable<'_>, key: &str, walk: &mut Walk<'_>) -> Self {
        let Some(node) = table.get(key) else { return Self::default() };
        let at = At::from_node(node, walk);
        let broken = at.is_none();
        Self(at, broken)
    }
}

/// A table whose keys are names of the user's.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) Vec<(At<String>, At<T>)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: FromNode> FromNode for Named<T> {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let DeValue::Table(table) = node.get_ref() else {
            walk.mismatch(node, "a table of named entries");
            return None;
        };
        let entries = table.iter().filter_map(|(key, value)| {
            let name = At { span: key.span(), value: key.get_ref().to_string() };
            Some((name, At::from_node(value, walk)?))
        });
        Some(Self(entries.collect()))
    }
}

impl<T: FromNode> FromNode for Vec<At<T>> {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let DeValue::Array(array) = node.get_ref() else {
            walk.mismatch(node, "a list");
            return None;
        };
        // Every element is read, so that every wrong one is reported.
        let items: Vec<_> = array.iter().map(|item| At::from_node(item, walk)).collect();
        items.into_iter().collect()
    }
}

pub(super) fn type_word(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Schemas of the wrappers are those of what they wrap.
macro_rules! schema_of_inner {
    ($($outer:ident => $inner:ty),+ $(,)?) => {$(
        impl<T: schemars::JsonSchema> schemars::JsonSchema for $outer<T> {
            fn inline_schema() -> bool {
                <$inner>::inline_schema()
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$inner>::schema_name()
            }

            fn schema_id() -> std::borrow::Cow<'static, str> {
                <$inner>::schema_id()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$inner>::json_schema(generator)
            }
        }
    )+};
}

schema_of_inner!(At => T, Key => T, Named => BTreeMap<String, T>);

/// The key of a field: `for` is a word of Rust's and stands there as `r#for`.
pub(super) fn plain(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// Defines a section: a struct of [`Key`]s, its reader, and its schema, from one list of documented keys.
macro_rules! section {
    ($(#[$meta:meta])* struct $name:ident in $section:literal {
        $($(#[$key_meta:meta])* $key:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Default, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$key_meta])* #[schemars(default)] pub(super) $key: $crate::config::walk::Key<$type>,)*
        }

        impl $crate::config::walk::FromNode for $name {
            fn from_node(
                node: &$crate::config::walk::Node<'_>,
                walk: &mut $crate::config::walk::Walk<'_>,
            ) -> Option<Self> {
                use $crate::config::walk::{Key, plain};
                let table = walk.table(node, $section, &[$(plain(stringify!($key))),*])?;
                Some(Self { $($key: Key::read(table, plain(stringify!($key)), walk),)* })
            }
        }
    };
}

pub(super) use section;
