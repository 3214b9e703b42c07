//! The two ends of a worker's channel on tokio: a Unix stream socket, or a pipe pair on its stdin and stdout.
//!
//! Dropping an end only closes our descriptor. It never shuts the connection down: the keeper and a next daemon
//! hold duplicates, and a worker must not notice that a daemon ended. [`ChannelWriter::shutdown`] is the goodbye.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use crate::lines::{LineSplitter, LineTooLong};

/// Bytes that may wait for a worker that does not read. The same bound at which Node's `process.send` says
/// "stop" (`65536 * 2`, lib/internal/child_process.js).
pub const QUEUED_MAX: usize = 128 << 10;

/// Asked for as the socket's send buffer, so that a full queue goes out in one write and a daemon's death can't leave half a
/// line in a worker. The kernel cuts it to `net.core.wmem_max`.
const SEND_BUFFER: usize = 2 * QUEUED_MAX;

/// Why a channel can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// A system call failed.
    #[error("the worker's channel: {step}: {source}")]
    Io {
        /// `open`, `read` or `write`.
        step: &'static str,
        /// The error.
        source: io::Error,
    },
    /// The peer's line has no end.
    #[error("the worker sent {0}")]
    LineTooLong(#[from] LineTooLong),
}

impl ChannelError {
    fn io(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}

/// Opens a Unix stream socket as a channel. Must be called inside a tokio runtime.
///
/// # Errors
/// The descriptor is no socket or can't be made non-blocking.
pub fn from_socket(
    fd: OwnedFd,
    line_max: usize,
) -> Result<(ChannelReader, ChannelWriter), ChannelError> {
    let stream = std::os::unix::net::UnixStream::from(fd);
    // A smaller buffer than asked for only costs writes.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
    stream.set_nonblocking(true).map_err(ChannelError::io("open"))?;
    let stream = Arc::new(UnixStream::from_std(stream).map_err(ChannelError::io("open"))?);
    let reader = ChannelReader {
        source: Source::Socket(Arc::clone(&stream)),
        lines: LineSplitter::new(line_max),
    };
    Ok((reader, ChannelWriter { sink: Some(Sink::Socket(stream)), queue: Vec::new(), sent: 0 }))
}

/// Opens the daemon's ends of a child's stdin (we write) and stdout (we read) as a channel.
///
/// # Errors
/// A descriptor is no pipe, is the wrong end, or can't be made non-blocking.
pub fn from_pipes(
    stdin: OwnedFd,
    stdout: OwnedFd,
    line_max: usize,
) -> Result<(ChannelReader, ChannelWriter), ChannelError> {
    let sink = pipe::Sender::from_owned_fd(stdin).map_err(ChannelError::io("open"))?;
    let source = pipe::Receiver::from_owned_fd(stdout).map_err(ChannelError::io("open"))?;
    let reader = ChannelReader { source: Source::Pipe(source), lines: LineSplitter::new(line_max) };
    Ok((reader, ChannelWriter { sink: Some(Sink::Pipe(sink)), queue: Vec::new(), sent: 0 }))
}

#[derive(Debug)]
enum Source {
    Socket(Arc<UnixStream>),
    Pipe(pipe::Receiver),
}

#[derive(Debug)]
enum Sink {
    Socket(Arc<UnixStream>),
    Pipe(pipe::Sender),
}

/// The reading end: whole lines, many per system call.
#[derive(Debug)]
pub struct ChannelReader {
    source: Source,
    lines: LineSplitter,
}

impl ChannelReader {
    /// Waits until bytes are there and takes one read's worth. `Ok(0)` is the end of the stream. Cancel safe.
    ///
    /// # Errors
    /// The read failed; a reset connection is reported as the end.
    pub async fn fill(&mut self) -> Result<usize, ChannelError> {
        loop {
            let read = match &self.source {
                Source::Socket(socket) => {
                    socket.readable().await.map_err(ChannelError::io("read"))?;
                    socket.try_read_buf(self.lines.space())
                }
                Source::Pipe(pipe) => {
                    pipe.readable().await.map_err(ChannelError::io("read"))?;
                    pipe.try_read_buf(self.lines.space())
                }
            };
            match read {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
                Err(e) => return Err(ChannelError::io("read")(e)),
            }
        }
    }

    /// Takes what is there without waiting: `None` when nothing is. For the last words of a process that is gone.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn try_fill(&mut self) -> Result<Option<usize>, ChannelError> {
        // Asks the kernel: tokio answers "would block" until its driver has seen the descriptor once.
        let into = rustix::buffer::spare_capacity(self.lines.space());
        let read = match &self.source {
            Source::Socket(socket) => rustix::io::read(&**socket, into),
            Source::Pipe(pipe) => rustix::io::read(pipe, into),
        };
        match read {
            Ok(n) => Ok(Some(n)),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(rustix::io::Errno::CONNRESET) => Ok(Some(0)),
            Err(errno) => Err(ChannelError::io("read")(errno.into())),
        }
    }

    /// The next whole line among the bytes already read.
    ///
    /// # Errors
    /// [`LineTooLong`]: the channel can't be used any more.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        self.lines.next_line()
    }
}

/// The writing end: a queue of bytes, written as they fit.
#[derive(Debug)]
pub struct ChannelWriter {
    sink: Option<Sink>,
    queue: Vec<u8>,
    sent: usize,
}

impl ChannelWriter {
    /// Where messages are appended; [`Self::flush`] writes them. Whole lines only.
    pub fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.queue
    }

    /// Bytes not yet written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// True when the peer reads too slowly: no more tasks until it is false again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queued() >= QUEUED_MAX
    }

    /// Writes what fits now without waiting. True when nothing is left.
    ///
    /// # Errors
    /// The peer is gone or the write failed.
    pub fn try_flush(&mut self) -> Result<bool, ChannelError> {
        while self.sent < self.queue.len() {
            let bytes = &self.queue[self.sent..];
            let wrote = match &self.sink {
                Some(Sink::Socket(socket)) => socket.try_write(bytes),
                Some(Sink::Pipe(pipe)) => pipe.try_write(bytes),
                None => Err(io::ErrorKind::BrokenPipe.into()),
            };
            match wrote {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(ChannelError::io("write")(e)),
            }
        }
        self.sent = 0;
        self.queue.clear();
        if self.queue.capacity() > 4 * QUEUED_MAX {
            self.queue.shrink_to(QUEUED_MAX);
        }
        Ok(true)
    }

    /// Writes all that is queued, as one write where the peer keeps up. Cancel safe: what was written is not written again.
    ///
    /// # Errors
    /// The peer is gone or the write failed.
    pub async fn flush(&mut self) -> Result<(), ChannelError> {
        while !self.try_flush()? {
            match &self.sink {
                Some(Sink::Socket(socket)) => socket.writable().await,
                Some(Sink::Pipe(pipe)) => pipe.writable().await,
                None => Err(io::ErrorKind::BrokenPipe.into()),
            }
            .map_err(ChannelError::io("write"))?;
        }
        Ok(())
    }

    /// Says goodbye: the worker reads the end of its channel (`disconnect` in Node), whoever else holds a duplicate of a
    /// socket. For a pipe our end is closed; the worker sees the end when the last duplicate is.
    pub fn shutdown(&mut self) {
        if let Some(Sink::Socket(socket)) = self.sink.take() {
            // ENOTCONN means that the peer was faster.
            let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Write);
        }
    }
}
