//! A channel with a Node process on tokio: one socket, read and written by whoever waits in [`NodeChannel::next`].
//!
//! Dropping it only closes our descriptor, as with [`crate::channel`]; [`NodeChannel::shutdown`] is the goodbye, on which a `cluster` worker
//! that was not told to disconnect exits.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::net::UnixStream;

use super::{
    Endpoint, Event, Frame, Frames, HandleOut, Outbox, Refused, SendRefused, Serialization, wire,
};

/// A descriptor under way: kept here until the peer has it.
pub type SharedFd = Arc<OwnedFd>;

/// What [`NodeChannel::next`] gives: `Ok(None)` is the end of the stream.
pub type Next = Result<Option<Result<Event<SharedFd>, Refused>>, NodeChannelError>;

/// Why a channel can't be used any more.
#[derive(Debug, thiserror::Error)]
#[error("the channel with a Node process: {step}: {source}")]
pub struct NodeChannelError {
    /// `open`, `read` or `write`.
    step: &'static str,
    source: io::Error,
}

/// One end of a `json` channel.
#[derive(Debug)]
pub struct NodeChannel {
    socket: UnixStream,
    frames: Frames<OwnedFd>,
    endpoint: Endpoint<SharedFd>,
    outbox: Outbox<SharedFd>,
    ended: bool,
}

impl NodeChannel {
    /// Takes over our end of a socket pair. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The descriptor is no socket or can't be made non-blocking.
    pub fn from_socket(fd: OwnedFd) -> Result<Self, NodeChannelError> {
        let failed = |source| NodeChannelError { step: "open", source };
        let socket = std::os::unix::net::UnixStream::from(fd);
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            socket: UnixStream::from_std(socket).map_err(failed)?,
            frames: Frames::new(Serialization::Json),
            endpoint: Endpoint::default(),
            outbox: Outbox::new(Serialization::Json),
            ended: false,
        })
    }

    /// Queues a message, one JSON value without a newline; [`Self::next`] writes it.
    ///
    /// # Errors
    /// [`SendRefused`]: too much waits already.
    pub fn send(&mut self, body: Vec<u8>) -> Result<(), SendRefused> {
        self.endpoint.send(body)
    }

    /// Queues a message with a handle; [`Event::Delivered`] will name the ticket.
    ///
    /// # Errors
    /// [`SendRefused`]: too much waits already.
    pub fn send_handle(
        &mut self,
        msg: &[u8],
        handle: HandleOut<SharedFd>,
    ) -> Result<u64, SendRefused> {
        self.endpoint.send_handle(msg, handle)
    }

    /// Writes what can be written now, without waiting for [`Self::next`].
    ///
    /// # Errors
    /// The socket failed.
    pub fn flush(&mut self) -> Result<(), NodeChannelError> {
        self.write()
    }

    /// True when the peer reads too slowly: send no more for now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    /// Writes what can be written and waits for what comes next; `Ok(None)` is the end of the stream, after the last message. Cancel
    /// safe: nothing that was read is lost, nothing that was written is written again.
    ///
    /// # Errors
    /// The socket failed. What the peer did wrong is `Ok(Some(Err(…)))`, and the channel goes on.
    pub async fn next(&mut self) -> Next {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`Self::next`], for who waits for several.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            self.write()?;
            while let Some(frame) = self.frames.next_frame() {
                let shared = |Frame { body, kind, handle }| Frame {
                    body,
                    kind,
                    handle: handle.map(Arc::new),
                };
                match frame.map(shared).and_then(|frame| self.endpoint.on_frame(frame)) {
                    Ok(None) => {}
                    Ok(Some(event)) => return Poll::Ready(Ok(Some(Ok(event)))),
                    Err(refused) => return Poll::Ready(Ok(Some(Err(refused)))),
                }
            }
            self.write()?;
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            let wrote = self.poll_write(cx)?;
            let read = self.poll_read(cx)?;
            if wrote.is_pending() && read.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Writes what fits now. A peer that is gone is no error here: what it said last is still to be read.
    fn write(&mut self) -> Result<(), NodeChannelError> {
        while let Some(frame) = self.endpoint.next_out() {
            self.outbox.push(frame);
        }
        match wire::send(&self.socket, &mut self.outbox) {
            Ok(_) => Ok(()),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                self.outbox = Outbox::new(Serialization::Json);
                Ok(())
            }
            Err(source) => Err(NodeChannelError { step: "write", source }),
        }
    }

    /// Ready when the socket took some of what waits, or said that it is full after all.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, NodeChannelError> {
        if self.outbox.pending() == 0 {
            return Ok(Poll::Pending);
        }
        let failed = |source| NodeChannelError { step: "write", source };
        let Poll::Ready(ready) = self.socket.poll_write_ready(cx) else { return Ok(Poll::Pending) };
        ready.map_err(failed)?;
        let (socket, outbox) = (&self.socket, &mut self.outbox);
        // What goes wrong here, the next write tells.
        let _ = socket.try_io(Interest::WRITABLE, || match wire::send(socket, outbox)? {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        });
        Ok(Poll::Ready(()))
    }

    /// Ready when something came. A peer that doesn't read what we answer is not read either.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, NodeChannelError> {
        if self.outbox.is_full() {
            return Ok(Poll::Pending);
        }
        let failed = |source| NodeChannelError { step: "read", source };
        let Poll::Ready(ready) = self.socket.poll_read_ready(cx) else { return Ok(Poll::Pending) };
        ready.map_err(failed)?;
        let (socket, frames) = (&self.socket, &mut self.frames);
        let mut took = None;
        let read = socket.try_io(Interest::READABLE, || {
            let (bytes, drained) = wire::receive(socket, frames)?;
            took = Some(bytes);
            // Nothing more is there: said so, the runtime waits for the next without a read that finds nothing. Its note of an end that
            // has come meanwhile stays.
            if drained { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (took, read) {
            (Some(0), _) => self.ended = true,
            (Some(_), _) | (None, Ok(())) => {}
            (None, Err(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
            (None, Err(source)) => return Err(failed(source)),
        }
        Ok(Poll::Ready(()))
    }

    /// Says goodbye: `disconnect` in the process, whoever else holds a duplicate. What is queued and unwritten is dropped.
    pub fn shutdown(&mut self) {
        // ENOTCONN means that the peer was faster.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }
}
