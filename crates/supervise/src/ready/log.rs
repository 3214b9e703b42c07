//! Readiness by a line of the log.

use ganger_core::InstanceId;
use ganger_logs::read::{LogReader, Query};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Found;

/// Returns when a line that came after `since_ms` matches. Dropped, it stops the reading thread through its stop pipe.
pub(super) async fn has_line(
    logs: LogReader,
    id: InstanceId,
    pattern: String,
    since_ms: u64,
) -> Found {
    let (stop, _until_dropped) = match pipe_with(PipeFlags::CLOEXEC) {
        Ok(ends) => ends,
        Err(error) => return Found::Never(format!("can't follow the log: {error}")),
    };
    let mut query = match Query::of([id.name]).grep(&pattern) {
        Ok(query) => query,
        Err(error) => return Found::Never(error.to_string()),
    };
    query.slot = Some(id.slot);
    query.since_ms = Some(since_ms);
    // inotify and files block, so a thread of the blocking pool does it; more than 512 at once take turns.
    let follow = move || match logs.follow(&query, stop) {
        Ok(mut lines) => match lines.next() {
            Some(Ok(_)) => Found::Ready(None),
            Some(Err(error)) => Found::Never(error.to_string()),
            None => Found::Never("the log can't be followed any more".into()),
        },
        Err(error) => Found::Never(error.to_string()),
    };
    match tokio::task::spawn_blocking(follow).await {
        Ok(found) => found,
        Err(error) => Found::Never(format!("the thread that follows the log ended: {error}")),
    }
}
