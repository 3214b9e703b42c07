//! Moves frames between the keeper's socket and the link's channels.
//!
//! One task with one wait point: a full socket never keeps it from reading, and an owner that does not take events
//! never keeps it from writing, so the two sides can't wait for each other in a circle.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use ganger_keeper::wire::{decode, encode};
use ganger_sys::frame::{FrameReader, FrameWriter, Progress};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::link::{Incoming, Outgoing, room_in, send_waiting};

/// Bytes queued for the socket above which no further request is taken: one large frame and room for many small ones.
const HIGH_WATER: usize = 16 << 20;
/// Requests joined into one write.
const BATCH: usize = 256;

pub(crate) struct Pump {
    socket: UnixStream,
    requests: mpsc::Receiver<Outgoing>,
    events: mpsc::Sender<Incoming>,
    reader: FrameReader,
    writer: FrameWriter,
    arrived: VecDeque<Incoming>,
    blocked: bool,
    deaf: bool,
    ended: bool,
}

impl Pump {
    pub(crate) fn new(
        socket: OwnedFd,
        requests: mpsc::Receiver<Outgoing>,
        events: mpsc::Sender<Incoming>,
    ) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UnixStream::from_std(socket)?,
            requests,
            events,
            reader: FrameReader::new(),
            writer: FrameWriter::new(),
            arrived: VecDeque::new(),
            blocked: false,
            deaf: false,
            ended: false,
        })
    }

    /// Runs until the keeper closes its end and every event before that is handed over, or nobody takes events.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while !(self.ended && self.arrived.is_empty()) {
            let room = !self.deaf && !self.blocked && self.writer.pending() < HIGH_WATER;
            tokio::select! {
                biased;
                () = room_in(&self.events), if !self.arrived.is_empty() => {
                    if !self.hand_over() {
                        return;
                    }
                }
                taken = self.requests.recv_many(&mut batch, BATCH), if room => {
                    self.deaf = taken == 0;
                    self.send(&mut batch);
                }
                _ = self.socket.writable(), if self.blocked => self.flush(),
                _ = self.socket.readable(), if self.arrived.is_empty() && !self.ended => self.read(),
            }
        }
    }

    /// False when nobody takes events any more.
    fn hand_over(&mut self) -> bool {
        send_waiting(&mut self.arrived, &self.events);
        !self.events.is_closed()
    }

    fn read(&mut self) {
        let Self { socket, reader, .. } = self;
        let read = socket.try_io(Interest::READABLE, || match reader.read(&*socket)? {
            Progress::Idle => Err(io::ErrorKind::WouldBlock.into()),
            progress => Ok(progress),
        });
        match read {
            Ok(progress) => self.ended = progress == Progress::Eof,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::error!(%error, "the keeper's socket broke");
                self.ended = true;
            }
        }
        self.take_frames();
    }

    fn send(&mut self, batch: &mut Vec<Outgoing>) {
        for (request, fds) in batch.drain(..) {
            if let Err(error) = self.writer.push(&encode(&request), fds) {
                tracing::error!(%error, "a request does not fit into a frame and is dropped");
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        let Self { socket, writer, .. } = self;
        let wrote = socket.try_io(Interest::WRITABLE, || match writer.write(&*socket)? {
            Progress::Blocked => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        });
        match wrote {
            Ok(()) => self.blocked = false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
            Err(error) => {
                // What the keeper said before its end is still to be read; the end itself comes from reading.
                tracing::debug!(%error, "can't write to the keeper");
                (self.deaf, self.blocked) = (true, false);
            }
        }
    }

    fn take_frames(&mut self) {
        loop {
            match self.reader.next_frame() {
                Ok(Some(frame)) => match decode("an event", &frame.body) {
                    Ok(event) => self.arrived.push_back((event, frame.fds)),
                    // A newer keeper may say things this daemon doesn't know; what it must know is versioned.
                    Err(error) => {
                        tracing::warn!(%error, "an event of the keeper is not understood")
                    }
                },
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "the keeper's frames broke");
                    self.ended = true;
                    return;
                }
            }
        }
    }
}
