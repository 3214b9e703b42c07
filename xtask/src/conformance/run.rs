//! One of Node's tests, run as Node's own runner does.

use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::sh;

/// One test may take this long, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a test.
#[derive(Debug)]
pub(super) enum Outcome {
    Passed,
    /// It says itself that it has nothing to do here.
    Skipped(String),
    /// Its last words.
    Failed(String),
}

impl Outcome {
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Skipped(_) => "skip",
            Self::Failed(_) => "FAIL",
        }
    }
}

/// How tests are run.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) node: PathBuf,
    /// For the tests' own files and for what they say.
    pub(super) folder: PathBuf,
}

impl Runner {
    /// Runs one, with `preload` if there is one.
    pub(super) fn run(&self, test: &Path, preload: Option<&Path>) -> Result<Outcome> {
        let source = std::fs::read_to_string(test)
            .with_context(|| format!("could not read {}", test.display()))?;
        let said = self.folder.join("said");
        let out = File::create(&said)?;
        let mut command = Command::new(&self.node);
        command.args(flags(&source));
        if let Some(preload) = preload {
            command.arg("--require").arg(preload);
        }
        command.arg(test).current_dir(test.ancestors().nth(3).unwrap_or(&self.folder));
        command.env("NODE_TEST_DIR", &self.folder).env("TEST_THREAD_ID", "0");
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0);
        let status = ended(&mut command)?;
        let said = String::from_utf8_lossy(&std::fs::read(&said)?).into_owned();
        let skipped = said.lines().find_map(|line| line.strip_prefix("1..0 # Skipped: "));
        Ok(match (status, skipped) {
            (Some(status), Some(why)) if status.success() => Outcome::Skipped(why.to_owned()),
            (Some(status), None) if status.success() => Outcome::Passed,
            (Some(status), _) => {
                let how = status.code().map_or_else(
                    || format!("signal {}", status.signal().unwrap_or(0)),
                    |code| format!("exit code {code}"),
                );
                Outcome::Failed(format!("{how}\n{}", sh::last_lines(&said, 20)))
            }
            (None, _) => {
                let seconds = PATIENCE.as_secs();
                Outcome::Failed(format!("no end within {seconds} s\n{}", sh::last_lines(&said, 20)))
            }
        })
    }
}

/// Waits for its end, then ends what it left behind; `None` if it took too long.
fn ended(command: &mut Command) -> Result<Option<ExitStatus>> {
    let text = sh::shown(command);
    let mut child = command.spawn().with_context(|| format!("could not start `{text}`"))?;
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("a pidfd")?;
    let limit = Timespec::try_from(PATIENCE).context("a deadline")?;
    let ready = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))?;
    // The group is named by a process that is not reaped yet, so that it can't be anybody else's.
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait()?;
    Ok((ready > 0).then_some(status))
}

/// The words behind `// Flags:`.
fn flags(source: &str) -> Vec<&str> {
    let line = source.lines().find_map(|line| line.trim().strip_prefix("// Flags:"));
    line.map(|line| line.split_whitespace().collect()).unwrap_or_default()
}
