//! Frames with descriptors over a Unix stream socket, incremental and never blocking.
//!
//! ```text
//! u32 LE body length | u32 LE descriptor count | body (JSON, opaque here)
//! ```
//!
//! Descriptors travel by SCM_RIGHTS on a frame's first byte. The owner of the socket waits for readiness (epoll,
//! AsyncFd) and calls [`FrameReader::read`] or [`FrameWriter::write`]; neither ever waits. Both ends are ours, so a frame
//! that breaks the rules is an error that ends the connection.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::FrameReader;
pub use writer::FrameWriter;

use std::io;
use std::os::fd::OwnedFd;

/// Longest body. A table of 10,000 children is about 4 MiB; one plan with a 1 MiB environment fits as well.
pub const MAX_BODY: usize = 8 << 20;
/// Most descriptors in one frame: the kernel's SCM_MAX_FD (include/net/scm.h).
pub const MAX_FDS: usize = 253;
const HEADER: usize = 8;

/// One frame as it came.
#[derive(Debug)]
pub struct Frame {
    /// The body's bytes.
    pub body: Vec<u8>,
    /// The descriptors that came with it, close-on-exec, in the sender's order.
    pub fds: Vec<OwnedFd>,
}

/// How far a call to the socket came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The call's share of work is done and more may be possible at once.
    More,
    /// The socket would block (reader), or everything is written (writer with nothing pending).
    Idle,
    /// Writer only: bytes are left and the socket is full.
    Blocked,
    /// Reader only: the peer closed its end; frames read before are still to be taken.
    Eof,
}

fn broken(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Bytes that were queued together and are not sent yet, with the descriptors that belong to their first byte.
pub type Unsent<B, F> = (B, Vec<F>);
