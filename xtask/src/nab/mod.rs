//! `cargo xtask nab --data DIR`: the detector of single metrics (`ganger_detect::Engine`) on the Numenta Anomaly Benchmark.
//!
//! DIR is a corpus in NAB's layout (github.com/numenta/NAB, MIT since 2024), or a part of it; it is not part of this repository. Prints the score with NAB's own rule
//! (the threshold that is best on the very corpus), with the one frozen threshold that ganger ships, and by leaving out one folder at a time (the
//! threshold comes from the other folders); beside them what others published for the whole corpus.

mod data;
mod score;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use ganger_detect::{Engine, Hush, UNUSUAL};

use score::{PROFILES, Profile, Series, Sweep};

/// What is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Wish {
    /// A folder with data/ and labels/ in NAB's layout.
    #[arg(long)]
    data: PathBuf,
    /// Tell each file's alarms at the frozen threshold.
    #[arg(long)]
    files: bool,
    /// Fail when the standard score with NAB's rule is lower.
    #[arg(long, default_value_t = 55.0)]
    least: f64,
    /// Fail when the standard score with the frozen threshold is lower.
    #[arg(long, default_value_t = 45.0)]
    least_frozen: f64,
}

/// Published scores on the whole corpus (58 series, 116 windows), each with the threshold that is best on it: name, standard, low FP, low FN.
/// From the results table of numenta/NAB; the last two are Netdata's method as re-implemented for research/monitoring.md.
const PEERS: [(&str, f64, f64, f64); 8] = [
    ("ARTime", 74.9, 65.2, 80.4),
    ("Numenta HTM", 70.1, 63.2, 74.3),
    ("CAD OSE", 69.9, 67.0, 73.2),
    ("earthgecko Skyline", 58.2, 46.2, 63.8),
    ("Random Cut Forest", 51.7, 38.4, 59.7),
    ("windowed Gaussian", 39.6, 20.9, 47.4),
    ("Netdata's k-means, repeats suppressed", 39.0, 30.1, 44.1),
    ("Netdata's k-means", 29.4, 19.3, 34.4),
];

/// Scores the corpus; false when a floor is not reached.
pub(crate) fn nab(wish: &Wish) -> Result<bool> {
    let corpus = data::corpus(&wish.data)?;
    let points: usize = corpus.iter().map(|series| series.at.len()).sum();
    let started = Instant::now();
    let judged: Vec<(&Series, Vec<f64>)> =
        corpus.iter().map(|series| (series, scores(series))).collect();
    let each = started.elapsed().as_secs_f64() * 1e6 / points as f64;
    let all = sweep(judged.iter());
    let counts = all.counts(UNUSUAL);
    println!(
        "{} series, {points} points, {} windows, {each:.2} µs a point",
        corpus.len(),
        counts.windows
    );
    println!(
        "threshold {UNUSUAL}: {} of {} windows found, {} alarms outside of any ({:.2} in 1,000 points)",
        counts.found,
        counts.windows,
        counts.false_points,
        counts.false_points as f64 * 1e3 / counts.points as f64
    );
    if wish.files {
        files(&judged);
    }
    println!("{}", table(&all));
    let left_out = folders(&judged, &corpus);
    println!("{left_out}");
    let best = all.best(&PROFILES[0]).score;
    let frozen = all.at(&PROFILES[0], UNUSUAL);
    let reached = best >= wish.least && frozen >= wish.least_frozen;
    println!(
        "standard: {best:.1} with NAB's rule (at least {:.1}), {frozen:.1} frozen (at least {:.1}): {}",
        wish.least,
        wish.least_frozen,
        if reached { "reached" } else { "MISSED" }
    );
    Ok(reached)
}

/// What a user would be told, point by point: decades, or 0.
fn scores(series: &Series) -> Vec<f64> {
    let (mut engine, mut hush) = (Engine::new(), Hush::default());
    let pairs = series.at.iter().zip(&series.values);
    pairs
        .map(|(at, value)| {
            let decades = engine.push(*at, *value).map_or(0.0, |verdict| verdict.decades);
            hush.news(decades)
        })
        .collect()
}

fn sweep<'a>(judged: impl Iterator<Item = &'a (&'a Series, Vec<f64>)>) -> Sweep {
    let mut sweep = Sweep::default();
    for (series, scores) in judged {
        sweep.add(series, scores);
    }
    sweep
}

fn table(all: &Sweep) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(std::iter::once("").chain(PROFILES.iter().map(|profile| profile.name)));
    let mut row = |name: &str, scores: [f64; 3]| {
        table.add_row(
            std::iter::once(name.to_owned())
                .chain(scores.iter().map(|score| format!("{score:.1}"))),
        );
    };
    row("ganger, best threshold on this corpus", PROFILES.map(|p: Profile| all.best(&p).score));
    row("ganger, frozen threshold", PROFILES.map(|p: Profile| all.at(&p, UNUSUAL)));
    for (name, standard, low_fp, low_fn) in PEERS {
        row(&format!("{name} (published, whole corpus)"), [standard, low_fp, low_fn]);
    }
    right(&mut table);
    table
}

/// Each folder at the threshold that is best on all others, and at the frozen one.
fn folders(judged: &[(&Series, Vec<f64>)], corpus: &[Series]) -> Table {
    let mut names: Vec<&str> = corpus.iter().map(Series::folder).collect();
    names.dedup();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "left out",
        "windows",
        "threshold of the others",
        "standard",
        "frozen",
        "false",
        "false, frozen",
    ]);
    let (mut sum, mut windows) = (0.0, 0.0);
    for name in names {
        let inside = sweep(judged.iter().filter(|(series, _)| series.folder() == name));
        let others = sweep(judged.iter().filter(|(series, _)| series.folder() != name));
        let threshold = others.best(&PROFILES[0]).threshold;
        let (counts, frozen) = (inside.counts(threshold), inside.counts(UNUSUAL));
        let mut row = vec![name.to_owned(), counts.windows.to_string(), format!("{threshold:.2}")];
        if counts.windows > 0 {
            let score = inside.at(&PROFILES[0], threshold);
            sum += score * counts.windows as f64;
            windows += counts.windows as f64;
            row.extend(
                [score, inside.at(&PROFILES[0], UNUSUAL)].map(|score| format!("{score:.1}")),
            );
        } else {
            row.extend(["-".to_owned(), "-".to_owned()]);
        }
        row.extend([counts.false_points, frozen.false_points].map(|n| n.to_string()));
        table.add_row(row);
    }
    let mean = if windows > 0.0 { sum / windows } else { 0.0 };
    table.add_row([
        "mean by windows".to_owned(),
        windows.to_string(),
        String::new(),
        format!("{mean:.1}"),
    ]);
    right(&mut table);
    table
}

fn files(judged: &[(&Series, Vec<f64>)]) {
    for (series, scores) in judged {
        let counted = (series.probation()..scores.len()).filter(|i| scores[*i] >= UNUSUAL);
        let alarms: Vec<String> = counted
            .map(|i| {
                let hit = series.windows.iter().any(|(from, to)| (*from..=*to).contains(&i));
                format!("{}{i}:{:.1}", if hit { '+' } else { '-' }, scores[i])
            })
            .collect();
        println!("{}\n  windows {:?}\n  alarms {}", series.name, series.windows, alarms.join(" "));
    }
}

fn right(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// The verb: exit 1 when a floor is missed.
pub(crate) fn run(wish: &Wish) -> Result<()> {
    anyhow::ensure!(nab(wish)?, "a floor was missed on {}", shown(&wish.data));
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
