//! What the loop waits on: an epoll descriptor with one number per source.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ganger_core::SpawnId;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// Events taken per wake-up.
const BATCH: usize = 64;
/// Marks a number that is a spawn id: daemons' epochs stay below 2^30.
const CHILD: u64 = 1 << 63;
/// Of that child, the event of its memory limit.
const MEMORY: u64 = 1 << 62;
/// Without the other: that a child has come to its program, or has failed to.
const STARTED: u64 = MEMORY;

/// Who is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Signals,
    Daemon,
    Logger,
    /// The pidfd of a child that is not ours by birth.
    Adopted(SpawnId),
    /// The kernel killed somebody of a child's tree for its memory limit.
    Memory(SpawnId),
    /// A child that was on its way to its program.
    Started(SpawnId),
}

impl Source {
    const fn number(self) -> u64 {
        match self {
            Self::Signals => 0,
            Self::Daemon => 1,
            Self::Logger => 2,
            Self::Adopted(id) => id.0 | CHILD,
            Self::Memory(id) => id.0 | CHILD | MEMORY,
            Self::Started(id) => id.0 | STARTED,
        }
    }

    const fn of(number: u64) -> Self {
        match number {
            0 => Self::Signals,
            1 => Self::Daemon,
            2 => Self::Logger,
            id if id & CHILD == 0 => Self::Started(SpawnId(id & !STARTED)),
            id if id & MEMORY != 0 => Self::Memory(SpawnId(id & !CHILD & !MEMORY)),
            id => Self::Adopted(SpawnId(id & !CHILD)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
}

impl AsFd for Poller {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    pub(crate) fn add(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.number());
        Ok(epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)?)
    }

    /// Also waits for room to write, or no longer.
    pub(crate) fn set_writing(&self, fd: impl AsFd, source: Source, on: bool) -> io::Result<()> {
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, on);
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(source.number()), flags)?)
    }

    /// Before closing any descriptor that was added: a copy of it in a child between clone and exec would keep the entry
    /// alive, and a stale event would come.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        // ENOENT: was never added.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Fills `ready`; nothing in it after a timeout.
    pub(crate) fn wait(
        &self,
        timeout: Option<Duration>,
        ready: &mut Vec<Source>,
    ) -> io::Result<()> {
        let timeout = timeout.map(|t| Timespec::try_from(t).unwrap_or(Timespec::default()));
        let mut events: Vec<epoll::Event> = Vec::with_capacity(BATCH);
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(other) => return Err(other.into()),
        }
        ready.extend(events.iter().map(|event| Source::of({ event.data }.u64())));
        Ok(())
    }
}
