//! The channel to one worker process, and how its messages are meant.

use bytes::Bytes;
use ganger_ipc::broker::{Guest, refuse_word};
use ganger_ipc::channel::{self, ChannelError, ChannelReader, ChannelWriter};
use ganger_ipc::envelope::{self, BatchLine, NODE_HANDLE_ACK, TaskOut};
use ganger_ipc::raw::{self, RawMessage};
use ganger_ipc::{FromWorker, Garbage, Hello, Internal, SyncAnswer, TaskAnswer, TaskFailure};
use ganger_process::Ends;
use ganger_queue::{Attempt, How, Now};
use ganger_store::AttemptError;

use super::load::Load;
use crate::attempt::Report;
use crate::spec::{PoolSpec, Protocol};

/// How the process is talked with, and what it has said of itself.
#[derive(Debug)]
pub(crate) struct Link {
    reader: ChannelReader,
    writer: ChannelWriter,
    raw: bool,
    /// It takes and sends arrays.
    batch: bool,
    /// It has sent anything at all.
    pub heard: bool,
    /// The end of the stream came.
    pub closed: bool,
}

/// What one look at the channel brought.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub reports: Vec<Report>,
    /// Answers of any kind, also stale ones: what the worker counts. Since `sync` where there is one.
    pub answers: u64,
    pub hello: Option<Hello>,
    pub sync: Option<SyncAnswer>,
    /// Number of the newest answer to a ping.
    pub pong: Option<u64>,
    pub ready: bool,
    pub garbage: Vec<Garbage>,
    /// Messages with no task they could belong to.
    pub stray: u64,
    /// Words that are no task's, and what was wrong with them.
    pub refused: Option<String>,
    /// Lines for it that say so.
    answers_to_words: Vec<u8>,
}

/// Unreadable lines kept of one look: they are shown to people, not processed.
const GARBAGE_KEPT: usize = 16;

impl Link {
    /// Opens the ends that a started process left us.
    pub(crate) fn open(spec: &PoolSpec, ends: Ends) -> Result<Self, ChannelError> {
        let missing = || ChannelError::Io {
            step: "open",
            source: std::io::Error::other("the keeper did not send its descriptor"),
        };
        let (reader, writer) = match spec.protocol {
            Protocol::Channel => {
                channel::from_socket(ends.channel.ok_or_else(missing)?, spec.line_max)?
            }
            Protocol::Stdio | Protocol::Command => {
                let (stdin, stdout) = ends.stdin.zip(ends.stdout).ok_or_else(missing)?;
                channel::from_pipes(stdin, stdout, spec.line_max)?
            }
        };
        Ok(Self { reader, writer, raw: spec.raw, batch: false, heard: false, closed: false })
    }

    /// Waits for bytes, if `reads`, or for room to write what is queued. Cancel safe.
    pub(crate) async fn ready(&mut self, reads: bool) -> Result<(), ChannelError> {
        let Self { reader, writer, heard, closed, .. } = self;
        tokio::select! {
            read = reader.fill(), if reads && !*closed => {
                *heard |= matches!(read, Ok(1..));
                *closed |= !matches!(read, Ok(1..));
                read.map(|_| ())
            }
            wrote = writer.flush(), if writer.queued() > 0 && !*closed => wrote,
            else => std::future::pending().await,
        }
    }

    /// Reads what is left of a process that is gone.
    pub(crate) fn drain(&mut self) {
        // A failing read is an end like another here.
        while let Ok(Some(1..)) = self.reader.try_fill() {
            self.heard = true;
        }
        self.closed = true;
    }

    /// Takes every whole line that has been read.
    pub(crate) fn hear(
        &mut self,
        load: &mut Load,
        mut guest: Option<&mut Guest>,
        now: Now,
    ) -> Result<Heard, ChannelError> {
        let mut heard = Heard::default();
        let mut handles = 0;
        while let Some(line) = self.reader.next_line()? {
            let garbage = if self.raw {
                hear_raw(line, load, now, &mut heard, &mut handles)
            } else {
                hear_envelope(line, load, now, &mut heard, (&mut handles, guest.as_deref_mut()))
            };
            if let Err(garbage) = garbage
                && heard.garbage.len() < GARBAGE_KEPT
            {
                heard.garbage.push(garbage);
            }
        }
        for _ in 0..handles {
            self.writer.queue().extend_from_slice(NODE_HANDLE_ACK);
        }
        if handles > 0
            && let Some(guest) = guest
        {
            heard.refused = Some(guest.refuse_descriptor());
        }
        // A process that does not read is told less.
        if !self.writer.is_full() {
            self.writer.queue().append(&mut heard.answers_to_words);
        }
        if let Some(hello) = &heard.hello {
            self.batch = hello.batch;
        }
        Ok(heard)
    }

    /// Queues every attempt that may go out now, as one write.
    pub(crate) fn send(&mut self, load: &mut Load, now: Now) {
        if self.closed || self.writer.is_full() {
            return;
        }
        let mut room = channel::QUEUED_MAX - self.writer.queued().min(channel::QUEUED_MAX);
        let mut more = |task: &Attempt| {
            room = room.saturating_sub(task.payload.len());
            room > 0
        };
        let queue = self.writer.queue();
        if self.raw {
            load.send(now, |task| {
                raw::put_payload(queue, &task.payload);
                more(task)
            });
            return;
        }
        let mut batch = BatchLine::new(queue, self.batch);
        load.send(now, |task| {
            batch.task(&TaskOut {
                id: task.id,
                kind: task.kind.as_deref().unwrap_or_default(),
                payload: &task.payload,
                attempt: task.n,
                queue: &task.queue,
                token: task.token,
            });
            more(task)
        });
        batch.end();
    }

    /// Queues a control message; raw workers know none.
    pub(crate) fn control(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        if !self.raw && !self.closed {
            put(self.writer.queue());
        }
    }

    /// True while the worker does not read.
    pub(crate) fn is_full(&self) -> bool {
        self.writer.is_full()
    }

    /// Writes what fits now.
    pub(crate) fn flush(&mut self) -> Result<(), ChannelError> {
        self.writer.try_flush().map(|_| ())
    }

    /// The worker reads the end of its channel.
    pub(crate) fn goodbye(&mut self) {
        self.writer.shutdown();
    }
}

fn hear_raw(
    line: &[u8],
    load: &mut Load,
    now: Now,
    heard: &mut Heard,
    handles: &mut usize,
) -> Result<(), Garbage> {
    match raw::parse(line)? {
        None | Some(RawMessage::Internal(Internal::Other)) => {}
        Some(RawMessage::Internal(Internal::Handle)) => *handles += 1,
        Some(RawMessage::Ready) => heard.ready = true,
        Some(RawMessage::Value(value)) => match load.in_lane() {
            Some(id) => {
                let how = How::Completed(Bytes::copy_from_slice(value.get().as_bytes()));
                heard.reports.extend(load.answered(id, how, now));
                heard.answers += 1;
            }
            None => heard.stray += 1,
        },
    }
    Ok(())
}

fn hear_envelope(
    line: &[u8],
    load: &mut Load,
    now: Now,
    heard: &mut Heard,
    (handles, mut guest): (&mut usize, Option<&mut Guest>),
) -> Result<(), Garbage> {
    envelope::parse(line, |message| match message {
        FromWorker::Answer { id, answer } => {
            heard.answers += 1;
            let how = match answer {
                TaskAnswer::Result(raw) => {
                    How::Completed(Bytes::copy_from_slice(raw.get().as_bytes()))
                }
                TaskAnswer::Error(failure) => error_of(failure),
            };
            match load.answered(id, how, now) {
                Some(report) => heard.reports.push(report),
                None => heard.stray += 1,
            }
        }
        FromWorker::Started { id } => load.started(id, now),
        FromWorker::Progress { id, token, value, message } => {
            let ours = load.says(id, token, |saying| {
                saying.progress(value.get(), message.as_deref(), now.wall_ms);
            });
            heard.stray += u64::from(!ours);
        }
        FromWorker::Log { id, token, text } => {
            let ours = load.says(id, token, |saying| saying.log(&text, now.wall_ms));
            heard.stray += u64::from(!ours);
        }
        FromWorker::Internal(Internal::Other) => {}
        FromWorker::Internal(Internal::Handle) => *handles += 1,
        FromWorker::Hello(hello) => heard.hello = Some(hello),
        FromWorker::Sync(sync) => {
            heard.answers = sync.done.len() as u64;
            heard.sync = Some(sync);
        }
        FromWorker::Pong(n) => heard.pong = Some(n),
        FromWorker::Ready => heard.ready = true,
        FromWorker::Word(text) => {
            let refused = match &mut guest {
                Some(guest) => guest.hear(text).err(),
                None => Some(refuse_word(text, &mut heard.answers_to_words)),
            };
            heard.refused = refused.or(heard.refused.take());
        }
    })
}

/// An error as the task's own code told it.
pub(crate) fn error_of(failure: TaskFailure) -> How {
    let TaskFailure { message, class, stack, is_final, retry_after } = failure;
    let error = Box::new(AttemptError { message, class, stack, ..AttemptError::default() });
    How::Error { error, retryable: !is_final, retry_after }
}

/// An error of ganger's own making that the task is charged for.
pub(crate) fn failed(message: impl Into<String>) -> How {
    let error = Box::new(AttemptError::new(message));
    How::Error { error, retryable: true, retry_after: None }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn what_is_not_read_for_now_is_written_all_the_same() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (reader, writer) = channel::from_socket(ours.into(), 1 << 20).unwrap();
        let (raw, batch, heard, closed) = (false, false, false, false);
        let mut link = Link { reader, writer, raw, batch, heard, closed };
        theirs.write_all(b"[]\n").unwrap();
        link.control(|out| out.extend_from_slice(b"word\n"));
        link.ready(false).await.unwrap();
        let mut said = [0; 5];
        theirs.read_exact(&mut said).unwrap();
        assert_eq!((&said, link.heard), (b"word\n", false));
        link.ready(true).await.unwrap();
        assert!(link.heard);
    }
}
