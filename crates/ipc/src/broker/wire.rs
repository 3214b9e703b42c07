//! The broker's words on a channel: `{"$g":"request",…}` and so on, one JSON object in a line of Node's `json` framing.
//!
//! From a process:
//!
//! ```text
//! {"$g":"request","id":ID,"to":"images","kind":"resize","payload":…,"timeout_ms":5000}
//! {"$g":"cancel","id":ID}
//! {"$g":"response","id":RID,"result":…}           or "error":{"message":…}
//! {"$g":"publish","topic":"jobs.done","payload":…}
//! {"$g":"subscribe","topic":"jobs.*","window":32}  {"$g":"unsubscribe","topic":…}  {"$g":"took","topic":…,"n":8}
//! {"$g":"open","ids":[ID,…]}                       after `$sync`: the answers it waits for
//! {"$g":"opened","fd":N}                           it has opened the body that was lent as `"path":"/proc/PID/fd/N"`
//! {"$hello":{"sdk":…,"bodies":"fd"|"path"}}        how it takes bodies
//! ```
//!
//! To a process: `request` (with `from`, `timeout_ms` left, and an id of ours that names this daemon), `cancel` (with `why`), `response` (with `code` where the answer
//! is ours), `message`, `gap`, `refused`, `copied`, and `{"$sync":{"n":…}}` by the next daemon. A descriptor travels as Node's handles do, the message
//! inside `{"cmd":"NODE_HANDLE","type":…,"msg":{"$g":…}}`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::types::{Answer, BodyIs, Cargo, Said, ToPeer};

/// The longest id of a request, in bytes of JSON.
const ID_MAX: usize = 64;

/// The longest name of a topic, in bytes; so of a kind and of an address.
const NAME_MAX: usize = 200;

/// How a process takes what is too large for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bodies {
    /// It doesn't: payloads come in the message while they fit.
    #[default]
    None,
    /// As a descriptor with the message.
    Fd,
    /// By a path below `/proc` that it opens: Node can't receive a descriptor that is no socket.
    Path,
}

/// Beside a message: its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct BodyIn {
    /// Its length in bytes.
    pub size: u64,
    /// What it is.
    pub is: BodyIs,
    /// The sender's own descriptor of it, which the daemon copies; absent: it came with the message.
    #[serde(default)]
    pub fd: Option<u32>,
}

/// A body on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyOut {
    /// Its length in bytes.
    pub size: u64,
    /// What it is.
    pub is: BodyIs,
    /// Where it can be opened; absent: it goes with the message.
    pub path: Option<String>,
}

/// One line of a process.
#[derive(Debug, PartialEq)]
pub enum Heard<D> {
    /// For the broker. What is attached is still to be added to its cargo.
    Said(Said<D>, Option<BodyIn>),
    /// The string `ready`.
    Ready,
    /// It introduces itself.
    Hello(Bodies),
    /// It has opened what was lent by path.
    Opened(u32),
    /// Something between the program and whoever forked it; not ours.
    Other,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, rename = "$g")]
    word: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    to: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(default)]
    timeout_ms: Option<f64>,
    #[serde(default)]
    window: Option<u32>,
    #[serde(default)]
    n: Option<u32>,
    #[serde(borrow, default)]
    ids: Vec<&'a RawValue>,
    #[serde(default)]
    body: Option<BodyIn>,
    #[serde(default)]
    fd: Option<u32>,
}

fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

/// Reads one message of a process. `session` is this daemon's, see [`put`].
///
/// # Errors
/// It has a `$g` and can't be meant: a sentence for its author.
pub fn parse<D>(body: &[u8], session: u64) -> Result<Heard<D>, String> {
    let body = body.trim_ascii();
    if body == br#""ready""# {
        return Ok(Heard::Ready);
    }
    // The cheap test first: a program's own messages are none of ours.
    if memchr::memmem::find(body, b"\"$g\"").is_none() {
        return Ok(hello(body).map_or(Heard::Other, Heard::Hello));
    }
    let wire: Wire<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let Wire { word, id, payload, result, body, .. } = &wire;
    let cargo = |raw: &Option<&RawValue>| Cargo {
        payload: raw.map(|raw| raw.get().into()),
        attached: None,
    };
    let said = match &**word {
        "request" => Said::Request {
            id: id_of(*id)?,
            to: named("to", wire.to.as_deref())?.to_owned(),
            kind: short("kind", wire.kind.as_deref().unwrap_or_default())?.into(),
            timeout: wire.timeout_ms.map(timeout).transpose()?,
            cargo: cargo(payload),
        },
        "cancel" => Said::Cancel { id: id_of(*id)? },
        "response" => {
            let number = number_of(&id_of(*id)?, session);
            let answer = match wire.error {
                Some(error) => Answer::Error(error.get().into()),
                None => Answer::Result(cargo(result)),
            };
            Said::Response { number, answer }
        }
        "publish" => {
            let topic = named("topic", wire.topic.as_deref())?;
            if topic.contains('*') {
                return Err(format!("`{topic}`: a topic that is published has no *"));
            }
            Said::Publish { topic: topic.into(), cargo: cargo(payload) }
        }
        "subscribe" => {
            let topic = pattern(wire.topic.as_deref())?;
            Said::Subscribe { topic, window: wire.window.map(|window| window.max(1)) }
        }
        "unsubscribe" => Said::Unsubscribe { topic: pattern(wire.topic.as_deref())? },
        "took" => Said::Took { topic: pattern(wire.topic.as_deref())?, n: wire.n.unwrap_or(1) },
        "open" => {
            let ids = wire.ids.iter().map(|id| id_of(Some(*id)));
            Said::Open { ids: ids.collect::<Result<_, _>>()? }
        }
        "opened" => {
            return wire.fd.map(Heard::Opened).ok_or_else(|| "`opened` without `fd`".into());
        }
        other => {
            let other: String = other.chars().take(40).collect();
            return Err(format!("`{other}` is no word of the channel"));
        }
    };
    Ok(Heard::Said(said, *body))
}

/// A subscription's topic.
///
/// # Errors
/// What is wrong with it.
pub fn pattern(topic: Option<&str>) -> Result<Box<str>, String> {
    let topic = named("topic", topic)?;
    match topic.strip_suffix('*').unwrap_or(topic).contains('*') {
        true => Err(format!("`{topic}`: a * stands at the end of a topic only")),
        false => Ok(topic.into()),
    }
}

fn hello(body: &[u8]) -> Option<Bodies> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "$hello")]
        hello: Hello,
    }
    #[derive(Deserialize)]
    struct Hello {
        #[serde(default)]
        bodies: Bodies,
    }
    memchr::memmem::find(body, b"\"$hello\"")?;
    serde_json::from_slice::<Line>(body).ok().map(|line| line.hello.bodies)
}

fn named<'a>(what: &str, text: Option<&'a str>) -> Result<&'a str, String> {
    match text {
        None | Some("") => Err(format!("`{what}` is missing")),
        Some(text) => short(what, text),
    }
}

fn short<'a>(what: &str, text: &'a str) -> Result<&'a str, String> {
    if text.len() > NAME_MAX {
        return Err(format!("`{what}` has {} bytes, the most is {NAME_MAX}", text.len()));
    }
    Ok(text)
}

fn timeout(ms: f64) -> Result<Duration, String> {
    let time = Duration::try_from_secs_f64(ms / 1e3);
    time.map_err(|_| format!("`timeout_ms` is a number of milliseconds, not {ms}"))
}

fn id_of(id: Option<&RawValue>) -> Result<Box<str>, String> {
    let text = id.map_or("", RawValue::get);
    let is_id = text.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
    match text {
        _ if !is_id => {
            Err("`id` is missing: a string or a number of the sender's choice".to_owned())
        }
        _ if text.len() > ID_MAX => {
            Err(format!("`id` has {} bytes, the most is {ID_MAX}", text.len()))
        }
        _ => Ok(text.into()),
    }
}

/// `"SESSION.NUMBER"`; none when another daemon wrote it, or nobody.
fn number_of(id: &str, session: u64) -> Option<u64> {
    let (of, number) = id.trim_matches('"').split_once('.')?;
    let right = u64::from_str_radix(of, 36).ok()? == session;
    number.parse().ok().filter(|_| right)
}

/// The number of a request as the responder sees it. It names this daemon, so that an answer for a former one is not taken for another.
fn rid(session: u64, number: u64) -> String {
    let mut digits = Vec::new();
    let mut rest = session;
    while rest > 0 || digits.is_empty() {
        digits.push(char::from_digit((rest % 36) as u32, 36).unwrap_or('0'));
        rest /= 36;
    }
    digits.reverse();
    format!("\"{}.{number}\"", String::from_iter(digits))
}

/// A message as it goes out. `body`: what is attached, if that is a body.
#[must_use]
pub fn put<D>(message: &ToPeer<D>, session: u64, now: Instant, body: Option<&BodyOut>) -> Vec<u8> {
    let mut line = Line::default();
    match message {
        ToPeer::Request { number, from, kind, deadline, cargo } => {
            line.word("request")
                .raw("id", &rid(session, *number))
                .text("from", from)
                .text("kind", kind);
            let left = deadline.saturating_duration_since(now).as_millis();
            line.raw("timeout_ms", &left.to_string()).payload("payload", cargo, body);
        }
        ToPeer::Cancel { number, why } => {
            line.word("cancel").raw("id", &rid(session, *number)).text("why", why.as_str());
        }
        ToPeer::Response { id, answer } => {
            line.word("response").raw("id", id);
            match answer {
                Answer::Result(cargo) => line.payload("result", cargo, body),
                Answer::Error(error) => line.raw("error", error),
                Answer::Ours(code, why) => {
                    let message = serde_json::json!({ "message": why }).to_string();
                    line.text("code", code.as_str()).raw("error", &message)
                }
            };
        }
        ToPeer::Message { published, pattern } => {
            line.word("message").text("topic", &published.topic).text("from", &published.from);
            if let Some(pattern) = pattern {
                line.text("pattern", pattern);
            }
            line.payload("payload", &published.cargo, body);
        }
        ToPeer::Gap { topic, missed } => {
            line.word("gap").text("topic", topic).raw("missed", &missed.to_string());
        }
        ToPeer::Refused { why } => {
            let message = serde_json::json!({ "message": why }).to_string();
            line.word("refused").raw("error", &message);
        }
    }
    line.end()
}

/// The daemon has its own copy of the descriptor it was told of.
#[must_use]
pub fn put_copied(fd: u32) -> Vec<u8> {
    let mut line = Line::default();
    line.word("copied").raw("fd", &fd.to_string());
    line.end()
}

/// One object, field by field.
#[derive(Default)]
struct Line(Vec<u8>);

impl Line {
    fn word(&mut self, word: &str) -> &mut Self {
        self.0.extend_from_slice(b"{\"$g\":\"");
        self.0.extend_from_slice(word.as_bytes());
        self.0.push(b'"');
        self
    }

    fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.0.extend_from_slice(format!(",\"{name}\":").as_bytes());
        crate::envelope::put_one_line(&mut self.0, json.as_bytes());
        self
    }

    fn text(&mut self, name: &str, text: &str) -> &mut Self {
        let json = serde_json::Value::from(text).to_string();
        self.raw(name, &json)
    }

    fn payload<D>(&mut self, name: &str, cargo: &Cargo<D>, body: Option<&BodyOut>) -> &mut Self {
        if !body.is_some_and(|body| body.is == BodyIs::Payload) {
            self.raw(name, cargo.payload.as_deref().unwrap_or("null"));
        }
        if let Some(BodyOut { size, is, path }) = body {
            let mut body = serde_json::json!({ "size": size, "is": is });
            if let Some(path) = path {
                body["path"] = path.as_str().into();
            }
            self.raw("body", &body.to_string());
        }
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

/// The text of a payload that a program gave as JSON.
///
/// # Errors
/// It is no JSON.
pub fn payload(text: &str) -> Result<Arc<str>, serde_json::Error> {
    serde_json::from_str::<&RawValue>(text).map(|raw| raw.get().into())
}
