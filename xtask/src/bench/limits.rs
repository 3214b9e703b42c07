//! `cargo xtask bench limits`: how exactly limits hold, each figure beside its goal, first with this machine's cgroups, then without any
//! (`GANGER_NO_CGROUP`), where a watchdog holds them.
//!
//! Figures come from the program that is limited (it says how much it had when it was ended), not from what ganger thinks it had. What
//! a holder can't hold at all is left out by name. Without a goal: the watchdog's memory (results state its bound), and a share below its
//! limit while others want the processors.

mod stage;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use comfy_table::Cell;
use serde::Deserialize;

use super::{median, new_table, right_align};
use crate::build;
use stage::Stage;

const MIB: f64 = (1 << 20) as f64;
const MEMORY_MIB: u64 = 64;
const CPU_MS: u64 = 500;
/// Of a processor: little enough that a busy machine has it to give.
const SHARE: f64 = 0.2;
const WALL_MS: u64 = 300;
const OUTPUT: u64 = 99 << 10;
/// What survivors are given to be gone.
const SURVIVAL: Duration = Duration::from_secs(1);

/// Policies: name, words of the program, limits.
const POLICIES: [(&str, &[&str], &str); 8] = [
    ("memory", &["memory", "512"], "memory = \"64M\""),
    ("memory-by-8", &["memory", "512", "8"], "memory = \"64M\""),
    ("memory-shared", &["shared", "512"], "memory = \"64M\""),
    ("cpu-time", &["burn", "1"], "cpu_time = \"500ms\""),
    ("cpu-time-by-4", &["burn", "4"], "cpu_time = \"500ms\""),
    ("cpu", &["spin", "5", "2"], "cpu = 0.2"),
    ("output", &["flood"], "output = \"99K\""),
    ("leave", &["leave"], "time = \"300ms\""),
];

/// What is measured of one policy.
struct Figure {
    what: &'static str,
    policy: &'static str,
    unit: &'static str,
    /// At most so much, either way.
    goal: Option<f64>,
    /// Of what was said of a run.
    of: fn(&Stage, &Ended) -> Result<f64>,
}

const FIGURES: [Figure; 9] = [
    Figure {
        what: "memory over its limit",
        policy: "memory",
        unit: "%",
        goal: Some(5.0),
        of: memory,
    },
    Figure {
        what: "the same, 8 processes",
        policy: "memory-by-8",
        unit: "%",
        goal: Some(5.0),
        of: memory,
    },
    Figure {
        what: "the same, shared",
        policy: "memory-shared",
        unit: "%",
        goal: Some(5.0),
        of: memory,
    },
    Figure {
        what: "CPU time over its limit",
        policy: "cpu-time",
        unit: "ms",
        goal: Some(250.0),
        of: cpu_time,
    },
    Figure {
        what: "the same, 4 processes",
        policy: "cpu-time-by-4",
        unit: "ms",
        goal: Some(250.0),
        of: cpu_time,
    },
    Figure {
        what: "CPU share beside its limit",
        policy: "cpu",
        unit: "%",
        goal: Some(5.0),
        of: share,
    },
    Figure {
        what: "output beside its limit",
        policy: "output",
        unit: "bytes",
        goal: Some(0.0),
        of: output,
    },
    Figure {
        what: "ended after its time",
        policy: "leave",
        unit: "ms",
        goal: Some(250.0),
        of: wall,
    },
    Figure {
        what: "survivors after 1 s",
        policy: "leave",
        unit: "",
        goal: Some(0.0),
        of: survivors,
    },
];

/// `ganger exec --json`, the part that is used here.
#[derive(Debug, Deserialize)]
struct Ended {
    verdict: String,
    reason: String,
    /// What it said, and behind it what ganger says.
    #[serde(skip)]
    said: String,
    #[serde(default)]
    breach: Option<Breach>,
    #[serde(default)]
    layers: Vec<String>,
    #[serde(default)]
    usage: Usage,
}

#[derive(Debug, Deserialize)]
struct Breach {
    limit: String,
}

#[derive(Debug, Default, Deserialize)]
struct Usage {
    wall_s: f64,
}

/// Measures with cgroups and without.
pub(crate) fn limits(rounds: u32) -> Result<()> {
    let ganger = build::ganger(true)?;
    let base = build::target_dir()?;
    let mut missed = Vec::new();
    for cgroups in [true, false] {
        let stage = Stage::new(&base, &ganger, cgroups)?;
        println!("\n{}", if cgroups { "as this machine has it" } else { "without any cgroup" });
        let mut table =
            new_table(&["what", "held by", "goal", "median", "worst", "unit", "reached"]);
        for figure in FIGURES {
            let line = figure.measure(&stage, rounds, cgroups)?;
            let reached = match line.reached {
                Some(true) => "yes",
                Some(false) => {
                    missed.push(format!("{} ({})", figure.what, line.by));
                    "NO"
                }
                None => "",
            };
            let goal = figure.goal.filter(|_| line.reached.is_some());
            let number =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
            let texts = [
                figure.what.to_owned(),
                line.by,
                goal.map_or_else(|| "-".to_owned(), |goal| goal.to_string()),
                number(line.median),
                number(line.worst),
                figure.unit.to_owned(),
                reached.to_owned(),
            ];
            table.add_row(texts.map(Cell::new));
        }
        right_align(&mut table, 2..5);
        println!("{table}");
    }
    if !missed.is_empty() {
        bail!("goals that were missed: {}", missed.join(", "));
    }
    Ok(())
}

struct Line {
    by: String,
    median: Option<f64>,
    worst: Option<f64>,
    /// `None`: there is no goal for this holder.
    reached: Option<bool>,
}

impl Figure {
    fn measure(&self, stage: &Stage, rounds: u32, cgroups: bool) -> Result<Line> {
        let mut values = Vec::new();
        let mut by = String::new();
        for _ in 0..rounds {
            let ended = stage.exec(self.policy)?;
            if ended.verdict != "allowed" {
                bail!("policy {}: {}", self.policy, ended.reason);
            }
            by = self.holder(&ended);
            if by == "nobody" {
                return Ok(Line { by, median: None, worst: None, reached: None });
            }
            values.push((self.of)(stage, &ended)?);
        }
        let worst =
            values.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
        // The watchdog states its own bound for memory.
        let bound = self.policy.starts_with("memory") && !cgroups;
        // Where others want the processors, less than one's share says nothing of the limit.
        let crowded =
            self.policy == "cpu" && self.goal.is_some_and(|goal| worst < -goal) && stage::is_busy();
        let judged = self.goal.filter(|_| !bound && !crowded);
        let reached = judged.map(|goal| worst.abs() <= goal);
        Ok(Line { by, median: Some(median(&values)), worst: Some(worst), reached })
    }

    /// Who held the limit that this figure is about.
    fn holder(&self, ended: &Ended) -> String {
        let layer = match self.policy {
            "cpu" => "cpu",
            "output" | "leave" => return "ganger".into(),
            name if name.starts_with("cpu-time") => "cpu_time",
            _ => "memory",
        };
        if ended.layers.iter().any(|one| one == layer) {
            return "controller".into();
        }
        let held = |one: &String| one.strip_prefix(layer)?.strip_prefix(':').map(str::to_owned);
        ended.layers.iter().find_map(held).unwrap_or_else(|| "nobody".into())
    }
}

impl Ended {
    /// So often it said this.
    fn times(&self, said: u8) -> f64 {
        self.said.bytes().take_while(|byte| *byte == said).count() as f64
    }
}

/// The breach that ended it, else the figure says nothing.
fn breached(ended: &Ended, limit: &str) -> Result<()> {
    match &ended.breach {
        Some(breach) if breach.limit == limit => Ok(()),
        _ => bail!("its limit of {limit} did not end it: {}", ended.reason),
    }
}

/// Per cent of the limit that it touched beyond it; below nothing where it had less (its own pages count too).
fn memory(_: &Stage, ended: &Ended) -> Result<f64> {
    breached(ended, "memory")?;
    let touched = ended.times(b'.') * 65_536.0;
    Ok((touched / (MEMORY_MIB as f64 * MIB) - 1.0).max(0.0) * 100.0)
}

/// Milliseconds of CPU time that all of them had beyond it: no less than the time by the clock on any processor.
fn cpu_time(_: &Stage, ended: &Ended) -> Result<f64> {
    breached(ended, "cpu_time")?;
    let used = ended.times(b'.') * 10.0;
    Ok((used - CPU_MS as f64).max(0.0))
}

/// Per cent of the limit beside it.
fn share(_: &Stage, ended: &Ended) -> Result<f64> {
    let first = ended.said.lines().next().unwrap_or_default();
    let share: f64 = first.parse().with_context(|| ended.reason.clone())?;
    Ok((share / SHARE - 1.0) * 100.0)
}

fn output(_: &Stage, ended: &Ended) -> Result<f64> {
    breached(ended, "output")?;
    Ok(ended.times(b'x') - OUTPUT as f64)
}

fn wall(_: &Stage, ended: &Ended) -> Result<f64> {
    breached(ended, "wall")?;
    if !ended.said.starts_with("left\n") {
        bail!("it did not get as far as leaving others behind");
    }
    Ok(ended.usage.wall_s * 1000.0 - WALL_MS as f64)
}

fn survivors(stage: &Stage, ended: &Ended) -> Result<f64> {
    breached(ended, "wall")?;
    std::thread::sleep(SURVIVAL);
    Ok(stage.alive() as f64)
}
