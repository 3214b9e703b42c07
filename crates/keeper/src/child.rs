//! One child as the keeper holds it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ganger_core::{End, InstanceId, InstanceKind, SignalSource, SpawnId, Usage};
use ganger_sandbox::Report;
use ganger_sandbox::cgroup::Tree;
use ganger_sandbox::walls::LentNetwork;
use ganger_sys::reap::Status;

use crate::life::Life;
use crate::watchdog::Watch;
use crate::wire::{ChildRow, Event, ExitReport};

#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) id: SpawnId,
    pub(crate) instance: InstanceId,
    pub(crate) kind: InstanceKind,
    pub(crate) pid: u32,
    pub(crate) started_at_ms: u64,
    /// `None` once the process is reaped: nothing is to be asked of it any more.
    pub(crate) pidfd: Option<OwnedFd>,
    /// Where the first process of its pid namespace says how the program ended.
    pub(crate) outcome: Option<OwnedFd>,
    /// Its alone while it lives, and good for another one after.
    pub(crate) network: Option<LentNetwork>,
    pub(crate) ends: Ends,
    /// `None` for a tree that is known by marker and descent only.
    pub(crate) tree: Option<Tree>,
    pub(crate) report: Report,
    pub(crate) blob: String,
    pub(crate) keep_leftovers: bool,
    pub(crate) adopted: bool,
    pub(crate) life: Life,
    /// Limits that somebody has to look after.
    pub(crate) watch: Option<Box<Watch>>,
    /// One bit per signal that ganger sent to the main process.
    pub(crate) sent: u64,
    /// How the main process ended, from its reaping on.
    pub(crate) ended: Option<(End, Usage, u64)>,
    pub(crate) exit: Option<ExitReport>,
}

/// The daemon's ends of what the child was given.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) channel: Option<OwnedFd>,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<Out>,
    pub(crate) stderr: Option<Out>,
}

/// An output's end.
#[derive(Debug)]
pub(crate) enum Out {
    Pipe(OwnedFd),
    Memory(OwnedFd),
}

impl AsFd for Out {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Pipe(fd) | Self::Memory(fd) => fd.as_fd(),
        }
    }
}

impl Child {
    pub(crate) const fn note_sent(&mut self, signal: i32) {
        if signal > 0 && signal < 64 {
            self.sent |= 1 << signal;
        }
    }

    /// How the program ended, where the process that was reaped is not the program but the first of its pid namespace; what was
    /// reaped where that was killed before it could tell.
    pub(crate) fn outcome(&mut self, reaped: Status, used: Usage) -> (Status, Usage) {
        let pipe = self.outcome.take();
        let told = pipe.and_then(|pipe| ganger_sys::spawn::walls::outcome(pipe).ok().flatten());
        told.unwrap_or((reaped, used))
    }

    /// The end of its main process, with what is known about who sent the signal.
    pub(crate) fn end_of(&self, status: Status) -> End {
        const SIGKILL: i32 = 9;
        let ours = status.signal().is_some_and(|s| s < 64 && self.sent & (1 << s) != 0);
        if status.signal() == Some(SIGKILL)
            && !ours
            && let Some(limit) = self.tree.as_ref().and_then(Tree::limit_end)
        {
            return limit.end();
        }
        if status.signal() == Some(SIGKILL)
            && ours
            && let Some(end) = self.watch.as_ref().and_then(|watch| watch.end())
        {
            return end;
        }
        status.end(if ours { SignalSource::Ganger } else { SignalSource::Unknown })
    }

    /// `Spawned` with copies of the descriptors in wire order.
    pub(crate) fn spawned(&self) -> std::io::Result<(Event, Vec<OwnedFd>)> {
        let event = Event::Spawned {
            id: self.id,
            pid: self.pid,
            started_at_ms: self.started_at_ms,
            tree: self.tree.as_ref().map(|tree| tree.name().to_owned()),
            report: self.report.clone(),
        };
        let fds = [
            self.pidfd.as_ref().map(AsFd::as_fd),
            self.ends.channel.as_ref().map(AsFd::as_fd),
            self.ends.stdin.as_ref().map(AsFd::as_fd),
            self.ends.stdout.as_ref().map(AsFd::as_fd),
            self.ends.stderr.as_ref().map(AsFd::as_fd),
        ];
        let copies: Result<Vec<OwnedFd>, _> =
            fds.into_iter().flatten().map(|fd| fd.try_clone_to_owned()).collect();
        Ok((event, copies?))
    }

    /// Its row in a table that goes through exec, and the descriptors that have to go with it.
    pub(crate) fn row<'a>(&'a self, fds: &mut Vec<std::os::fd::BorrowedFd<'a>>) -> ChildRow {
        let mut number = |fd: Option<std::os::fd::BorrowedFd<'a>>| {
            fds.extend(fd);
            fd.map(|fd| fd.as_raw_fd())
        };
        ChildRow {
            id: self.id,
            instance: self.instance.clone(),
            kind: self.kind,
            pid: self.pid,
            started_at_ms: self.started_at_ms,
            pidfd: number(self.pidfd.as_ref().map(AsFd::as_fd)),
            outcome: number(self.outcome.as_ref().map(AsFd::as_fd)),
            channel: number(self.ends.channel.as_ref().map(AsFd::as_fd)),
            stdin: number(self.ends.stdin.as_ref().map(AsFd::as_fd)),
            stdout: number(self.ends.stdout.as_ref().map(AsFd::as_fd)),
            stderr: number(self.ends.stderr.as_ref().map(AsFd::as_fd)),
            tree: self.tree.as_ref().map(|tree| tree.name().to_owned()),
            report: self.report.clone(),
            blob: self.blob.clone(),
            exit: self.exit.clone(),
            adopted: self.adopted,
            keep_leftovers: self.keep_leftovers,
        }
    }

    /// Sets the size of captured output to what was written: until now it was the cap, see `stdio::capture`.
    pub(crate) fn settle_captures(&self) {
        for out in [&self.ends.stdout, &self.ends.stderr] {
            if let Some(Out::Memory(fd)) = out
                && let Ok(written) = rustix::fs::seek(fd, rustix::fs::SeekFrom::Current(0))
            {
                // Shrinking is not sealed; failing leaves zeros at the end, which is the worst it can be.
                let _ = rustix::fs::ftruncate(fd, written);
            }
        }
    }
}
