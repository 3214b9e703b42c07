//! `cargo xtask benign`: what people do all day, by the profiles that they would choose. A sandbox that stops it is taken off, so
//! what fails here is a fault of the profile.
//!
//! ```text
//! case ─ control (no ganger) ─ program is missing, or does not do it here ─▶ skipped
//!            └ as expected ─ under each of its profiles ─ as expected ─▶ works
//!                                  └ not as expected ─────────────────▶ BROKEN
//! ```

mod cases;
mod plain;
mod play;
mod policies;
mod stage;
mod tools;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, bail};
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::actor::As;
use crate::tally::Tally;
use crate::{build, sh};
use stage::Stage;

/// So many different commands have to work, or it counts as a failure: a machine on which all are skipped shows nothing.
const LEAST: usize = 40;

/// What is wanted.
#[derive(Debug, clap::Args)]
pub(crate) struct Wish {
    /// Only cases whose name begins with one of these: `git`, `exec`.
    #[arg(long)]
    only: Vec<String>,
    /// Who runs ganger [default: whoever runs this; root can be both, one after the other].
    #[arg(long = "as", value_name = "WHO")]
    who: Vec<As>,
    /// Only this profile.
    #[arg(long)]
    profile: Option<String>,
    /// How often the commands under policies are run, one after the other, before incidents are looked for.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Where to play: no folder on the way to it may be writable by others [default: cargo's target folder].
    #[arg(long)]
    stage: Option<PathBuf>,
    /// Install nothing: skip what is missing.
    #[arg(long)]
    as_is: bool,
    /// Write what was found to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Works,
    Broken,
    /// Not on this machine, with ganger or without.
    Skipped,
}

/// One line of the result.
#[derive(Debug, Clone, Serialize)]
struct Found {
    name: &'static str,
    #[serde(rename = "as")]
    who: As,
    /// `strict`, `standard`, `build`.
    profile: &'static str,
    verdict: Verdict,
    /// What was said where it does not work.
    said: String,
}

/// Plays all cases that are wanted.
pub(crate) fn benign(wish: &Wish) -> Result<Tally> {
    if !wish.as_is {
        stage::install(&cases::PACKAGES);
    }
    let ganger = build::ganger(false)?;
    let base = wish.stage.clone().map_or_else(build::target_dir, Ok)?;
    let mut found = Vec::new();
    for who in As::wanted(&wish.who)? {
        let stage = Stage::new(&base, &ganger, who)?;
        found.extend(play::runs(&stage, who, wish)?);
        found.extend(play::policies(&stage, who, wish)?);
    }
    if found.is_empty() {
        bail!("no case's name begins with one of {:?}", wish.only);
    }
    print(&found);
    if let Some(path) = &wish.json {
        std::fs::write(path, serde_json::to_vec_pretty(&found)?)?;
    }
    Ok(tally(&found, wish.only.is_empty() && wish.profile.is_none()))
}

impl Wish {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()))
    }

    fn wants_profile(&self, profile: &str) -> bool {
        self.profile.as_ref().is_none_or(|wanted| wanted == profile)
    }
}

/// A line for each case and who runs it: a word for each profile.
fn print(found: &[Found]) {
    const PROFILES: [&str; 3] = ["strict", "standard", "build"];
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["command", "as", "strict", "standard", "build"]);
    let mut seen = BTreeSet::new();
    for it in found {
        let who = if it.who == As::Root { "root" } else { "user" };
        if !seen.insert((it.name, who)) {
            continue;
        }
        let mut row = vec![it.name.to_owned(), who.to_owned()];
        row.extend(PROFILES.map(|profile| {
            let one = found
                .iter()
                .find(|other| (other.name, other.who, other.profile) == (it.name, it.who, profile));
            one.map_or_else(|| "-".to_owned(), |it| format!("{:?}", it.verdict).to_lowercase())
        }));
        table.add_row(row);
    }
    println!("{table}");
}

fn tally(found: &[Found], all: bool) -> Tally {
    let mut tally = Tally::default();
    for it in found {
        let said = sh::last_lines(&it.said, 3);
        let name = format!("{} in {} as {:?}: {said}", it.name, it.profile, it.who);
        match it.verdict {
            Verdict::Works => tally.passed += 1,
            Verdict::Broken => tally.fail(name),
            Verdict::Skipped => tally.skip(name),
        }
    }
    let working = found.iter().filter(|it| it.verdict == Verdict::Works).map(|it| it.name);
    let working = working.collect::<BTreeSet<_>>().len();
    println!("{working} different commands work");
    if all && working < LEAST {
        tally.fail(format!("at least {LEAST} commands have to work, install what is skipped"));
    }
    tally
}
