//! `cargo xtask stories`: attacks as they happen, against a real daemon, each of which must raise its incident within two seconds; and
//! a long honest day at high speed, which must raise none.
//!
//! ```text
//! story ─ a daemon of its own ─ what the villain does ─ event `incident` of the rule ─ in the log ─▶ found, so long after the last act began
//! benign ─ one daemon, thousands of runs of several policies at once ─ a last attack, so that all before it was looked at ─▶ only that one
//! ```

mod benign;
mod stage;
mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::tally::Tally;
use crate::{build, sh};
use stage::Stage;
use table::{STORIES, Story};

/// What is promised.
const PROMISED: Duration = Duration::from_secs(2);

/// What is wanted.
#[derive(Debug, clap::Args)]
pub(crate) struct Wish {
    /// Only stories whose id begins with one of these: `I05`, `benign`.
    #[arg(long)]
    only: Vec<String>,
    /// Runs of the honest day.
    #[arg(long, default_value_t = 2_500)]
    runs: u32,
    /// Where to play: no folder on the way to it may be writable by others [default: cargo's target folder].
    #[arg(long)]
    stage: Option<PathBuf>,
    /// Write what was found to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One line of the result.
#[derive(Debug, Clone, Serialize)]
struct Found {
    story: &'static str,
    what: &'static str,
    ok: bool,
    /// From the beginning of the last act to the event.
    ms: Option<u64>,
    told: String,
}

/// Plays all that are wanted.
pub(crate) fn stories(wish: &Wish) -> Result<Tally> {
    let ganger = build::ganger(false)?;
    let base = wish.stage.clone().map_or_else(build::target_dir, Ok)?;
    let wants =
        |id: &str| wish.only.is_empty() || wish.only.iter().any(|only| id.starts_with(only));
    let mut found = Vec::new();
    for story in STORIES.iter().filter(|story| wants(story.id)) {
        let one = play(&base, &ganger, story);
        found.push(one.unwrap_or_else(|error| Found {
            story: story.id,
            what: story.what,
            ok: false,
            ms: None,
            told: format!("{error:#}"),
        }));
    }
    if wish.runs > 0 && wants("benign") {
        found.push(benign::day(&base, &ganger, wish.runs)?);
    }
    if found.is_empty() {
        bail!("no story's id begins with one of {:?}", wish.only);
    }
    print(&found);
    if let Some(path) = &wish.json {
        std::fs::write(path, serde_json::to_vec_pretty(&found)?)?;
    }
    let mut tally = Tally::default();
    for one in &found {
        match one.ok {
            true => tally.passed += 1,
            false => tally.fail(format!("{}: {}: {}", one.story, one.what, one.told)),
        }
    }
    Ok(tally)
}

fn play(base: &std::path::Path, ganger: &std::path::Path, story: &Story) -> Result<Found> {
    let mut stage = Stage::new(base, ganger)?;
    stage.up(&[])?;
    let began = (story.play)(&mut stage).context("the story could not be told")?;
    let rule = story.rule(stage.reads_the_kernels_log());
    let (seen, line) = stage.incident(rule)?;
    let took = seen.saturating_duration_since(began);
    let recorded = story.unrecorded || stage.has_incident(rule)?;
    let told = match (took <= PROMISED, recorded) {
        (false, _) => format!("{rule} was too late: {line}"),
        (_, false) => format!("{rule} is not in the log: {line}"),
        _ => line,
    };
    let ok = took <= PROMISED && recorded;
    Ok(Found { story: story.id, what: story.what, ok, ms: Some(millis(took)), told })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn print(found: &[Found]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["story", "what", "", "ms", "told"]);
    for it in found {
        let told: String = sh::last_lines(&it.told, 1).chars().take(90).collect();
        let ms = it.ms.map_or_else(String::new, |ms| ms.to_string());
        table.add_row([it.story, it.what, if it.ok { "ok" } else { "FAILED" }, &ms, &told]);
    }
    println!("{table}");
    let mut times: Vec<u64> =
        found.iter().filter(|it| it.story.starts_with('I')).filter_map(|it| it.ms).collect();
    times.sort_unstable();
    if let (Some(most), Some(half)) = (times.last(), times.get(times.len() / 2)) {
        println!(
            "{} stories: median {half} ms, most {most} ms, promised {} ms",
            times.len(),
            millis(PROMISED)
        );
    }
}

/// Now.
fn now() -> Instant {
    Instant::now()
}
