//! A daemon of whoever attacks: verbs, raw requests, and what its log says.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::stage::Stage;
use crate::actor::Said;

/// Records of the log about itself.
const OWN: [&str; 4] = ["segment", "checkpoint", "recovered", "retired"];
/// An answer takes as long as the longest attack.
const ANSWER: Duration = Duration::from_secs(30);

pub(super) struct Daemon<'a> {
    stage: &'a Stage,
    folder: PathBuf,
    seen: Cell<usize>,
}

impl<'a> Daemon<'a> {
    /// Starts one in a folder of the stage, with this config. `through`: what starts it (a program and its arguments).
    pub(super) fn up(
        stage: &'a Stage,
        folder: &str,
        config: &str,
        through: &[&str],
    ) -> Result<(Self, Said)> {
        let daemon = Self::at(stage, folder, config)?;
        let ganger = stage.path("ganger").display().to_string();
        let words: Vec<&str> = [through, &[&ganger, "up", "-d"]].concat();
        let said = daemon.run(&words, "daemon")?;
        Ok((daemon, said))
    }

    /// The folder with its config, without a daemon.
    pub(super) fn at(stage: &'a Stage, folder: &str, config: &str) -> Result<Self> {
        let folder = stage.folder(folder)?;
        let file = folder.join("ganger.toml");
        std::fs::write(&file, config)?;
        std::os::unix::fs::chown(&file, Some(stage.owner()), None)?;
        Ok(Self { stage, folder, seen: Cell::new(0) })
    }

    pub(super) fn stage(&self) -> &'a Stage {
        self.stage
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs ganger with these words.
    pub(super) fn verb(&self, args: &[&str]) -> Result<Said> {
        let ganger = self.stage.path("ganger").display().to_string();
        self.run(&[&[ganger.as_str()], args].concat(), "daemon")
    }

    /// Runs a command in the daemon's folder.
    pub(super) fn run(&self, words: &[&str], mark: &str) -> Result<Said> {
        let (program, args) = words.split_first().context("a command has a program")?;
        let mut command = self.stage.command(program, args, mark)?;
        command.current_dir(&self.folder);
        self.stage.said(command)
    }

    /// A verb that is not waited for.
    pub(super) fn command(&self, args: &[&str]) -> Result<Command> {
        let ganger = self.stage.path("ganger").display().to_string();
        let mut command = self.stage.command(&ganger, args, "daemon")?;
        command.current_dir(&self.folder).stderr(Stdio::null());
        Ok(command)
    }

    /// The whole log. Not by way of `said`, which keeps only so much.
    pub(super) fn log(&self) -> Result<String> {
        let mut export = self.command(&["audit", "export", "--format", "jsonl"])?;
        Ok(String::from_utf8(crate::sh::output(&mut export)?.stdout)?)
    }

    /// All records but those of the log about itself, from the files themselves: asking ganger for them before and after each case took
    /// most of the time of all cases, and what is recorded is on disk before an answer is given.
    pub(super) fn all(&self) -> Result<Vec<Value>> {
        let mut log = String::new();
        let entries = std::fs::read_dir(self.path(".ganger/audit")).into_iter().flatten();
        let mut files: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
        files.sort();
        for file in files {
            log.push_str(&std::fs::read_to_string(file)?);
        }
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines.filter(|record| !OWN.iter().any(|own| record["event"] == *own)).collect())
    }

    /// The records that came since this was asked last.
    pub(super) fn fresh(&self) -> Result<Vec<Value>> {
        let all = self.all()?;
        let new = all.get(self.seen.get()..).context("the log has become shorter")?.to_vec();
        self.seen.set(all.len());
        Ok(new)
    }

    /// Sends a body as it is; gives status line, headers and answer.
    pub(super) fn post(&self, path: &str, body: &[u8]) -> Result<String> {
        let socket = self.path(".ganger/ganger.sock");
        let mut stream = UnixStream::connect(&socket)
            .with_context(|| format!("no daemon at {}", socket.display()))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: ganger\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        // Who is refused early may find nobody who reads on.
        let _early = stream.write_all(&[head.as_bytes(), body].concat());
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Number of a process of ganger: `daemon` or `keeper`.
    pub(super) fn pid_of(&self, which: &str) -> Result<i32> {
        let said = self.verb(&["status", "--json"])?;
        let status: Value = serde_json::from_str(said.text.trim()).context("a status is JSON")?;
        let pid = status[which]["pid"].as_i64().context("a status names its processes")?;
        Ok(i32::try_from(pid)?)
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // Also after an error in the middle of the cases.
        let _ = self.verb(&["down"]);
    }
}
