//! The client's side: tasks out, results in, the clock.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_api::client::{Results, TaskSink};
use ganger_api::{Client, NewTask};

use crate::error::{CliError, Kind};

/// Tasks on their way at any time.
pub(super) const IN_FLIGHT: u64 = 256;
/// Connections of the single pushes.
pub(super) const CONNECTIONS: u64 = 32;
/// Size of a task as it is pushed, in bytes.
const TASK_BYTES: usize = 200;

/// Kind of every task.
pub(super) const KIND: &str = "noop";

/// One no-op task as a line of JSON, `TASK_BYTES` long with its line feed.
pub(super) fn line() -> String {
    format!("{{\"kind\":\"{KIND}\",\"payload\":{}}}\n", payload())
}

/// Its payload, as JSON.
pub(super) fn payload() -> String {
    let around = "{\"kind\":\"\",\"payload\":{\"text\":\"\"}}\n".len() + KIND.len();
    format!("{{\"text\":\"{}\"}}", "x".repeat(TASK_BYTES - around))
}

/// The same as the client has it.
pub(super) fn task() -> Result<NewTask, CliError> {
    serde_json::from_str(&line())
        .map_err(|error| CliError::new(Kind::Failed, format!("the bench's task: {error}")))
}

/// Pushes `tasks` over one connection, `in_flight` at a time, until all results are here.
pub(super) async fn stream(
    client: &Client,
    queue: &str,
    tasks: u64,
    in_flight: u64,
) -> Result<Duration, CliError> {
    let (sink, mut results) = client.stream(queue).await?;
    let line = line();
    let since = Instant::now();
    let mut pushed = 0;
    let mut done = 0;
    push(&sink, &line, in_flight.min(tasks), &mut pushed).await?;
    while done < tasks {
        let arrived = arrived(&mut results).await?;
        done += arrived;
        push(&sink, &line, arrived.min(tasks - pushed), &mut pushed).await?;
    }
    Ok(since.elapsed())
}

/// One task at a time; the time of each.
pub(super) async fn latencies(
    client: &Client,
    queue: &str,
    tasks: u64,
) -> Result<Vec<Duration>, CliError> {
    let (sink, mut results) = client.stream(queue).await?;
    let line = line();
    let mut times = Vec::new();
    let mut pushed = 0;
    for _ in 0..tasks {
        let since = Instant::now();
        push(&sink, &line, 1, &mut pushed).await?;
        arrived(&mut results).await?;
        times.push(since.elapsed());
    }
    Ok(times)
}

/// `CONNECTIONS` connections that push one task after another, until `pushes` are acknowledged.
pub(super) async fn single_pushes(
    client: &Client,
    queue: &str,
    pushes: u64,
) -> Result<Duration, CliError> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(client.connect().await?);
    }
    let tasks = vec![task()?];
    let since = Instant::now();
    let mut pushers = tokio::task::JoinSet::new();
    for mut connection in connections {
        let (client, queue, tasks) = (client.clone(), queue.to_owned(), tasks.clone());
        pushers.spawn(async move {
            for _ in 0..pushes / CONNECTIONS {
                connection.push(&client, &queue, &tasks).await?;
            }
            Ok::<(), CliError>(())
        });
    }
    while let Some(ended) = pushers.join_next().await {
        ended
            .map_err(|error| CliError::new(Kind::Failed, format!("a pusher broke: {error}")))??;
    }
    Ok(since.elapsed())
}

async fn push(sink: &TaskSink, line: &str, count: u64, pushed: &mut u64) -> Result<(), CliError> {
    if count > 0 {
        let lines = line.repeat(usize::try_from(count).unwrap_or(0));
        sink.push_lines(Bytes::from(lines)).await?;
        *pushed += count;
    }
    Ok(())
}

/// Waits for a result and takes those that are there with it. Each must say that its task completed.
async fn arrived(results: &mut Results) -> Result<u64, CliError> {
    let mut count = 0;
    loop {
        let line = if count == 0 {
            results.next_line().await?
        } else {
            tokio::select! {
                biased;
                line = results.next_line() => line?,
                () = std::future::ready(()) => return Ok(count),
            }
        };
        let line = line.ok_or_else(|| {
            CliError::new(Kind::NoDaemon, "the daemon ended the stream before all results came")
        })?;
        if !is_completed(&line) {
            let line = String::from_utf8_lossy(&line).into_owned();
            return Err(CliError::new(Kind::Failed, format!("a task of the bench failed: {line}")));
        }
        count += 1;
    }
}

fn is_completed(line: &[u8]) -> bool {
    const STATE: &[u8] = b"\"state\":\"completed\"";
    line.windows(STATE.len()).any(|window| window == STATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_its_size_and_shape() {
        let line = line();
        assert_eq!(line.len(), TASK_BYTES);
        let task: NewTask = serde_json::from_str(&line).unwrap();
        assert_eq!(task.kind, "noop");
    }

    #[test]
    fn only_completed_counts() {
        assert!(is_completed(br#"{"v":1,"id":"x","state":"completed","result":null}"#));
        assert!(!is_completed(br#"{"v":1,"id":"x","state":"discarded","error":"completed"}"#));
    }
}
