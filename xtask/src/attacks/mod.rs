//! `cargo xtask attacks`: every attack is played as it is, without what holds it, and against ganger. What does not succeed as it is
//! proves nothing: its case is void, and so is one that is blocked without the layers that are said to hold it. What succeeds against
//! ganger is a hole.
//!
//! ```text
//! case ─ no ganger ─ failed ─────────────────────────────────────────────────────▶ void
//!          └ succeeded ─ ganger without its layers or limit ─ failed ────────────▶ void
//!              └ succeeded ─ with all of them ─ succeeded ───────────────────────▶ HOLE
//!                  └ blocked ─ begun, ended, recorded as it should? ─ no ────────▶ UNSHOWN
//!                                                              └ yes ────────────▶ blocked
//! ```

mod config;
mod daemon;
mod extra;
mod faults;
mod find;
mod loads;
mod moments;
mod play;
mod policies;
mod raw;
mod stage;
mod walls;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::actor::As;
use crate::tally::Tally;
use crate::{build, sh};
use daemon::Daemon;
use stage::Stage;

/// What is wanted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Wish {
    /// Only cases whose id begins with one of these: `G`, `E07`.
    #[arg(long)]
    only: Vec<String>,
    /// Who attacks and runs ganger [default: whoever runs this; root can be both, one after the other].
    #[arg(long = "as", value_name = "WHO")]
    who: Vec<As>,
    /// Profile of the sandbox.
    #[arg(long, default_value = "strict")]
    profile: String,
    /// Where to play: no folder on the way to it may be writable by others [default: cargo's target folder].
    #[arg(long)]
    stage: Option<PathBuf>,
    /// The attacks' program, compiled already [default: compile it here].
    #[arg(long)]
    program: Option<PathBuf>,
    /// Instead of judging: leave layers out of the walls' cases until they succeed, and say which.
    #[arg(long)]
    find_layers: bool,
    /// Play J14 without taking anything away: this machine lacks the layer.
    #[arg(long, value_name = "LAYER")]
    lacks: Vec<String>,
    /// This machine is nobody else's: its clock may be set.
    #[arg(long)]
    alone: bool,
    /// Play in the emulated machine of `cargo xtask test-kernel`, and in ones that lack layers.
    #[arg(long)]
    kernel: bool,
    /// Write what was found to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Blocked,
    /// It succeeded against ganger.
    Hole,
    /// It was blocked, but not shown to be: it never began, was ended by nobody but us, or the log does not say so.
    Unshown,
    /// It does not succeed without ganger or without what is said to hold it either.
    Void,
    /// Not for this attacker.
    Skipped,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Hole => "hole",
            Self::Unshown => "unshown",
            Self::Void => "void",
            Self::Skipped => "left out",
        }
    }
}

/// One line of the result.
#[derive(Debug, Clone, Serialize)]
struct Found {
    id: &'static str,
    #[serde(rename = "as")]
    who: As,
    /// `walls`, `policy`, `request`, `load`, `faults` or `story`.
    kind: &'static str,
    what: String,
    verdict: Verdict,
    /// The layers or the limit that hold it.
    held: String,
    /// What blocked it, or why not.
    by: String,
    /// Milliseconds since the one before it.
    took_ms: u64,
}

/// Milliseconds since this was asked before.
fn since_last() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = BEGAN.get_or_init(Instant::now).elapsed().as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    now.saturating_sub(LAST.swap(now, Ordering::Relaxed))
}

impl Found {
    fn new(
        id: &'static str,
        who: As,
        kind: &'static str,
        what: impl Into<String>,
        (verdict, by): (Verdict, String),
    ) -> Self {
        let took_ms = since_last();
        // Which case it is that takes long, for whoever waits; in an emulated machine that is minutes.
        eprintln!("  {id} as {who:?}: {} ({took_ms} ms)", verdict.as_str());
        Self { id, who, kind, what: what.into(), verdict, held: kind.to_owned(), by, took_ms }
    }

    fn held(self, held: String) -> Self {
        Self { held, ..self }
    }
}

/// Plays all cases that are wanted.
pub(crate) fn attacks(wish: &Wish) -> Result<Tally> {
    if wish.kernel {
        return crate::kernel::attacks(&wish.only);
    }
    let ganger = build::ganger(false)?;
    let base = wish.stage.clone().map_or_else(build::target_dir, Ok)?;
    let mut found = Vec::new();
    for who in As::wanted(&wish.who)? {
        let stage = Stage::new(&base, &ganger, wish.program.as_deref(), who)?;
        found.extend(by(&stage, who, wish)?);
    }
    if found.is_empty() {
        bail!("no case's id begins with one of {:?}", wish.only);
    }
    print(&found);
    if let Some(path) = &wish.json {
        std::fs::write(path, serde_json::to_vec_pretty(&found)?)?;
    }
    Ok(tally(&found))
}

/// Compiles the attacks in a folder, as `attack`.
pub(crate) fn compile(folder: &Path) -> Result<()> {
    stage::compile(folder)
}

/// Every case's id.
#[cfg(test)]
pub(crate) fn ids() -> Vec<&'static str> {
    let stories = extra::STORIES.iter().chain(&moments::STORIES).chain(&extra::LAST);
    let walls = walls::WALLS.iter().map(|case| case.id).chain(faults::IDS);
    let requests = raw::RAWS.iter().map(|case| case.id).chain(stories.map(|case| case.id));
    let policies = policies::policies().into_iter().map(|case| case.id);
    walls.chain(requests).chain(policies).chain(loads::loads().iter().map(|case| case.id)).collect()
}

/// All cases of one attacker.
fn by(stage: &Stage, who: As, wish: &Wish) -> Result<Vec<Found>> {
    let text = config::text(stage, &wish.profile)?;
    if !wish.lacks.is_empty() {
        return faults::faults(&Daemon::at(stage, "home", &text)?, who, wish);
    }
    let (daemon, up) = Daemon::up(stage, "home", &text, &[])?;
    if up.code != Some(0) {
        bail!("the daemon that is to be attacked is not up: {}", up.text);
    }
    let mut found = play::walls(&daemon, who, wish)?;
    if wish.find_layers {
        return Ok(found);
    }
    let mut add =
        |id, kind, what: String, verdict| found.push(Found::new(id, who, kind, what, verdict));
    for case in policies::policies().iter().filter(|case| wish.wants(case.id)) {
        add(case.id, "policy", case.what.clone(), case.play(&daemon)?);
    }
    for case in raw::RAWS.iter().filter(|case| wish.wants(case.id)) {
        add(case.id, "request", case.what.to_owned(), case.play(&daemon)?);
    }
    for case in loads::loads().iter().filter(|case| wish.wants(case.id)) {
        add(case.id, "load", case.what.clone(), case.play(&daemon)?);
    }
    let stories = extra::STORIES.iter().chain(&moments::STORIES).chain(&extra::LAST);
    for case in stories.filter(|case| wish.wants(case.id)) {
        let verdict = match (case.alone, wish.alone) {
            (true, false) => (Verdict::Skipped, "for a machine of its own (--alone)".to_owned()),
            _ => (case.play)(&daemon)?,
        };
        add(case.id, "story", case.what.to_owned(), verdict);
    }
    found.extend(faults::faults(&daemon, who, wish)?);
    Ok(found)
}

impl Wish {
    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| id.starts_with(only.as_str()))
    }
}

fn print(found: &[Found]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["case", "as", "attack", "verdict", "held by", "by"]);
    for it in found {
        let who = if it.who == As::Root { "root" } else { "user" };
        let by: String = sh::last_lines(&it.by, 1).chars().take(90).collect();
        table.add_row([
            it.id,
            who,
            &it.what.escape_debug().to_string(),
            it.verdict.as_str(),
            &it.held,
            &by,
        ]);
    }
    println!("{table}");
}

fn tally(found: &[Found]) -> Tally {
    let mut tally = Tally::default();
    for it in found {
        let by = sh::last_lines(&it.by, 1);
        let name = format!("{} as {:?}: {}: {by}", it.id, it.who, it.what.escape_debug());
        match it.verdict {
            Verdict::Blocked => tally.passed += 1,
            Verdict::Hole | Verdict::Unshown => tally.fail(name),
            Verdict::Void | Verdict::Skipped => tally.skip(name),
        }
    }
    tally
}
