//! The control socket: frames of `core::logwire`, read and written without ever waiting.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ganger_core::logwire::{LogReply, LogRequest};
use ganger_sys::frame::{FrameReader, FrameWriter, Progress};

use super::MoverError;

/// Above this many unsent bytes reports of dropped bytes wait (their counts go on); answers are bounded by the requests.
const BACKLOG: usize = 256 << 10;

/// The mover's end of the keeper's socket.
#[derive(Debug)]
pub(crate) struct Control {
    socket: OwnedFd,
    reader: FrameReader,
    writer: FrameWriter,
}

/// What a read brought.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A request with its descriptors.
    Request(LogRequest, Vec<OwnedFd>),
    /// Nothing more now.
    Nothing,
    /// The keeper closed its end.
    Closed,
}

fn broken(why: impl ToString) -> MoverError {
    MoverError::Control { why: why.to_string() }
}

impl Control {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, reader: FrameReader::new(), writer: FrameWriter::new() }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next request that is there.
    pub(crate) fn hear(&mut self) -> Result<Heard, MoverError> {
        if let Some(request) = self.take()? {
            return Ok(request);
        }
        let progress = self.reader.read(&self.socket).map_err(broken)?;
        if let Some(request) = self.take()? {
            return Ok(request);
        }
        Ok(if progress == Progress::Eof { Heard::Closed } else { Heard::Nothing })
    }

    fn take(&mut self) -> Result<Option<Heard>, MoverError> {
        let Some(frame) = self.reader.next_frame().map_err(broken)? else { return Ok(None) };
        let request = serde_json::from_slice(&frame.body)
            .map_err(|e| broken(format!("a request this version can't read: {e}")))?;
        Ok(Some(Heard::Request(request, frame.fds)))
    }

    /// Queues an answer; [`Control::flush`] sends it.
    pub(crate) fn say(&mut self, reply: &LogReply) -> Result<(), MoverError> {
        let body = serde_json::to_vec(reply).map_err(broken)?;
        self.writer.push(&body, Vec::new()).map_err(broken)
    }

    /// Is there room for a report that can wait?
    pub(crate) fn has_room(&self) -> bool {
        self.writer.pending() < BACKLOG
    }

    /// Sends what the socket takes; true when something is left. A keeper that is gone is told by `hear`, not here.
    pub(crate) fn flush(&mut self) -> bool {
        matches!(self.writer.write(&self.socket), Ok(Progress::Blocked))
    }
}
