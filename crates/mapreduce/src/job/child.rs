//! One child of an attempt: its three pipes, and the threads that feed and drain them.
//!
//! ```text
//! attempt's thread ── Message::Start(pipes) ─▶ driver, which is the keeper ── clone ─▶ child
//!    │  drains stdout and stderr                  │ its tree has ended
//!    │  a second one feeds stdin                  ▼
//!    └◀──────── the end, and `over` closes ───────┘     then what is left in the pipes is read, up to EAGAIN
//! ```
//!
//! What a child says goes through this process and not into a file of its own, because a program that ignores a full disk would leave
//! a result that is short and looks whole. Nobody waits for a pipe's end: the tree's end is what counts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ganger_core::End;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::error::Failure;
use super::said::Said;
use crate::plan::AttemptId;

/// Bytes of a pipe, where the kernel lets everybody have it (pipe(7): pipe-max-size).
const PIPE: usize = 1 << 20;
/// Bytes read at once.
const READ: usize = 256 << 10;

/// Which command of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Map,
    Combine,
    Reduce,
}

/// From attempts to the driver.
pub(super) enum Message {
    /// A child is wanted; when its tree has ended, `end` is told and `over` is closed. Dropped both without a word: it never was.
    Start {
        attempt: AttemptId,
        which: Which,
        fds: [OwnedFd; 3],
        end: Sender<Result<End, String>>,
        over: OwnedFd,
    },
    /// The attempt's child is to end.
    Kill(AttemptId),
    /// The attempt is over.
    Over { attempt: AttemptId, result: Result<super::attempt::Made, Failure> },
}

/// What an attempt's threads share with the driver.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) to: Sender<Message>,
    /// One byte wakes the driver.
    pub(super) wake: OwnedFd,
    pub(super) attempt: AttemptId,
    /// Bytes of its input that were fed.
    pub(super) fed: std::sync::Arc<AtomicU64>,
}

impl Line {
    pub(super) fn send(&self, message: Message) {
        // The driver lives longer than its attempts; a full pipe wakes it as well.
        let _ = self.to.send(message);
        let _ = rustix::io::write(&self.wake, &[1]);
    }
}

/// Standard input of a child.
pub(super) struct Stdin<'a> {
    fd: OwnedFd,
    over: BorrowedFd<'a>,
    fed: &'a AtomicU64,
    buffer: Vec<u8>,
    /// The child wants no more, or is gone.
    closed: bool,
}

impl Stdin<'_> {
    /// False when the child takes no more: that is its right.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        if self.buffer.is_empty() && bytes.len() >= READ {
            return self.write_through(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= READ { self.flush() } else { Ok(!self.closed) }
    }

    fn flush(&mut self) -> Result<bool, Failure> {
        let buffer = std::mem::take(&mut self.buffer);
        let open = self.write_through(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        open
    }

    fn write_through(&mut self, mut bytes: &[u8]) -> Result<bool, Failure> {
        while !bytes.is_empty() && !self.closed {
            match rustix::io::write(&self.fd, bytes) {
                Ok(written) => {
                    self.fed.fetch_add(written as u64, Ordering::Relaxed);
                    bytes = &bytes[written..];
                }
                Err(Errno::AGAIN) => self.wait()?,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => self.closed = true,
                Err(error) => {
                    return Err(Failure::io("write", "a command's standard input")(error.into()));
                }
            }
        }
        Ok(!self.closed)
    }

    fn wait(&mut self) -> Result<(), Failure> {
        let mut fds = [
            PollFd::new(&self.fd, PollFlags::OUT),
            PollFd::from_borrowed_fd(self.over, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::io("wait for", "a command")(error.into())),
        }
        self.closed |= !fds[1].revents().is_empty();
        Ok(())
    }
}

/// How a child was and what it said.
pub(super) struct Ran {
    pub(super) said: Said,
}

/// Runs a child: `feed` writes its input, `drain` takes its output.
pub(super) fn run(
    line: &Line,
    (which, name): (Which, &str),
    idle: Duration,
    feed: impl FnOnce(&mut Stdin<'_>) -> Result<(), Failure> + Send,
    mut drain: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<Ran, Failure> {
    let pipe = |ours_reads: bool| pipe(ours_reads).map_err(Failure::io("make", "a pipe"));
    let (their_in, our_in) = pipe(false)?;
    let (our_out, their_out) = pipe(true)?;
    let (our_err, their_err) = pipe(true)?;
    let (over, their_over) = pipe(true)?;
    let (end, ended) = mpsc::channel();
    let fds = [their_in, their_out, their_err];
    line.send(Message::Start { attempt: line.attempt, which, fds, end, over: their_over });
    let mut said = Said::default();
    let (fed, drained) = thread::scope(|scope| {
        let over = &over;
        let fed = scope.spawn(move || {
            let over = over.as_fd();
            let mut stdin =
                Stdin { fd: our_in, over, fed: &line.fed, buffer: Vec::new(), closed: false };
            feed(&mut stdin)?;
            stdin.flush().map(|_| ())
        });
        let mut pipes =
            Pipes { out: our_out, err: our_err, over: over.as_fd(), buffer: vec![0; READ] };
        let drained = pipes.drain(line, idle, &mut said, &mut drain);
        if drained.is_err() {
            line.send(Message::Kill(line.attempt));
            // Its output is not wanted any more, and must not hold it up until it has ended.
            pipes.wait_over();
        }
        (fed.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), drained)
    });
    if let Err(hung) = drained {
        return Err(match hung {
            Failure::Hung { secs, .. } => Failure::Hung { program: name.to_owned(), secs },
            other => other,
        });
    }
    // Input that could not be read whole is the reason, however its child ended.
    fed?;
    let end = told(&ended)?;
    if !end.is_success() {
        let said = said.last_words();
        return Err(Failure::Child { program: name.to_owned(), end, said });
    }
    Ok(Ran { said })
}

fn told(ended: &Receiver<Result<End, String>>) -> Result<End, Failure> {
    match ended.recv() {
        Ok(Ok(end)) => Ok(end),
        Ok(Err(why)) => {
            Err(Failure::Io { step: "start", path: why.into(), why: "not started".into() })
        }
        Err(mpsc::RecvError) => Err(Failure::Dropped),
    }
}

/// Ours does not block, theirs does; both are closed at exec.
fn pipe(ours_reads: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // Refused where a user has many pipes: a smaller one is only slower.
    let _ = fcntl_setpipe_size(&writer, PIPE);
    rustix::io::ioctl_fionbio(if ours_reads { &reader } else { &writer }, true)?;
    Ok((reader, writer))
}

struct Pipes<'a> {
    out: OwnedFd,
    err: OwnedFd,
    over: BorrowedFd<'a>,
    buffer: Vec<u8>,
}

impl Pipes<'_> {
    /// Until the child's tree has ended and nothing is left in the pipes.
    fn drain(
        &mut self,
        line: &Line,
        idle: Duration,
        said: &mut Said,
        drain: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut out_open, mut err_open) = (true, true);
        let mut seen = (Instant::now(), line.fed.load(Ordering::Relaxed));
        loop {
            let left = idle.saturating_sub(seen.0.elapsed());
            let ready = self.wait((out_open, err_open), Some(left))?;
            if ready.0 {
                out_open = self.read_out(drain)?;
            }
            if ready.1 {
                err_open = self.read_err(said)?;
            }
            if ready.2 {
                // It has ended: what is in the pipes is all there will be.
                while out_open && self.wait((true, false), Some(Duration::ZERO))?.0 {
                    out_open = self.read_out(drain)?;
                }
                while err_open && self.wait((false, true), Some(Duration::ZERO))?.1 {
                    err_open = self.read_err(said)?;
                }
                return Ok(());
            }
            let fed = line.fed.load(Ordering::Relaxed);
            if ready.0 || ready.1 || fed != seen.1 {
                seen = (Instant::now(), fed);
            } else if seen.0.elapsed() >= idle {
                return Err(Failure::Hung { program: String::new(), secs: idle.as_secs() });
            }
        }
    }

    /// Which are ready: output, errors, the end.
    fn wait(
        &self,
        open: (bool, bool),
        most: Option<Duration>,
    ) -> Result<(bool, bool, bool), Failure> {
        // A closed pipe is always ready: the end is asked twice instead.
        let out = if open.0 { self.out.as_fd() } else { self.over };
        let err = if open.1 { self.err.as_fd() } else { self.over };
        let mut fds = [self.over, out, err].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let most = most.and_then(|most| Timespec::try_from(most).ok());
        match poll(&mut fds, most.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok((false, false, false)),
            Err(error) => return Err(Failure::io("wait for", "a command")(error.into())),
        }
        let is = |n: usize, open: bool| open && !fds[n].revents().is_empty();
        Ok((is(1, open.0), is(2, open.1), is(0, true)))
    }

    fn read_out(
        &mut self,
        drain: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let read = read(&self.out, &mut self.buffer)?;
        let Some(read) = read else { return Ok(true) };
        if read > 0 {
            drain(&self.buffer[..read])?;
        }
        Ok(read > 0)
    }

    fn read_err(&mut self, said: &mut Said) -> Result<bool, Failure> {
        let read = read(&self.err, &mut self.buffer)?;
        let Some(read) = read else { return Ok(true) };
        said.push(&self.buffer[..read]);
        Ok(read > 0)
    }

    fn wait_over(&self) {
        let mut fds = [PollFd::from_borrowed_fd(self.over, PollFlags::IN)];
        while poll(&mut fds, None) == Err(Errno::INTR) {}
    }
}

/// `None`: nothing is there now.
fn read(fd: &OwnedFd, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
    match rustix::io::read(fd, buffer) {
        Ok(read) => Ok(Some(read)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(Failure::io("read", "a command's output")(error.into())),
    }
}
