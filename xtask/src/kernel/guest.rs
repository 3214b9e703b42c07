//! Running the emulated machine and reading its serial line.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::packages::Tools;

use super::suite::{Suite, Unit};
use crate::sh;
use crate::tally::Tally;

/// MiB of the guest: the archive, the unpacked copy, and room for tests.
const MEMORY_MIB: &str = "3072";
/// What the longest silence on the serial line is longer than the longest unit before the machine counts as hung.
const PATIENCE_S: u64 = 60;
/// Lines of a failed unit's output that are shown.
const SHOWN_LINES: usize = 60;

/// Boots, follows the suite, returns the counts. `more`: further boot parameters. The whole console goes to `console`.
pub(crate) fn run(
    tools: &Tools,
    image: &Path,
    suite: &Suite,
    more: &str,
    console: &Path,
) -> Result<Tally> {
    const PARAMETERS: &str =
        "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off random.trust_cpu=on";
    let mut qemu = tools.qemu();
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY_MIB])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .args(["-serial", "stdio", "-monitor", "none"])
        .arg("-kernel")
        .arg(&tools.kernel)
        .arg("-initrd")
        .arg(image)
        .args(["-append", &format!("{PARAMETERS} {more}")]);
    let mut child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("could not start `{}`", sh::shown(&qemu)))?;
    let serial = child.stdout.take().context("QEMU's stdout is a pipe")?;
    let (send, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut serial = BufReader::new(serial);
        let mut line = Vec::new();
        while serial.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if send.send(text).is_err() {
                return;
            }
        }
    });
    let result = follow(&lines, suite, console);
    drop(lines);
    // A machine that powered off has closed the line already; one that hangs is ended here.
    child.kill().context("could not end QEMU")?;
    child.wait().context("could not wait for QEMU")?;
    reader.join().map_err(|_| anyhow::anyhow!("the reader of the serial line panicked"))?;
    result.with_context(|| format!("the whole console is in {}", console.display()))
}

/// Reads the console to its end and counts.
fn follow(lines: &mpsc::Receiver<String>, suite: &Suite, console: &Path) -> Result<Tally> {
    let mut log = File::create(console).context("could not write the console log")?;
    let mut tally = Tally::default();
    let booting = Instant::now();
    let longest = suite.units.iter().map(|unit| unit.timeout_s).max().unwrap_or_default();
    let silence = Duration::from_secs(u64::from(longest) + PATIENCE_S);
    let mut current: Option<(usize, Instant, Vec<String>)> = None;
    let mut next = 0;
    loop {
        let line = match lines.recv_timeout(silence) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!("the emulated machine said nothing for {} s", silence.as_secs())
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                bail!("the emulated machine stopped before the suite was done (unit {next})")
            }
        };
        writeln!(log, "{line}").context("could not write the console log")?;
        match Mark::parse(&line) {
            Some(Mark::Machine(text)) => {
                println!("booted in {:.1} s: {text}", booting.elapsed().as_secs_f64());
            }
            Some(Mark::Begin(n)) => current = Some((n, Instant::now(), Vec::new())),
            Some(Mark::End { n, rc, left }) => {
                let Some((_, since, output)) = current.take().filter(|(at, ..)| *at == n) else {
                    bail!("unit {n} ended that had not begun");
                };
                let unit = suite.units.get(n).with_context(|| format!("no unit {n}"))?;
                next = n + 1;
                judge(unit, rc, left, since.elapsed(), &output, &mut tally);
            }
            Some(Mark::Done) => return Ok(tally),
            None => {
                if let Some((_, _, output)) = &mut current {
                    output.push(line);
                }
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Mark {
    Machine(String),
    Begin(usize),
    End { n: usize, rc: i32, left: u32 },
    Done,
}

impl Mark {
    /// A program's last line may lack its newline, so the mark may stand at a line's end.
    fn parse(line: &str) -> Option<Self> {
        let at = line.find("@@ ")?;
        let mut words = line[at + 3..].split(' ');
        match words.next()? {
            "machine" => Some(Self::Machine(words.collect::<Vec<_>>().join(" "))),
            "begin" => Some(Self::Begin(words.next()?.parse().ok()?)),
            "end" => Some(Self::End {
                n: words.next()?.parse().ok()?,
                rc: words.next()?.strip_prefix("rc=")?.parse().ok()?,
                left: words.next()?.strip_prefix("left=")?.parse().ok()?,
            }),
            "done" => Some(Self::Done),
            _ => None,
        }
    }
}

/// Counts one unit: a libtest program by its own numbers, a script as one; leftovers and bad ends are failures.
fn judge(unit: &Unit, rc: i32, left: u32, took: Duration, output: &[String], tally: &mut Tally) {
    let name = format!("{} as {}", unit.name, unit.user.name());
    let counts = libtest_counts(output);
    let mut failed = counts.failed.clone();
    if rc != 0 && failed.is_empty() {
        let why = if rc == 137 {
            format!("killed after {} s", unit.timeout_s)
        } else {
            format!("exit code {rc}")
        };
        failed.push(why);
    }
    if left > 0 {
        failed.push(format!("{left} processes left behind"));
    }
    let passed = if counts.is_libtest { counts.passed } else { u64::from(failed.is_empty()) };
    tally.passed += passed;
    for skip in output.iter().filter_map(|line| skip_reason(line)) {
        tally.skip(format!("{name}: {skip}"));
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "  {verdict:6} {name}: {passed} passed, {} failed ({:.1} s)",
        failed.len(),
        took.as_secs_f64()
    );
    if !failed.is_empty() {
        // Property tests complain that the guest has no sources to keep regressions beside.
        let said: Vec<&String> = output.iter().filter(|l| !l.starts_with("proptest:")).collect();
        for line in &said[said.len().saturating_sub(SHOWN_LINES)..] {
            println!("         | {line}");
        }
    }
    tally.failed.extend(failed.into_iter().map(|test| format!("{name}: {test}")));
}

#[derive(Debug, Default)]
struct Counts {
    is_libtest: bool,
    passed: u64,
    failed: Vec<String>,
}

fn libtest_counts(output: &[String]) -> Counts {
    let mut counts = Counts::default();
    let mut ok_lines = 0;
    for line in output {
        if let Some(own) = own_counts(line) {
            counts.is_libtest = true;
            counts.passed += own;
        } else if let Some(name) = line.strip_prefix("failed:  ") {
            counts.failed.push(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            counts.is_libtest = true;
            let passed = rest.split(". ").nth(1).and_then(|text| text.split(' ').next());
            counts.passed += passed.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        } else if let Some((name, verdict)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        {
            // Harnesses of our own may tell the time behind the word.
            match verdict.split(' ').next() {
                Some("ok") => ok_lines += 1,
                Some("FAILED") => counts.failed.push(name.to_owned()),
                _ => {}
            }
        }
    }
    if !counts.is_libtest && ok_lines + counts.failed.len() as u64 > 0 {
        counts.is_libtest = true;
        counts.passed = ok_lines;
    }
    counts
}

/// `N passed, M failed`: the last line of this program's own verbs.
fn own_counts(line: &str) -> Option<u64> {
    let (passed, rest) = line.split_once(" passed, ")?;
    let failed = rest.split(' ').next()?.parse::<u64>();
    failed.ok().and(passed.parse().ok())
}

/// A test that can't run here prints `skipped: why` (or `skip …`).
fn skip_reason(line: &str) -> Option<&str> {
    let lower = line.trim_start();
    (lower.starts_with("skip") || lower.starts_with("SKIP")).then_some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_also_behind_an_unfinished_line() {
        assert_eq!(Mark::parse("@@ begin 3"), Some(Mark::Begin(3)));
        assert_eq!(
            Mark::parse("no newline@@ end 3 rc=101 left=2"),
            Some(Mark::End { n: 3, rc: 101, left: 2 })
        );
        assert_eq!(Mark::parse("@@ done"), Some(Mark::Done));
        assert_eq!(Mark::parse("test a ... ok"), None);
    }

    #[test]
    fn libtest_output_is_counted() {
        let output: Vec<String> = [
            "test a ... ok",
            "test b ... FAILED",
            "test result: FAILED. 7 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
        ]
        .map(str::to_owned)
        .to_vec();
        let counts = libtest_counts(&output);
        assert_eq!((counts.passed, counts.failed), (7, vec!["b".to_owned()]));
        let own = ["test a ... ok (71 ms)", "test b ... FAILED (3 ms)"].map(str::to_owned);
        let counts = libtest_counts(&own);
        assert_eq!((counts.passed, counts.failed), (1, vec!["b".to_owned()]));
        let ours = ["failed:  E07 as Root", "471 passed, 1 failed, 76 skipped"].map(str::to_owned);
        let counts = libtest_counts(&ours);
        assert_eq!((counts.passed, counts.failed), (471, vec!["E07 as Root".to_owned()]));
    }
}
