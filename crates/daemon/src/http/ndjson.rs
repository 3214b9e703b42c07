//! Tasks out of JSON, in batches and with as few copies as can be: one per payload.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use ganger_api::{ApiError, ErrorKind, RefusedTask, Timestamp};
use ganger_core::{Dur, Priority};
use ganger_queue::{NewTask, Wants};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A task as `ganger_api::NewTask` writes it, borrowed from the body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line<'a> {
    #[serde(borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    priority: Option<Priority>,
    #[serde(default)]
    delay: Option<Dur>,
    #[serde(default)]
    at: Option<Timestamp>,
    #[serde(default)]
    retry: Option<super::retry::Own>,
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, default)]
    concurrency_key: Option<Text<'a>>,
    #[serde(default)]
    tags: Option<Tags>,
    #[serde(default)]
    dedupe: Option<ganger_api::Dedupe>,
    #[serde(default)]
    deadline: Option<Timestamp>,
    #[serde(default)]
    expires_in: Option<Dur>,
    #[serde(default)]
    result_ttl: Option<Dur>,
    #[serde(default)]
    cache: Option<Dur>,
}

impl Line<'_> {
    /// What it asks for beyond being run.
    fn wants(&self) -> Option<Box<Wants>> {
        let wants = Wants {
            dedupe: self.dedupe.as_ref().map(crate::convert::dedupe),
            cache: self.cache.map(|time| time.0),
            result_ttl: self.result_ttl.map(|time| time.0),
            expires_in: self.expires_in.map(|time| time.0),
            deadline_ms: self.deadline.map(|at| at.0),
        };
        (wants != Wants::default()).then(|| Box::new(wants))
    }
}

/// Tags within their bounds: they are copied along with their task whenever its row changes.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<Box<str>>")]
struct Tags(Vec<Box<str>>);

/// Tags of one task.
const TAGS_MAX: usize = 32;
/// Bytes of one tag.
const TAG_BYTES: usize = 100;

impl TryFrom<Vec<Box<str>>> for Tags {
    type Error = String;

    fn try_from(tags: Vec<Box<str>>) -> Result<Self, String> {
        if tags.len() > TAGS_MAX {
            return Err(format!("{} tags, the most is {TAGS_MAX}", tags.len()));
        }
        match tags.iter().find(|tag| tag.is_empty() || tag.len() > TAG_BYTES) {
            Some(tag) => Err(format!("a tag has 1 to {TAG_BYTES} bytes, this one {}", tag.len())),
            None => Ok(Self(tags)),
        }
    }
}

/// A string that borrows unless it has escapes.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A task and the key it was given, if any.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) task: NewTask,
    pub(crate) key: Option<Box<str>>,
    /// Its line in the body, or its place in the list; from 1.
    pub(crate) line: u64,
}

/// Turns lines into tasks; remembers what neighbours share.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    kind: Option<Arc<str>>,
    /// Lines read so far, for errors.
    line: u64,
}

impl Parser {
    /// Reads every whole line of `text`; blank ones are skipped.
    ///
    /// # Errors
    /// The first line that is not a task: its number and what is wrong. Tasks before it are in `into`.
    pub(crate) fn lines(&mut self, text: &[u8], into: &mut Vec<Parsed>) -> Result<(), ApiError> {
        self.each_line(text, into, |line, error| Err(bad_line(line, error)))
    }

    /// The same, but lines that are not tasks are only noted.
    pub(crate) fn good_lines(
        &mut self,
        text: &[u8],
        into: &mut Vec<Parsed>,
        bad: &mut Vec<RefusedTask>,
    ) {
        let note = |line, error: &serde_json::Error| {
            bad.push(RefusedTask { line, error: format!("it is not a task: {error}") });
            Ok(())
        };
        // Noting never fails.
        let _ = self.each_line(text, into, note);
    }

    fn each_line(
        &mut self,
        text: &[u8],
        into: &mut Vec<Parsed>,
        mut wrong: impl FnMut(u64, &serde_json::Error) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let now = Timestamp::now().0;
        for line in text.split(|byte| *byte == b'\n') {
            self.line += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<Line<'_>>(line) {
                Ok(read) => into.push(self.task(read, now)),
                Err(error) => wrong(self.line, &error)?,
            }
        }
        // What follows the last line feed is no line of its own.
        self.line -= 1;
        Ok(())
    }

    /// Reads a body that is one task or a list of them.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub(crate) fn json(&mut self, body: &[u8]) -> Result<Vec<Parsed>, ApiError> {
        let fail = |e: serde_json::Error| {
            ApiError::new(ErrorKind::Usage, format!("this is not a task: {e}")).hint(SHAPE)
        };
        let now = Timestamp::now().0;
        if body.trim_ascii_start().starts_with(b"[") {
            let lines: Vec<Line<'_>> = serde_json::from_slice(body).map_err(fail)?;
            let count = |line| {
                self.line += 1;
                self.task(line, now)
            };
            Ok(lines.into_iter().map(count).collect())
        } else {
            let line = serde_json::from_slice(body).map_err(fail)?;
            self.line = 1;
            Ok(vec![self.task(line, now)])
        }
    }

    fn task(&mut self, line: Line<'_>, now: u64) -> Parsed {
        let wants = line.wants();
        let kind = line.kind.filter(|kind| !kind.0.is_empty()).map(|kind| self.shared(&kind.0));
        let payload = line.payload.map_or("null", RawValue::get);
        let mut options = line.retry.map(|own| own.0);
        if let Some(tags) = line.tags.filter(|tags| !tags.0.is_empty()) {
            options.get_or_insert_default().tags = tags.0;
        }
        if let Some(key) = line.concurrency_key {
            options.get_or_insert_default().concurrency_key = Some(key.0.into());
        }
        let delay = line.delay.map_or(0, |d| u64::try_from(d.0.as_millis()).unwrap_or(u64::MAX));
        let task = NewTask {
            kind,
            priority: line.priority.unwrap_or_default(),
            run_at_ms: match line.at {
                // The later of the two holds, should somebody give both.
                at if delay > 0 => now.saturating_add(delay).max(at.map_or(0, |at| at.0)),
                at => at.map_or(0, |at| at.0),
            },
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            options,
            wants,
        };
        Parsed { task, key: line.key.map(|key| key.0.into()), line: self.line }
    }

    /// Neighbours mostly have the same kind: one allocation for all of them.
    fn shared(&mut self, kind: &str) -> Arc<str> {
        match &self.kind {
            Some(last) if last.as_ref() == kind => Arc::clone(last),
            _ => {
                let kind: Arc<str> = kind.into();
                self.kind = Some(Arc::clone(&kind));
                kind
            }
        }
    }
}

const SHAPE: &str = r#"a task is {"kind"?,"payload","priority"?,"delay"?,"at"?,"retry"?,"key"?,"concurrency_key"?,"tags"?,"dedupe"?,"deadline"?,"expires_in"?,"result_ttl"?,"cache"?}; the payload is any JSON"#;

fn bad_line(line: u64, error: &serde_json::Error) -> ApiError {
    let message = format!("line {line} is not a task: {error}");
    ApiError::new(ErrorKind::Usage, message).hint(SHAPE).at_line(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Vec<Parsed>, ApiError> {
        let mut tasks = Vec::new();
        Parser::default().lines(text.as_bytes(), &mut tasks).map(|()| tasks)
    }

    #[test]
    fn tasks_keep_their_payload_as_it_was() {
        let tasks = lines(
            "{\"payload\": {\"big\": 12345678901234567890.10, \"b\":  1}}\n\n\
             {\"kind\":\"a\\u0062\",\"payload\":[ ],\"priority\":\"high\",\"key\":\"k\"}\n",
        )
        .unwrap();
        assert_eq!(tasks[0].task.payload, "{\"big\": 12345678901234567890.10, \"b\":  1}");
        assert_eq!(tasks[1].task.kind.as_deref(), Some("ab"));
        assert_eq!(tasks[1].task.priority, Priority::HIGH);
        assert_eq!(tasks[1].key.as_deref(), Some("k"));
        assert_eq!(tasks[1].task.run_at_ms, 0);
    }

    #[test]
    fn a_task_may_have_retries_of_its_own() {
        let own = |retry: &str| {
            let read = lines(&format!("{{\"retry\":{retry}}}"));
            read.map(|tasks| tasks[0].task.options.clone().unwrap()).map_err(|e| e.message)
        };
        let options = own(r#"{"max":3,"crash_limit":1,"max_age":"2h","curve":"river"}"#).unwrap();
        assert_eq!((options.max_attempts, options.crash_limit), (Some(3), Some(1)));
        assert_eq!(options.max_age, Some(std::time::Duration::from_secs(7_200)));
        let named = ganger_core::task_backoff::Formula::River;
        assert_eq!(options.backoff, Some(ganger_core::TaskBackoff::Named(named)));
        assert_eq!(own(r#"{"max":2}"#).unwrap().backoff, None);
        for (wrong, why) in [
            (r#"{"max":0}"#, "1 to 1000"),
            (r#"{"curve":"steep"}"#, "polynomial"),
            (r#"{"curve":"oban","backoff":"1s"}"#, "formula of its own"),
            (r#"{"curve":"fixed","factor":3}"#, "no such factor"),
            (r#"{"factor":0.5}"#, "1 to 100"),
            (r#"{"retries":3}"#, "unknown field"),
        ] {
            let error = own(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_delay_is_a_moment() {
        let before = Timestamp::now().0;
        let task = &lines("{\"delay\":\"1h\"}").unwrap()[0].task;
        assert!(task.run_at_ms >= before + 3_600_000);
        assert_eq!(task.payload, "null");
        let at = &lines("{\"at\":\"2026-12-24T18:00:00+01:00\"}").unwrap()[0].task;
        assert_eq!(at.run_at_ms, 1_798_131_600_000);
        assert!(lines("{\"at\":\"tomorrow\"}").is_err());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let error = lines("{}\n\n{\"payload\":{\"a\":}}\n").unwrap_err();
        assert!(error.message.starts_with("line 3 is not a task:"), "{}", error.message);
        assert!(lines("{\"payloads\":1}").unwrap_err().message.contains("unknown field"));
        assert!(lines("{\"priority\":256}").unwrap_err().message.contains("256"));
    }

    #[test]
    fn numbers_go_on_over_chunks() {
        let mut parser = Parser::default();
        let mut tasks = Vec::new();
        parser.lines(b"{}\n{}\n", &mut tasks).unwrap();
        let error = parser.lines(b"x\n", &mut tasks).unwrap_err();
        assert!(error.message.starts_with("line 3 "), "{}", error.message);
    }

    #[test]
    fn one_task_or_a_list() {
        let mut parser = Parser::default();
        assert_eq!(parser.json(b" {\"payload\":1}").unwrap().len(), 1);
        assert_eq!(parser.json(b" [{\"payload\":1},{}]").unwrap().len(), 2);
        assert!(parser.json(b"1").is_err());
    }
}
