//! Log pipes: one per name, slot and stream, both ends held here, so that no restart of child, logger or daemon ever
//! closes one or loses a byte in it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use ganger_core::Stream;
use ganger_core::logwire::LogTarget;
use rustix::pipe::PipeFlags;

use crate::wire::Held;

/// A larger pipe lets a child run on while the logger works; the default of 64 KiB is a wake-up per 64 KiB.
const PIPE_SIZE: usize = 256 << 10;
/// So many get the larger size: pipe-user-pages-soft (pipe(7)) is 64 MiB in all for a user.
const LARGE_PIPES: usize = 128;

pub(crate) type Key = (String, u32, Stream);

#[derive(Debug)]
pub(crate) struct LogPipe {
    pub(crate) target: LogTarget,
    pub(crate) read: OwnedFd,
    pub(crate) write: OwnedFd,
    /// Asked to be retired: gone when the logger says so.
    pub(crate) retiring: bool,
}

#[derive(Debug, Default)]
pub(crate) struct LogPipes {
    pub(crate) by_key: BTreeMap<Key, LogPipe>,
}

/// The held name of one end.
pub(crate) fn name(key: &Key, end: &str) -> String {
    format!("log:{}:{}:{}:{end}", key.0, key.1, key.2)
}

impl LogPipes {
    /// The pipe of a stream; `true` when it was made or its target changed, so that the logger has to be told.
    pub(crate) fn open(
        &mut self,
        target: &LogTarget,
        stream: Stream,
    ) -> io::Result<(&LogPipe, bool)> {
        use std::collections::btree_map::Entry;
        let large = self.by_key.len() < LARGE_PIPES;
        match self.by_key.entry((target.name.clone(), target.slot, stream)) {
            Entry::Occupied(entry) => {
                let pipe = entry.into_mut();
                let told = pipe.target != *target || pipe.retiring;
                pipe.retiring = false;
                pipe.target.clone_from(target);
                Ok((pipe, told))
            }
            Entry::Vacant(place) => {
                let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
                rustix::io::ioctl_fionbio(&read, true)?;
                if large {
                    // Refused when the user's pipe memory is used up; the pipe works as it is.
                    let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_SIZE);
                }
                let target = target.clone();
                Ok((place.insert(LogPipe { target, read, write, retiring: false }), true))
            }
        }
    }

    /// Takes over one end of a pipe that a dead keeper held; a pipe counts from its second end on.
    pub(crate) fn inherit(&mut self, halves: Vec<(Held, OwnedFd)>) {
        let mut reads: BTreeMap<Key, (LogTarget, OwnedFd)> = BTreeMap::new();
        let mut writes: BTreeMap<Key, OwnedFd> = BTreeMap::new();
        for (what, fd) in halves {
            match what {
                Held::LogRead { target, stream } => {
                    reads.insert((target.name.clone(), target.slot, stream), (target, fd));
                }
                Held::LogWrite { target, stream } => {
                    writes.insert((target.name, target.slot, stream), fd);
                }
                Held::Named | Held::Lock | Held::Api => {}
            }
        }
        for (key, (target, read)) in reads {
            if let Some(write) = writes.remove(&key) {
                self.by_key.insert(key, LogPipe { target, read, write, retiring: false });
            }
        }
    }
}
