//! The ledger of the queue's torture: what workers did, written by themselves, with the fence of every attempt.
//!
//! ```text
//! S n attempt epoch.counter pid ns     an attempt starts
//! E n attempt epoch.counter pid ns     it ends
//! O n attempt epoch.counter pid ns     another attempt of the same task was alive at that moment
//! Z n attempt epoch.counter pid ns     a second, late answer was sent for this attempt, as a zombie would
//! ```
//!
//! Each is one `write` on a descriptor with O_APPEND, and synced. `ns` is CLOCK_MONOTONIC.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::torture::ledger::now_ns;

/// A fencing token: later ones are greater.
pub(crate) type Token = (u64, u64);

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) what: char,
    pub(crate) n: u64,
    pub(crate) token: Token,
    pub(crate) pid: i32,
    pub(crate) ns: u64,
}

/// Reads one line.
pub(crate) fn parse(line: &str) -> Result<Note> {
    let words: Vec<&str> = line.split(' ').collect();
    let [what, n, _attempt, token, pid, ns] = words[..] else { bail!("it has not six words") };
    let what = what.chars().next().context("it begins with a space")?;
    let (n, pid, ns) = (n.parse()?, pid.parse()?, ns.parse()?);
    Ok(Note { what, n, token: token_of(token)?, pid, ns })
}

/// `epoch.counter`.
pub(crate) fn token_of(text: &str) -> Result<Token> {
    let (epoch, counter) = text.split_once('.').context("a token is epoch.counter")?;
    Ok((epoch.parse()?, counter.parse()?))
}

/// Reads what is appended, and knows which attempts are open.
#[derive(Debug)]
pub(crate) struct Tail {
    reader: BufReader<File>,
    half: String,
    /// Pids by task of attempts that have started and not ended, as far as is read.
    pub(crate) open: BTreeMap<(u64, Token), i32>,
    /// When the last attempt that is read started.
    pub(crate) last_start_ns: u64,
}

impl Tail {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let reader = BufReader::new(File::open(path).context("the ledger")?);
        Ok(Self { reader, half: String::new(), open: BTreeMap::new(), last_start_ns: 0 })
    }

    /// Reads to the end.
    pub(crate) fn read(&mut self) -> Result<()> {
        loop {
            if self.reader.read_line(&mut self.half).context("the ledger")? == 0 {
                return Ok(());
            }
            if !self.half.ends_with('\n') {
                continue;
            }
            let note = parse(self.half.trim_end()).with_context(|| self.half.clone())?;
            self.half.clear();
            let key = (note.n, note.token);
            match note.what {
                'S' => {
                    self.open.insert(key, note.pid);
                    self.last_start_ns = self.last_start_ns.max(note.ns);
                }
                'E' => drop(self.open.remove(&key)),
                _ => {}
            }
        }
    }

    /// Attempts whose process still lives; those of dead ones are forgotten.
    pub(crate) fn running(&mut self) -> Result<Vec<i32>> {
        self.read()?;
        self.open.retain(|_, pid| Path::new(&format!("/proc/{pid}")).exists());
        Ok(self.open.values().copied().collect())
    }
}

/// What a task asks of a fenced worker.
#[derive(Debug, Deserialize)]
struct Payload {
    n: u64,
    ms: u64,
}

#[derive(Debug, Deserialize)]
struct Envelope {
    id: Option<String>,
    payload: Option<Payload>,
    #[serde(default)]
    attempt: u64,
    #[serde(default)]
    token: String,
}

/// One answer in so many is followed by a zombie's answer for the attempt before it.
const ZOMBIE_EACH: u64 = 8;

/// A worker that speaks JSON lines on stdin and stdout, notes every attempt, and sends late second answers now and then.
pub(crate) fn work(ledger: &Path, guard: &str) -> Result<()> {
    let mut ledger =
        OpenOptions::new().append(true).open(ledger).context("could not open the ledger")?;
    let mut out = std::io::stdout().lock();
    let mut before: Option<Envelope> = None;
    for (at, line) in (1..).zip(std::io::stdin().lock().lines()) {
        let envelope: Envelope = serde_json::from_str(&line?).context("a strange line")?;
        let (Some(id), Some(payload)) = (&envelope.id, &envelope.payload) else { continue };
        let name = SocketAddr::from_abstract_name(format!("{guard}-{}", payload.n))?;
        // The kernel gives a name to one socket at a time and takes it back when its process is gone.
        let alone = UnixListener::bind_addr(&name);
        if alone.is_err() {
            note(&mut ledger, 'O', &envelope)?;
        }
        note(&mut ledger, 'S', &envelope)?;
        std::thread::sleep(Duration::from_millis(payload.ms));
        note(&mut ledger, 'E', &envelope)?;
        drop(alone);
        let result = |of: &Envelope, n: u64, zombie: bool| {
            let (token, pid) = (&of.token, std::process::id());
            format!("{{\"n\":{n},\"token\":\"{token}\",\"pid\":{pid},\"zombie\":{zombie}}}")
        };
        writeln!(out, "{{\"id\":\"{id}\",\"result\":{}}}", result(&envelope, payload.n, false))?;
        if at % ZOMBIE_EACH == 0
            && let Some(before) = &before
            && let (Some(id), Some(payload)) = (&before.id, &before.payload)
        {
            writeln!(out, "{{\"id\":\"{id}\",\"result\":{}}}", result(before, payload.n, true))?;
            note(&mut ledger, 'Z', before)?;
        }
        out.flush()?;
        before = Some(envelope);
    }
    Ok(())
}

fn note(ledger: &mut File, what: char, about: &Envelope) -> Result<()> {
    let n = about.payload.as_ref().map_or(0, |payload| payload.n);
    let (attempt, token) = (about.attempt, &about.token);
    let line = format!("{what} {n} {attempt} {token} {} {}\n", std::process::id(), now_ns());
    ledger.write_all(line.as_bytes()).context("could not write the ledger")?;
    ledger.sync_data().context("could not sync the ledger")
}

/// All lines, in the order they were written.
pub(crate) fn all(path: &PathBuf) -> Result<Vec<Note>> {
    let text = std::fs::read_to_string(path).context("could not read the ledger")?;
    let lines = text.lines().enumerate();
    lines
        .map(|(at, line)| parse(line).with_context(|| format!("line {}: {line}", at + 1)))
        .collect()
}
