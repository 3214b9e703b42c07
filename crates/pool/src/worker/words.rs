//! The last words of a process, for the error of the attempts that died with it.

use std::time::Duration;

use ganger_core::{InstanceId, Stream};
use ganger_logs::read::{LogReader, Query};
use ganger_process::Processes;

/// Lines kept: enough for a short backtrace, few enough for one screen.
const LINES: u64 = 10;

/// Longest line kept, in bytes.
const LINE_MAX: usize = 512;

/// How long they may take: the logger moves what is in its pipes within milliseconds, and a retry must not wait for more.
const WAIT: Duration = Duration::from_secs(2);

/// A log's times are those of its chunks, and a start is stamped once exec has worked: words of the first milliseconds look a
/// little older than their process.
const SLACK_MS: u64 = 20;

/// From when on the words in a place are those of a process that started at one moment, the one before it having ended at another.
pub(crate) fn since(started_at_ms: u64, last_end_ms: u64) -> u64 {
    // The last words of the one before may bear the very millisecond of its end.
    started_at_ms.saturating_sub(SLACK_MS).max(last_end_ms + 1)
}

/// What the instance wrote to stderr since a moment (wall clock, milliseconds since 1970); empty when it can't be had in time.
pub(crate) async fn last(
    processes: Processes,
    logs: LogReader,
    id: InstanceId,
    since_ms: u64,
) -> Vec<String> {
    let read = async {
        processes.flush_logs().await.ok()?;
        let query = Query {
            slot: Some(id.slot),
            stream: Some(Stream::Stderr),
            since_ms: Some(since_ms),
            tail_n: Some(LINES),
            ..Query::of([id.name])
        };
        let lines = move || logs.read(&query).map(|lines| lines.map(text).collect::<Vec<_>>());
        tokio::task::spawn_blocking(lines).await.ok()?.ok()
    };
    tokio::time::timeout(WAIT, read).await.ok().flatten().unwrap_or_default()
}

fn text<E>(line: Result<ganger_logs::read::Line, E>) -> String {
    let mut text = line.map(|line| line.line).unwrap_or_default();
    if text.len() > LINE_MAX {
        text.truncate(text.floor_char_boundary(LINE_MAX));
        text.push('…');
    }
    text
}
