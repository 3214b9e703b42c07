//! `cargo xtask attacks`: every attack is played twice, as it is and against ganger. What does not succeed as it is proves
//! nothing: its case is void. What succeeds against ganger is a hole.
//!
//! ```text
//! case ─ control (no ganger) ─ failed ───────────────────────────────────▶ void
//!            └ succeeded ─ with every layer ─ succeeded ─────────────────▶ HOLE
//!                              └ blocked ─ begun? recorded as it should? ─ no ▶ UNSHOWN
//!                                                                        └ yes ▶ blocked
//! ```

mod cases;
mod extra;
mod play;
mod stage;

use std::path::PathBuf;

use anyhow::{Result, bail};
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::tally::Tally;
use crate::{build, sh};
use stage::Stage;

/// Who attacks, and runs ganger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum As {
    Root,
    User,
}

/// What is wanted.
#[derive(Debug, clap::Args)]
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
    /// It was blocked, but not shown to be: it never began, or the log does not say so.
    Unshown,
    /// It does not succeed without ganger either.
    Void,
    /// Not for this attacker.
    Skipped,
}

/// One line of the result.
#[derive(Debug, Clone, Serialize)]
struct Found {
    id: &'static str,
    #[serde(rename = "as")]
    who: As,
    /// `walls` or `policy`.
    kind: &'static str,
    what: &'static str,
    verdict: Verdict,
    /// What blocked it, or why not.
    by: String,
}

/// Plays all cases that are wanted.
pub(crate) fn attacks(wish: &Wish) -> Result<Tally> {
    let root = rustix::process::geteuid().is_root();
    let who = match (&wish.who[..], root) {
        ([], true) => vec![As::Root, As::User],
        ([], false) => vec![As::User],
        (some, true) => some.to_vec(),
        ([As::User], false) => vec![As::User],
        (_, false) => bail!("only root can attack as root"),
    };
    let ganger = build::ganger(false)?;
    let base = wish.stage.clone().map_or_else(build::target_dir, Ok)?;
    let mut found = Vec::new();
    for who in who {
        let stage = Stage::new(&base, &ganger, who)?;
        found.extend(play::walls(&stage, who, wish)?);
        found.extend(play::policies(&stage, who, wish)?);
    }
    print(&found);
    if let Some(path) = &wish.json {
        std::fs::write(path, serde_json::to_vec_pretty(&found)?)?;
    }
    Ok(tally(&found))
}

impl Wish {
    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| id.starts_with(only.as_str()))
    }
}

fn print(found: &[Found]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["case", "as", "attack", "verdict", "by"]);
    for it in found {
        let who = if it.who == As::Root { "root" } else { "user" };
        let verdict = format!("{:?}", it.verdict).to_lowercase();
        let by: String = sh::last_lines(&it.by, 1).chars().take(90).collect();
        table.add_row([it.id, who, it.what, &verdict, &by]);
    }
    println!("{table}");
}

fn tally(found: &[Found]) -> Tally {
    let mut tally = Tally::default();
    for it in found {
        let name = format!("{} as {:?}: {}: {}", it.id, it.who, it.what, sh::last_lines(&it.by, 1));
        match it.verdict {
            Verdict::Blocked => tally.passed += 1,
            Verdict::Hole | Verdict::Unshown => tally.fail(name),
            Verdict::Void | Verdict::Skipped => tally.skip(name),
        }
    }
    tally
}
