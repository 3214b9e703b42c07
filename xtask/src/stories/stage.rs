//! Where a story is played: a folder, files to go for, a daemon of its own, and somebody who listens to its events.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::sh;

const PROGRAM: &str = include_str!("story.c");
const CONFIG: &str = include_str!("ganger.toml");
/// An incident that is not there by then is not coming.
const PATIENCE: Duration = Duration::from_secs(20);

/// Events, and when each came.
type Heard = Mutex<Receiver<(Instant, String)>>;

/// A folder and its daemon.
pub(super) struct Stage {
    folder: tempfile::TempDir,
    ganger: PathBuf,
    events: Option<(Child, Heard)>,
}

impl Stage {
    /// `base`: a folder whose parents nobody but root may change, since policies look at them.
    pub(super) fn new(base: &Path, ganger: &Path) -> Result<Self> {
        fs::create_dir_all(base)?;
        let folder = tempfile::Builder::new().prefix("stories-").tempdir_in(base)?;
        let path = folder.path();
        fs::set_permissions(path, PermissionsExt::from_mode(0o755))?;
        fs::write(path.join("story.c"), PROGRAM)?;
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-w", "-o"]).arg(path.join("story")).arg(path.join("story.c"));
        sh::capture(&mut cc).context("stories are written in C")?;
        fs::copy(path.join("story"), path.join("tool"))?;
        fs::create_dir(path.join("ro"))?;
        fs::write(path.join("ro/word"), "pear\napple\n")?;
        // Put together here, so that nobody's scanner finds a key in this repository.
        let key = format!("-----BEGIN {} KEY-----\nbm90IG9uZQ==\n", "PRIVATE");
        fs::write(path.join("ro/key"), key)?;
        symlink("/etc/passwd", path.join("ro/link"))?;
        let stage = Self { folder, ganger: ganger.to_owned(), events: None };
        fs::write(stage.path("ganger.toml"), stage.filled(CONFIG)?)?;
        Ok(stage)
    }

    /// Stories can't wait for a hundred runs before something of a principal is unusual; a day can.
    pub(super) fn learns_as_usual(&self) -> Result<()> {
        let config = fs::read_to_string(self.path("ganger.toml"))?;
        Ok(fs::write(self.path("ganger.toml"), config.replace("learn = 5", ""))?)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A text with the stage's words in it.
    fn filled(&self, text: &str) -> Result<String> {
        let mut text = text.replace("{home}", &self.folder.path().display().to_string());
        for name in ["cat", "find", "tar", "sort", "wc", "grep", "git"] {
            let word = format!("{{{name}}}");
            if text.contains(&word) {
                let found =
                    sh::which(name).with_context(|| format!("`{name}` is not installed"))?;
                text = text.replace(&word, &fs::canonicalize(found)?.display().to_string());
            }
        }
        Ok(text)
    }

    /// `ganger`, or a copy of it, with next to no environment.
    pub(super) fn command(&self, program: &Path, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(program);
        for word in words {
            command.arg(self.filled(word)?);
        }
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.folder.path());
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        Ok(command)
    }

    /// The binary.
    pub(super) fn binary(&self) -> &Path {
        &self.ganger
    }

    /// Runs a verb to its end.
    pub(super) fn ganger(&self, words: &[&str]) -> Result<Output> {
        self.command(&self.ganger, words)?.output().context("ganger does not start")
    }

    /// One act: when it began. What becomes of it is the log's to tell.
    pub(super) fn act(&self, words: &[&str]) -> Result<Instant> {
        let began = super::now();
        let said = self.ganger(&[&["exec"], words].concat())?;
        if said.status.code() == Some(5) {
            bail!("no daemon: {}", String::from_utf8_lossy(&said.stderr));
        }
        Ok(began)
    }

    /// An act that has to be allowed.
    pub(super) fn allowed(&self, words: &[&str]) -> Result<Instant> {
        let began = super::now();
        let said = self.ganger(&[&["exec"], words].concat())?;
        if !said.status.success() {
            bail!("`exec {}`: {}", words.join(" "), String::from_utf8_lossy(&said.stderr));
        }
        Ok(began)
    }

    /// Starts the daemon, and listens to it.
    pub(super) fn up(&mut self, env: &[(&str, &str)]) -> Result<()> {
        let mut up = self.command(&self.ganger, &["up", "-d"])?;
        let said = up.envs(env.iter().copied()).output()?;
        if !said.status.success() {
            bail!("the daemon is not up: {}", String::from_utf8_lossy(&said.stderr));
        }
        let mut follow = self.command(&self.ganger, &["events", "-f", "--json"])?;
        let mut child = follow.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("it has a pipe")?).lines();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if tell.send((super::now(), line)).is_err() {
                    break;
                }
            }
        });
        self.events = Some((child, Mutex::new(told)));
        Ok(())
    }

    pub(super) fn down(&mut self) -> Result<()> {
        self.ganger(&["down"])?;
        self.deaf();
        Ok(())
    }

    fn deaf(&mut self) {
        if let Some((mut child, _)) = self.events.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for an incident of this rule: when it was told, and what.
    pub(super) fn incident(&self, rule: &str) -> Result<(Instant, String)> {
        let (_, told) = self.events.as_ref().context("somebody listens")?;
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let until = super::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let left = until.saturating_duration_since(super::now());
            let Ok((at, line)) = told.recv_timeout(left) else {
                bail!("no incident of {rule} was told; told was: {others:?}");
            };
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["type"] != "incident" {
                continue;
            }
            if line.contains(&format!("\"{rule}-")) {
                return Ok((at, event["reason"].as_str().unwrap_or(&line).to_owned()));
            }
            others.push(event["reason"].as_str().unwrap_or_default().to_owned());
        }
    }

    /// Rules of all incidents in the log.
    pub(super) fn incidents(&self) -> Result<Vec<String>> {
        let list = self.ganger(&["incident", "list", "--json"])?;
        let list: Value = serde_json::from_slice(&list.stdout)?;
        let all = list["incidents"].as_array().context("a list of incidents")?;
        Ok(all.iter().filter_map(|one| Some(one["rule"].as_str()?.to_owned())).collect())
    }

    pub(super) fn has_incident(&self, rule: &str) -> Result<bool> {
        Ok(self.incidents()?.iter().any(|found| found == rule))
    }

    /// Kills the daemon, and does something before its successor starts. Gives when that may start.
    pub(super) fn behind_its_back(
        &self,
        work: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<Instant> {
        let status = self.ganger(&["status", "--json"])?;
        let status: Value = serde_json::from_slice(&status.stdout)?;
        let pid = |who: &str| -> Result<Pid> {
            let pid = status[who]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
            pid.and_then(Pid::from_raw).with_context(|| format!("the {who} has a number"))
        };
        let (keeper, daemon) = (pid("keeper")?, pid("daemon")?);
        kill_process(keeper, Signal::STOP)?;
        kill_process(daemon, Signal::KILL)?;
        let done = work(self);
        let began = super::now();
        kill_process(keeper, Signal::CONT)?;
        done.map(|()| began)
    }

    /// Which call a filter ended a run for stands in the kernel's log, for those who may read it.
    pub(super) fn reads_the_kernels_log(&self) -> bool {
        fs::File::open("/dev/kmsg").is_ok()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Also after an error in the middle of a story.
        let _ = self.ganger(&["down"]);
        self.deaf();
    }
}
