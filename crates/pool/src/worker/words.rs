//! The last words of a process, for the error of the attempts that died with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ganger_core::{InstanceId, Stream};
use ganger_logs::read::{Line, Query, ReadError};
use ganger_supervise::Surroundings;

/// Lines kept: enough for a short backtrace, few enough for one screen.
const LINES: u64 = 10;

/// Longest line kept, in bytes.
const LINE_MAX: usize = 512;

/// How long they may take: the logger moves what is in its pipes within milliseconds, and a retry must not wait for more.
const WAIT: Duration = Duration::from_secs(2);

/// A log's times are those of its chunks, and a start is stamped once exec has worked: words of the first milliseconds look a
/// little older than their process.
const SLACK_MS: u64 = 20;

/// The last words of the processes of one place, each line told once.
///
/// A process that follows at once shares the log with the one before it, whose last line may even be stamped after its end. What
/// was told for the one is not told for the next. The number is the only state; it is shared with calls that are under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    told_ns: Arc<AtomicU64>,
}

impl Words {
    /// What a process that started then (wall clock, milliseconds since 1970) wrote to stderr last; empty when it can't be had
    /// in time.
    pub(crate) async fn last(
        self,
        around: Surroundings,
        id: InstanceId,
        started_at_ms: u64,
    ) -> Vec<String> {
        let read = async {
            around.processes.flush_logs().await.ok()?;
            let query = Query {
                slot: Some(id.slot),
                stream: Some(Stream::Stderr),
                since_ms: Some(started_at_ms.saturating_sub(SLACK_MS)),
                tail_n: Some(LINES),
                ..Query::of([id.name])
            };
            let told = self.told_ns.load(Ordering::Relaxed);
            let read = move || {
                let lines = around.logs.read(&query)?;
                lines.filter(|l| l.as_ref().map_or(true, |l| l.ts_ns > told)).collect()
            };
            let lines: Result<Vec<Line>, ReadError> =
                tokio::task::spawn_blocking(read).await.ok()?;
            lines.ok()
        };
        let lines = tokio::time::timeout(WAIT, read).await.ok().flatten().unwrap_or_default();
        if let Some(newest) = lines.last() {
            self.told_ns.fetch_max(newest.ts_ns, Ordering::Relaxed);
        }
        lines.into_iter().map(|line| cut(line.line)).collect()
    }
}

fn cut(mut text: String) -> String {
    if text.len() > LINE_MAX {
        text.truncate(text.floor_char_boundary(LINE_MAX));
        text.push('…');
    }
    text
}
