//! Arguments of a `command` pool, filled from the task: `{payload.path}`, `{payload}`, `{id}`, and so on.
//!
//! Each argument is substituted by itself and stays one argument whatever the payload holds: there is no shell and no splitting.
//! `{{` and `}}` stand for the braces themselves; braces around what can't be a name (`{print $1}`, `${HOME}`, JSON) are plain
//! text as well. A placeholder that the payload can't fill fails the task with a message naming
//! both, before anything is started.

use std::fmt::Write as _;

use ganger_core::TaskId;
use serde_json::Value;

/// The longest argument list made from a template, in bytes: a quarter of the kernel's default 2 MiB (execve(2), ARG_MAX), so that
/// the environment always fits too.
const ARGV_MAX: usize = 512 << 10;

/// A template that is wrong by itself: found when the configuration is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "argument `{argument}`: {why}; placeholders are {{id}}, {{kind}}, {{queue}}, {{attempt}}, {{payload}} and {{payload.key}}, and {{{{ is a plain brace"
)]
pub struct TemplateError {
    /// The argument as written.
    pub argument: String,
    /// What is wrong.
    pub why: String,
}

/// A task that does not fit its template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// The payload has no such part.
    #[error("the payload has no `{path}`, which argument `{argument}` of the pool's command needs")]
    Missing {
        /// What was looked for, e.g. `payload.path`.
        path: String,
        /// The argument as written.
        argument: String,
    },
    /// An argument can't hold a NUL byte.
    #[error("`{path}` of the payload holds a NUL character, which no argument can")]
    Nul {
        /// Which part.
        path: String,
    },
    /// Too much for execve.
    #[error(
        "the command's arguments would take {got} bytes, the limit is {ARGV_MAX}; read the payload from stdin instead"
    )]
    TooLong {
        /// How many.
        got: usize,
    },
}

/// What a template may refer to.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The task.
    pub id: TaskId,
    /// Its kind.
    pub kind: &'a str,
    /// Its queue.
    pub queue: &'a str,
    /// The attempt, from 1.
    pub attempt: u32,
    /// JSON text.
    pub payload: &'a [u8],
}

/// One argument, cut into plain text and placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Argument {
    written: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Id,
    Kind,
    Queue,
    Attempt,
    /// The payload, or what a path of keys and indices leads to in it.
    Payload(Vec<String>),
}

/// A parsed argument list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Argument>);

impl Template {
    /// Parses every argument.
    ///
    /// # Errors
    /// The first argument with an unknown placeholder or a lone brace.
    pub fn parse<S: AsRef<str>>(argv: &[S]) -> Result<Self, TemplateError> {
        argv.iter().map(|a| Argument::parse(a.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// The argument list of one task.
    ///
    /// # Errors
    /// When the payload does not have what an argument needs.
    pub fn fill(&self, subject: &Subject<'_>) -> Result<Vec<String>, FillError> {
        let needs_payload = |p: &Part| matches!(p, Part::Payload(path) if !path.is_empty());
        let payload = if self.0.iter().any(|a| a.parts.iter().any(needs_payload)) {
            serde_json::from_slice(subject.payload).unwrap_or(Value::Null)
        } else {
            Value::Null
        };
        let argv: Vec<String> =
            self.0.iter().map(|a| a.fill(subject, &payload)).collect::<Result<_, _>>()?;
        let got = argv.iter().map(|a| a.len() + 1).sum();
        if got > ARGV_MAX { Err(FillError::TooLong { got }) } else { Ok(argv) }
    }
}

impl Argument {
    fn parse(written: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = written;
        while let Some(at) = rest.find(['{', '}']) {
            let after_dollar = rest[..at].ends_with('$') || (at == 0 && text.ends_with('$'));
            text.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
                continue;
            }
            let name = rest.split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
            let Some(name) = name.filter(|_| brace == "{" && !after_dollar) else {
                text.push_str(brace);
                continue;
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            let why = || format!("`{{{name}}}` is no placeholder");
            let part = Part::parse(name)
                .ok_or_else(|| TemplateError { argument: written.to_owned(), why: why() })?;
            parts.push(part);
            rest = &rest[name.len() + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { written: written.to_owned(), parts })
    }

    fn fill(&self, subject: &Subject<'_>, payload: &Value) -> Result<String, FillError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Id => write!(out, "{}", subject.id).expect("a String takes everything"),
                Part::Kind => out.push_str(subject.kind),
                Part::Queue => out.push_str(subject.queue),
                Part::Attempt => {
                    write!(out, "{}", subject.attempt).expect("a String takes everything");
                }
                Part::Payload(path) if path.is_empty() => {
                    out.push_str(&String::from_utf8_lossy(subject.payload));
                }
                Part::Payload(path) => self.put_path(&mut out, path, payload)?,
            }
        }
        Ok(out)
    }

    fn put_path(
        &self,
        out: &mut String,
        path: &[String],
        payload: &Value,
    ) -> Result<(), FillError> {
        let shown = || format!("payload.{}", path.join("."));
        let found = path.iter().try_fold(payload, |value, key| match value {
            Value::Object(map) => map.get(key),
            Value::Array(items) => key.parse::<usize>().ok().and_then(|at| items.get(at)),
            _ => None,
        });
        match found {
            None => Err(FillError::Missing { path: shown(), argument: self.written.clone() }),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(FillError::Nul { path: shown() })
            }
            Some(Value::String(text)) => {
                out.push_str(text);
                Ok(())
            }
            Some(other) => {
                out.push_str(&other.to_string());
                Ok(())
            }
        }
    }
}

/// What looks like a placeholder's name: a misspelt one must not pass as text.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

impl Part {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "id" => Some(Self::Id),
            "kind" => Some(Self::Kind),
            "queue" => Some(Self::Queue),
            "attempt" => Some(Self::Attempt),
            "payload" => Some(Self::Payload(vec![])),
            _ => {
                let path: Vec<String> =
                    name.strip_prefix("payload.")?.split('.').map(str::to_owned).collect();
                path.iter().all(|key| !key.is_empty()).then_some(Self::Payload(path))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subject(payload: &str) -> Subject<'_> {
        let id = TaskId::from_raw(7).unwrap();
        Subject { id, kind: "thumb", queue: "images", attempt: 2, payload: payload.as_bytes() }
    }

    fn fill(argument: &str, payload: &str) -> Result<String, FillError> {
        Template::parse(&[argument]).unwrap().fill(&subject(payload)).map(|mut argv| argv.remove(0))
    }

    #[test]
    fn every_placeholder() {
        let got = fill("{id}/{kind}/{queue}/{attempt}:{payload.a.1}{{x}}", r#"{"a":[1,true]}"#);
        assert_eq!(got.unwrap(), "0000000000007/thumb/images/2:true{x}");
        assert_eq!(fill("{payload}", "{\"a\": 1}").unwrap(), "{\"a\": 1}");
        assert_eq!(fill("--f={payload.o}", r#"{"o":{"k":null}}"#).unwrap(), r#"--f={"k":null}"#);
    }

    #[test]
    fn other_peoples_braces_are_left_alone() {
        for plain in
            ["{", "}", "{}", "{print $1}", "${HOME}x${1}", "${payload}", "{ \"a\": 1 }", "{payload"]
        {
            assert_eq!(fill(plain, "1").unwrap(), plain);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = fill("in={payload.path}", r#"{"file":"x"}"#).unwrap_err().to_string();
        assert!(error.contains("`payload.path`") && error.contains("in={payload.path}"), "{error}");
        assert!(matches!(fill("{payload.a}", "{\"a\":\"x\\u0000y\"}"), Err(FillError::Nul { .. })));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(ARGV_MAX));
        assert!(matches!(fill("{payload.a}", &long), Err(FillError::TooLong { .. })));
    }

    #[test]
    fn wrong_templates_are_found_before_any_task() {
        for wrong in ["{path}", "{payload.}", "a{payload..b}", "x{payloads.path}"] {
            let error = Template::parse(&[wrong]).unwrap_err();
            assert_eq!(error.argument, wrong);
        }
    }

    proptest! {
        #[test]
        fn a_payload_string_stays_one_argument(text in "[^\0]{0,40}") {
            let payload = serde_json::to_string(&serde_json::json!({ "a": text })).unwrap();
            let argv = Template::parse(&["x", "{payload.a}", "y"]).unwrap().fill(&subject(&payload)).unwrap();
            prop_assert_eq!(argv, vec!["x".to_owned(), text, "y".to_owned()]);
        }

        #[test]
        fn parsing_never_panics(argument in "[{}a-z.]{0,30}") {
            let _ = Template::parse(&[argument]);
        }
    }
}
