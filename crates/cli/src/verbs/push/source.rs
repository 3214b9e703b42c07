//! Where payloads come from: one on the command line, one on stdin, or one per line of a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use ganger_api::{NewTask, OnError};
use serde_json::value::RawValue;

use super::Args;
use crate::error::{CliError, Kind};

/// Tasks of one call: enough to make a commit worth it, small beside the daemon's body limit.
const BATCH: usize = 1_000;
/// Bytes of payload of one call.
const BATCH_BYTES: usize = 1 << 20;
/// The longest line: the largest payload any queue may have, and the words around it.
const LINE_MAX: usize = (64 << 20) + (64 << 10);

/// Where payloads come from.
pub(super) enum Source {
    One(Option<Box<RawValue>>, bool),
    Lines(Lines),
}

/// A file of one task per line.
pub(super) struct Lines {
    reader: Box<dyn BufRead>,
    /// Lines read so far.
    at: u64,
    /// What it is called in errors.
    pub name: String,
    /// Its size, where it has one.
    pub size: Option<u64>,
}

/// Tasks that are pushed together. The same input is always cut into the same batches.
#[derive(Default)]
pub(super) struct Batch {
    pub tasks: Vec<NewTask>,
    /// The line of each task.
    pub lines: Vec<u64>,
    /// Lines that are left out, and why; with `--on-error skip` only.
    pub bad: Vec<(u64, String)>,
    /// The first line read for it.
    pub first: u64,
    /// Bytes read for it.
    pub bytes: u64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.bad.is_empty()
    }
}

impl Source {
    pub(super) fn open(args: &Args) -> Result<Self, CliError> {
        if let Some(path) = &args.lines {
            return Lines::open(path).map(Self::Lines);
        }
        let text = match args.given.as_deref().or(args.payload.as_deref()) {
            None => return Ok(Self::One(None, false)),
            Some("-") => io::read_to_string(io::stdin()).map_err(|error| {
                CliError::new(Kind::Failed, format!("can't read the payload from stdin: {error}"))
            })?,
            Some(text) => text.to_owned(),
        };
        let payload = serde_json::from_str(text.trim()).map_err(|why| {
            CliError::new(Kind::Usage, format!("the payload is not JSON: {why}"))
                .help("quote strings for JSON and for the shell: --payload '\"text\"'")
        })?;
        Ok(Self::One(Some(payload), false))
    }

    /// The next tasks; empty at the end.
    pub(super) fn batch(&mut self, args: &Args) -> Result<Batch, CliError> {
        match self {
            Self::One(_, true) => Ok(Batch::default()),
            Self::One(payload, taken) => {
                *taken = true;
                let mut task = NewTask { payload: payload.take(), ..NewTask::default() };
                args.fill(&mut task);
                task.key.clone_from(&args.key);
                Ok(Batch { tasks: vec![task], lines: vec![1], ..Batch::default() })
            }
            Self::Lines(lines) => lines.batch(args),
        }
    }
}

impl Lines {
    fn open(path: &Path) -> Result<Self, CliError> {
        if path == Path::new("-") {
            let reader = Box::new(BufReader::new(io::stdin()));
            return Ok(Self { reader, at: 0, name: "stdin".into(), size: None });
        }
        let name = path.display().to_string();
        let fail = |error| CliError::new(Kind::Failed, format!("can't read {name}: {error}"));
        let file = File::open(path).map_err(fail)?;
        let meta = file.metadata().map_err(fail)?;
        let size = meta.is_file().then_some(meta.len());
        Ok(Self {
            reader: Box::new(BufReader::with_capacity(BATCH_BYTES, file)),
            at: 0,
            name,
            size,
        })
    }

    fn batch(&mut self, args: &Args) -> Result<Batch, CliError> {
        let mut batch = Batch { first: self.at + 1, ..Batch::default() };
        let mut line = Vec::new();
        while batch.tasks.len() + batch.bad.len() < BATCH && batch.bytes < BATCH_BYTES as u64 {
            line.clear();
            self.at += 1;
            let (read, whole) = self.read(&mut line)?;
            if read == 0 {
                self.at -= 1;
                break;
            }
            batch.bytes += read;
            let content = strip(&line);
            if !args.text && content.trim_ascii().is_empty() {
                continue;
            }
            let task = if whole {
                task(content, args)
            } else {
                Err(format!(
                    "is over {LINE_MAX} bytes: put large data into a file and push its path"
                ))
            };
            match task {
                Ok(mut task) => {
                    args.fill(&mut task);
                    batch.tasks.push(task);
                    batch.lines.push(self.at);
                }
                Err(why) if args.on_error == OnError::Skip => batch.bad.push((self.at, why)),
                Err(why) => return Err(self.bad_line(&batch, why)),
            }
        }
        Ok(batch)
    }

    /// Reads a line, at most [`LINE_MAX`] bytes of it into `line`. Tells the bytes taken, and whether that was all.
    fn read(&mut self, line: &mut Vec<u8>) -> Result<(u64, bool), CliError> {
        let (at, name) = (self.at, &self.name);
        let fail = |error| CliError::new(Kind::Failed, format!("can't read {name}:{at}: {error}"));
        let mut bounded = self.reader.by_ref().take(LINE_MAX as u64 + 1);
        let read = bounded.read_until(b'\n', line).map_err(fail)? as u64;
        if read <= LINE_MAX as u64 || line.ends_with(b"\n") {
            return Ok((read, true));
        }
        let rest = skip_line(&mut self.reader).map_err(fail)?;
        Ok((read + rest, false))
    }

    fn bad_line(&self, batch: &Batch, why: String) -> CliError {
        let Self { name, at, .. } = self;
        let hint = match batch.first {
            1 => "nothing is pushed; --on-error skip leaves bad lines out".to_owned(),
            first => format!(
                "lines 1 to {} are pushed, nothing from line {first} on; --on-error skip leaves bad lines out",
                first - 1
            ),
        };
        CliError::new(Kind::Usage, format!("{name}:{at} {why}")).help(hint)
    }
}

/// Takes what is left of a line, without keeping it.
fn skip_line(reader: &mut dyn BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(taken);
        skipped += taken as u64;
        if end.is_some() || taken == 0 {
            return Ok(skipped);
        }
    }
}

fn strip(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What a line says, or what is wrong with it.
fn task(line: &[u8], args: &Args) -> Result<NewTask, String> {
    if args.envelope {
        return serde_json::from_slice(line).map_err(|why| {
            format!("is not a task: {why} (a task is {{\"payload\", \"kind\"?, …}})")
        });
    }
    let payload = if args.text {
        let text = std::str::from_utf8(line).map_err(|why| format!("is not UTF-8: {why}"))?;
        serde_json::value::to_raw_value(text)
    } else {
        serde_json::from_slice(line)
    };
    let payload =
        payload.map_err(|why| format!("is not JSON: {why} (--text takes lines as they are)"))?;
    Ok(NewTask { payload: Some(payload), ..NewTask::default() })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Args {
        let line = ["push", "q", "--lines", "f"].iter().chain(words);
        Cli::try_parse_from(line).unwrap_or_else(|e| panic!("{e}")).args
    }

    fn lines(text: &'static [u8]) -> Source {
        Source::Lines(Lines { reader: Box::new(text), at: 0, name: "f".into(), size: None })
    }

    fn payloads(batch: &Batch) -> Vec<&str> {
        batch.tasks.iter().map(|t| t.payload.as_ref().unwrap().get()).collect()
    }

    #[test]
    fn lines_become_payloads() {
        let batch = lines(b"{\"a\":1}\n\n[2]").batch(&args(&[])).unwrap();
        assert_eq!(payloads(&batch), ["{\"a\":1}", "[2]"]);
        assert_eq!(batch.lines, [1, 3]);
        let batch = lines(b"a \"b\"\r\n").batch(&args(&["--text"])).unwrap();
        assert_eq!(payloads(&batch), [r#""a \"b\"""#]);
    }

    #[test]
    fn envelopes_keep_their_own_words() {
        let args = args(&["--envelope", "--kind", "k", "--priority", "low"]);
        let text =
            b"{\"payload\":1,\"kind\":\"own\",\"key\":\"x\"}\n{\"payload\":2}\n{\"payloads\":2}";
        let error = lines(text).batch(&args).err().expect("the third is no task");
        assert!(error.to_string().starts_with("f:3 is not a task: unknown field"), "{error}");
        let batch =
            lines(b"{\"payload\":1,\"kind\":\"own\"}\n{\"payload\":2}").batch(&args).unwrap();
        assert_eq!((batch.tasks[0].kind.as_str(), batch.tasks[1].kind.as_str()), ("own", "k"));
    }

    #[test]
    fn a_wrong_line_stops_or_is_left_out() {
        let error = lines(b"1\nnope\n").batch(&args(&[])).err().expect("line 2 is bad");
        assert!(error.to_string().starts_with("f:2 is not JSON"), "{error}");
        assert_eq!(error.code(), 2);
        let batch = lines(b"1\nnope\n\xff\n3").batch(&args(&["--on-error", "skip"])).unwrap();
        assert_eq!(payloads(&batch), ["1", "3"]);
        let bad: Vec<u64> = batch.bad.iter().map(|(line, _)| *line).collect();
        assert_eq!((batch.lines, bad), (vec![1, 4], vec![2, 3]));
    }

    #[test]
    fn batches_are_cut_at_the_same_places_and_say_what_is_safe() {
        let text: Vec<u8> = (0..2_400).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let mut bad = text.clone();
        bad.extend_from_slice(b"oops\n");
        let mut source = lines(text.leak());
        let firsts: Vec<_> = (0..4)
            .map(|_| source.batch(&args(&[])).unwrap())
            .map(|b| (b.first, b.tasks.len()))
            .collect();
        assert_eq!(firsts, [(1, 1_000), (1_001, 1_000), (2_001, 400), (2_401, 0)]);
        let mut source = lines(bad.leak());
        let _ = (source.batch(&args(&[])).unwrap(), source.batch(&args(&[])).unwrap());
        let error = source.batch(&args(&[])).err().expect("line 2401 is bad");
        let CliError::Told { hints, .. } = &error else { panic!("{error}") };
        assert!(
            hints[0].starts_with("lines 1 to 2000 are pushed, nothing from line 2001"),
            "{hints:?}"
        );
    }
}
