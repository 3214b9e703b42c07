//! What a program says: read as it comes, hashed, and cut to the byte where a limit says so.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use bytes::{Bytes, BytesMut};
use ganger_audit::Hash;
use ganger_core::Stream;
use sha2::{Digest, Sha256};
use tokio::net::unix::pipe::Receiver;

use crate::scan::Scan;

/// Read at once: what a pipe holds.
const BLOCK: usize = 64 << 10;

/// One output.
#[derive(Debug)]
struct Output {
    /// `None`: ended.
    pipe: Option<Receiver>,
    hash: Sha256,
    said: u64,
    scan: Scan,
}

/// Both outputs of a run. At most one block waits to be taken, so that a program waits as in front of a full pipe.
#[derive(Debug)]
pub(crate) struct Speech {
    outputs: [Output; 2],
    /// Bytes that may yet be said; `None`: any number.
    left: Option<u64>,
    /// More was said than may be.
    cut: bool,
    waiting: VecDeque<(Stream, Bytes)>,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

impl Speech {
    /// Of the read ends of its pipes. Must be called within a tokio runtime.
    pub(crate) fn new(ends: [Option<OwnedFd>; 2], limit: Option<u64>) -> io::Result<Self> {
        let output = |end: Option<OwnedFd>| {
            let pipe = end.map(Receiver::from_owned_fd).transpose()?;
            Ok::<_, io::Error>(Output { pipe, hash: Sha256::new(), said: 0, scan: Scan::default() })
        };
        let [stdout, stderr] = ends;
        let outputs = [output(stdout)?, output(stderr)?];
        Ok(Self { outputs, left: limit, cut: false, waiting: VecDeque::new() })
    }

    /// More was said than may be: what is beyond was not passed on.
    pub(crate) const fn is_cut(&self) -> bool {
        self.cut
    }

    /// Something waits to be taken.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What was said first of what waits.
    pub(crate) fn take(&mut self) -> Option<(Stream, Bytes)> {
        self.waiting.pop_front()
    }

    /// Waits until there is something to read and takes a block of it. Pending for ever once both have ended. Cancel safe.
    pub(crate) async fn hear(&mut self) {
        let [stdout, stderr] = &self.outputs;
        let at = tokio::select! {
            () = readable(stdout) => 0,
            () = readable(stderr) => 1,
        };
        self.read(at, |pipe, block| pipe.try_read_buf(block));
    }

    /// Takes all that is there without waiting: what writes is gone.
    pub(crate) fn drain(&mut self) {
        for at in 0..self.outputs.len() {
            // Past tokio, which reads only what it was told of, and may not have been told yet.
            while self.read(at, |pipe, block| {
                block.resize(BLOCK, 0);
                let read = rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut block[..]))?;
                block.truncate(read);
                Ok(read)
            }) {}
        }
    }

    /// Bytes of both.
    pub(crate) fn said(&self) -> u64 {
        self.outputs.iter().map(|output| output.said).sum()
    }

    /// Digests of what was passed on of each.
    pub(crate) fn digests(&self) -> [Hash; 2] {
        [0, 1].map(|at: usize| Hash(self.outputs[at].hash.clone().finalize().into()))
    }

    /// Kinds of secrets that were said.
    pub(crate) fn secrets(&self) -> Vec<&'static str> {
        let [stdout, stderr] = &self.outputs;
        let mut all: Vec<_> = stdout.scan.found().chain(stderr.scan.found()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// One block, if there is one; false when there is nothing now, or will never be.
    fn read(
        &mut self,
        at: usize,
        read: impl FnOnce(&Receiver, &mut BytesMut) -> io::Result<usize>,
    ) -> bool {
        let output = &mut self.outputs[at];
        let Some(pipe) = &output.pipe else { return false };
        let mut block = BytesMut::with_capacity(BLOCK);
        match read(pipe, &mut block) {
            Ok(0) => {
                output.pipe = None;
                false
            }
            Ok(_) => {
                self.heard(at, block.freeze());
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                output.pipe = None;
                false
            }
        }
    }

    fn heard(&mut self, at: usize, mut block: Bytes) {
        if let Some(left) = &mut self.left {
            let most = usize::try_from(*left).unwrap_or(usize::MAX);
            if block.len() > most {
                self.cut = true;
                block.truncate(most);
            }
            *left -= block.len() as u64;
        }
        if block.is_empty() {
            return;
        }
        let output = &mut self.outputs[at];
        output.hash.update(&block);
        output.scan.see(&block);
        output.said += block.len() as u64;
        self.waiting.push_back((STREAMS[at], block));
    }
}

async fn readable(output: &Output) {
    match &output.pipe {
        // A failed wait is an end: the read says so.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn output_is_cut_to_the_byte_over_both_streams() {
        let (out, mut into_out) = std::io::pipe().unwrap();
        let (err, mut into_err) = std::io::pipe().unwrap();
        let ends = [Some(OwnedFd::from(out)), Some(OwnedFd::from(err))];
        let mut speech = Speech::new(ends, Some(10)).unwrap();
        into_out.write_all(b"1234567").unwrap();
        speech.hear().await;
        assert_eq!(speech.take(), Some((Stream::Stdout, Bytes::from_static(b"1234567"))));
        into_err.write_all(b"abcdefg").unwrap();
        drop((into_out, into_err));
        speech.drain();
        assert_eq!(speech.take(), Some((Stream::Stderr, Bytes::from_static(b"abc"))));
        assert!(speech.is_cut() && !speech.is_waiting());
        assert_eq!(speech.said(), 10);
        assert_eq!(speech.digests()[1], Hash::of(b"abc"));
    }

    #[tokio::test]
    async fn exactly_as_much_as_may_be_is_not_too_much() {
        let (out, mut into_out) = std::io::pipe().unwrap();
        let mut speech = Speech::new([Some(OwnedFd::from(out)), None], Some(3)).unwrap();
        into_out.write_all(b"abc").unwrap();
        drop(into_out);
        speech.drain();
        assert!(!speech.is_cut());
        assert_eq!(speech.said(), 3);
    }
}
