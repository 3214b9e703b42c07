//! Pushes tasks all the time and notes which were acknowledged.

use std::io::Write;
use std::ops::RangeInclusive;
use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde::Deserialize;

use crate::ganger::Ganger;

/// Tasks of one push.
const BATCH: u64 = 100;
/// Between two pushes: about what four workers do meanwhile (4 / 12.5 ms), so that the queue is never long nor empty.
const PAUSE: Duration = Duration::from_millis(250);
/// Exit code of a verb that found no daemon.
const NO_DAEMON: i32 = 5;

/// An acknowledged task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) n: u64,
    pub(crate) id: String,
}

/// What `push --json` says of each task.
#[derive(Debug, Deserialize)]
struct Id {
    id: String,
}

/// What became of the pushes.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Pushes that were refused or cut off.
    pub(crate) failed: Vec<Failed>,
}

/// A push that was not acknowledged.
#[derive(Debug)]
pub(crate) struct Failed {
    /// It was answered "no daemon": an honest refusal while keeper and daemon are dead.
    pub(crate) nobody_there: bool,
    /// It was killed itself: a power cut takes a client along that runs on the same machine.
    pub(crate) cut: bool,
    /// What was said.
    pub(crate) said: String,
}

/// Pushes at least `tasks` tasks and goes on until `enough` is set. `stop`'s other end is closed when
/// something failed elsewhere.
pub(crate) fn push_all(
    ganger: &Ganger,
    tasks: u64,
    seed: u64,
    enough: &AtomicBool,
    stop: &mpsc::Receiver<()>,
) -> Pushed {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pushed = Pushed::default();
    let mut n = 0;
    while n < tasks || !enough.load(Ordering::Relaxed) {
        let numbers: Vec<u64> = (n + 1..=n + BATCH).collect();
        n += BATCH;
        match batch(ganger, &numbers, &mut random) {
            Ok(acknowledged) => pushed.acknowledged.extend(acknowledged),
            Err(failed) => pushed.failed.push(failed),
        }
        if stop.recv_timeout(PAUSE) == Err(RecvTimeoutError::Disconnected) {
            break;
        }
    }
    pushed
}

fn batch(
    ganger: &Ganger,
    numbers: &[u64],
    random: &mut fastrand::Rng,
) -> Result<Vec<Acknowledged>, Failed> {
    let ids = push(ganger, numbers, 5..=20, random)?;
    Ok(numbers.iter().zip(ids).map(|(n, id)| Acknowledged { n: *n, id }).collect())
}

/// Pushes these numbers in one call of the CLI, each to take so many milliseconds; gives the ids.
pub(crate) fn push(
    ganger: &Ganger,
    numbers: &[u64],
    ms: RangeInclusive<u64>,
    random: &mut fastrand::Rng,
) -> Result<Vec<String>, Failed> {
    let out = call(ganger, numbers, ms, random).map_err(|error| Failed {
        nobody_there: false,
        cut: false,
        said: format!("{error:#}"),
    })?;
    let ids: Vec<String> = String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Id>(line).ok())
        .map(|line| line.id)
        .collect();
    if out.status.success() && ids.len() == numbers.len() {
        return Ok(ids);
    }
    let said = format!(
        "push of {} tasks: {}, {} ids: {}",
        numbers.len(),
        out.status,
        ids.len(),
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Err(Failed {
        nobody_there: out.status.code() == Some(NO_DAEMON),
        cut: out.status.signal() == Some(Signal::KILL.as_raw()),
        said,
    })
}

fn call(
    ganger: &Ganger,
    numbers: &[u64],
    ms: RangeInclusive<u64>,
    random: &mut fastrand::Rng,
) -> Result<Output> {
    let priority = ["high", "normal", "low"][random.usize(..3)];
    let mut child = ganger
        .verb(&["push", "work", "--lines", "-", "--priority", priority, "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("could not start `ganger push`")?;
    let mut stdin = child.stdin.take().context("stdin is a pipe")?;
    let task = |n: &u64| format!("{{\"n\":{n},\"ms\":{}}}\n", random.u64(ms.clone()));
    let text: String = numbers.iter().map(task).collect();
    // A push that fails closes its stdin; what it says is what counts.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    child.wait_with_output().context("could not wait for `ganger push`")
}
