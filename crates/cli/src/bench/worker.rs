//! The bench's own worker: answers every task with `null` at once. A hidden verb of this binary.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

use serde::Deserialize;

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

/// Serves stdin until its end. With `--gaps FILE` it also writes down how long it waited for each task.
pub(crate) fn run(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let wants_gaps = words.next().is_some_and(|word| word == GAPS);
    let gaps = wants_gaps.then(|| words.next()).flatten();
    let gaps = gaps.map(|path| File::options().create(true).append(true).open(path)).transpose();
    let served = gaps.and_then(|gaps| serve(io::stdin().lock(), io::stdout().lock(), gaps));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "ganger {VERB}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One line in (a message or an array of them), at most one line out.
fn serve(mut input: impl BufRead, mut output: impl Write, gaps: Option<File>) -> io::Result<()> {
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
                answer(&wire, &mut answers)?;
            }
        } else {
            answer(&serde_json::from_slice(&line)?, &mut answers)?;
        }
        if let Some(mut file) = gaps.as_ref().filter(|_| !answers.is_empty()) {
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
fn answer(wire: &Wire<'_>, answers: &mut Vec<u8>) -> io::Result<()> {
    if let Some(id) = wire.id {
        write!(answers, ",{{\"id\":\"{id}\",\"result\":null}}")?;
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
        let mut output = Vec::new();
        serve(input.as_bytes(), &mut output, None).unwrap();
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
}
