//! `ganger bench scale`: what a million waiting tasks cost: memory, claims, a cold start, counts, pages.
//!
//! ```text
//! q-small (10,000 waiting) ─┐                         worker writes down the gap between its tasks:
//! q-big (1,000,000 waiting) ┴─► one worker each, held ── answer, outcome's and next claim's commit, next task
//! ```
//!
//! fsync's share in the claims is the same at both sizes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_api::client::ClientOptions;
use ganger_api::{Client, TaskQuery, WaitCondition, WaitRequest};
use ganger_core::TaskState;

use super::load;
use super::numbers::{ms, per_second, percentile};
use super::report::{Goal, Line};
use super::scene::{Scene, failed};
use crate::error::{CliError, Kind};

/// Tasks that wait in the small queue.
const SMALL: u64 = 10_000;
/// Tasks of one bulk push.
const BULK: u64 = 10_000;
/// Tasks a worker takes in one run, of which the gaps are looked at: a p99 of 20 values above it.
const TAKEN: u64 = 2_000;
/// Looks and pages whose time is taken.
const LOOKS: usize = 100;
/// One bulk push, or one drain of a run, on a machine in trouble.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tasks a second by bulk push.
const PUSH_GOAL: Goal = Goal::AtLeast(100_000.0);
/// MiB of the daemon.
const MEMORY_GOAL: Goal = Goal::AtMost(80.0);
/// Times the claim among few.
const CLAIM_GOAL: f64 = 1.5;
/// Milliseconds to the first claim.
const COLD_GOAL: Goal = Goal::AtMost(2_000.0);
/// Milliseconds of the counts.
const COUNTS_GOAL: Goal = Goal::AtMost(5.0);
/// Milliseconds of a page.
const PAGE_GOAL: Goal = Goal::AtMost(100.0);

/// The queue's name for a size.
pub(super) const QUEUES: [&str; 2] = ["q-small", "q-big"];

/// Where the worker of a queue writes the gaps between its tasks.
pub(super) fn gaps_file(folder: &Path, queue: &str) -> PathBuf {
    folder.join(format!("gaps-{queue}"))
}

/// All figures of the scale part.
pub(super) async fn figures(
    scene: &Scene,
    waiting: u64,
    runs: u32,
    report: &mut super::report::Report<'_>,
) -> Result<(), CliError> {
    let options =
        ClientOptions { timeout: PATIENCE, verb_timeout: PATIENCE, ..ClientOptions::default() };
    let client = scene.client().with_options(options);
    let [small, big] = QUEUES;
    fill(&client, small, SMALL).await?;
    let took = fill(&client, big, waiting).await?;
    let name = |what: &str| format!("scale/{what} at {waiting} waiting");
    let rate = vec![per_second(waiting, took)];
    report.add(Line::alone(name("bulk push"), "tasks/s", rate).goal(PUSH_GOAL))?;
    let used = vec![memory(&client).await?];
    report.add(Line::alone(name("daemon's memory"), "MiB", used).goal(MEMORY_GOAL))?;
    looks(&client, big, waiting, report).await?;

    let (mut at_small, mut at_big) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        at_small.push(claims(scene, &client, small).await?);
        at_big.push(claims(scene, &client, big).await?);
        // The worker goes on until the pause is there, so it may have taken more than was waited for.
        let left = client.queue(small).await?.counts.available;
        fill(&client, small, SMALL.saturating_sub(left)).await?;
    }
    let few = format!("scale/claim p99 at {SMALL} waiting");
    report.add(Line::alone(few, "us", at_small.clone()))?;
    let claims = Line::new(name("claim p99"), "us", "the same with few", at_big, at_small);
    report.add(claims.goal_by_limit(|few| Goal::AtMost(few * CLAIM_GOAL)))?;

    let mut cold = Vec::new();
    for _ in 0..runs.min(3) {
        cold.push(cold_start(scene, &client, big).await?);
    }
    report.add(Line::alone(name("cold start to first claim"), "ms", cold).goal(COLD_GOAL))?;
    let used = vec![memory(&client).await?];
    report.add(Line::alone(name("daemon's memory in the end"), "MiB", used).goal(MEMORY_GOAL))
}

/// Pushes tasks in bulk to a paused queue.
async fn fill(client: &Client, queue: &str, count: u64) -> Result<Duration, CliError> {
    if count == 0 {
        return Ok(Duration::ZERO);
    }
    let lines = Bytes::from(load::line().repeat(usize::try_from(BULK.min(count)).unwrap_or(0)));
    let each = lines.len() / usize::try_from(BULK.min(count)).unwrap_or(1);
    let since = Instant::now();
    let mut left = count;
    while left > 0 {
        let now = left.min(BULK);
        let part = lines.slice(..each * usize::try_from(now).unwrap_or(0));
        client.push_lines(queue, part).await?;
        left -= now;
    }
    Ok(since.elapsed())
}

/// What the daemon has in memory, in MiB.
async fn memory(client: &Client) -> Result<f64, CliError> {
    let pid = client.status().await?.daemon.pid;
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| failed("read the daemon's memory", &error))?;
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
    });
    kib.map(|kib| kib / 1024.0)
        .ok_or_else(|| CliError::new(Kind::Failed, format!("{path} tells no VmRSS")))
}

/// Counts, and pages by several filters; the slowest filter is told.
async fn looks(
    client: &Client,
    queue: &str,
    waiting: u64,
    report: &mut super::report::Report<'_>,
) -> Result<(), CliError> {
    let name = |what: &str| format!("scale/{what} at {waiting} waiting");
    let mut times = Vec::new();
    for _ in 0..LOOKS {
        let since = Instant::now();
        client.queue(queue).await?;
        times.push(ms(since.elapsed()));
    }
    let counts = vec![percentile(&mut times, 99)];
    report.add(Line::alone(name("counts p99"), "ms", counts).goal(COUNTS_GOAL))?;
    let all = TaskQuery { queue: Some(queue.to_owned()), limit: Some(50), ..TaskQuery::default() };
    let mut slowest: (f64, String) = (0.0, String::new());
    for state in [
        None,
        Some(TaskState::Available),
        Some(TaskState::Retryable),
        Some(TaskState::Completed),
        Some(TaskState::Discarded),
    ] {
        let query = TaskQuery { state, ..all.clone() };
        let mut times = Vec::new();
        for _ in 0..LOOKS / 5 {
            let since = Instant::now();
            client.tasks(&query).await?;
            times.push(ms(since.elapsed()));
        }
        let worst = percentile(&mut times, 99);
        if worst >= slowest.0 {
            slowest = (worst, state.map_or_else(|| "all".to_owned(), |s| s.to_string()));
        }
    }
    let line =
        format!("scale/filtered page p99, slowest of 5 ({}), at {waiting} waiting", slowest.1);
    report.add(Line::alone(line, "ms", vec![slowest.0]).goal(PAGE_GOAL))
}

/// Lets the queue's worker take some tasks one by one; p99 of the gaps, in microseconds.
async fn claims(scene: &Scene, client: &Client, queue: &str) -> Result<f64, CliError> {
    let path = gaps_file(scene.folder(), queue);
    let before = gaps(&path)?.len();
    let last = nth_waiting(client, queue, TAKEN).await?;
    client.resume(queue).await?;
    let done = WaitRequest {
        conditions: vec![WaitCondition::TaskDone(last)],
        timeout_s: Some(PATIENCE.into()),
    };
    client.wait(&done).await?;
    client.pause(queue).await?;
    let mut new = gaps(&path)?.split_off(before);
    // The first gap is the pause before this run.
    new.drain(..new.len().min(1));
    if new.len() < usize::try_from(TAKEN / 2).unwrap_or(0) {
        return Err(CliError::new(
            Kind::Failed,
            format!("only {} gaps of {queue}'s worker were written", new.len()),
        ));
    }
    Ok(percentile(&mut new, 99))
}

/// The id of the n-th waiting task, walking pages.
async fn nth_waiting(
    client: &Client,
    queue: &str,
    n: u64,
) -> Result<ganger_core::TaskId, CliError> {
    let mut query = TaskQuery {
        queue: Some(queue.to_owned()),
        state: Some(TaskState::Available),
        limit: Some(1_000),
        ..TaskQuery::default()
    };
    let mut left = usize::try_from(n).unwrap_or(usize::MAX);
    loop {
        let page = client.tasks(&query).await?;
        if let Some(task) = page.tasks.get(left - 1) {
            return Ok(task.id);
        }
        left -= page.tasks.len();
        query.after = Some(
            page.next.ok_or_else(|| CliError::new(Kind::Failed, format!("{queue} ran empty")))?,
        );
    }
}

/// The worker's gaps so far, in microseconds.
fn gaps(path: &Path) -> Result<Vec<f64>, CliError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(bytes
            .chunks_exact(4)
            .map(|us| f64::from(u32::from_le_bytes([us[0], us[1], us[2], us[3]])))
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("read the worker's gaps", &error)),
    }
}

/// Everything down, the file out of the page cache where that can be had, everything up, until the first task is done:
/// that is after its claim, so the figure is an upper bound.
async fn cold_start(scene: &Scene, client: &Client, queue: &str) -> Result<f64, CliError> {
    let first = nth_waiting(client, queue, 1).await?;
    scene.verb(&["down"])?;
    forget_cache(&scene.folder().join(".ganger/state.db"));
    let since = Instant::now();
    scene.verb(&["up", "-d"])?;
    client.resume(queue).await?;
    let done = WaitRequest {
        conditions: vec![WaitCondition::TaskDone(first)],
        timeout_s: Some(PATIENCE.into()),
    };
    client.wait(&done).await?;
    let took = ms(since.elapsed());
    client.pause(queue).await?;
    Ok(took)
}

fn forget_cache(path: &Path) {
    if let Ok(file) = std::fs::File::open(path) {
        // Only a hint: a kernel that keeps the pages makes the start look faster, never slower.
        let _ = file.sync_all();
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
}
