//! `GET /tasks/{id}/log`: what the attempts of a task say, as a stream of events.
//!
//! Lines that workers send come from the store, of a running attempt from memory. A command says nothing but what it writes to
//! stderr: that is in the log of its place, from its start to its end, and read from there.

use std::os::fd::OwnedFd;

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use ganger_api::{ApiError, ErrorKind, Progress, TaskLogQuery, TaskWord, Timestamp, V1};
use ganger_core::{Stream, TaskId};
use ganger_logs::{Line, LogReader, Query, ReadError};
use ganger_pool::{Heard, TaskError};
use ganger_store::{AttemptRow, Said, SaidLine, TaskRow};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::error::Fault;
use super::extract::Params;
use super::sse;
use super::tasks::task_id;
use crate::app::{App, Full};
use crate::config::Protocol;

/// Chunks on their way to a listener: it may be slow, and then its teller waits.
const CHUNKS: usize = 4;
/// Lines of a command that are read of one attempt.
const STDERR_LINES: u64 = 500;
/// By so much the log may tell a line's time after the end of its process: the logger moves what is in a pipe within milliseconds.
const LATE_MS: u64 = 20;

pub(crate) async fn log(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(query): Params<TaskLogQuery>,
) -> Result<Response, Fault> {
    let id = task_id(&id)?;
    let permit = app.follower()?;
    // Listening begins before the past is read, so that nothing falls between the two.
    let live = if query.follow { Some(app.full()?.tasks.listen(id).await?) } else { None };
    let row = app.full()?.tasks.get(id).await?;
    let closing = query.follow.then(|| app.closing());
    let (chunks, stream) = mpsc::channel(CHUNKS);
    let teller =
        Teller { app, id, chunks, only: query.attempt, last: (0, 0), last_progress: (0, 0) };
    let telling = tokio::spawn(teller.run(row, query.tail, live));
    Ok(sse::answer(ReceiverStream::new(stream), closing, (permit, AbortOnDrop(telling))))
}

/// Ends the teller with its listener.
#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Teller {
    app: App,
    id: TaskId,
    chunks: mpsc::Sender<Bytes>,
    /// Only this attempt.
    only: Option<u32>,
    /// The last attempt told of, and its last line.
    last: (u32, u64),
    /// Of the last progress told: its attempt and its time.
    last_progress: (u32, u64),
}

/// Nobody listens any more.
struct Gone;

impl Teller {
    async fn run(mut self, row: TaskRow, tail: Option<u32>, live: Option<mpsc::Receiver<Heard>>) {
        // A listener that is gone needs no word of it.
        let _ = self.tell_all(row, tail, live).await;
    }

    async fn tell_all(
        &mut self,
        row: TaskRow,
        tail: Option<u32>,
        live: Option<mpsc::Receiver<Heard>>,
    ) -> Result<(), Gone> {
        let live = live.filter(|_| !row.state.is_final());
        let command = live.as_ref().and_then(|_| self.running_command(&row));
        let mut words = self.past(&row, command.as_ref().map(|(n, _)| *n)).await;
        if let Some(tail) = tail {
            let lines = words.iter().filter(|word| word.line.is_some()).count();
            let mut over = lines.saturating_sub(tail as usize);
            words.retain(|word| {
                let goes = over > 0 && word.line.is_some();
                over -= usize::from(goes);
                !goes
            });
        }
        self.tell(words).await?;
        let Some(mut live) = live else { return Ok(()) };
        let stderr = command.map(|(n, query)| self.follow_stderr(n, query));
        while let Some(heard) = live.recv().await {
            let Heard { attempt, said } = heard;
            let words = self.fresh(attempt, &said);
            self.tell(words).await?;
        }
        if let Some((stop, reading)) = stderr.and_then(Result::ok) {
            self.app.flush_logs().await;
            drop(stop);
            // It tells its own failure.
            drop(reading.await);
        }
        // What a slow listener missed at the end, and attempts of commands since.
        match self.full_task().await {
            Ok(row) => {
                let words = self.past(&row, None).await;
                self.tell(words).await
            }
            Err(error) => self.tell_error(&error).await,
        }
    }

    async fn full_task(&self) -> Result<TaskRow, TaskError> {
        match self.app.full() {
            Ok(full) => full.tasks.get(self.id).await,
            Err(_) => Err(TaskError::ShuttingDown),
        }
    }

    /// Everything that is known and not told, but of one attempt that is told otherwise.
    async fn past(&mut self, row: &TaskRow, but: Option<u32>) -> Vec<TaskWord> {
        let mut words = Vec::new();
        for attempt in &row.attempts {
            if but == Some(attempt.n) || self.only.is_some_and(|only| only != attempt.n) {
                continue;
            }
            match &attempt.said {
                Some(said) => words.extend(self.fresh(attempt.n, said)),
                None => match self.stderr_of(attempt).await {
                    Ok(lines) => words.extend(lines),
                    // The rest may be readable.
                    Err(error) => drop(self.tell_error(&error).await),
                },
            }
        }
        words
    }

    /// What of these words is not told yet; the lines first.
    fn fresh(&mut self, attempt: u32, said: &Said) -> Vec<TaskWord> {
        if self.only.is_some_and(|only| only != attempt) || attempt < self.last.0 {
            return Vec::new();
        }
        let told = if self.last.0 == attempt { self.last.1 } else { 0 };
        let lines = said.numbered().filter(|(n, _)| *n > told);
        let mut words: Vec<TaskWord> = lines.map(|(n, line)| word(attempt, n, line)).collect();
        self.last = (attempt, told.max(said.total));
        let newer = |said: &&ganger_store::Progress| (attempt, said.at_ms) > self.last_progress;
        let newest = said.progress.as_ref().filter(newer);
        self.last_progress = newest.map_or(self.last_progress, |said| (attempt, said.at_ms));
        words.extend(newest.map(|said| TaskWord {
            v: V1,
            attempt,
            n: None,
            ts: Timestamp(said.at_ms),
            line: None,
            progress: Some(progress(said)),
        }));
        words
    }

    /// The attempt that runs, when it is a command's, and where its words are.
    fn running_command(&self, row: &TaskRow) -> Option<(u32, Query)> {
        let attempt = row.attempts.last().filter(|attempt| attempt.ended_at_ms.is_none())?;
        Some((attempt.n, self.place_of(attempt)?))
    }

    /// The lines of a command's place from an attempt's start to its end.
    fn place_of(&self, attempt: &AttemptRow) -> Option<Query> {
        let (name, slot) = attempt.worker.rsplit_once('#')?;
        is_command(self.app.full().ok()?, name).then_some(())?;
        Some(Query {
            slot: slot.parse().ok(),
            stream: Some(Stream::Stderr),
            since_ms: Some(attempt.started_at_ms?),
            until_ms: attempt.ended_at_ms.map(|at| at + LATE_MS),
            ..Query::of([name])
        })
    }

    async fn stderr_of(&mut self, attempt: &AttemptRow) -> Result<Vec<TaskWord>, ReadError> {
        let n = attempt.n;
        if n <= self.last.0 {
            return Ok(Vec::new());
        }
        let Some(query) = self.place_of(attempt) else { return Ok(Vec::new()) };
        self.last = (n, 0);
        self.app.flush_logs().await;
        let logs = self.app.logs();
        let query = Query { tail_n: Some(STDERR_LINES), ..query };
        let read = move || logs.read(&query)?.collect::<Result<Vec<Line>, ReadError>>();
        // A reader that broke was told by its panic; there is nothing to show of it.
        let lines = tokio::task::spawn_blocking(read).await.unwrap_or(Ok(Vec::new()))?;
        Ok(lines.into_iter().map(|line| stderr_word(n, line)).collect())
    }

    /// Tells what a command writes to stderr until the other end of the pipe is dropped.
    fn follow_stderr(
        &mut self,
        attempt: u32,
        query: Query,
    ) -> Result<(OwnedFd, tokio::task::JoinHandle<()>), rustix::io::Errno> {
        self.last = (attempt, 0);
        let (stop, stopped) = pipe_with(PipeFlags::CLOEXEC)?;
        let (logs, to) = (self.app.logs(), self.chunks.clone());
        // The reader blocks on files, so it has a thread.
        let reading = tokio::task::spawn_blocking(move || {
            if let Err(error) = follow(&logs, &query, stop, attempt, &to) {
                let mut out = Vec::new();
                sse::write_error(&mut out, &ApiError::from_error(ErrorKind::Failed, &error));
                drop(to.blocking_send(out.into()));
            }
        });
        Ok((stopped, reading))
    }

    async fn tell(&self, words: Vec<TaskWord>) -> Result<(), Gone> {
        if words.is_empty() {
            return Ok(());
        }
        let mut out = Vec::new();
        for word in words {
            sse::write(&mut out, None, &word);
        }
        self.chunks.send(out.into()).await.map_err(|_| Gone)
    }

    async fn tell_error(&self, error: &(dyn std::error::Error + Sync)) -> Result<(), Gone> {
        let mut out = Vec::new();
        sse::write_error(&mut out, &ApiError::from_error(ErrorKind::Failed, error));
        self.chunks.send(out.into()).await.map_err(|_| Gone)
    }
}

fn is_command(full: &Full, pool: &str) -> bool {
    let desired = full.desired();
    desired.config.pools.get(pool).is_some_and(|pool| pool.protocol == Protocol::Command)
}

fn follow(
    logs: &LogReader,
    query: &Query,
    stop: OwnedFd,
    attempt: u32,
    to: &mpsc::Sender<Bytes>,
) -> Result<(), ReadError> {
    for line in logs.follow(query, stop)? {
        let mut out = Vec::new();
        sse::write(&mut out, None, &stderr_word(attempt, line?));
        if to.blocking_send(out.into()).is_err() {
            break;
        }
    }
    Ok(())
}

fn stderr_word(attempt: u32, line: Line) -> TaskWord {
    let ts = Timestamp(line.ts_ms());
    TaskWord { v: V1, attempt, n: None, ts, line: Some(line.line), progress: None }
}

/// A line as the API writes it.
pub(super) fn word(attempt: u32, n: u64, line: &SaidLine) -> TaskWord {
    TaskWord {
        v: V1,
        attempt,
        n: Some(n),
        ts: Timestamp(line.at_ms),
        line: Some(line.text.to_string()),
        progress: None,
    }
}

/// A progress as the API writes it.
pub(super) fn progress(said: &ganger_store::Progress) -> Progress {
    let text = || serde_json::Value::String(said.value.to_string());
    Progress {
        // JSON that a Rust value can't hold (a lone surrogate) is shown as text.
        value: serde_json::from_str(&said.value).unwrap_or_else(|_| text()),
        percent: said.percent(),
        message: said.message.as_ref().map(ToString::to_string),
        at: Timestamp(said.at_ms),
    }
}
