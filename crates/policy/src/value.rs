//! Values of arguments: a text is read as its kind, and comes out as a typed value with one spelling.

use std::fmt;

use regex::{Regex, RegexSet, RegexSetBuilder};

use crate::model::{Access, Kind};
use crate::path::{Beneath, NoPath, beneath};

/// A compiled pattern may have so many bytes: some thousand characters' worth of classes, not a denial of service.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// A set of patterns may have so many bytes, and as many again for what it remembers of texts.
const SET_BYTES_MAX: usize = 32 << 20;

/// A value that has been decided on.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
    Path(Beneath, Access),
    Secret(String),
}

impl Value {
    /// As it is launched.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Secret(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Path(path, _) => path.absolute(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(_) => f.write_str(crate::decision::HIDDEN),
            other => write!(f, "{:?}", other.text()),
        }
    }
}

/// Why a text is not of its kind. It names no text: the caller knows which, and whether it may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// It is something else.
    Kind,
    /// It has newlines or tabs.
    Lines,
    /// It is too long.
    Long,
    /// It is no path that could be allowed.
    Path(NoPath),
}

/// A kind, ready to read texts.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) kind: Kind,
    regex: Option<Regex>,
}

impl Reader {
    /// Compiles a pattern, if the kind has one.
    pub(crate) fn new(kind: &Kind) -> Result<Self, String> {
        let regex = match kind {
            Kind::Regex { pattern, .. } => Some(whole(pattern)?),
            _ => None,
        };
        Ok(Self { kind: kind.clone(), regex })
    }

    /// Reads a text; a relative path starts at `base`.
    pub(crate) fn read(&self, text: &str, base: &str) -> Result<Value, Mismatch> {
        let lines = matches!(
            self.kind,
            Kind::Regex { lines: true, .. }
                | Kind::Secret { lines: true, .. }
                | Kind::Literal(_)
                | Kind::Enum(_)
        );
        if !lines && text.contains(['\n', '\r', '\t']) {
            return Err(Mismatch::Lines);
        }
        match &self.kind {
            Kind::Literal(literal) if literal == text => Ok(Value::Text(text.to_owned())),
            Kind::Enum(all) if all.iter().any(|one| one == text) => {
                Ok(Value::Text(text.to_owned()))
            }
            Kind::Literal(_) | Kind::Enum(_) => Err(Mismatch::Kind),
            Kind::Int { min, max } => match text.parse::<i64>() {
                // Only the one spelling: no `+5`, `007`, `-0`.
                Ok(number) if number.to_string() == text && (*min..=*max).contains(&number) => {
                    Ok(Value::Int(number))
                }
                _ => Err(Mismatch::Kind),
            },
            Kind::Regex { max, .. } if text.len() > *max as usize => Err(Mismatch::Long),
            Kind::Regex { .. } => match &self.regex {
                Some(regex) if regex.is_match(text) => Ok(Value::Text(text.to_owned())),
                _ => Err(Mismatch::Kind),
            },
            Kind::Path { access, beneath: root } => match beneath(text, base, root) {
                Ok(path) => Ok(Value::Path(path, *access)),
                Err(why) => Err(Mismatch::Path(why)),
            },
            Kind::Secret { max, .. } if text.len() > *max as usize => Err(Mismatch::Long),
            Kind::Secret { .. } if text.is_empty() => Err(Mismatch::Kind),
            Kind::Secret { .. } => Ok(Value::Secret(text.to_owned())),
        }
    }
}

/// A pattern that must agree with a text from its first to its last character.
pub(crate) fn whole(pattern: &str) -> Result<Regex, String> {
    // On its own first: `a)|(b` must not close our parentheses.
    compile(pattern)?;
    compile(&format!(r"\A(?:{pattern})\z"))
}

/// Patterns that [`whole`] takes, as one; none where that would be too large.
pub(crate) fn whole_set(patterns: &[&str]) -> Option<RegexSet> {
    let all = patterns.iter().map(|pattern| format!(r"\A(?:{pattern})\z"));
    let mut builder = RegexSetBuilder::new(all);
    builder.size_limit(SET_BYTES_MAX).dfa_size_limit(SET_BYTES_MAX).build().ok()
}

/// A pattern that is looked for.
pub(crate) fn anywhere(pattern: &str) -> Result<Regex, String> {
    compile(pattern)
}

fn compile(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| {
        // The crate's own text draws the pattern over several lines; its last says what is wrong.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        format!("`{pattern}` is not a pattern: {}", last.trim_start_matches("error: "))
    })
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => write!(f, "{text:?}"),
            Self::Enum(all) => write!(f, "one of {}", quoted(all)),
            Self::Int { min, max } => write!(f, "a whole number, {min} to {max}"),
            Self::Regex { pattern, max, .. } => {
                write!(f, "a text of up to {max} bytes that agrees with `{pattern}`")
            }
            Self::Path { access, beneath } => {
                let what = if *access == Access::Write { "to write" } else { "to read" };
                write!(f, "a path {what} beneath {beneath}")
            }
            Self::Secret { max, .. } => write!(f, "a secret of up to {max} bytes"),
        }
    }
}

fn quoted(all: &[String]) -> String {
    all.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(pattern: &str) -> Reader {
        Reader::new(&Kind::Regex { pattern: pattern.into(), max: 64, lines: false }).unwrap()
    }

    #[test]
    fn a_pattern_holds_for_the_whole_text() {
        let reader = regex("a|b");
        assert!(reader.read("a", "/").is_ok() && reader.read("b", "/").is_ok());
        for other in ["ab", "xa", "bx", "a\n", ""] {
            assert!(reader.read(other, "/").is_err(), "{other:?}");
        }
        // Neither a line's end nor a parenthesis of the pattern's own opens it.
        assert!(regex("(?m)^a$").read("a\nb", "/").is_err());
        assert!(whole("a)|(.*").is_err());
        assert!(
            whole("(?x) a # comment").is_err() || regex("(?x) a # comment").read("b", "/").is_err()
        );
        assert_eq!(regex("x*").read(&"x".repeat(65), "/"), Err(Mismatch::Long));
        assert!(whole(r"\w{1000}{1000}").is_err(), "its size is bounded");
    }

    #[test]
    fn a_number_has_one_spelling() {
        let reader = Reader::new(&Kind::Int { min: -5, max: 100 }).unwrap();
        for good in ["0", "-5", "100", "7"] {
            assert_eq!(reader.read(good, "/").unwrap().text(), good);
        }
        for bad in [
            "+7",
            "07",
            "-0",
            " 7",
            "7 ",
            "0x7",
            "101",
            "-6",
            "",
            "1e2",
            "٧",
            "99999999999999999999",
        ] {
            assert!(reader.read(bad, "/").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let reader = Reader::new(&Kind::Secret { max: 8, lines: false }).unwrap();
        assert_eq!(format!("{:?}", reader.read("hunter2", "/").unwrap()), "[secret]");
        assert!(reader.read("", "/").is_err() && reader.read("123456789", "/").is_err());
    }
}
