//! `cargo xtask bench peers`: durable queues end to end, BullMQ, Celery and graphile-worker beside ganger, in one run.
//!
//! The same no-op task of 200 bytes everywhere, two worker processes, everything on one disk: the clock runs from the first push
//! to the last completion. Memory is what server and workers have after it (PSS: shared pages count once). What is missing
//! is installed where a package manager can: redis by apt-get (as root), npm and pip packages into the target folder.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{median, new_table, right_align};
use crate::ganger::Ganger;
use crate::{build, sh};

/// Pinned so that runs compare.
const NPM: [&str; 4] = ["bullmq@6.7.0", "ioredis@5", "graphile-worker@0.18.0", "pg@8"];
const PIP: [&str; 3] = ["celery", "redis", "packaging"];
/// A server must listen within this.
const STARTED: Duration = Duration::from_secs(20);
/// Tasks of a run of ganger: some seconds.
const OURS: usize = 100_000;
const WARM_UP: usize = 1_000;

/// What a peer stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Redis { appendfsync: &'static str },
    Postgres,
}

/// A peer: its program under bench/peers with arguments. Task counts make a run of some seconds.
struct Peer {
    name: &'static str,
    server: Server,
    run: &'static [&'static str],
}

const ALWAYS: Server = Server::Redis { appendfsync: "always" };
const EVERYSEC: Server = Server::Redis { appendfsync: "everysec" };

const PEERS: [Peer; 6] = [
    Peer {
        name: "BullMQ, appendfsync always",
        server: ALWAYS,
        run: &["node", "bullmq.cjs", "30000"],
    },
    Peer {
        name: "BullMQ, appendfsync everysec",
        server: EVERYSEC,
        run: &["node", "bullmq.cjs", "30000"],
    },
    Peer {
        name: "Celery, appendfsync always",
        server: ALWAYS,
        run: &["python3", "celery_peer.py", "3000"],
    },
    Peer {
        name: "Celery, appendfsync everysec",
        server: EVERYSEC,
        run: &["python3", "celery_peer.py", "3000"],
    },
    Peer {
        name: "graphile-worker",
        server: Server::Postgres,
        run: &["node", "graphile.cjs", "default", "10000"],
    },
    Peer {
        name: "graphile-worker, localQueue 500",
        server: Server::Postgres,
        run: &["node", "graphile.cjs", "fast", "60000"],
    },
];

/// Ganger's runs: name, worker and what it stands beside with the least ratio that is meant.
const RATIOS: [(&str, &str, f64); 6] = [
    ("ganger fsync, Node SDK", "BullMQ, appendfsync always", 3.0),
    ("ganger fsync, Node SDK", "BullMQ, appendfsync everysec", 3.0),
    ("ganger fsync, Node SDK", "graphile-worker", 1.5),
    ("ganger fsync, Node SDK", "graphile-worker, localQueue 500", 1.5),
    ("ganger fsync, Python SDK", "Celery, appendfsync always", 3.0),
    ("ganger fsync, Python SDK", "Celery, appendfsync everysec", 3.0),
];

/// What a run printed.
#[derive(Debug, Clone, Deserialize)]
struct Said {
    value: f64,
    memory: f64,
    version: String,
}

/// All runs of one name.
#[derive(Debug, Default)]
struct Figures(std::collections::BTreeMap<&'static str, Vec<Said>>);

/// Runs all rounds and prints the tables.
pub(crate) fn peers(rounds: u32) -> Result<()> {
    let binary = build::ganger(true)?;
    let tools = build::cache_dir("bench-peers")?;
    install(&tools);
    versions();
    let mut figures = Figures::default();
    for round in 1..=rounds {
        println!("round {round} of {rounds}; load {}", load());
        for peer in &PEERS {
            match peer_run(peer, &tools) {
                Ok(said) => figures.add(peer.name, said),
                Err(error) => println!("left out: {}: {error:#}", peer.name),
            }
        }
        for (name, worker) in [
            ("ganger fsync, Node SDK", "node workers/noop.cjs"),
            ("ganger fsync, Python SDK", "python3 workers/noop.py"),
        ] {
            match our_run(&binary, worker, &tools) {
                Ok(said) => figures.add(name, said),
                Err(error) => println!("left out: {name}: {error:#}"),
            }
        }
    }
    figures.print();
    Ok(())
}

/// One- and five-minute load averages.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// What can't be installed leaves its peers out, and that is said when they are run.
fn install(tools: &Path) {
    if sh::which("redis-server").is_none() {
        let mut apt = Command::new("apt-get");
        say(sh::capture(apt.args(["install", "-y", "--no-install-recommends", "redis-server"])));
    }
    if !tools.join("node_modules/ioredis").is_dir() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(tools)
            .args(NPM);
        say(sh::capture(&mut npm));
    }
    if !tools.join("python/packaging").is_dir() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--target"])
            .arg(tools.join("python"))
            .args(PIP);
        say(sh::capture(&mut pip));
    }
}

fn say(result: Result<String>) {
    if let Err(error) = result {
        println!("can't be installed: {error:#}");
    }
}

fn versions() {
    let postgres = postgres_folder().map(|folder| folder.join("postgres"));
    let programs = ["redis-server", "node", "python3"].map(PathBuf::from);
    for program in programs.into_iter().chain(postgres) {
        if let Ok(text) = sh::capture(Command::new(&program).arg("--version")) {
            println!("{}: {}", program.display(), text.trim());
        }
    }
}

/// A server of its own in a folder of its own; ended when dropped.
struct Running {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Running {
    fn start(server: Server, tools: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("server-").tempdir_in(tools)?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = match server {
            Server::Redis { appendfsync } => redis(folder.path(), port, appendfsync),
            Server::Postgres => postgres(folder.path(), port)?,
        };
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("could not start {server:?}"))?;
        let running = Self { process, port, _folder: folder };
        let deadline = Instant::now() + STARTED;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                bail!("{server:?} does not listen");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }
}

fn redis(folder: &Path, port: u16, appendfsync: &str) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
    command.arg(folder).args(["--appendonly", "yes", "--appendfsync", appendfsync]);
    command
}

/// Where initdb is: Debian keeps it out of the path.
fn postgres_folder() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian.chain(std::env::split_paths(&path)).find(|folder| folder.join("initdb").is_file())
}

/// Its defaults, which fsync every commit. It refuses to run as root.
fn postgres(folder: &Path, port: u16) -> Result<Command> {
    let programs = postgres_folder().context("PostgreSQL is not installed")?;
    let data = folder.join("data");
    std::fs::create_dir(&data)?;
    let root = rustix::process::getuid().is_root();
    if root {
        sh::capture(Command::new("chown").arg("-R").arg("postgres").arg(folder))?;
    }
    let as_user = |program: &str| {
        let mut command = if root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
            command.arg(programs.join(program));
            command
        } else {
            Command::new(programs.join(program))
        };
        command.current_dir(folder).process_group(0);
        command
    };
    sh::capture(as_user("initdb").args(["-A", "trust", "-U", "postgres", "-D"]).arg(&data))?;
    let mut command = as_user("postgres");
    command.arg("-D").arg(&data).arg("-k").arg(folder).args([
        "-p",
        &port.to_string(),
        "-h",
        "127.0.0.1",
    ]);
    Ok(command)
}

fn peer_run(peer: &Peer, tools: &Path) -> Result<Said> {
    let server = Running::start(peer.server, tools)?;
    let [program, rest @ ..] = peer.run else { bail!("a peer has a program") };
    let mut command = Command::new(program);
    command
        .args(rest)
        .current_dir(build::root()?.join("bench/peers"))
        .env("BENCH_MODULES", tools.join("node_modules"))
        .env("PYTHONPATH", tools.join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("BENCH_PORT", server.port.to_string())
        .env("BENCH_SERVER", server.process.id().to_string())
        .env("BENCH_DATABASE", format!("postgres://postgres@127.0.0.1:{}/postgres", server.port));
    let text = sh::capture(&mut command)?;
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("it printed something unexpected: {text}"))
}

/// The same of ganger: pushed by the command, results kept, until the queue is empty.
fn our_run(binary: &Path, worker: &str, tools: &Path) -> Result<Said> {
    let folder = tempfile::Builder::new().prefix("ganger-").tempdir_in(tools)?;
    let bench = build::root()?.join("bench");
    let (program, script) = worker.split_once(' ').context("a worker has a script")?;
    let script = bench.join(script);
    std::fs::write(
        folder.path().join("ganger.toml"),
        format!(
            "version = 1\n[queue.q]\ndurability = \"fsync\"\n\
             [pool.w]\nqueues = [\"q\"]\nworkers = 2\nprefetch = 128\ncommand = [\"{program}\", \"{}\"]\n",
            script.display()
        ),
    )?;
    let line = format!("{{\"text\":\"{}\"}}\n", "x".repeat(150));
    std::fs::write(folder.path().join("warm"), line.repeat(WARM_UP))?;
    std::fs::write(folder.path().join("tasks"), line.repeat(OURS))?;
    let ganger = Ganger::new(binary.to_path_buf(), folder.path().to_path_buf());
    ganger.up()?;
    let measured = measured(&ganger);
    ganger.down()?;
    measured
}

fn measured(ganger: &Ganger) -> Result<Said> {
    let run = |file: &str| {
        let mut push = ganger.verb(&["push", "q", "--lines", file, "--json"]);
        let status = push.stdout(Stdio::null()).status().context("could not push")?;
        anyhow::ensure!(status.success(), "`ganger push` failed");
        ganger.wait(&["queue:q=empty"], "300s")
    };
    run("warm")?;
    let since = Instant::now();
    run("tasks")?;
    let seconds = since.elapsed().as_secs_f64();
    let counts = ganger.queue("q")?;
    let all = (OURS + WARM_UP) as u64;
    anyhow::ensure!(counts.completed == all, "{} of {all} tasks completed", counts.completed);
    let status = ganger.status()?;
    let own = [Some(status.daemon), Some(status.keeper), status.logger];
    let mut pids: Vec<i32> = own.into_iter().flatten().map(|process| process.pid).collect();
    pids.extend(ganger.ps()?.iter().filter_map(|instance| instance.pid));
    let version = sh::capture(&mut ganger.verb(&["--version"]))?.trim().to_owned();
    let memory = pids.iter().map(|pid| pss_mib(*pid)).sum();
    Ok(Said { value: OURS as f64 / seconds, memory, version })
}

/// A process's share of memory (proc(5), smaps_rollup).
fn pss_mib(pid: i32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

impl Figures {
    fn add(&mut self, name: &'static str, said: Said) {
        println!("  {name}: {:.0} tasks/s, {:.0} MiB ({})", said.value, said.memory, said.version);
        self.0.entry(name).or_default().push(said);
    }

    fn speed(&self, name: &str) -> Option<f64> {
        let values: Vec<f64> = self.0.get(name)?.iter().map(|said| said.value).collect();
        Some(median(&values))
    }

    fn memory(&self, name: &str) -> Option<f64> {
        let values: Vec<f64> = self.0.get(name)?.iter().map(|said| said.memory).collect();
        Some(median(&values))
    }

    fn print(&self) {
        let mut table = new_table(&["what", "tasks/s", "MiB, server and workers", "version"]);
        for (name, said) in &self.0 {
            let number = |value: Option<f64>| format!("{:.0}", value.unwrap_or(0.0));
            let version = said.first().map_or("", |said| said.version.as_str());
            let (speed, memory) = (number(self.speed(name)), number(self.memory(name)));
            table.add_row([(*name).to_owned(), speed, memory, version.to_owned()]);
        }
        right_align(&mut table, 1..3);
        println!("\n{table}\n");
        let mut table = new_table(&["ganger", "beside", "ratio", "aim", "memory ratio"]);
        for (ours, peer, aim) in RATIOS {
            let Some((speed, memory)) = self.ratio(ours, peer) else { continue };
            let mark = if speed >= aim { "" } else { "  below" };
            table.add_row([
                ours.to_owned(),
                peer.to_owned(),
                format!("{speed:.2}"),
                format!("{aim}{mark}"),
                format!("{memory:.2}"),
            ]);
        }
        right_align(&mut table, 2..3);
        println!("{table}");
    }

    fn ratio(&self, ours: &str, peer: &str) -> Option<(f64, f64)> {
        let speed = self.speed(ours)? / self.speed(peer)?;
        Some((speed, self.memory(ours)? / self.memory(peer)?))
    }
}
