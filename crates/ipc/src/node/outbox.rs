//! What waits to be written to a channel, in order.

use std::collections::VecDeque;

use super::Serialization;

/// Messages without a descriptor are joined up to this size, in bytes, so that a burst is few system calls.
const JOIN: usize = 64 << 10;

/// One message as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutFrame<D> {
    /// Without newline or length.
    pub body: Vec<u8>,
    /// Goes with its first byte.
    pub handle: Option<D>,
}

/// Bytes for one system call after another; the descriptor belongs to the first of them.
#[derive(Debug)]
struct Chunk<D> {
    bytes: Vec<u8>,
    sent: usize,
    handle: Option<D>,
}

/// The queue of a channel's writing side. The owner bounds it by [`Outbox::pending`].
#[derive(Debug)]
pub struct Outbox<D> {
    serialization: Serialization,
    chunks: VecDeque<Chunk<D>>,
    pending: usize,
}

impl<D> Outbox<D> {
    /// An empty one.
    #[must_use]
    pub const fn new(serialization: Serialization) -> Self {
        Self { serialization, chunks: VecDeque::new(), pending: 0 }
    }

    /// Queues one message. A newline inside a `json` body, or more than 4 GiB of an `advanced` one, is the caller's mistake.
    pub fn push(&mut self, frame: OutFrame<D>) {
        let room = self.chunks.back().is_some_and(|last| {
            last.handle.is_none() && last.sent == 0 && last.bytes.len() + frame.body.len() <= JOIN
        });
        // A message with a descriptor begins a system call and has it for itself: the kernel would give a reader the descriptor with
        // whatever stood in front of it, and Node takes one per read.
        if frame.handle.is_some() || !room || self.handle_is_last() {
            self.chunks.push_back(Chunk { bytes: Vec::new(), sent: 0, handle: frame.handle });
        }
        let chunk = self.chunks.back_mut().expect("pushed just now or found above");
        let before = chunk.bytes.len();
        match self.serialization {
            Serialization::Json => {
                chunk.bytes.extend_from_slice(&frame.body);
                chunk.bytes.push(b'\n');
            }
            Serialization::Advanced => {
                let length = u32::try_from(frame.body.len()).unwrap_or(u32::MAX);
                chunk.bytes.extend_from_slice(&length.to_be_bytes());
                chunk.bytes.extend_from_slice(&frame.body);
            }
        }
        self.pending += chunk.bytes.len() - before;
    }

    /// Bytes queued and not yet written.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.pending
    }

    /// True when the peer reads too slowly, at the bound at which `process.send` says so too.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.pending >= crate::channel::QUEUED_MAX
    }

    /// What the next system call should write, and the descriptor that goes with its first byte.
    #[must_use]
    pub fn front(&self) -> Option<(&[u8], Option<&D>)> {
        self.chunks.front().map(|chunk| (&chunk.bytes[chunk.sent..], chunk.handle.as_ref()))
    }

    /// So many bytes of [`Self::front`] were written, and its descriptor with them. 0 is nothing.
    pub fn wrote(&mut self, bytes: usize) {
        let Some(chunk) = self.chunks.front_mut().filter(|_| bytes > 0) else { return };
        chunk.handle = None;
        chunk.sent += bytes;
        self.pending -= bytes;
        if chunk.sent >= chunk.bytes.len() {
            self.chunks.pop_front();
        }
    }

    fn handle_is_last(&self) -> bool {
        self.chunks.back().is_some_and(|last| last.handle.is_some())
    }
}
