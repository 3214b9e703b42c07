//! One figure: warm-up, then runs of ganger and of the limit in turn.

use std::time::Duration;

use super::plan::Figure;
use super::report::Line;
use super::scene::{PUSHES, Scene};
use super::{limits, load};
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

/// Measures one figure.
pub(super) async fn figure(scene: &Scene, figure: &Figure, runs: u32) -> Result<Line, CliError> {
    match figure {
        Figure::Spawn => {
            let ours = Rate::of(scene, "spawn".to_owned()).await?;
            rates("spawn", "processes/s", "fork+exec", runs, ours, || {
                Ok(per_second(FORKS, limits::fork_exec(FORKS)?))
            })
            .await
        }
        Figure::Throughput { worker } => {
            let ours = Rate::of(scene, worker.clone()).await?;
            let tasks = ours.tasks;
            let name = format!("dispatch/{worker}");
            rates(&name, "tasks/s", "bare workers by pipe", runs, ours, || {
                Ok(per_second(tasks, limits::bare_workers(scene.binary(), tasks)?))
            })
            .await
        }
        Figure::Latency { worker, pinned } => latency(scene, worker, *pinned, runs).await,
        Figure::Durability(durability) => {
            let ours = Rate::of(scene, format!("q-{durability}")).await?;
            rates(&format!("queue/{durability}"), "tasks/s", "fdatasync", runs, ours, || {
                disk(scene)
            })
            .await
        }
        Figure::SinglePushes => single_pushes(scene, runs).await,
    }
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
        limits.push(median_us(limits::round_trips(scene.binary(), LATENCY_TASKS)?));
        values.push(median_us(load::latencies(&client, worker, LATENCY_TASKS).await?));
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
    Ok(Line::new(name, "pushes/s", "fdatasync", values, limits))
}

/// Syncs a second that the disk does, by the median.
fn disk(scene: &Scene) -> Result<f64, CliError> {
    Ok(1e6 / median_us(limits::fdatasyncs(scene.folder(), SYNCS)?).max(0.1))
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

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

fn median_us(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}
