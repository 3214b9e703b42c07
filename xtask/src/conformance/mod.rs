//! `cargo xtask node-conformance`: Node's own tests of `fork`, its channel and `cluster`, run as they are and run again with our codec between
//! parent and child (`crates/ipc/examples/node-relay.rs`).
//!
//! The tests are Node's, of the version of the Node that runs them; they are fetched into the target folder and never
//! committed. What fails without us says nothing about us, so the ratio is over those that pass without.

mod run;
mod suite;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets};

use crate::tally::Tally;
use crate::{build, sh};
use run::{Outcome, Runner};

/// Tests that can't pass with something between, and why: they are run and shown, and not counted.
const BY_DESIGN: [(&str, &str); 1] = [(
    "test-child-process-fork-exec-path.js",
    "asserts that the child's program is the very file it named",
)];

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) only: Vec<String>,
    pub(crate) suite: Option<PathBuf>,
    pub(crate) from: String,
    pub(crate) node: Option<PathBuf>,
    pub(crate) pass: bool,
    pub(crate) least: f64,
}

pub(crate) fn conformance(wish: &Wish) -> Result<Tally> {
    let node = match &wish.node {
        Some(node) => std::path::absolute(node).context("the working folder")?,
        None => sh::which("node")
            .context("`node` is not along PATH: install Node (>= 20), or name one with --node")?,
    };
    let version = sh::capture(Command::new(&node).arg("--version"))?.trim().to_owned();
    let suite = match &wish.suite {
        Some(suite) => suite.clone(),
        None => suite::fetch(&version, &wish.from)?,
    };
    let tests = suite::tests(&suite, &wish.only)?;
    if tests.is_empty() {
        bail!("no test in {} has one of these names: {}", suite.display(), wish.only.join(", "));
    }
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let relay = stand_in(folder.path(), &node, wish.pass)?;
    let mode = if wish.pass { "passing" } else { "ending" };
    println!("Node {version}, {} tests of {}, {mode} relay", tests.len(), suite.display());
    let runner = Runner { node, folder: folder.path().to_path_buf() };
    let mut report = Report::default();
    for test in &tests {
        let without = runner.run(test, None)?;
        let with = match without {
            Outcome::Passed => Some(runner.run(test, Some(&relay))?),
            _ => None,
        };
        report.add(test, &without, with);
    }
    let log = std::fs::read_to_string(folder.path().join("relay.log")).unwrap_or_default();
    report.print(&log);
    report.tally(&log, wish.least)
}

/// The folder in which the relay is `node`, and the module that makes a process start it.
fn stand_in(folder: &Path, node: &Path, pass: bool) -> Result<PathBuf> {
    let mut command = build::cargo()?;
    sh::run(command.args(["build", "--package", "ganger-ipc", "--example", "node-relay"]))?;
    let built = build::target_dir()?.join("debug/examples/node-relay");
    let program = folder.join("node");
    std::fs::copy(&built, &program)
        .with_context(|| format!("could not copy {} to {}", built.display(), program.display()))?;
    let mode = if pass { "pass" } else { "end" };
    let log = folder.join("relay.log");
    let conf = format!("{}\n{}\n{mode}\n", node.display(), log.display());
    std::fs::write(folder.join("relay.conf"), conf)?;
    let preload = folder.join("preload.js");
    let program = serde_json::to_string(&program.display().to_string())?;
    std::fs::write(&preload, format!("process.execPath = {program};\n"))?;
    Ok(preload)
}

#[derive(Debug, Default)]
struct Report {
    passed: Vec<String>,
    /// Name, and what was said.
    failed: Vec<(String, String)>,
    by_design: Vec<(String, &'static str)>,
    /// Failed without us, or has nothing to do on this machine.
    not_counted: Vec<(String, String)>,
}

impl Report {
    fn add(&mut self, test: &Path, without: &Outcome, with: Option<Outcome>) {
        let name = test.file_name().unwrap_or_default().to_string_lossy().into_owned();
        println!("{:<64} {:<8} {}", name, without.word(), with.as_ref().map_or("-", Outcome::word));
        let by_design = BY_DESIGN.iter().find(|(other, _)| *other == name);
        match (without, with) {
            (Outcome::Failed(said), _) => self.not_counted.push((name, said.clone())),
            (Outcome::Skipped(why), _) => self.not_counted.push((name, why.clone())),
            (Outcome::Passed, Some(Outcome::Passed)) => self.passed.push(name),
            (Outcome::Passed, with) => match (by_design, with) {
                (Some((_, why)), _) => self.by_design.push((name, why)),
                (None, Some(Outcome::Failed(said) | Outcome::Skipped(said))) => {
                    self.failed.push((name, said))
                }
                (None, _) => {}
            },
        }
    }

    fn counted(&self) -> usize {
        self.passed.len() + self.failed.len()
    }

    fn ratio(&self) -> f64 {
        let (passed, counted) = (self.passed.len(), self.counted());
        if counted == 0 { 0.0 } else { 100.0 * passed as f64 / counted as f64 }
    }

    fn print(&self, log: &str) {
        for (name, said) in &self.not_counted {
            println!("\nnot counted: {name}\n{said}");
        }
        for (name, said) in &self.failed {
            println!("\nfailed with the relay: {name}\n{said}");
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table
            .add_row(["pass with and without the relay".to_owned(), self.passed.len().to_string()]);
        table.add_row(["pass only without".to_owned(), self.failed.len().to_string()]);
        for (name, why) in &self.by_design {
            table.add_row([format!("pass only without, by design: {name}"), (*why).to_owned()]);
        }
        table.add_row([
            "fail without, or do not apply here".to_owned(),
            self.not_counted.len().to_string(),
        ]);
        for (mode, relayed) in relayed(log) {
            table.add_row([format!("channels relayed ({mode})"), relayed.to_string()]);
        }
        table.add_row(["ratio".to_owned(), format!("{:.1} %", self.ratio())]);
        println!("\n{table}");
    }

    fn tally(self, log: &str, least: f64) -> Result<Tally> {
        if relayed(log).is_empty() {
            bail!("no channel went through the relay: these runs prove nothing");
        }
        let mut tally = Tally { passed: self.passed.len() as u64, ..Tally::default() };
        if self.ratio() < least {
            self.failed.into_iter().for_each(|(name, _)| tally.fail(name));
        } else {
            for (name, _) in self.failed {
                tally.skip(format!("{name}: fails with the relay, within the allowed rest"));
            }
        }
        for (name, why) in self.by_design {
            tally.skip(format!("{name}: {why}"));
        }
        Ok(tally)
    }
}

/// What the relays wrote of themselves.
#[derive(Debug, Default, Clone, Copy)]
struct Relayed {
    channels: u64,
    messages: u64,
    handles: u64,
    refused: u64,
}

impl std::fmt::Display for Relayed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { channels, messages, handles, refused } = self;
        write!(f, "{channels}: {messages} messages, {handles} handles, {refused} refused")
    }
}

fn relayed(log: &str) -> std::collections::BTreeMap<String, Relayed> {
    let mut by_mode = std::collections::BTreeMap::new();
    for line in log.lines() {
        let mut words = line.split(' ');
        let Some(mode) = words.next() else { continue };
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let sum: &mut Relayed = by_mode.entry(mode.to_owned()).or_default();
        sum.channels += 1;
        sum.messages += number();
        sum.handles += number();
        sum.refused += number();
    }
    by_mode
}
