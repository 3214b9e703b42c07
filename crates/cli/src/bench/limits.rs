//! What this machine can do without ganger.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::load;
use super::scene::failed;
use super::worker;
use crate::error::CliError;

/// Block that is appended before each fdatasync, as SQLite writes its log by pages.
const BLOCK: [u8; 4096] = [7; 4096];
/// How far ahead the moments lie that are waited for: long enough that the CPU goes to sleep.
const AHEAD: Duration = Duration::from_millis(5);

/// Starts a program that only exits, and waits for it, `count` times one after the other: posix_spawn and wait4.
pub(super) fn fork_exec(count: u64) -> Result<Duration, CliError> {
    let since = Instant::now();
    for _ in 0..count {
        Command::new("/bin/true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .map_err(|error| failed("start /bin/true", &error))?;
    }
    Ok(since.elapsed())
}

/// The time of each append of 4 KiB with fdatasync, on the disk of the bench's state.
pub(super) fn fdatasyncs(folder: &Path, count: u64) -> Result<Vec<Duration>, CliError> {
    appends(folder, count, Instant::now)
}

/// Waits for a moment and then appends with fdatasync, `count` times: how long after the moment each is done.
pub(super) fn timers(folder: &Path, count: u64) -> Result<Vec<Duration>, CliError> {
    appends(folder, count, || {
        let due = Instant::now() + AHEAD;
        std::thread::sleep(AHEAD);
        due
    })
}

/// The time from the moment that `begin` names to the end of each append.
fn appends(
    folder: &Path,
    count: u64,
    begin: impl Fn() -> Instant,
) -> Result<Vec<Duration>, CliError> {
    let path = folder.join("fdatasync");
    let file = std::fs::File::create(&path).map_err(|error| failed("write a file", &error))?;
    let mut times = Vec::new();
    for at in 0..count {
        let since = begin();
        file.write_all_at(&BLOCK, at * BLOCK.len() as u64)
            .and_then(|()| file.sync_data())
            .map_err(|error| failed("write and sync a file", &error))?;
        times.push(since.elapsed());
    }
    drop(file);
    std::fs::remove_file(&path).map_err(|error| failed("remove a file", &error))?;
    Ok(times)
}

/// A worker at the other end of two pipes, with nothing between.
struct Bare {
    child: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Bare {
    fn start(binary: &Path) -> Result<Self, CliError> {
        let mut child = Command::new(binary)
            .arg(worker::VERB)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed("start a bare worker", &error))?;
        let ends = child.stdin.take().zip(child.stdout.take());
        let (input, output) = ends
            .ok_or_else(|| failed("start a bare worker", &std::io::ErrorKind::BrokenPipe.into()))?;
        let mut bare = Self { child, input, output: BufReader::with_capacity(1 << 16, output) };
        // Its first line says who it is.
        bare.take(1)?;
        Ok(bare)
    }

    fn give(&mut self, line: &str, count: u64) -> Result<(), CliError> {
        let lines = line.repeat(usize::try_from(count).unwrap_or(0));
        self.input.write_all(lines.as_bytes()).map_err(|error| failed("write to a worker", &error))
    }

    /// Reads at least one line, and all that came with it, up to `most`.
    fn take(&mut self, most: u64) -> Result<u64, CliError> {
        let mut line = Vec::new();
        let mut count = 0;
        while count < most && (count == 0 || !self.output.buffer().is_empty()) {
            line.clear();
            let read = self.output.read_until(b'\n', &mut line);
            if read.map_err(|error| failed("read from a worker", &error))? == 0 {
                return Err(failed(
                    "read from a worker",
                    &std::io::ErrorKind::UnexpectedEof.into(),
                ));
            }
            count += 1;
        }
        Ok(count)
    }

    fn end(mut self) -> Result<(), CliError> {
        drop(self.input);
        let mut rest = Vec::new();
        self.output.read_to_end(&mut rest).map_err(|error| failed("read from a worker", &error))?;
        self.child.wait().map(drop).map_err(|error| failed("wait for a worker", &error))
    }
}

/// One envelope as a daemon would send it.
fn envelope() -> String {
    let (kind, payload) = (load::KIND, load::payload());
    format!(
        "{{\"id\":\"0000000000000\",\"kind\":\"{kind}\",\"payload\":{payload},\"attempt\":1}}\n"
    )
}

/// The same tasks through two bare workers by pipes, each with its half in flight.
pub(super) fn bare_workers(binary: &Path, tasks: u64) -> Result<Duration, CliError> {
    let mut workers = [Bare::start(binary)?, Bare::start(binary)?];
    let line = envelope();
    let each = tasks / 2;
    let since = Instant::now();
    std::thread::scope(|scope| {
        let pumps = workers.each_mut().map(|bare| {
            let line = &line;
            scope.spawn(move || pump(bare, line, each))
        });
        pumps.into_iter().try_for_each(|pump| {
            let ended = pump.join();
            ended.unwrap_or_else(|_| Err(failed("pump", &std::io::ErrorKind::Other.into())))
        })
    })?;
    let took = since.elapsed();
    workers.into_iter().try_for_each(Bare::end)?;
    Ok(took)
}

fn pump(bare: &mut Bare, line: &str, tasks: u64) -> Result<(), CliError> {
    let mut given = tasks.min(load::IN_FLIGHT / 2);
    let mut done = 0;
    bare.give(line, given)?;
    while done < tasks {
        let arrived = bare.take(tasks - done)?;
        done += arrived;
        let more = arrived.min(tasks - given);
        bare.give(line, more)?;
        given += more;
    }
    Ok(())
}

/// Round trips of one task through one bare worker's pipes; the time of each.
pub(super) fn round_trips(binary: &Path, count: u64) -> Result<Vec<Duration>, CliError> {
    let mut bare = Bare::start(binary)?;
    let line = envelope();
    let mut times = Vec::new();
    for _ in 0..count {
        let since = Instant::now();
        bare.give(&line, 1)?;
        bare.take(1)?;
        times.push(since.elapsed());
    }
    bare.end()?;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_json() {
        let value: serde_json::Value = serde_json::from_str(&envelope()).unwrap();
        assert!(value["payload"]["text"].is_string());
    }
}
