//! The folder, the binary and the commands run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::procs::{Process, marked, with_word};
use super::stream::Lines;

/// An orderly end takes at most the stop timeouts of the test's services; after this it is a kill.
const DOWN_LIMIT: Duration = Duration::from_secs(20);
/// A killed process is gone at once; the machine may be busy.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Looks for what is left; the second finds nothing unless a keeper was just revived.
const KILL_ROUNDS: u32 = 5;

/// A temporary folder in which ganger may run.
#[derive(Debug)]
pub struct TempDaemon {
    dir: TempDir,
    binary: PathBuf,
}

/// What a finished command said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its stdout.
    pub out: String,
    /// Its stderr.
    pub err: String,
}

impl Said {
    /// What a finished command said.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Itself, if the exit code is `code`.
    ///
    /// # Panics
    /// It is another.
    #[track_caller]
    #[must_use]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Its stdout as JSON.
    ///
    /// # Panics
    /// It is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("{e}: {}\n{}", self.out, self.err))
    }
}

impl TempDaemon {
    /// An empty folder; nothing runs yet. `binary` is the built `ganger`.
    ///
    /// # Panics
    /// No temporary folder can be made.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let dir = tempfile::Builder::new().prefix("ganger-test-").tempdir();
        Self { dir: dir.expect("a temporary folder"), binary: binary.into() }
    }

    /// A folder with this `ganger.toml`, applied; returns when every service is ready.
    ///
    /// # Panics
    /// `up -d --wait` failed; with what it said.
    #[must_use]
    pub fn with_config(binary: impl Into<PathBuf>, config: &str) -> Self {
        let it = Self::new(binary);
        it.write("ganger.toml", config);
        let _ = it.ganger(&["up", "-d", "--wait=30s"]).with_code(0);
        it
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Its state folder.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.path().join(".ganger")
    }

    /// Writes a file into the folder.
    ///
    /// # Panics
    /// It can't be written.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a folder for a test's file");
        }
        std::fs::write(path, text).expect("a test's file");
    }

    /// A command in the folder, without what the test's own surroundings would tell it.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).current_dir(self.path()).stdin(Stdio::null());
        for name in ["GANGER_STATE_DIR", "NOTIFY_SOCKET", "FORCE_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a verb to its end.
    ///
    /// # Panics
    /// The binary can't be started.
    #[must_use]
    pub fn ganger(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().expect("the built ganger starts"))
    }

    /// Starts a verb that stays, and reads its stdout by lines.
    ///
    /// # Panics
    /// The binary can't be started.
    #[must_use]
    pub fn follow(&self, words: &[&str]) -> Lines {
        let mut command = self.command(words);
        Lines::of(command.stdout(Stdio::piped()).spawn().expect("the built ganger starts"))
    }

    /// The keeper's, logger's or daemon's process id, from `status`.
    ///
    /// # Panics
    /// No daemon answers, or it names none.
    #[track_caller]
    #[must_use]
    pub fn pid_of(&self, who: &str) -> u32 {
        let status = self.ganger(&["status", "--json"]).with_code(0).json();
        let pid = status[who]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("no pid of {who}: {status}"))
    }

    /// One instance of `ps`.
    ///
    /// # Panics
    /// There is none of that name and slot.
    #[track_caller]
    #[must_use]
    pub fn instance(&self, name: &str, slot: u32) -> Value {
        let all = self.ganger(&["ps", "--json"]).with_code(0).json();
        let found = all["instances"]
            .as_array()
            .and_then(|list| list.iter().find(|i| i["name"] == name && i["slot"] == slot));
        found.cloned().unwrap_or_else(|| panic!("no {name}#{slot}: {all}"))
    }

    /// Its process id.
    ///
    /// # Panics
    /// It has none.
    #[track_caller]
    #[must_use]
    pub fn pid(&self, name: &str, slot: u32) -> u32 {
        let instance = self.instance(name, slot);
        let pid = instance["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("no process: {instance}"))
    }

    /// How the marker of this folder's children begins; `None` before the first start.
    #[must_use]
    pub fn mark(&self) -> Option<String> {
        let id = std::fs::read_to_string(self.state_dir().join("state-id")).ok()?;
        Some(format!("GANGER_SPAWN={}:", id.trim()))
    }

    /// Living processes that this folder's keeper started, and their descendants.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        self.mark().map(|mark| marked(&mark)).unwrap_or_default()
    }

    fn end(&self) {
        let state_dir = self.state_dir();
        if !state_dir.exists() {
            return;
        }
        let mut down = self.command(&["down"]);
        let orderly = down.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if let Ok(mut child) = orderly {
            let ended = Process::open(child.id()).is_none_or(|p| p.ended_within(DOWN_LIMIT));
            if !ended {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
        // A daemon that sees its keeper killed starts another before it is killed itself.
        for _ in 0..KILL_ROUNDS {
            let keepers = state_dir.to_str().map(with_word).unwrap_or_default();
            let left: Vec<Process> =
                keepers.into_iter().chain(self.children()).filter_map(Process::open).collect();
            if left.is_empty() {
                return;
            }
            for process in &left {
                process.kill();
            }
            for process in &left {
                let _ = process.ended_within(KILL_LIMIT);
            }
        }
    }
}

impl Drop for TempDaemon {
    fn drop(&mut self) {
        self.end();
    }
}
