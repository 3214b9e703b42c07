//! The programs that ganger runs in a torture: services, workers and a hostile tree. They are this very binary with a
//! hidden verb, so that a torture needs nothing that is not built.

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{ledger, queue};

/// Lines of a second of `flood`, 100 bytes each: 10 MB/s.
const FLOOD_LINES_PER_S: u32 = 100_000;
/// Between two writes of `flood`.
const FLOOD_TICK: Duration = Duration::from_millis(10);
/// Between two lines of `counter`.
const COUNTER_TICK: Duration = Duration::from_millis(2);
/// Between two lines of `steady`, of which there are many at once.
const STEADY_TICK: Duration = Duration::from_millis(100);
/// Between two generations of `hydra`.
const HYDRA_TICK: Duration = Duration::from_millis(5);

/// Who to be.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Role {
    /// Prints a numbered line every 2 ms.
    Counter { notes: PathBuf },
    /// Prints a numbered line every 100 ms.
    Steady { notes: PathBuf, name: String },
    /// Prints numbered lines, 10 MB/s.
    Flood { notes: PathBuf },
    /// Exits with the code that is written into a fifo.
    Mortal { fifo: PathBuf },
    /// One task: payload on stdin, result on stdout.
    Task { ledger: PathBuf },
    /// A worker that speaks JSON lines on stdin and stdout.
    Lines { ledger: PathBuf },
    /// A worker that speaks JSON lines, notes the fence of every attempt and now and then answers like a zombie.
    Fenced { ledger: PathBuf, guard: String },
    /// A worker that speaks JSON lines and keeps a hydra of its own.
    Brood { ledger: PathBuf },
    /// Stays, and keeps a chain of daemonised processes that re-fork every 5 ms.
    Hydra,
    /// One generation of that chain.
    Head { generation: u32 },
}

/// Plays a role until it is over or killed.
pub(crate) fn play(role: Role) -> Result<()> {
    match role {
        Role::Counter { notes } => numbered(&notes, "counter", 1, COUNTER_TICK, ""),
        Role::Steady { notes, name } => numbered(&notes, &name, 1, STEADY_TICK, ""),
        Role::Flood { notes } => {
            let ticks = u32::try_from(1_000 / FLOOD_TICK.as_millis()).unwrap_or(100);
            // `run=1234567 n=0000000001 ` and a newline fill the rest of 100 bytes, near enough.
            numbered(&notes, "flood", FLOOD_LINES_PER_S / ticks, FLOOD_TICK, &" ~".repeat(38))
        }
        Role::Mortal { fifo } => mortal(&fifo),
        Role::Task { ledger } => task(&ledger),
        Role::Lines { ledger } => lines(&ledger),
        Role::Fenced { ledger, guard } => queue::fenced(&ledger, &guard),
        Role::Brood { ledger } => {
            spawn_head(0)?;
            lines(&ledger)
        }
        Role::Hydra => {
            spawn_head(0)?;
            loop {
                std::thread::park();
            }
        }
        Role::Head { generation } => head(generation),
    }
}

/// Writes `batch` numbered lines each `tick`; the number of the last line whose write came back is kept in a file.
fn numbered(notes: &Path, name: &str, batch: u32, tick: Duration, filler: &str) -> Result<()> {
    let pid = std::process::id();
    let note = File::create(notes.join(format!("{name}.{pid}"))).context("could not make notes")?;
    let mut out = std::io::stdout().lock();
    let mut n = 0_u64;
    let mut due = Instant::now();
    let mut text = Vec::new();
    loop {
        text.clear();
        for _ in 0..batch {
            n += 1;
            writeln!(text, "run={pid} n={n:010}{filler}")?;
        }
        out.write_all(&text).context("could not write to stdout")?;
        out.flush()?;
        note.write_all_at(format!("{n:020}").as_bytes(), 0)?;
        due += tick;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn mortal(fifo: &Path) -> Result<()> {
    let mut code = [0_u8];
    File::open(fifo)
        .and_then(|mut fifo| fifo.read_exact(&mut code))
        .with_context(|| format!("could not read {}", fifo.display()))?;
    #[expect(clippy::exit, reason = "to end with a given code is this role")]
    std::process::exit(i32::from(code[0]));
}

/// What a task asks for.
#[derive(Debug, Deserialize)]
struct Payload {
    n: u64,
    ms: u64,
}

/// Does the work of one task between its two notes in the ledger, and returns its result as JSON.
fn work(ledger: &Path, payload: &Payload) -> Result<String> {
    ledger::note(ledger, 'S', payload.n)?;
    std::thread::sleep(Duration::from_millis(payload.ms));
    ledger::note(ledger, 'E', payload.n)?;
    Ok(format!("{{\"n\":{},\"square\":{}}}", payload.n, payload.n * payload.n))
}

fn task(ledger: &Path) -> Result<()> {
    let payload = serde_json::from_reader(std::io::stdin().lock()).context("a strange payload")?;
    println!("{}", work(ledger, &payload)?);
    Ok(())
}

fn lines(ledger: &Path) -> Result<()> {
    #[derive(Deserialize)]
    struct Envelope {
        id: Option<String>,
        payload: Option<Payload>,
    }
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let envelope: Envelope = serde_json::from_str(&line?).context("a strange line")?;
        // Lines without a task are control lines, which a plain worker may ignore.
        if let (Some(id), Some(payload)) = (envelope.id, envelope.payload) {
            writeln!(out, "{{\"id\":\"{id}\",\"result\":{}}}", work(ledger, &payload)?)?;
            out.flush()?;
        }
    }
    Ok(())
}

/// Starts one generation, with nothing of ours in its hands.
fn spawn_head(generation: u32) -> Result<()> {
    let me = std::env::current_exe().context("who am I")?;
    Command::new(me)
        .args(["cast", "head", &generation.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
        .context("could not start the next generation")
}

/// The first generation leaves session and parent (the classical double fork); each one starts the next and ends.
fn head(generation: u32) -> Result<()> {
    if generation == 0 {
        rustix::process::setsid().context("setsid")?;
    } else {
        std::thread::sleep(HYDRA_TICK);
    }
    spawn_head(generation + 1)
}
