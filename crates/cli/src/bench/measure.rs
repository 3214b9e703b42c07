//! One figure: warm-up, then runs of ganger and of the limit in turn.

use std::time::Duration;

use ganger_core::Durability;

use super::numbers::{per_second, percentile_us};
use super::plan::Figure;
use super::report::{Goal, Line};
use super::scene::{PUSHES, Scene};
use super::{cycle, fires, idle, limits, load};
use crate::error::CliError;

/// A run is made about this long, from the rate of the warm-up.
const RUN: Duration = Duration::from_millis(1_500);
/// Tasks of a warm-up.
const WARM_UP: u64 = 512;
/// A run has at least and at most so many tasks.
const TASKS: (u64, u64) = (512, 400_000);
/// Tasks of a latency run, and round trips of its limit.
const LATENCY_TASKS: u64 = 500;
/// Processes of a run of the spawn limit.
const FORKS: u64 = 500;
/// Syncs of a run of the disk's limit.
const SYNCS: u64 = 100;
/// Pushes of a run to an idle worker: about two seconds.
const IDLE_PUSHES: u64 = 100;
/// A warm idle worker's median start is meant to come so much after the disk's own sync, in microseconds.
const START_GOAL: f64 = 1_500.0;
/// p99 of how late a fire's task starts, in microseconds.
const FIRE_GOAL: f64 = 20_000.0;
/// Tasks a second through the store alone.
const CYCLE_GOAL: f64 = 100_000.0;
/// Tasks a second from end to end on an `fsync` queue.
const FSYNC_GOAL: f64 = 40_000.0;
/// Single pushes a second.
const PUSH_GOAL: f64 = 25_000.0;

/// Measures one figure; some have more than one line.
pub(super) async fn figure(
    scene: &Scene,
    figure: &Figure,
    runs: u32,
) -> Result<Vec<Line>, CliError> {
    let line = match figure {
        Figure::Spawn => spawn(scene, runs).await,
        Figure::Throughput { worker } => throughput(scene, worker, runs).await,
        Figure::Latency { worker, pinned } => latency(scene, worker, *pinned, runs).await,
        Figure::Durability(durability) => by_durability(scene, *durability, runs).await,
        Figure::SinglePushes => single_pushes(scene, runs).await,
        Figure::StoreCycle => store_cycle(scene, runs),
        Figure::IdleStart => return idle_start(scene, runs).await,
        Figure::Fires => return fire_errors(scene, runs).await,
    };
    Ok(vec![line?])
}

async fn spawn(scene: &Scene, runs: u32) -> Result<Line, CliError> {
    let ours = Rate::of(scene, "spawn".to_owned()).await?;
    let forks = || Ok(per_second(FORKS, limits::fork_exec(FORKS)?));
    rates("spawn", "processes/s", "fork+exec", runs, ours, forks).await
}

async fn throughput(scene: &Scene, worker: &str, runs: u32) -> Result<Line, CliError> {
    let ours = Rate::of(scene, worker.to_owned()).await?;
    let tasks = ours.tasks;
    let name = format!("dispatch/{worker}");
    let bare = || Ok(per_second(tasks, limits::bare_workers(scene.binary(), tasks)?));
    rates(&name, "tasks/s", "bare workers by pipe", runs, ours, bare).await
}

async fn by_durability(scene: &Scene, durability: Durability, runs: u32) -> Result<Line, CliError> {
    let ours = Rate::of(scene, format!("q-{durability}")).await?;
    let name = format!("queue/{durability}");
    let line = rates(&name, "tasks/s", "fdatasync", runs, ours, || disk(scene)).await?;
    let fsync = durability == Durability::Fsync;
    Ok(if fsync { line.goal(Goal::AtLeast(FSYNC_GOAL)) } else { line })
}

/// A stream of tasks whose length makes a run of about [`RUN`].
struct Rate {
    client: ganger_api::Client,
    queue: String,
    tasks: u64,
}

impl Rate {
    async fn of(scene: &Scene, queue: String) -> Result<Self, CliError> {
        let client = scene.client();
        let took = load::stream(&client, &queue, WARM_UP, load::IN_FLIGHT).await?;
        Ok(Self { client, queue, tasks: tasks_for(WARM_UP, took) })
    }

    async fn run(&self) -> Result<f64, CliError> {
        let took = load::stream(&self.client, &self.queue, self.tasks, load::IN_FLIGHT).await?;
        Ok(per_second(self.tasks, took))
    }
}

async fn rates(
    name: &str,
    unit: &'static str,
    limit_name: &'static str,
    runs: u32,
    ours: Rate,
    limit: impl Fn() -> Result<f64, CliError>,
) -> Result<Line, CliError> {
    let (mut values, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        limits.push(limit()?);
        values.push(ours.run().await?);
    }
    Ok(Line::new(name.to_owned(), unit, limit_name, values, limits))
}

/// Median time from push to result with one task in flight, beside a round trip through a bare worker's pipes.
async fn latency(scene: &Scene, worker: &str, pinned: bool, runs: u32) -> Result<Line, CliError> {
    let client = scene.client();
    load::stream(&client, worker, WARM_UP, 1).await?;
    let (mut values, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let bare = limits::round_trips(scene.binary(), LATENCY_TASKS)?;
        limits.push(percentile_us(&bare, 50));
        let ours = load::latencies(&client, worker, LATENCY_TASKS).await?;
        values.push(percentile_us(&ours, 50));
    }
    let where_ = if pinned { "pinned" } else { "unpinned" };
    let name = format!("dispatch/{worker} latency {where_}");
    Ok(Line::new(name, "us", "pipe round trip", values, limits))
}

async fn single_pushes(scene: &Scene, runs: u32) -> Result<Line, CliError> {
    let client = scene.client();
    let took = load::single_pushes(&client, PUSHES, WARM_UP).await?;
    let pushes = tasks_for(WARM_UP, took);
    let (mut values, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        limits.push(disk(scene)?);
        let took = load::single_pushes(&client, PUSHES, pushes).await?;
        values.push(per_second(pushes / load::CONNECTIONS * load::CONNECTIONS, took));
    }
    let name = format!("queue/single pushes from {} connections", load::CONNECTIONS);
    let line = Line::new(name, "pushes/s", "fdatasync", values, limits);
    Ok(line.goal(Goal::AtLeast(PUSH_GOAL)))
}

/// The store without daemon and workers, in a database beside the scene's.
fn store_cycle(scene: &Scene, runs: u32) -> Result<Line, CliError> {
    let (mut values, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        limits.push(disk(scene)?);
        values.push(cycle::cycles(scene.folder(), RUN)?);
    }
    let name = format!("queue/store cycle, batches of {}", cycle::BATCH);
    let line = Line::new(name, "tasks/s", "fdatasync", values, limits);
    Ok(line.goal(Goal::AtLeast(CYCLE_GOAL)))
}

async fn idle_start(scene: &Scene, runs: u32) -> Result<Vec<Line>, CliError> {
    let client = scene.client();
    // Both workers are warm then.
    load::stream(&client, idle::QUEUE, WARM_UP, load::IN_FLIGHT).await?;
    let mut times = Percentiles::default();
    for _ in 0..runs {
        let limit = limits::fdatasyncs(scene.folder(), SYNCS)?;
        times.add(&idle::starts(&client, IDLE_PUSHES).await?, &limit);
    }
    let [p50, p99] = times.lines("queue/idle push to start", "fdatasync");
    Ok(vec![p50.goal_by_limit(|sync| Goal::AtMost(sync + START_GOAL)), p99])
}

async fn fire_errors(scene: &Scene, runs: u32) -> Result<Vec<Line>, CliError> {
    let client = scene.client();
    let mut times = Percentiles::default();
    for _ in 0..runs {
        let limit = limits::timers(scene.folder(), SYNCS)?;
        times.add(&fires::errors(&client).await?, &limit);
    }
    let [p50, p99] = times.lines("queue/schedule fire error", "timer, fdatasync");
    Ok(vec![p50, p99.goal(Goal::AtMost(FIRE_GOAL))])
}

/// p50 and p99 of each run and of the limit beside it, in microseconds.
#[derive(Debug, Default)]
struct Percentiles {
    values: [Vec<f64>; 2],
    limits: [Vec<f64>; 2],
}

impl Percentiles {
    const WHICH: [usize; 2] = [50, 99];

    fn add(&mut self, times: &[Duration], limit: &[Duration]) {
        for (at, percent) in Self::WHICH.into_iter().enumerate() {
            self.values[at].push(percentile_us(times, percent));
            self.limits[at].push(percentile_us(limit, percent));
        }
    }

    fn lines(self, name: &str, limit_name: &'static str) -> [Line; 2] {
        let Self { values: [p50, p99], limits: [limit50, limit99] } = self;
        let line = |which: &str, values, limits| {
            Line::new(format!("{name} {which}"), "us", limit_name, values, limits)
        };
        [line("p50", p50, limit50), line("p99", p99, limit99)]
    }
}

/// Syncs a second that the disk does, by the median.
fn disk(scene: &Scene) -> Result<f64, CliError> {
    Ok(1e6 / percentile_us(&limits::fdatasyncs(scene.folder(), SYNCS)?, 50).max(0.1))
}

fn tasks_for(done: u64, took: Duration) -> u64 {
    let rate = per_second(done, took);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is clamped to a range of small positive numbers"
    )]
    let tasks = (rate * RUN.as_secs_f64()) as u64;
    tasks.clamp(TASKS.0, TASKS.1)
}
