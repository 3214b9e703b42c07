//! The receiving half.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use super::{Frame, HEADER, MAX_BODY, MAX_FDS, Progress, broken};

/// Read at a time; also what an idle reader keeps allocated.
const CHUNK: usize = 64 << 10;
/// Bytes per [`FrameReader::read`] call, so that one busy peer can't hold an event loop.
const SHARE: usize = 1 << 20;

/// Collects bytes and descriptors from a socket and hands out whole frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
    start: usize,
    fds: VecDeque<OwnedFd>,
}

impl FrameReader {
    /// An empty reader.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader that goes on where another stopped: what [`FrameReader::rest`] gave.
    #[must_use]
    pub fn resumed(bytes: Vec<u8>, fds: Vec<OwnedFd>) -> Self {
        Self { bytes, start: 0, fds: fds.into() }
    }

    /// What was read and is not yet handed out.
    pub fn rest(&self) -> (&[u8], impl Iterator<Item = BorrowedFd<'_>>) {
        (&self.bytes[self.start..], self.fds.iter().map(AsFd::as_fd))
    }

    /// Takes what the socket has, up to a share of 1 MiB.
    ///
    /// # Errors
    /// The socket's own error, or `InvalidData` when the peer broke the framing; both end the connection.
    pub fn read(&mut self, socket: impl AsFd) -> io::Result<Progress> {
        let mut taken = 0;
        while taken < SHARE {
            match self.receive(socket.as_fd()) {
                Ok(0) => return Ok(Progress::Eof),
                Ok(n) => taken += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Progress::Idle);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::More)
    }

    fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.compact();
        let old = self.bytes.len();
        self.bytes.resize(old + CHUNK, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let result = recvmsg(
            socket,
            &mut [io::IoSliceMut::new(&mut self.bytes[old..])],
            &mut control,
            RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
        );
        let got = result.as_ref().map_or(0, |r| r.bytes);
        self.bytes.truncate(old + got);
        let message = result.map_err(|errno| match errno {
            // A peer that died with our bytes unread resets the connection; that is an end like any other.
            Errno::CONNRESET => None,
            other => Some(io::Error::from(other)),
        });
        let message = match message {
            Ok(message) => message,
            Err(None) => return Ok(0),
            Err(Some(error)) => return Err(error),
        };
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = part {
                self.fds.extend(fds);
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(broken("descriptors were cut off (is RLIMIT_NOFILE reached?)".into()));
        }
        self.check_header()?;
        Ok(got)
    }

    /// Length and descriptor count of the frame at the front, once its header is there.
    fn header(&self) -> Option<(usize, usize)> {
        let head = self.bytes.get(self.start..self.start + HEADER)?;
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        Some((word(0) as usize, word(4) as usize))
    }

    fn check_header(&self) -> io::Result<()> {
        match self.header() {
            Some((body, _)) if body > MAX_BODY => {
                Err(broken(format!("frame body of {body} bytes; the most is {MAX_BODY}")))
            }
            Some((_, fds)) if fds > self.fds.len() => {
                Err(broken(format!("frame announces {fds} descriptors, {} came", self.fds.len())))
            }
            _ => Ok(()),
        }
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// `InvalidData` when the frame's header breaks the rules.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        self.check_header()?;
        let Some((length, fds)) = self.header() else { return Ok(None) };
        let from = self.start + HEADER;
        let Some(body) = self.bytes.get(from..from + length) else { return Ok(None) };
        let body = body.to_vec();
        self.start = from + length;
        Ok(Some(Frame { body, fds: self.fds.drain(..fds).collect() }))
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.start);
        self.start = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > 2 * CHUNK {
            self.bytes = Vec::new();
        }
    }
}
