//! A daemon of the bench's own, in a folder that goes away with it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ganger_api::Client;
use rustix::thread::CpuSet;

use super::args::{Args, What};
use super::plan::{Figure, OWN};
use super::{fires, idle, scale, worker};
use crate::error::{CliError, Kind};

/// Processes of the `spawn` pool at once: enough that the keeper is never idle.
const SPAWN_SLOTS: u32 = 8;
/// Workers of every other pool.
const WORKERS: u32 = 2;
/// Tasks a worker may hold: half of what the client keeps in flight.
const PREFETCH: u64 = super::load::IN_FLIGHT / 2;
/// The queue of single pushes: nobody takes from it.
pub(super) const PUSHES: &str = "pushes";

/// A running daemon. [`Scene::end`] must be called.
#[derive(Debug)]
pub(super) struct Scene {
    folder: PathBuf,
    binary: PathBuf,
    /// The CPUs this thread had before it was pinned.
    unpinned: Option<CpuSet>,
}

impl Scene {
    /// Writes a configuration and starts a daemon; pinned, everything stays on one CPU, this process too.
    pub(super) fn start(args: &Args, pinned: bool) -> Result<Self, CliError> {
        let binary =
            std::env::current_exe().map_err(|error| failed("find this program", &error))?;
        let name = format!("ganger-bench-{}-{:08x}", std::process::id(), fastrand::u32(..));
        // Where the caller works: what fsync costs depends on the disk, and /tmp is often none.
        let base =
            std::env::current_dir().map_err(|error| failed("find the working folder", &error))?;
        let folder = base.join(name);
        std::fs::create_dir(&folder).map_err(|error| {
            CliError::new(Kind::Failed, format!("can't make {}: {error}", folder.display()))
                .help("bench writes into the working folder, because its disk is part of what is measured")
        })?;
        let unpinned = if pinned { Some(pin()?) } else { None };
        let scene = Self { folder, binary, unpinned };
        if let Err(error) = scene.up(args) {
            let _ = scene.end();
            return Err(error);
        }
        Ok(scene)
    }

    fn up(&self, args: &Args) -> Result<(), CliError> {
        let text = config(&self.binary, &self.folder, args)?;
        std::fs::write(self.folder.join("ganger.toml"), text)
            .map_err(|error| failed("write the bench's configuration", &error))?;
        self.verb(&["up", "-d"])
    }

    /// A client of this scene's daemon.
    pub(super) fn client(&self) -> Client {
        Client::new(self.folder.join(".ganger"))
    }

    /// Where the scene's state is, for the disk's own figures.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// This program, for workers run without ganger.
    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Why a figure may hang: the last words of the scene's workers.
    pub(super) fn hangs(&self, figure: &Figure, after: Duration) -> CliError {
        let said = Command::new(&self.binary)
            .args(["events", "-n", "5"])
            .current_dir(&self.folder)
            .env_remove("GANGER_STATE_DIR")
            .output();
        let said = said.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
        let said = said.unwrap_or_default();
        CliError::new(Kind::Timeout, format!("{figure:?} was not measured within {after:?}"))
            .help(format!("what happened last:\n{}", said.trim_end()))
    }

    /// Takes the daemon down and removes the folder.
    pub(super) fn end(self) -> Result<(), CliError> {
        let down = self.verb(&["down"]);
        if let Some(cpus) = self.unpinned {
            let _ = rustix::thread::sched_setaffinity(None, &cpus);
        }
        let removed = std::fs::remove_dir_all(&self.folder)
            .map_err(|error| failed("remove the bench's folder", &error));
        down.and(removed)
    }

    pub(super) fn verb(&self, words: &[&str]) -> Result<(), CliError> {
        let out = Command::new(&self.binary)
            .args(words)
            .current_dir(&self.folder)
            .env_remove("GANGER_STATE_DIR")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed("start the bench's daemon", &error))?;
        if out.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&out.stderr);
        Err(CliError::new(
            Kind::Failed,
            format!("`ganger {}` in the bench's folder failed: {}", words.join(" "), said.trim()),
        ))
    }
}

pub(super) fn failed(what: &str, error: &std::io::Error) -> CliError {
    CliError::new(Kind::Failed, format!("can't {what}: {error}"))
}

/// This process, and so all that it starts, on the first CPU it may use. Returns those it had.
fn pin() -> Result<CpuSet, CliError> {
    let before = rustix::thread::sched_getaffinity(None)
        .map_err(|error| failed("read this process's CPUs", &error.into()))?;
    let first = (0..CpuSet::MAX_CPU).find(|cpu| before.is_set(*cpu)).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(first);
    rustix::thread::sched_setaffinity(None, &one)
        .map_err(|error| failed("stay on one CPU", &error.into()))?;
    Ok(before)
}

/// One queue and one pool per figure.
fn config(binary: &Path, folder: &Path, args: &Args) -> Result<String, CliError> {
    let binary = binary.to_str().ok_or_else(|| {
        CliError::new(Kind::Failed, format!("the path {} is not UTF-8", binary.display()))
    })?;
    let own = format!("command = [\"{binary}\", \"{}\"]\nprotocol = \"stdio\"", worker::VERB);
    let mut text = String::from("version = 1\n");
    let mut pool = |name: &str, durability: &str, workers: u32, program: &str| {
        text.push_str(&format!(
            "[queue.{name}]\ndurability = \"{durability}\"\n\
             [pool.{name}]\nqueues = [\"{name}\"]\nworkers = {workers}\nprefetch = {PREFETCH}\n{program}\n"
        ));
    };
    pool("spawn", "memory", SPAWN_SLOTS, "command = [\"/bin/true\"]\nprotocol = \"command\"");
    pool(OWN, "memory", WORKERS, &own);
    for worker in args.workers() {
        // A basic TOML string: JSON's escapes are a subset of its own.
        let command = serde_json::Value::from(worker.command.as_str());
        pool(&worker.name, "memory", WORKERS, &format!("command = {command}"));
    }
    for durability in ["fsync", "relaxed", "memory"] {
        pool(&format!("q-{durability}"), durability, WORKERS, &own);
    }
    text.push_str(&format!("[queue.{PUSHES}]\ndurability = \"fsync\"\n"));
    if args.wants(What::Queue) {
        let program = format!(
            "command = [\"{binary}\", \"{}\", \"{}\"]\nprotocol = \"stdio\"",
            worker::VERB,
            worker::CLOCKS
        );
        for name in [idle::QUEUE, fires::QUEUE] {
            text.push_str(&format!(
                "[queue.{name}]\ndurability = \"fsync\"\n\
                 [pool.{name}]\nqueues = [\"{name}\"]\nworkers = {WORKERS}\n{program}\n"
            ));
        }
        fires::config(&mut text);
    }
    if args.wants(What::Scale) {
        scale_config(&mut text, binary, folder);
    }
    Ok(text)
}

/// Queues that hold their tasks until they are resumed, each with one worker that gets one task at a time.
fn scale_config(text: &mut String, binary: &str, folder: &Path) {
    for queue in scale::QUEUES {
        let gaps = scale::gaps_file(folder, queue);
        text.push_str(&format!(
            "[queue.{queue}]\ndurability = \"fsync\"\npaused = true\n\
             [pool.{queue}]\nqueues = [\"{queue}\"]\nworkers = 1\nprefetch = 1\nprotocol = \"stdio\"\n\
             command = [\"{binary}\", \"{}\", \"{}\", \"{}\"]\n",
            worker::VERB,
            worker::GAPS,
            gaps.display()
        ));
    }
}
