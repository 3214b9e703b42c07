//! The sending half.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{HEADER, MAX_BODY, MAX_FDS, Progress, Unsent, broken};

/// Frames without descriptors are joined up to this size, so that a burst is few system calls.
const JOIN: usize = 64 << 10;

/// Bytes that go out together; the descriptors belong to the first byte.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// Queues frames and writes as much as the socket takes. The owner bounds it by [`FrameWriter::pending`].
#[derive(Debug, Default)]
pub struct FrameWriter {
    chunks: VecDeque<Chunk>,
    pending: usize,
}

impl FrameWriter {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that goes on where another stopped: what [`FrameWriter::rest`] gave.
    #[must_use]
    pub fn resumed(rest: Vec<Unsent<Vec<u8>, OwnedFd>>) -> Self {
        let pending = rest.iter().map(|(bytes, _)| bytes.len()).sum();
        let chunks = rest.into_iter().map(|(bytes, fds)| Chunk { bytes, sent: 0, fds });
        Self { chunks: chunks.collect(), pending }
    }

    /// What is queued and not yet sent.
    pub fn rest(&self) -> impl Iterator<Item = Unsent<&[u8], BorrowedFd<'_>>> {
        self.chunks
            .iter()
            .map(|chunk| (&chunk.bytes[chunk.sent..], chunk.fds.iter().map(AsFd::as_fd).collect()))
    }

    /// Queues one frame.
    ///
    /// # Errors
    /// `InvalidData` for a body over [`MAX_BODY`] or more than [`MAX_FDS`] descriptors; nothing is queued then.
    pub fn push(&mut self, body: &[u8], fds: Vec<OwnedFd>) -> io::Result<()> {
        if body.len() > MAX_BODY || fds.len() > MAX_FDS {
            let (n, f) = (body.len(), fds.len());
            return Err(broken(format!(
                "frame of {n} bytes and {f} descriptors is over the limits"
            )));
        }
        let join = fds.is_empty()
            && self.chunks.back().is_some_and(|last| last.bytes.len() + body.len() <= JOIN);
        if !join {
            self.chunks.push_back(Chunk { bytes: Vec::new(), sent: 0, fds: Vec::new() });
        }
        let chunk = self.chunks.back_mut().expect("pushed just now or found above");
        let word = |n: usize| u32::try_from(n).expect("checked against the limits").to_le_bytes();
        chunk.bytes.extend_from_slice(&word(body.len()));
        chunk.bytes.extend_from_slice(&word(fds.len()));
        chunk.bytes.extend_from_slice(body);
        if !join {
            chunk.fds = fds;
        }
        self.pending += HEADER + body.len();
        Ok(())
    }

    /// Bytes queued and not yet taken by the socket.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.pending
    }

    /// Writes until everything is out ([`Progress::Idle`]) or the socket is full ([`Progress::Blocked`]). A peer that is
    /// gone gives EPIPE; no signal is raised.
    ///
    /// # Errors
    /// The socket's own error.
    pub fn write(&mut self, socket: impl AsFd) -> io::Result<Progress> {
        while let Some(chunk) = self.chunks.front_mut() {
            match send(socket.as_fd(), &chunk.bytes[chunk.sent..], &chunk.fds) {
                Ok(sent) => {
                    chunk.fds.clear();
                    chunk.sent += sent;
                    self.pending -= sent;
                    if chunk.sent == chunk.bytes.len() {
                        self.chunks.pop_front();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Progress::Blocked),
                Err(other) => return Err(other.into()),
            }
        }
        Ok(Progress::Idle)
    }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> Result<usize, Errno> {
    let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(&borrowed));
        debug_assert!(fits, "the space is sized for MAX_FDS, which push checked");
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(socket, &[io::IoSlice::new(bytes)], &mut control, flags)
}
