//! Label sets, what identifies an alert among others, and what selects alerts.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Names and values, sorted by name.
pub type Labels = BTreeMap<String, String>;

/// Stands between names and values when they are hashed (a byte that no UTF-8 text has), as in Prometheus' model.
const SEPARATOR: u8 = 255;

/// The same set has the same fingerprint, here and in Alertmanager: 64-bit FNV-1a over names and values.
#[must_use]
pub fn fingerprint(labels: &Labels) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[SEPARATOR]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    };
    for (name, value) in labels {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    hash
}

/// `{a="b", c="d"}`, as Alertmanager writes a label set.
#[must_use]
pub fn shown(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// The same text.
    #[serde(rename = "=")]
    Equal,
    /// Another text.
    #[serde(rename = "!=")]
    NotEqual,
    /// A regular expression that fits the whole value.
    #[serde(rename = "=~")]
    Fits,
    /// A regular expression that does not fit the whole value.
    #[serde(rename = "!~")]
    FitsNot,
}

/// Why a text is no matcher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// No operator, or no name before it.
    #[error("`{0}` is no matcher; write it like severity=page or service=~web.*")]
    Form(String),
    /// Not a regular expression, or one too large.
    #[error("`{0}` is no regular expression that can be used: {1}")]
    Regex(String, String),
}

/// One condition on one label; a label that is not there is empty, as in Alertmanager.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Matcher {
    name: String,
    op: Op,
    value: String,
    regex: Option<Regex>,
}

/// Bytes that a compiled expression may take: matchers come from people and stay for weeks.
const REGEX_MAX: usize = 64 * 1024;

impl Matcher {
    /// See [`Matcher`].
    ///
    /// # Errors
    /// A regular expression that is none, or too large.
    pub fn new(name: &str, op: Op, value: &str) -> Result<Self, MatcherError> {
        let regex = match op {
            Op::Equal | Op::NotEqual => None,
            Op::Fits | Op::FitsNot => {
                let whole = format!("^(?:{value})$");
                let built = RegexBuilder::new(&whole).size_limit(REGEX_MAX).build();
                let wrong = |e: regex::Error| MatcherError::Regex(value.into(), e.to_string());
                Some(built.map_err(wrong)?)
            }
        };
        Ok(Self { name: name.to_owned(), op, value: value.to_owned(), regex })
    }

    /// Whether the label set has what is asked for.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name).map_or("", String::as_str);
        let fits = || self.regex.as_ref().is_some_and(|regex| regex.is_match(value));
        match self.op {
            Op::Equal => value == self.value,
            Op::NotEqual => value != self.value,
            Op::Fits => fits(),
            Op::FitsNot => !fits(),
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl TryFrom<String> for Matcher {
    type Error = MatcherError;

    fn try_from(text: String) -> Result<Self, MatcherError> {
        text.parse()
    }
}

impl std::str::FromStr for Matcher {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, MatcherError> {
        let form = || MatcherError::Form(text.chars().take(80).collect());
        let at = text.find(['=', '!']).ok_or_else(form)?;
        let (name, rest) = text.split_at(at);
        let ops = [("=~", Op::Fits), ("!~", Op::FitsNot), ("!=", Op::NotEqual), ("=", Op::Equal)];
        let found = ops.into_iter().find_map(|(sign, op)| Some((op, rest.strip_prefix(sign)?)));
        let (op, value) = found.ok_or_else(form)?;
        let value = value.trim().trim_matches('"');
        if name.trim().is_empty() {
            return Err(form());
        }
        Self::new(name.trim(), op, value)
    }
}

impl From<Matcher> for String {
    fn from(m: Matcher) -> Self {
        let op = match m.op {
            Op::Equal => "=",
            Op::NotEqual => "!=",
            Op::Fits => "=~",
            Op::FitsNot => "!~",
        };
        format!("{}{op}{}", m.name, m.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn fingerprints_are_fnv_1a() {
        // The offset basis for nothing; `a`, 255, `b`, 255 was computed by another program.
        assert_eq!(fingerprint(&Labels::new()), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(&labels(&[("a", "b")])), 0xd2b3_7181_9297_f98a);
        let one = fingerprint(&labels(&[("a", "bc")]));
        assert_ne!(one, fingerprint(&labels(&[("ab", "c")])), "names and values are kept apart");
        assert_eq!(one, fingerprint(&labels(&[("a", "bc")])));
    }

    #[test]
    fn matchers_match_whole_values() {
        let web = labels(&[("service", "web-1"), ("severity", "page")]);
        for (text, fits) in [
            ("severity=page", true),
            ("severity!=page", false),
            ("service=~web.*", true),
            ("service=~web", false),
            ("service!~web", true),
            ("nothing=", true),
            ("severity = \"page\"", true),
        ] {
            let matcher: Matcher = text.parse().unwrap();
            assert_eq!(matcher.matches(&web), fits, "{text}");
            let back: Matcher = String::from(matcher.clone()).parse().unwrap();
            assert_eq!(back, matcher);
        }
        for wrong in ["", "a", "=b", "a=~(", "a=~(x{9999}){9999}"] {
            assert!(wrong.parse::<Matcher>().is_err(), "{wrong}");
        }
    }
}
