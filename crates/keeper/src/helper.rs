//! A process the keeper keeps alive, and the socket to it: what logger and daemon have in common.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use ganger_core::End;
use ganger_sys::frame::{FrameReader, FrameWriter, Progress};
use ganger_sys::spawn::{Spec, Started};

use crate::crash::Crashes;
use crate::options::Helper;
use crate::poller::{Poller, Source};

/// One helper's process and connection.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) since: Instant,
    pub(crate) socket: Option<Connection>,
}

/// The keeper's end of a private socketpair.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    source: Source,
    pub(crate) reader: FrameReader,
    writer: FrameWriter,
    /// Room to write is being waited for.
    waiting: bool,
}

/// Up, or waiting for its next start.
#[derive(Debug)]
pub(crate) enum Phase {
    Running(Running),
    /// `None`: not before something else has happened.
    Down(Option<Instant>),
}

/// A helper's whole story.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) phase: Phase,
    pub(crate) crashes: Crashes,
}

impl Kept {
    pub(crate) fn new(now: Instant) -> Self {
        Self { phase: Phase::Down(Some(now)), crashes: Crashes::default() }
    }

    pub(crate) const fn running(&self) -> Option<&Running> {
        match &self.phase {
            Phase::Running(running) => Some(running),
            Phase::Down(_) => None,
        }
    }

    pub(crate) const fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.phase {
            Phase::Running(running) => Some(running),
            Phase::Down(_) => None,
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.running().map(|running| running.pid)
    }

    pub(crate) fn connection(&mut self) -> Option<&mut Connection> {
        self.running_mut()?.socket.as_mut()
    }

    /// Due to be started.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Down(Some(at)) if at <= now)
    }

    pub(crate) const fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Down(at) => at,
            Phase::Running(_) => None,
        }
    }

    /// It ended: its socket is closed before anything else is decided.
    pub(crate) fn on_ended(&mut self, poller: &Poller, served: bool, end: End, now: Instant) {
        let lived = self.disconnect(poller, now);
        let wait = self.crashes.ended(lived, served, end);
        self.phase = Phase::Down(Some(now + wait));
    }

    /// Closes the socket; returns how long the process has lived.
    pub(crate) fn disconnect(&mut self, poller: &Poller, now: Instant) -> Duration {
        let Some(running) = self.running_mut() else { return Duration::ZERO };
        if let Some(connection) = running.socket.take() {
            poller.remove(&connection.socket);
        }
        now.saturating_duration_since(running.since)
    }
}

impl Connection {
    /// A connection that goes on in another program.
    pub(crate) fn resumed(
        socket: OwnedFd,
        source: Source,
        reader: FrameReader,
        writer: FrameWriter,
        poller: &Poller,
    ) -> io::Result<Self> {
        poller.add(&socket, source)?;
        Ok(Self { socket, source, reader, writer, waiting: false })
    }

    /// What of it goes through exec.
    pub(crate) fn parts(&self) -> (BorrowedFd<'_>, &FrameReader, &FrameWriter) {
        (self.socket.as_fd(), &self.reader, &self.writer)
    }

    /// Queues a frame; it leaves with the next [`Connection::flush`].
    pub(crate) fn push(&mut self, body: &[u8], fds: Vec<OwnedFd>) -> io::Result<()> {
        self.writer.push(body, fds)
    }

    pub(crate) const fn pending(&self) -> usize {
        self.writer.pending()
    }

    /// Writes what the socket takes and waits for room for the rest.
    pub(crate) fn flush(&mut self, poller: &Poller) -> io::Result<()> {
        if self.writer.pending() == 0 && !self.waiting {
            return Ok(());
        }
        let blocked = self.writer.write(&self.socket)? == Progress::Blocked;
        if blocked != self.waiting {
            poller.set_writing(&self.socket, self.source, blocked)?;
            self.waiting = blocked;
        }
        Ok(())
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self) -> io::Result<Progress> {
        self.reader.read(&self.socket)
    }
}

/// What a helper is started with besides its command line.
pub(crate) struct Extras<'a> {
    /// `NAME=value` beyond the keeper's own environment.
    pub(crate) env: Vec<(&'static str, String)>,
    /// The variable that carries its socket's number.
    pub(crate) socket_env: &'static str,
    /// Descriptors it gets under their own numbers.
    pub(crate) keep: Vec<BorrowedFd<'a>>,
    /// Descriptor for stdout and stderr; the keeper's own when absent.
    pub(crate) output: Option<BorrowedFd<'a>>,
    pub(crate) source: Source,
}

/// Starts a helper with one end of a fresh socketpair.
pub(crate) fn start(helper: &Helper, extras: Extras<'_>, poller: &Poller) -> io::Result<Running> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let (ours, theirs): (OwnedFd, OwnedFd) = (ours.into(), theirs.into());
    let null = std::fs::File::open("/dev/null")?;
    let text = |s: &str| CString::new(s).map_err(io::Error::from);
    let argv: Result<Vec<CString>, io::Error> = helper.argv.iter().map(|s| text(s)).collect();
    let mut spec = Spec::new(text(&helper.program)?, argv?);
    spec.env = environment(&extras, theirs.as_raw_fd())?;
    spec.keep = extras.keep;
    spec.keep.push(theirs.as_fd());
    spec.fds.push((null.as_fd(), 0));
    if let Some(output) = extras.output {
        spec.fds.extend([(output, 1), (output, 2)]);
    }
    let Started { pid, pidfd, .. } = spec.spawn().map_err(|error| {
        let raw = io::Error::from_raw_os_error(error.errno);
        io::Error::new(raw.kind(), format!("{}: {error}", helper.program))
    })?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    poller.add(&ours, extras.source)?;
    let socket = Connection {
        socket: ours,
        source: extras.source,
        reader: FrameReader::new(),
        writer: FrameWriter::new(),
        waiting: false,
    };
    Ok(Running { pid, pidfd, since: Instant::now(), socket: Some(socket) })
}

/// The keeper's environment less what belongs to one process only.
fn environment(extras: &Extras<'_>, socket: i32) -> io::Result<Vec<CString>> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let private = |name: &[u8]| {
        name.starts_with(b"LISTEN_")
            || name.starts_with(b"NODE_CHANNEL_")
            || name == b"NODE_UNIQUE_ID"
            || name == b"NOTIFY_SOCKET"
            || name == b"WATCHDOG_USEC"
            || name == b"WATCHDOG_PID"
            || name == crate::wire::SPAWN_MARK_ENV.as_bytes()
            || name == crate::wire::INSTANCE_ENV.as_bytes()
            || (name.starts_with(b"GANGER_") && name.ends_with(b"_FD"))
    };
    let mut all: Vec<Vec<u8>> = std::env::vars_os()
        .filter(|(name, _)| !private(name.as_bytes()))
        .map(|(name, value)| [name.as_bytes(), b"=", &value.into_vec()].concat())
        .collect();
    all.push(format!("{}={socket}", extras.socket_env).into_bytes());
    all.extend(extras.env.iter().map(|(name, value)| format!("{name}={value}").into_bytes()));
    all.into_iter().map(|entry| CString::new(entry).map_err(io::Error::from)).collect()
}
