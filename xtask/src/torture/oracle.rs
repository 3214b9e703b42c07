//! What must be true after a torture, whatever was killed when.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Target;
use super::gang::{Gang, POOLS, Story};
use super::http::Http;
use super::ledger::Ledger;
use super::procs;
use super::series::Series;
use super::verdict::Verdict;
use crate::ganger::Ganger;
use crate::sh;

/// No zombie may be older than this.
const ZOMBIE_AGE: Duration = Duration::from_secs(3);

/// One task, as `GET /tasks/ID` tells it.
#[derive(Debug, Deserialize)]
struct Task {
    state: String,
    #[serde(default)]
    result: serde_json::Value,
    attempts: Vec<Attempt>,
}

#[derive(Debug, Deserialize)]
struct Attempt {
    worker: Option<String>,
}

/// Checks everything while the gang is still up; ends its services to read their logs to the end.
pub(crate) fn ask(gang: &Gang, story: &Story, verdict: &mut Verdict) -> Result<()> {
    let everything_died = story.kills.iter().any(|kill| kill.target == Target::Both);
    let with_work = story.kills.iter().filter(|kill| kill.running > 0).count();
    println!("  {} kills, {with_work} of them with attempts running", story.kills.len());
    no_zombies(gang, verdict)?;
    no_second_copy(gang, verdict);
    if !everything_died {
        let now = gang.kept_pids()?;
        verdict.so(
            "services kept their pids",
            now == story.pids,
            &format!("{:?} became {now:?}", story.pids),
        );
    }
    tasks(gang, story, verdict)?;
    exits(gang, story, verdict)?;
    degraded(gang, story, verdict)?;
    for name in ["counter", "flood"] {
        gang.ganger.run(&["stop", name])?;
        let mut series = Series::of(&gang.ganger, name)?;
        // With keeper and daemon dead, what stood in a pipe at that moment may be lost, and services start anew.
        if everything_died {
            series.broken.retain(|broken| !broken.contains("the log ends at"));
        } else {
            series.check_ends(&gang.notes, name, false)?;
        }
        verdict.claim(
            &format!("the log of {name} has no gap and no double ({} lines)", series.lines),
            &series.broken,
        );
    }
    Ok(())
}

/// After `down` nothing is left.
pub(crate) fn after_down(gang: &Gang, verdict: &mut Verdict) {
    let left: Vec<String> = procs::marked_ever(&gang.mark)
        .iter()
        .map(|p| format!("pid {}: {}", p.pid, p.command))
        .collect();
    verdict.claim("no process is left after down", &left);
}

/// What the daemon said last, for a torture that broke off.
pub(crate) fn show_daemon_log(ganger: &Ganger) {
    if let Ok(out) = sh::output(&mut ganger.verb(&["logs", "ganger", "-n", "40"])) {
        println!("last lines of the daemon:\n{}", String::from_utf8_lossy(&out.stdout));
    }
}

fn no_zombies(gang: &Gang, verdict: &mut Verdict) -> Result<()> {
    let status = gang.ganger.status()?;
    let parents = [status.keeper.pid, status.daemon.pid];
    let mut zombies: HashSet<i32> = procs::zombies_of(&parents).into_iter().collect();
    let deadline = Instant::now() + ZOMBIE_AGE;
    while !zombies.is_empty() && Instant::now() < deadline {
        std::thread::sleep(ZOMBIE_AGE / 10);
        let now = procs::zombies_of(&parents);
        zombies.retain(|pid| now.contains(pid));
    }
    let named: Vec<String> = zombies.iter().map(|pid| format!("pid {pid}")).collect();
    verdict.claim("no zombie is older than 3 s", &named);
    Ok(())
}

fn no_second_copy(gang: &Gang, verdict: &mut Verdict) {
    let mut copies: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for process in procs::marked(&gang.mark) {
        // The slots of a command pool run a process per task; all others have one process each.
        let instance = process.instance.filter(|instance| !instance.starts_with("command#"));
        copies.entry(instance.unwrap_or_default()).or_default().push(process.pid);
    }
    copies.remove("");
    let doubled: Vec<String> = copies
        .iter()
        .filter(|(_, pids)| pids.len() > 1)
        .map(|(instance, pids)| format!("{instance}: pids {pids:?}"))
        .collect();
    verdict.claim("there is no second copy of anything", &doubled);
    let missing: Vec<String> = ["counter#1", "flood#1"]
        .into_iter()
        .filter(|instance| !copies.contains_key(*instance))
        .map(str::to_owned)
        .collect();
    verdict.claim("every service runs", &missing);
}

fn tasks(gang: &Gang, story: &Story, verdict: &mut Verdict) -> Result<()> {
    let ledger = Ledger::read(&gang.ledger)?;
    let state_dir = gang.ganger.status()?.state_dir;
    let mut http = Http::connect(&state_dir)?;
    let (mut undone, mut wrong, mut unseen) = (Vec::new(), Vec::new(), Vec::new());
    let mut by_pool: BTreeMap<String, u64> = BTreeMap::new();
    for task in &story.pushed.acknowledged {
        let told: Task = http.get(&format!("/tasks/{}", task.id))?;
        if let Some(worker) = told.attempts.last().and_then(|a| a.worker.as_deref()) {
            let pool = worker.split('#').next().unwrap_or(worker);
            *by_pool.entry(pool.to_owned()).or_default() += 1;
        }
        if told.state != "completed" {
            undone.push(format!("{} (n={}) is {}", task.id, task.n, told.state));
        } else if told.result["n"] != task.n || told.result["square"] != task.n * task.n {
            wrong.push(format!("{} (n={}): {}", task.id, task.n, told.result));
        } else if !ledger.finished(task.n) {
            unseen.push(format!("{} (n={})", task.id, task.n));
        }
    }
    let acknowledged = story.pushed.acknowledged.len();
    verdict.so("tasks were acknowledged", acknowledged > 0, "not one");
    verdict.claim(&format!("all {acknowledged} acknowledged tasks are completed"), &undone);
    verdict.so(
        "every kind of worker took part",
        by_pool.len() == POOLS,
        &format!("tasks by pool: {by_pool:?}"),
    );
    verdict.claim("every result is right", &wrong);
    verdict.claim("every completed task was really done by a worker", &unseen);
    verdict.claim(
        &format!("no attempt overlaps another of its task ({} attempts)", ledger.attempts()),
        &ledger.overlaps(),
    );
    let everything_died = story.kills.iter().any(|kill| kill.target == Target::Both);
    let failed = story.pushed.failed.iter();
    // Who pushes while keeper and daemon are both dead is told so, and nothing of it was acknowledged.
    let failed: Vec<String> = failed
        .filter(|failed| !(everything_died && failed.nobody_there))
        .map(|failed| failed.said.clone())
        .collect();
    verdict.claim("every push was acknowledged, also those during a kill", &failed);
    let counts = gang.ganger.queue("work")?;
    let ended = counts.completed + counts.discarded + counts.cancelled;
    verdict.so(
        "the queue's counters agree",
        counts.discarded == 0
            && counts.cancelled == 0
            && counts.completed >= acknowledged as u64
            && (counts.completed == acknowledged as u64 || !story.pushed.failed.is_empty()),
        &format!("{acknowledged} acknowledged, {ended} ended: {counts:?}"),
    );
    Ok(())
}

/// Exits that happened while no daemon lived are told with their codes.
fn exits(gang: &Gang, story: &Story, verdict: &mut Verdict) -> Result<()> {
    let codes: Vec<u8> = story.kills.iter().filter_map(|kill| kill.mortal_code).collect();
    if codes.is_empty() {
        return Ok(());
    }
    let mut told = gang.ganger.events()?;
    told.retain(|line| line.contains("\"name\":\"mortal\""));
    let untold: Vec<String> = codes
        .iter()
        .filter(|code| {
            let wanted = format!("exited with code {code}");
            // 4 must not be found in 42.
            !told.iter().any(|line| {
                line.find(&wanted).is_some_and(|at| {
                    !line[at + wanted.len()..].starts_with(|c: char| c.is_ascii_digit())
                })
            })
        })
        .map(|code| format!("exit code {code}"))
        .collect();
    if !untold.is_empty() {
        println!("  all that is told of mortal:\n    {}", told.join("\n    "));
    }
    verdict.claim(
        &format!("all {} exits while the daemon was dead are told with their codes", codes.len()),
        &untold,
    );
    Ok(())
}

/// After the keeper was killed, what is lost is said.
fn degraded(gang: &Gang, story: &Story, verdict: &mut Verdict) -> Result<()> {
    if story.kills.iter().any(|kill| kill.target == Target::Keeper) {
        let status = gang.ganger.status().context("status after a killed keeper")?;
        verdict.so(
            "status says what a killed keeper cost",
            !status.degraded.is_empty(),
            "`degraded` is empty",
        );
        gang.ganger.run(&["restart", "mortal"])?;
        gang.ganger.wait(&["service:mortal=ready"], "30s")?;
        verdict.so("a service can be restarted under the new keeper", true, "");
    }
    Ok(())
}
