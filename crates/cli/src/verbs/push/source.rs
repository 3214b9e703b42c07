//! Where payloads come from: one on the command line, one on stdin, or one per line of a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use ganger_api::NewTask;
use serde_json::value::RawValue;

use super::Args;
use crate::error::{CliError, Kind};

/// Tasks of one call: enough to make a commit worth it, small beside the daemon's body limit.
const BATCH: usize = 1_000;
/// Bytes of payload of one call.
const BATCH_BYTES: usize = 1 << 20;

/// Where payloads come from.
pub(super) enum Source {
    One(Option<Box<RawValue>>, bool),
    Lines { reader: Box<dyn BufRead>, at: usize, name: String },
}

impl Source {
    pub(super) fn open(args: &Args) -> Result<Self, CliError> {
        if let Some(path) = &args.lines {
            let reader: Box<dyn BufRead> = if path == Path::new("-") {
                Box::new(BufReader::new(io::stdin()))
            } else {
                let file = File::open(path).map_err(|error| {
                    CliError::new(Kind::Failed, format!("can't read {}: {error}", path.display()))
                })?;
                Box::new(BufReader::new(file))
            };
            return Ok(Self::Lines { reader, at: 0, name: path.display().to_string() });
        }
        let text = match args.given.as_deref().or(args.payload.as_deref()) {
            None => return Ok(Self::One(None, false)),
            Some("-") => io::read_to_string(io::stdin()).map_err(|error| {
                CliError::new(Kind::Failed, format!("can't read the payload from stdin: {error}"))
            })?,
            Some(text) => text.to_owned(),
        };
        let payload = payload(text.trim()).map_err(|why| {
            CliError::new(Kind::Usage, format!("the payload is not JSON: {why}"))
                .help("quote strings for JSON and for the shell: --payload '\"text\"'")
        })?;
        Ok(Self::One(Some(payload), false))
    }

    pub(super) const fn is_many(&self) -> bool {
        matches!(self, Self::Lines { .. })
    }

    /// The next tasks; empty at the end.
    pub(super) fn batch(&mut self, args: &Args) -> Result<Vec<NewTask>, CliError> {
        let task = |payload| NewTask {
            kind: args.kind.clone().unwrap_or_default(),
            payload,
            priority: args.priority,
            delay: args.delay,
            key: args.key.clone(),
        };
        match self {
            Self::One(_, true) => Ok(Vec::new()),
            Self::One(payload, taken) => {
                *taken = true;
                Ok(vec![task(payload.take())])
            }
            Self::Lines { reader, at, name } => {
                let mut batch = Vec::new();
                let mut bytes = 0;
                let mut line = String::new();
                while batch.len() < BATCH && bytes < BATCH_BYTES {
                    line.clear();
                    *at += 1;
                    let read = reader.read_line(&mut line).map_err(|error| {
                        CliError::new(Kind::Failed, format!("can't read {name}:{at}: {error}"))
                    })?;
                    if read == 0 {
                        break;
                    }
                    bytes += read;
                    let content = line.trim_end_matches(['\n', '\r']);
                    if !args.text && content.trim().is_empty() {
                        continue;
                    }
                    let payload = if args.text { text_payload(content) } else { payload(content) };
                    let payload = payload.map_err(|why| {
                        CliError::new(Kind::Usage, format!("{name}:{at} is not JSON: {why}"))
                            .help("--text takes lines as they are")
                    })?;
                    batch.push(task(Some(payload)));
                }
                Ok(batch)
            }
        }
    }
}

fn payload(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::from_str(text)
}

fn text_payload(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::value::to_raw_value(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &'static str) -> Source {
        Source::Lines { reader: Box::new(text.as_bytes()), at: 0, name: "f".into() }
    }

    fn args(text: bool) -> Args {
        Args {
            queue: "q".into(),
            kind: None,
            given: None,
            payload: None,
            lines: None,
            text,
            priority: None,
            delay: None,
            key: None,
            wait: false,
            json: false,
        }
    }

    #[test]
    fn lines_become_payloads() {
        let batch = lines("{\"a\":1}\n\n[2]").batch(&args(false)).unwrap();
        let texts: Vec<_> = batch.iter().map(|t| t.payload.as_ref().unwrap().get()).collect();
        assert_eq!(texts, ["{\"a\":1}", "[2]"]);
        let batch = lines("a \"b\"\r\n").batch(&args(true)).unwrap();
        assert_eq!(batch[0].payload.as_ref().unwrap().get(), r#""a \"b\"""#);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let error = lines("1\nnope\n").batch(&args(false)).unwrap_err();
        assert!(error.to_string().starts_with("f:2 is not JSON"), "{error}");
        assert_eq!(error.code(), 2);
    }
}
