//! The `ganger` binary as a user has it: verbs in, exit codes and JSON out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::sh;

/// One project folder and the binary that is run in it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ganger {
    binary: PathBuf,
    folder: PathBuf,
    env: Option<(&'static str, String)>,
}

/// `status --json`, the part that is used here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Status {
    pub(crate) daemon: Process,
    pub(crate) keeper: Process,
    pub(crate) logger: Option<Process>,
    pub(crate) state_dir: PathBuf,
    #[serde(default)]
    pub(crate) degraded: Vec<serde_json::Value>,
}

/// A process of ganger's own.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
}

/// `ps --json`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Instances {
    pub(crate) instances: Vec<Instance>,
}

/// One line of `ps`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) pid: Option<i32>,
    pub(crate) restarts: u64,
}

/// `queue get Q --json`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Queue {
    pub(crate) counts: Counts,
}

/// Tasks by state.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Counts {
    pub(crate) running: u64,
    pub(crate) completed: u64,
    pub(crate) discarded: u64,
    pub(crate) cancelled: u64,
}

/// One line of `push --wait --json`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Finished {
    pub(crate) id: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) result: serde_json::Value,
    #[serde(default)]
    pub(crate) error: serde_json::Value,
}

impl Ganger {
    /// `binary` run in `folder`, where the config file is.
    pub(crate) fn new(binary: PathBuf, folder: PathBuf) -> Self {
        Self { binary, folder, env: None }
    }

    /// With a variable that `up` hands down to every child.
    pub(crate) fn with_env(mut self, key: &'static str, value: &str) -> Self {
        self.env = Some((key, value.to_owned()));
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command that runs `args`, with no stdin.
    pub(crate) fn verb(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).current_dir(&self.folder).stdin(Stdio::null());
        if let Some((key, value)) = &self.env {
            command.env(key, value);
        }
        command
    }

    /// Runs `args`; a failure is an error that carries what was said.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String> {
        sh::capture(&mut self.verb(args))
    }

    /// Runs `args` with `--json` and reads the one document that comes back.
    pub(crate) fn json<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T> {
        let mut args = args.to_vec();
        args.push("--json");
        let text = self.run(&args)?;
        serde_json::from_str(&text).with_context(|| {
            format!("`ganger {}` printed something unexpected: {}", args.join(" "), text.trim())
        })
    }

    pub(crate) fn status(&self) -> Result<Status> {
        self.json(&["status"])
    }

    pub(crate) fn ps(&self) -> Result<Vec<Instance>> {
        Ok(self.json::<Instances>(&["ps"])?.instances)
    }

    pub(crate) fn queue(&self, name: &str) -> Result<Counts> {
        Ok(self.json::<Queue>(&["queue", "get", name])?.counts)
    }

    /// All events that are kept, as lines of JSON, oldest first.
    pub(crate) fn events(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Seq {
            seq: u64,
        }
        let mut all: Vec<String> = Vec::new();
        let mut after = 0;
        loop {
            let page = self.run(&["events", "--after", &after.to_string(), "--json"])?;
            let Some(last) = page.lines().last() else { return Ok(all) };
            after = serde_json::from_str::<Seq>(last)
                .with_context(|| format!("`ganger events` printed something unexpected: {last}"))?
                .seq;
            all.extend(page.lines().map(str::to_owned));
        }
    }

    /// Starts everything and returns when it is applied.
    pub(crate) fn up(&self) -> Result<()> {
        self.run(&["up", "-d"]).map(drop)
    }

    /// Waits for `conditions` to hold. Over the deadline is an error.
    pub(crate) fn wait(&self, conditions: &[&str], timeout: &str) -> Result<()> {
        let mut args = vec!["wait"];
        args.extend(conditions);
        args.extend(["--timeout", timeout]);
        self.run(&args).map(drop)
    }

    /// Ends everything. That nothing was up is fine.
    pub(crate) fn down(&self) -> Result<()> {
        /// Exit code of verbs that found no daemon.
        const NO_DAEMON: i32 = 5;
        let out = sh::output(&mut self.verb(&["down"]))?;
        if !out.status.success() && out.status.code() != Some(NO_DAEMON) {
            bail!("`ganger down` failed: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
        }
        Ok(())
    }
}
