//! From a push to the first instruction of a worker that has nothing to do, one task at a time.
//!
//! ```text
//! idle ── push begins ──HTTP──► daemon ── commit with fsync ── line ──► worker reads its clock ── idle
//!         CLOCK_MONOTONIC here                                         the same clock there
//! ```

use std::time::Duration;

use ganger_api::client::Connection;
use ganger_api::{Client, WaitCondition, WaitRequest};
use ganger_core::{TaskId, TaskState};

use super::load;
use super::worker::Clocks;
use crate::error::{CliError, Kind};

/// Its queue and pool.
pub(super) const QUEUE: &str = "idle";
/// Nothing happens for so long before and after each push: the outcome's commit is long done, and the CPUs sleep.
const IDLE: Duration = Duration::from_millis(10);
/// A task that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time of each of `pushes`, over one connection that stays open.
pub(super) async fn starts(client: &Client, pushes: u64) -> Result<Vec<Duration>, CliError> {
    let mut connection = client.connect().await?;
    let task = [load::task()?];
    let mut times = Vec::new();
    for _ in 0..pushes {
        tokio::time::sleep(IDLE).await;
        let before = Clocks::now();
        let id = push(&mut connection, client, &task).await?;
        // Asked for only later, so that the asking takes nothing from the start.
        tokio::time::sleep(IDLE).await;
        let began = began(client, id).await?;
        let us = began.monotonic_us.checked_sub(before.monotonic_us);
        let us = us.ok_or_else(|| CliError::new(Kind::Failed, "a task began before its push"))?;
        times.push(Duration::from_micros(us));
    }
    Ok(times)
}

async fn push(
    connection: &mut Connection,
    client: &Client,
    task: &[ganger_api::NewTask; 1],
) -> Result<TaskId, CliError> {
    let pushed = connection.push(client, QUEUE, task).await?;
    let id = pushed.ids.first().copied();
    id.ok_or_else(|| CliError::new(Kind::Failed, "a push was answered without an id"))
}

/// When a task began, as its worker told in its result. Waits for its end.
pub(super) async fn began(client: &Client, id: TaskId) -> Result<Clocks, CliError> {
    let done = WaitRequest {
        conditions: vec![WaitCondition::TaskDone(id)],
        timeout_s: Some(PATIENCE.into()),
    };
    client.wait(&done).await?;
    let task = client.task(id).await?;
    let result = task.result.filter(|_| task.state == TaskState::Completed);
    let clocks = result.and_then(|result| serde_json::from_str(result.get()).ok());
    clocks.ok_or_else(|| {
        CliError::new(Kind::Failed, format!("task {id} of the bench ended as {}", task.state))
    })
}
