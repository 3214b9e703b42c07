//! The bench's own worker: answers every task at once, with `null` or with its clocks. A hidden verb of this binary.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The hidden verb.
pub(crate) const VERB: &str = "__bench-worker";
/// Room for the answers of one line.
const BUFFER: usize = 1 << 16;

/// What it needs of a line from the daemon.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    id: Option<&'a str>,
    #[serde(default, rename = "$sync")]
    sync: Option<serde::de::IgnoredAny>,
}

/// Writes down the microseconds from one answer to the next task.
pub(crate) const GAPS: &str = "--gaps";
/// Answers each task with [`Clocks`].
pub(crate) const CLOCKS: &str = "--clocks";

/// When a task began: what `--clocks` answers. Every process of a machine reads the same clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clocks {
    /// `CLOCK_MONOTONIC`, microseconds.
    pub(crate) monotonic_us: u64,
    /// `CLOCK_REALTIME`, microseconds since 1970.
    pub(crate) wall_us: u64,
}

impl Clocks {
    pub(crate) fn now() -> Self {
        Self { monotonic_us: micros(ClockId::Monotonic), wall_us: micros(ClockId::Realtime) }
    }
}

fn micros(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

/// What it does beside answering.
#[derive(Debug)]
enum Manner {
    Plain,
    Gaps(File),
    Clocks,
}

impl Manner {
    fn of(mut words: impl Iterator<Item = OsString>) -> io::Result<Self> {
        match (words.next(), words.next()) {
            (Some(word), Some(path)) if word == GAPS => {
                File::options().create(true).append(true).open(path).map(Self::Gaps)
            }
            (Some(word), None) if word == CLOCKS => Ok(Self::Clocks),
            _ => Ok(Self::Plain),
        }
    }
}

/// Serves stdin until its end. With `--gaps FILE` it also writes down how long it waited for each task.
pub(crate) fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    let served = Manner::of(words)
        .and_then(|manner| serve(io::stdin().lock(), io::stdout().lock(), &manner));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "ganger {VERB}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One line in (a message or an array of them), at most one line out.
fn serve(mut input: impl BufRead, mut output: impl Write, manner: &Manner) -> io::Result<()> {
    writeln!(
        output,
        "{{\"$hello\":{{\"sdk\":\"bench\",\"version\":\"{}\",\"batch\":true}}}}",
        env!("CARGO_PKG_VERSION")
    )?;
    output.flush()?;
    let mut line = Vec::new();
    let mut answers = Vec::with_capacity(BUFFER);
    let mut since = Instant::now();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let gap = since.elapsed();
        answers.clear();
        if line.first() == Some(&b'[') {
            for wire in serde_json::from_slice::<Vec<Wire<'_>>>(&line)? {
                answer(&wire, manner, &mut answers)?;
            }
        } else {
            answer(&serde_json::from_slice(&line)?, manner, &mut answers)?;
        }
        if let Manner::Gaps(file) = manner
            && !answers.is_empty()
        {
            let mut file = file;
            let us = u32::try_from(gap.as_micros()).unwrap_or(u32::MAX);
            file.write_all(&us.to_le_bytes())?;
        }
        send(&answers, &mut output)?;
        if !answers.is_empty() {
            since = Instant::now();
        }
    }
}

/// Appends `,{…}` for a message that wants an answer.
fn answer(wire: &Wire<'_>, manner: &Manner, answers: &mut Vec<u8>) -> io::Result<()> {
    if let Some(id) = wire.id {
        let result = matches!(manner, Manner::Clocks).then(Clocks::now);
        write!(answers, ",{{\"id\":\"{id}\",\"result\":")?;
        serde_json::to_writer(&mut *answers, &result)?;
        answers.push(b'}');
    } else if wire.sync.is_some() {
        // It answers in the order of its reading: it never holds a task when it reads the next line.
        write!(answers, ",{{\"$sync\":{{\"running\":[],\"done\":[]}}}}")?;
    }
    Ok(())
}

/// One message goes as it is, several as an array.
fn send(answers: &[u8], output: &mut impl Write) -> io::Result<()> {
    let Some(first) = answers.get(1..) else { return Ok(()) };
    let several = memchr_of(first, b",{\"id\"") || memchr_of(first, b",{\"$sync\"");
    let (open, close): (&[u8], &[u8]) = if several { (b"[", b"]\n") } else { (b"", b"\n") };
    output.write_all(open)?;
    output.write_all(first)?;
    output.write_all(close)?;
    output.flush()
}

fn memchr_of(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(input: &str) -> Vec<String> {
        told(input, &Manner::Plain)
    }

    fn told(input: &str, manner: &Manner) -> Vec<String> {
        let mut output = Vec::new();
        serve(input.as_bytes(), &mut output, manner).unwrap();
        String::from_utf8(output).unwrap().lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn one_and_several() {
        assert_eq!(said("{\"id\":\"a\",\"payload\":1}\n"), ["{\"id\":\"a\",\"result\":null}"]);
        assert_eq!(
            said("[{\"id\":\"a\"},{\"id\":\"b\"}]\n{\"$ack\":2}\n"),
            ["[{\"id\":\"a\",\"result\":null},{\"id\":\"b\",\"result\":null}]"]
        );
        assert_eq!(said("{\"$sync\":{\"n\":1}}\n"), ["{\"$sync\":{\"running\":[],\"done\":[]}}"]);
    }

    #[test]
    fn clocks_are_told_by_task() {
        let before = Clocks::now();
        let said = told("[{\"id\":\"a\"},{\"id\":\"b\"}]\n", &Manner::Clocks);
        let answers: Vec<serde_json::Value> = serde_json::from_str(&said[0]).unwrap();
        let [a, b] = [0, 1].map(|at| {
            serde_json::from_value::<Clocks>(answers[at]["result"].clone()).unwrap().monotonic_us
        });
        assert!(before.monotonic_us <= a && a <= b && b <= Clocks::now().monotonic_us);
    }
}
