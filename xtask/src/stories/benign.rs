//! An honest day at high speed: thousands of runs of several policies, at once, with the mistakes that people make.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use super::stage::Stage;
use super::{Found, millis};

/// Callers at once.
const CALLERS: u32 = 4;

/// What one call is, and the exit code that it has to have.
type Call = (&'static [&'static str], i32);

/// What is called all day.
const USUAL: [Call; 9] = [
    (&["cat", "--", "{home}/ro/word"], 0),
    (&["sort", "--", "{home}/ro/word"], 0),
    (&["sort", "--", "-r", "{home}/ro/word"], 0),
    (&["wc", "--", "-l", "{home}/ro/word"], 0),
    (&["grep", "--", "apple", "{home}/ro/word"], 0),
    (&["tar", "--", "-c", "-f", "-", "{home}/ro/word"], 0),
    (&["find", "--", "{home}/ro", "-maxdepth", "1"], 0),
    (&["say", "--", "say", "Fix the parser: quotes, again"], 0),
    (&["name", "--", "say", "pear"], 0),
];

/// What happens now and then, each so often in a day: a mistyped option, a missing file, a word that a rule does not know, a message with
/// a shell's characters where they are text, work that takes too long, a loop that meets its rate.
const SELDOM: [(Call, u32); 6] = [
    ((&["sort", "--", "-R", "{home}/ro/word"], 6), 2),
    ((&["cat", "--", "{home}/ro/wrod"], 6), 2),
    ((&["name", "--", "say", "Pear"], 6), 1),
    ((&["say", "--", "say", "`make` && $HOME; done"], 0), 12),
    ((&["slow", "--", "slow"], 124), 2),
    ((&["seldom", "--", "say"], 10), 20),
];

/// Plays it.
pub(super) fn day(base: &Path, ganger: &Path, runs: u32) -> Result<Found> {
    let mut stage = Stage::new(base, ganger)?;
    stage.learns_as_usual()?;
    stage.up(&[])?;
    // The one that its rate allows.
    stage.allowed(&["seldom", "--", "say"])?;
    let plan = plan(runs);
    let (next, wrong) = (AtomicU32::new(0), std::sync::Mutex::new(Vec::new()));
    let began = super::now();
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                while let Some((words, code)) =
                    plan.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    let said = stage.ganger(&[&["exec"], *words].concat());
                    let got = said.as_ref().ok().and_then(|said| said.status.code());
                    if got != Some(*code) {
                        let why =
                            said.map(|said| String::from_utf8_lossy(&said.stderr).into_owned());
                        let text = format!("{}: {got:?}, not {code}: {why:?}", words.join(" "));
                        wrong.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(text);
                    }
                }
            });
        }
    });
    let took = began.elapsed();
    // Records are looked at in their order: once this one is found, all before it were.
    stage.act(&["find", "--", "{home}/ro", "-exec", "id", ";"])?;
    stage.incident("I05")?;
    let incidents = stage.incidents()?;
    let wrong = wrong.into_inner().unwrap_or_default();
    let rate = f64::from(runs) / took.as_secs_f64();
    let told = match (wrong.first(), incidents.as_slice()) {
        (Some(first), _) => format!("{} of {runs} calls went otherwise: {first}", wrong.len()),
        (None, [one]) if one == "I05" => {
            format!("{runs} calls in {:.0} s ({rate:.0}/s): no incident", took.as_secs_f64())
        }
        (None, all) => format!("false alarms beside the last attack's I05: {all:?}"),
    };
    let ok = wrong.is_empty() && incidents == ["I05"];
    stage.ganger(&["audit", "verify"]).context("the log verifies")?;
    Ok(Found { story: "benign", what: "an honest day", ok, ms: Some(millis(took)), told })
}

/// The calls in their order; the same each time.
fn plan(runs: u32) -> Vec<Call> {
    let mut dice = fastrand::Rng::with_seed(7);
    let mut plan: Vec<Call> = (0..runs).map(|_| USUAL[dice.usize(..USUAL.len())]).collect();
    let places =
        SELDOM.iter().flat_map(|(call, times)| std::iter::repeat_n(*call, *times as usize));
    for call in places {
        let at = dice.usize(..plan.len().max(1));
        if let Some(place) = plan.get_mut(at) {
            *place = call;
        }
    }
    plan
}
