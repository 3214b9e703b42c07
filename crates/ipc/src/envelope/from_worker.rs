//! What a worker says, read leniently: unknown fields pass, the wrong shape is [`Garbage`].

use std::time::Duration;

use ganger_core::{TaskId, Token};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Garbage, Internal, internal_of, text, trim};

/// The longest error message or stack kept, in bytes. More is cut: an error is to be read by a person.
pub(super) const ERROR_TEXT_MAX: usize = 16 << 10;

/// The longest message of a progress read, in bytes; less of it is kept.
const MESSAGE_MAX: usize = 1 << 10;

/// The longest text for an attempt's log read at a time, in bytes: what is kept of one attempt in all.
const LOG_TEXT_MAX: usize = 32 << 10;

/// The longest wait a worker may ask for: a year. More is a mistake in its unit.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(366 * 86_400);

/// How the SDKs begin a word of the broker.
const WORD: &[u8] = br#"{"$g":"#;

/// One message of a worker.
#[derive(Debug)]
pub enum FromWorker<'a> {
    /// A task ended.
    Answer {
        /// Which.
        id: TaskId,
        /// How.
        answer: TaskAnswer<&'a RawValue>,
    },
    /// A worker that runs several at once began this one.
    Started {
        /// Which.
        id: TaskId,
    },
    /// How far a task is, in its own words.
    Progress {
        /// Which.
        id: TaskId,
        /// Which attempt of it, where the worker says so.
        token: Option<Token>,
        /// Any JSON.
        value: &'a RawValue,
        /// What it is at.
        message: Option<String>,
    },
    /// A line for the log of an attempt, or several.
    Log {
        /// Which task.
        id: TaskId,
        /// Which attempt of it, where the worker says so.
        token: Option<Token>,
        /// Without the last line end.
        text: String,
    },
    /// The SDK introduces itself.
    Hello(Hello),
    /// The answer to `$sync`.
    Sync(SyncAnswer),
    /// The answer to `$ping`, with its number.
    Pong(u64),
    /// A word of the broker (`{"$g":…}`): the message as it came.
    Word(&'a [u8]),
    /// The string `ready`.
    Ready,
    /// Node's own traffic.
    Internal(Internal),
}

/// How a task ended, with the result in the form `R`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskAnswer<R> {
    /// It worked.
    Result(R),
    /// It did not.
    Error(TaskFailure),
}

/// An error as the task's own code told it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFailure {
    /// What happened.
    pub message: String,
    /// The error's class, e.g. `TypeError`.
    pub class: Option<String>,
    /// Where it happened.
    pub stack: Option<String>,
    /// Another attempt would fail as well (`"retryable":false`).
    pub is_final: bool,
    /// Not before this long (`"retry_after_s":1.5`), instead of the queue's backoff.
    pub retry_after: Option<Duration>,
}

/// What an SDK says of itself at start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// `node`, `python`, …
    pub sdk: String,
    /// The SDK's version.
    pub version: String,
    /// How many tasks it runs at once, if it says.
    pub concurrency: Option<u32>,
    /// It takes and sends JSON arrays of messages.
    pub batch: bool,
    /// It answers `$ping`.
    pub ping: bool,
}

/// What a worker held when a new daemon asked.
#[derive(Debug, Default)]
pub struct SyncAnswer {
    /// Received and not answered, started ones first.
    pub running: Vec<TaskId>,
    /// Answered and not acknowledged, oldest first.
    pub done: Vec<(TaskId, TaskAnswer<Box<RawValue>>)>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    id: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(default)]
    started: bool,
    #[serde(borrow, default, deserialize_with = "present")]
    progress: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    log: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token: Option<&'a RawValue>,
    #[serde(default, rename = "$hello")]
    hello: Option<Hello>,
    #[serde(borrow, default, rename = "$sync")]
    sync: Option<WireSync<'a>>,
    #[serde(default, rename = "$pong")]
    pong: Option<u64>,
    #[serde(borrow, default, rename = "$g")]
    word: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireSync<'a> {
    #[serde(default)]
    running: Vec<TaskId>,
    #[serde(borrow, default)]
    done: Vec<Wire<'a>>,
}

/// `null` is a result: an `Option` would read it as absent.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

/// Reads one line, which is one message or an array of them, and gives each to `take` in order. A blank line is nothing.
///
/// # Errors
/// [`Garbage`] for the first message that can't be understood; the others of the line are still taken.
pub fn parse<'a>(line: &'a [u8], mut take: impl FnMut(FromWorker<'a>)) -> Result<(), Garbage> {
    let line = trim(line);
    match line.first() {
        None => Ok(()),
        Some(b'{') if line.starts_with(WORD) => {
            take(FromWorker::Word(line));
            Ok(())
        }
        Some(b'[') => parse_array(line, &mut take),
        Some(_) => parse_one(line, &mut take),
    }
}

fn parse_array<'a>(line: &'a [u8], take: &mut impl FnMut(FromWorker<'a>)) -> Result<(), Garbage> {
    if let Ok(all) = serde_json::from_slice::<Vec<Wire<'a>>>(line) {
        let mut first_bad = Ok(());
        for wire in all {
            let read = understand(wire, line).map(&mut *take);
            first_bad = first_bad.and(read);
        }
        return first_bad;
    }
    // One of them has another shape: read them one by one, so that it alone is lost.
    let all: Vec<&'a RawValue> =
        serde_json::from_slice(line).map_err(|e| Garbage::new(line, &e.to_string()))?;
    let mut first_bad = Ok(());
    for one in all {
        let read = parse_one(one.get().as_bytes(), take);
        first_bad = first_bad.and(read);
    }
    first_bad
}

fn parse_one<'a>(text: &'a [u8], take: &mut impl FnMut(FromWorker<'a>)) -> Result<(), Garbage> {
    let why = match serde_json::from_slice::<Wire<'a>>(text) {
        Ok(wire) if wire.word.is_some() => "a word of the broker".to_owned(),
        Ok(wire)
            if wire.id.is_some()
                || wire.hello.is_some()
                || wire.sync.is_some()
                || wire.pong.is_some() =>
        {
            return understand(wire, text).map(take);
        }
        Ok(_) => "it has no id".to_owned(),
        Err(error) => error.to_string(),
    };
    if is_word(text) {
        take(FromWorker::Word(text));
        return Ok(());
    }
    let value: &'a RawValue =
        serde_json::from_slice(text).map_err(|e| Garbage::new(text, &e.to_string()))?;
    if value.get() == r#""ready""# {
        take(FromWorker::Ready);
        return Ok(());
    }
    internal_of(value)
        .map(|internal| take(FromWorker::Internal(internal)))
        .ok_or_else(|| Garbage::new(text, &why))
}

/// An object with a `$g`, wherever it stands in it.
fn is_word(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Probe {
        #[serde(rename = "$g")]
        _word: serde::de::IgnoredAny,
    }
    memchr::memmem::find(text, br#""$g""#).is_some()
        && serde_json::from_slice::<Probe>(text).is_ok()
}

fn understand<'a>(wire: Wire<'a>, text: &[u8]) -> Result<FromWorker<'a>, Garbage> {
    if let Some(hello) = wire.hello {
        return Ok(FromWorker::Hello(hello));
    }
    if let Some(sync) = wire.sync {
        let done = sync.done.into_iter().map(|one| done_of(one, text)).collect::<Result<_, _>>()?;
        return Ok(FromWorker::Sync(SyncAnswer { running: sync.running, done }));
    }
    if let Some(n) = wire.pong {
        return Ok(FromWorker::Pong(n));
    }
    let id = id_of(&wire, text)?;
    if wire.started {
        return Ok(FromWorker::Started { id });
    }
    // An answer is one whatever else it carries.
    let answers = wire.result.is_some() || wire.error.is_some();
    if let Some(value) = wire.progress.filter(|_| !answers) {
        let message = wire.message.map(|raw| text::lossy(raw.get(), MESSAGE_MAX));
        return Ok(FromWorker::Progress { id, token: token_of(&wire, text)?, value, message });
    }
    if let Some(raw) = wire.log.filter(|_| !answers) {
        let log = text::lossy(raw.get(), LOG_TEXT_MAX);
        return Ok(FromWorker::Log { id, token: token_of(&wire, text)?, text: log });
    }
    answer_of(&wire, text).map(|answer| FromWorker::Answer { id, answer })
}

fn done_of(wire: Wire<'_>, text: &[u8]) -> Result<(TaskId, TaskAnswer<Box<RawValue>>), Garbage> {
    let id = id_of(&wire, text)?;
    let answer = match answer_of(&wire, text)? {
        TaskAnswer::Result(value) => TaskAnswer::Result(value.to_owned()),
        TaskAnswer::Error(failure) => TaskAnswer::Error(failure),
    };
    Ok((id, answer))
}

fn id_of(wire: &Wire<'_>, text: &[u8]) -> Result<TaskId, Garbage> {
    let id = wire.id.ok_or_else(|| Garbage::new(text, "it has no id"))?;
    id.parse().map_err(|e: ganger_core::ids::IdError| Garbage::new(text, &e.to_string()))
}

/// Of a worker that says which attempt it means.
fn token_of(wire: &Wire<'_>, text: &[u8]) -> Result<Option<Token>, Garbage> {
    let Some(raw) = wire.token else { return Ok(None) };
    let token = raw.get().trim_matches('"').parse();
    token.map(Some).map_err(|e: ganger_core::ids::IdError| Garbage::new(text, &e.to_string()))
}

fn answer_of<'a>(wire: &Wire<'a>, text: &[u8]) -> Result<TaskAnswer<&'a RawValue>, Garbage> {
    match (wire.error, wire.result) {
        (Some(error), _) => Ok(TaskAnswer::Error(TaskFailure::from_json(error))),
        (None, Some(result)) => Ok(TaskAnswer::Result(result)),
        (None, None) => Err(Garbage::new(text, "it has neither result nor error")),
    }
}

impl TaskFailure {
    /// From what stands in `error`: an object with `message`, or any other value, whose text is the message.
    #[must_use]
    pub fn from_json(error: &RawValue) -> Self {
        #[derive(Deserialize)]
        struct Parts<'a> {
            #[serde(borrow)]
            message: &'a RawValue,
            #[serde(borrow, default)]
            class: Option<&'a RawValue>,
            #[serde(borrow, default)]
            stack: Option<&'a RawValue>,
            #[serde(default)]
            retryable: Option<bool>,
            #[serde(default)]
            retry_after_s: Option<f64>,
        }
        let show = |raw: &RawValue| text::lossy(raw.get(), ERROR_TEXT_MAX);
        match serde_json::from_str::<Parts<'_>>(error.get()) {
            Ok(parts) => Self {
                message: show(parts.message),
                class: parts.class.map(show),
                stack: parts.stack.map(show),
                is_final: parts.retryable == Some(false),
                retry_after: parts
                    .retry_after_s
                    .and_then(|s| Duration::try_from_secs_f64(s).ok())
                    .map(|wait| wait.min(RETRY_AFTER_MAX)),
            },
            Err(_) => Self::new(show(error)),
        }
    }

    /// One of ganger's own making.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
}
