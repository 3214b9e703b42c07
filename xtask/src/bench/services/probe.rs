//! The program that is killed, and the clock.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};

/// A replacement later than this is none.
const PATIENCE: Duration = Duration::from_secs(60);
/// Name of the script in its folder, and of the pipe that it writes its pid to.
pub(super) const SCRIPT: &str = "probe.sh";
const PIPE: &str = "probe.pipe";

/// Where the probe says that it runs.
pub(super) struct Probe {
    lines: BufReader<File>,
}

/// Times in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Spread(Vec<f64>);

impl Probe {
    /// Writes the script and makes its pipe.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let pipe = folder.join(PIPE);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into())?;
        let script = format!("echo $$ > '{}'\nexec sleep 1000000\n", pipe.display());
        std::fs::write(folder.join(SCRIPT), script)?;
        // Open for both, so that it never ends.
        let lines = File::options().read(true).write(true).open(&pipe)?;
        Ok(Self { lines: BufReader::new(lines) })
    }

    /// The pid that the next probe says.
    pub(super) fn line(&mut self) -> Result<Pid> {
        let timeout = rustix::event::Timespec::try_from(PATIENCE)?;
        if self.lines.buffer().is_empty()
            && poll(&mut [PollFd::new(self.lines.get_ref(), PollFlags::IN)], Some(&timeout))? == 0
        {
            bail!("nothing was started within {PATIENCE:?}");
        }
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        line.trim().parse().ok().and_then(Pid::from_raw).context("the probe said no pid")
    }

    /// Kills it so often, at uneven moments so that no poll is met in step, and tells how long each replacement took.
    pub(super) fn killed(&mut self, mut pid: Pid, times: usize) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(times);
        for _ in 0..times {
            std::thread::sleep(Duration::from_millis(fastrand::u64(20..120)));
            let since = Instant::now();
            kill_process(pid, Signal::KILL).context("the probe had ended by itself")?;
            pid = self.line()?;
            all.push(since.elapsed().as_secs_f64() * 1e3);
        }
        Ok(all)
    }
}

/// Fork and exec of the same script by nobody's manager: what no manager can be quicker than.
pub(super) fn bare(tools: &Path, times: usize) -> Result<Vec<f64>> {
    let folder = tempfile::Builder::new().prefix("bare-").tempdir_in(tools)?;
    let mut probe = Probe::new(folder.path())?;
    let mut all = Vec::with_capacity(times);
    for _ in 0..times {
        let since = Instant::now();
        let mut command = Command::new("/bin/sh");
        command.arg(folder.path().join(SCRIPT)).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn()?;
        let said = probe.line();
        all.push(since.elapsed().as_secs_f64() * 1e3);
        child.kill()?;
        child.wait()?;
        said?;
    }
    Ok(all)
}

impl Spread {
    pub(super) fn extend(&mut self, times: Vec<f64>) {
        self.0.extend(times);
        self.0.sort_by(f64::total_cmp);
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that this share of all does not exceed.
    pub(super) fn at(&self, share: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        self.0.get((last as f64 * share).ceil() as usize).copied()
    }
}
