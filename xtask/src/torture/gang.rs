//! The gang that works while it is tortured: three services, a queue, four pools of different kinds.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::killer::{Kill, Killer};
use super::procs::MARK;
use super::pusher::{self, Pushed};
use super::verdict::Verdict;
use super::{Target, Wish, oracle};
use crate::ganger::Ganger;
use crate::{build, sh};

/// After the last push: four workers do some 300 tasks a second, retries and a slow machine included.
const DRAIN: &str = "300s";

/// Pools of a gang, each of another kind.
pub(crate) const POOLS: usize = 4;

const NODE_SDK: &str = include_str!("workers/sdk.cjs");
const NODE_RAW: &str = include_str!("workers/raw.cjs");
const PYTHON_SDK: &str = include_str!("workers/sdk.py");

/// One torture's folder, on the disk of the target folder so that fsync costs what it costs.
#[derive(Debug)]
pub(crate) struct Gang {
    pub(crate) ganger: Ganger,
    pub(crate) mark: String,
    pub(crate) notes: PathBuf,
    pub(crate) ledger: PathBuf,
    fifo: PathBuf,
    /// Keeps the fifo open for both directions, so that neither side ever waits for the other to open it.
    _fifo_open: std::fs::File,
    _folder: tempfile::TempDir,
}

/// What happened while it was tortured.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) kills: Vec<Kill>,
    pub(crate) pushed: Pushed,
    /// Pids of the services that should have kept them, before.
    pub(crate) pids: Vec<(String, i32)>,
}

/// Builds a gang, tortures it, asks the oracle, takes it down.
pub(crate) fn run(
    binary: &Path,
    wish: &Wish,
    targets: &[Target],
    verdict: &mut Verdict,
) -> Result<()> {
    println!("gang: killing {targets:?}");
    let gang = Gang::build(binary, wish.seed)?;
    let ended = gang.tortured(wish, targets).and_then(|story| {
        oracle::ask(&gang, &story, verdict)?;
        Ok(())
    });
    let down = gang.ganger.down();
    if let Err(error) = ended {
        oracle::show_daemon_log(&gang.ganger);
        return Err(error);
    }
    down?;
    oracle::after_down(&gang, verdict);
    Ok(())
}

impl Gang {
    fn build(binary: &Path, seed: u64) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("gang-")
            .tempdir_in(build::cache_dir("torture")?)
            .context("could not make a folder")?;
        let path = folder.path().to_path_buf();
        let (notes, ledger, fifo) = (path.join("notes"), path.join("ledger"), path.join("fifo"));
        std::fs::create_dir(&notes)?;
        std::fs::write(&ledger, "")?;
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .context("could not make a fifo")?;
        let fifo_open = std::fs::OpenOptions::new().read(true).write(true).open(&fifo)?;
        for (name, text) in [("sdk.cjs", NODE_SDK), ("raw.cjs", NODE_RAW), ("sdk.py", PYTHON_SDK)] {
            std::fs::write(path.join(name), text)?;
        }
        std::fs::write(path.join("ganger.toml"), config(&notes, &ledger, &fifo)?)?;
        let mark = format!("{}-{seed}", std::process::id());
        let ganger = Ganger::new(binary.to_path_buf(), path).with_env(MARK, &mark);
        Ok(Self { ganger, mark, notes, ledger, fifo, _fifo_open: fifo_open, _folder: folder })
    }

    /// Starts everything, pushes and kills at the same time, then lets the queue run empty.
    fn tortured(&self, wish: &Wish, targets: &[Target]) -> Result<Story> {
        self.ganger.up()?;
        self.ganger.wait(
            &["service:counter=ready", "service:flood=ready", "service:mortal=ready"],
            "30s",
        )?;
        let pids = self.kept_pids()?;
        let enough = AtomicBool::new(false);
        let (stop_pusher, pusher_stopped) = mpsc::channel();
        let until = wish.seconds.map(|s| Instant::now() + Duration::from_secs(s));
        let killer = Killer {
            ganger: &self.ganger,
            targets,
            fifo: &self.fifo,
            random: fastrand::Rng::with_seed(wish.seed),
        };
        let (kills, pushed) = std::thread::scope(|scope| {
            let (enough, tasks) = (&enough, u64::from(wish.tasks));
            let pusher = scope.spawn(move || {
                pusher::push_all(&self.ganger, tasks, wish.seed, enough, &pusher_stopped)
            });
            let kills = killer.run(wish.kills, until);
            enough.store(true, Ordering::Relaxed);
            if kills.is_err() {
                drop(stop_pusher);
            }
            let pushed = pusher.join().map_err(|_| anyhow::anyhow!("the pusher panicked"))?;
            Ok::<_, anyhow::Error>((kills?, pushed))
        })?;
        println!("  {} tasks acknowledged; waiting for the rest", pushed.acknowledged.len());
        self.ganger.wait(&["queue:work=empty"], DRAIN)?;
        Ok(Story { kills, pushed, pids })
    }

    /// Pids of the services that nothing in the story ends.
    pub(crate) fn kept_pids(&self) -> Result<Vec<(String, i32)>> {
        let instances = self.ganger.ps()?;
        let kept = instances.into_iter().filter(|i| i.name == "counter" || i.name == "flood");
        kept.map(|i| Ok((i.name, i.pid.context("a running service has a pid")?))).collect()
    }
}

/// The configuration. Pools whose interpreter is missing are replaced by one that needs none, and that is said.
fn config(notes: &Path, ledger: &Path, fifo: &Path) -> Result<String> {
    let me = build::own_copy()?;
    let sdk = build::root()?.join("sdk");
    let (me, notes, ledger, fifo) =
        (me.display(), notes.display(), ledger.display(), fifo.display());
    let restart =
        "restart = { on = \"always\", backoff = \"50ms..1s\", max = 4000, within = \"1m\" }";
    let lines =
        format!("command = [\"{me}\", \"cast\", \"lines\", \"{ledger}\"]\nprotocol = \"stdio\"");
    let node = sh::which("node").is_some();
    let python = sh::which("python3").is_some();
    let or_lines = |there: bool, what: &str, own: String| {
        if !there {
            println!("  {what} is missing: its workers are replaced by stdio workers of our own");
            return lines.clone();
        }
        own
    };
    let env = format!("env = {{ LEDGER = \"{ledger}\", SDK = \"{}\" }}", sdk.display());
    let pools: [_; POOLS] = [
        ("node", or_lines(node, "Node", format!("command = [\"node\", \"sdk.cjs\"]\n{env}"))),
        (
            "raw",
            or_lines(node, "Node", format!("command = [\"node\", \"raw.cjs\"]\nraw = true\n{env}")),
        ),
        (
            "python",
            or_lines(python, "Python", format!("command = [\"python3\", \"sdk.py\"]\n{env}")),
        ),
        (
            "command",
            format!(
                "command = [\"{me}\", \"cast\", \"task\", \"{ledger}\"]\nprotocol = \"command\""
            ),
        ),
    ];
    let mut text = format!(
        "version = 1\n\
         [service.counter]\ncommand = [\"{me}\", \"cast\", \"counter\", \"{notes}\"]\n{restart}\n\
         [service.flood]\ncommand = [\"{me}\", \"cast\", \"flood\", \"{notes}\"]\n{restart}\n\
         log = {{ max_size = \"2G\" }}\n\
         [service.mortal]\ncommand = [\"{me}\", \"cast\", \"mortal\", \"{fifo}\"]\n{restart}\n\
         [queue.work]\ndurability = \"fsync\"\ntimeout = \"1m\"\n\
         retry = {{ max = 25, backoff = \"10ms..200ms\" }}\n"
    );
    for (name, own) in pools {
        text.push_str(&format!(
            "[pool.{name}]\nqueues = [\"work\"]\nworkers = 1\n{own}\n{restart}\n"
        ));
    }
    Ok(text)
}
