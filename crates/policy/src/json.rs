//! Requests as JSON, read strictly: a key twice, a key nobody knows, a number where text belongs, anything after the end
//! and anything too large is refused. Depth is bounded by the types: nothing in a request is deeper than a list of texts.
//!
//! ```json
//! {"policy":"deploy","args":["fetch","origin"],"env":{"LANG":"C"},"cwd":"/srv/repo","stdin":{"bytes":12}}
//! {"command":["/usr/bin/git","fetch","origin"],"stdin":{"file":"/srv/in/list"}}
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::input::{ARGS_MAX, Input, Request, Target};

/// Bytes of one request: arguments and variables with every byte escaped as `\u00xx` are six times as long.
pub const REQUEST_BYTES_MAX: usize = 2 << 20;

/// Why a text is no request.
#[derive(Debug, thiserror::Error)]
pub enum BadRequest {
    /// Too long to be looked at.
    #[error(
        "the request has {0} bytes: at most {REQUEST_BYTES_MAX}; larger input belongs into a file"
    )]
    Long(usize),
    /// Not JSON, or not a request.
    #[error("this is not a request: {}", words(.0))]
    Json(#[from] serde_json::Error),
    /// Neither or both of what says what to run.
    #[error("a request has either `policy` (with `args`) or `command` (program and arguments)")]
    Target,
}

/// Characters of an error that are told: it repeats names as they came.
const WORDS_MAX: usize = 240;

/// What is wrong, without the text that stands where none may: it is recorded, and could be a secret.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // As serde writes it; what it expected is ours, so the last such place is its own.
    let text = match (text.find(": string \""), text.rfind("\", expected ")) {
        (Some(from), Some(to)) if text.starts_with("invalid ") && from < to => {
            format!("{}: a text{}", &text[..from], &text[to + 1..])
        }
        _ => text,
    };
    match text.char_indices().nth(WORDS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Reads a request.
///
/// # Errors
/// [`BadRequest`].
pub fn request(text: &[u8]) -> Result<Request, BadRequest> {
    if text.len() > REQUEST_BYTES_MAX {
        return Err(BadRequest::Long(text.len()));
    }
    read(serde_json::from_slice(text)?)
}

/// Reads a request under a policy that something else names, a path of an API; the text may name it too, but no other.
///
/// # Errors
/// [`BadRequest`].
pub fn request_under(policy: &str, text: &[u8]) -> Result<Request, BadRequest> {
    if text.len() > REQUEST_BYTES_MAX {
        return Err(BadRequest::Long(text.len()));
    }
    let mut raw: Raw = serde_json::from_slice(text)?;
    if raw.command.is_some() || raw.policy.as_ref().is_some_and(|named| named != policy) {
        return Err(BadRequest::Target);
    }
    raw.policy = Some(policy.to_owned());
    read(raw)
}

fn read(raw: Raw) -> Result<Request, BadRequest> {
    let (target, args) = match (raw.policy, raw.args, raw.command) {
        (Some(policy), args, None) => (Target::Policy(policy), args.unwrap_or_default().0),
        (None, None, Some(Texts(mut command))) if !command.is_empty() => {
            let args = command.split_off(1);
            (Target::Program(command.swap_remove(0).into_bytes()), args)
        }
        _ => return Err(BadRequest::Target),
    };
    let stdin = match raw.stdin {
        None => Input::None,
        Some(RawInput { bytes: Some(bytes), file: None }) => Input::Bytes(bytes),
        Some(RawInput { bytes: None, file: Some(file) }) => Input::File(file),
        Some(_) => {
            return Err(BadRequest::Json(de::Error::custom(
                "`stdin` has either `bytes` or `file`",
            )));
        }
    };
    let args = args.into_iter().map(String::into_bytes).collect();
    Ok(Request { target, args, env: raw.env.0, cwd: raw.cwd, stdin })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    policy: Option<String>,
    args: Option<Texts>,
    command: Option<Texts>,
    #[serde(default)]
    env: Variables,
    cwd: Option<String>,
    stdin: Option<RawInput>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    bytes: Option<u64>,
    file: Option<String>,
}

/// A list of texts that stops at the first one too many.
#[derive(Default)]
struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element()? {
            // The program's name is one more.
            if texts.len() > ARGS_MAX {
                return Err(de::Error::custom(format!("more than {ARGS_MAX} arguments")));
            }
            texts.push(text);
        }
        Ok(Texts(texts))
    }
}

/// A map that takes no name twice; serde's own keeps the last.
#[derive(Default)]
struct Variables(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(VariablesVisitor)
    }
}

struct VariablesVisitor;

impl<'de> Visitor<'de> for VariablesVisitor {
    type Value = Variables;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Variables, A::Error> {
        let mut all = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if all.contains_key(&name) {
                return Err(de::Error::custom(format!("variable {name:?} is given twice")));
            }
            all.insert(name, value);
        }
        Ok(Variables(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let by_policy = request(
            br#"{"policy":"deploy","args":["fetch","a b"],"env":{"LANG":"C"},"cwd":"/srv","stdin":{"bytes":12}}"#,
        )
        .unwrap();
        let mut wanted = Request::policy("deploy", &["fetch", "a b"]);
        wanted.env.insert("LANG".into(), "C".into());
        wanted.cwd = Some("/srv".into());
        wanted.stdin = Input::Bytes(12);
        assert_eq!(by_policy, wanted);
        let by_program = request(br#"{"command":["/usr/bin/git","fetch"]}"#).unwrap();
        assert_eq!(by_program, Request::program("/usr/bin/git", &["fetch"]));
    }

    #[test]
    fn what_is_wrong_is_told_without_what_was_said() {
        let told = |text: &str| request(text.as_bytes()).unwrap_err().to_string();
        for text in [
            r#"{"policy":"a","args":"--token=hunter2"}"#,
            r#"{"policy":"a","args":"--token=hunter2\", expected x"}"#,
            r#"{"policy":"a","stdin":{"bytes":"hunter2"}}"#,
            r#"{"policy":"a","env":"PASSWORD=hunter2"}"#,
        ] {
            let told = told(text);
            assert!(!told.contains("hunter2") && told.contains("a text, expected"), "{told}");
        }
        let long = told(&format!(r#"{{"{}":1}}"#, "x".repeat(100_000)));
        assert!(long.len() < 300, "a record has room for it: {}", long.len());
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let deep = format!(r#"{{"policy":"x","args":{}1{}}}"#, "[".repeat(64), "]".repeat(64));
        let cases: [(&str, &str); 14] = [
            (r#"{"policy":"a","policy":"b"}"#, "duplicate field"),
            (r#"{"policy":"a","args":["x"],"args":[]}"#, "duplicate field"),
            (r#"{"policy":"a","env":{"A":"1","A":"2"}}"#, "given twice"),
            (r#"{"policy":"a","env":{"A":"1","\u0041":"2"}}"#, "given twice"),
            (r#"{"policy":"a","shell":"id"}"#, "unknown field"),
            (r#"{"policy":"a","stdin":{"bytes":1,"more":2}}"#, "unknown field"),
            (r#"{"policy":"a","stdin":{"bytes":1e400}}"#, "out of range"),
            (r#"{"policy":"a","stdin":{"bytes":-1}}"#, "invalid value"),
            (r#"{"policy":"a","args":"fetch origin"}"#, "invalid type"),
            (r#"{"policy":"a","args":["\ud800"]}"#, "hex escape"),
            (r#"{"policy":"a"} {}"#, "trailing"),
            (r#"{"policy":"a","command":["/bin/sh"]}"#, "either"),
            (r#"{"command":[]}"#, "either"),
            (&deep, "invalid type"),
        ];
        for (text, wanted) in cases {
            let error = request(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        assert!(request(b"{\"policy\":\"\xc0\xaf\"}").is_err(), "overlong UTF-8");
        assert!(request(&vec![b' '; REQUEST_BYTES_MAX + 1]).is_err());
        let many = format!(r#"{{"policy":"a","args":[{}""]}}"#, r#""","#.repeat(ARGS_MAX + 1));
        assert!(request(many.as_bytes()).unwrap_err().to_string().contains("more than"));
    }
}
