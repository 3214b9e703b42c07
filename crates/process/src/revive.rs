//! A dead keeper's successor: everything it held, handed on.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ganger_keeper::wire::{Held, HeldRow, Table, WIRE_VERSION, encode};
use rustix::io::FdFlags;
use rustix::pipe::PipeFlags;
use tokio::net::unix::pipe;

use crate::error::ReviveError;
use crate::mirror::Mirror;

/// The write end of a pipe is held under this name by a new keeper until its daemon releases it: how the old daemon sees
/// that it may go.
pub(crate) const TAKEOVER: &str = "ganger:takeover";

/// What a dead keeper held, as far as the kernel lets it live on: children with their descriptors, held descriptors, the
/// state folder's lock and the API's socket. Dropping it closes the copies.
#[derive(Debug)]
pub struct KeeperLost {
    mirror: Mirror,
}

/// A keeper that takes over.
#[derive(Debug)]
pub struct NewKeeper {
    child: std::process::Child,
    done: OwnedFd,
}

impl KeeperLost {
    pub(crate) const fn new(mirror: Mirror) -> Self {
        Self { mirror }
    }

    /// Children that live on without a keeper.
    #[must_use]
    pub fn children(&self) -> usize {
        self.mirror.children.values().filter(|(row, _)| row.exit.is_none()).count()
    }

    /// Pid of the dead keeper.
    #[must_use]
    pub const fn keeper_pid(&self) -> u32 {
        self.mirror.head.keeper_pid
    }

    /// Starts `program __keeper --state-dir DIR --adopt FD` with every descriptor and a table of them.
    ///
    /// The daemon starts no other process ever, so the descriptors made inheritable here can reach nobody else.
    ///
    /// # Errors
    /// The table can't be written or the program not be executed; the descriptors are kept, call it again.
    pub fn start_keeper(&self, program: &Path) -> Result<NewKeeper, ReviveError> {
        let as_table = |source: io::Error| ReviveError::Table { source };
        let (done, sign) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| as_table(errno.into()))?;
        let mut table = self.table();
        let what = Held::Named;
        table.held.push(HeldRow { name: TAKEOVER.into(), fd: sign.as_raw_fd(), what });
        let memfd = ganger_sys::memfd::sealed("ganger-table", &encode(&table)).map_err(as_table)?;
        let extra = [&memfd, &sign];
        self.set_inheritable(extra, true).map_err(as_table)?;
        let started = Command::new(program)
            .arg("__keeper")
            .arg("--state-dir")
            .arg(&table.state_dir)
            .arg("--adopt")
            .arg(memfd.as_raw_fd().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.set_inheritable(extra, false).map_err(as_table)?;
        let child = started.map_err(|source| ReviveError::Spawn {
            program: program.display().to_string(),
            source,
        })?;
        Ok(NewKeeper { child, done })
    }

    /// The table with this process's descriptor numbers, which exec keeps.
    pub(crate) fn table(&self) -> Table {
        let number = |fd: &Option<OwnedFd>| fd.as_ref().map(AsRawFd::as_raw_fd);
        let mut table = self.mirror.head.clone();
        table.version = WIRE_VERSION;
        table.lock_fd = number(&self.mirror.lock);
        table.api_fd = number(&self.mirror.api);
        for (row, fds) in self.mirror.children.values() {
            let mut row = row.clone();
            row.pidfd = number(&fds.pidfd);
            row.channel = number(&fds.channel);
            row.stdin = number(&fds.stdin);
            row.stdout = number(&fds.stdout);
            row.stderr = number(&fds.stderr);
            row.adopted = true;
            table.children.push(row);
        }
        table.children.sort_by_key(|row| row.id);
        for (name, (what, fd)) in &self.mirror.held {
            let (name, what) = (name.clone(), what.clone());
            table.held.push(HeldRow { name, fd: fd.as_raw_fd(), what });
        }
        table
    }

    fn set_inheritable(&self, extra: [&OwnedFd; 2], inheritable: bool) -> io::Result<()> {
        let flags = if inheritable { FdFlags::empty() } else { FdFlags::CLOEXEC };
        let rows =
            self.mirror.children.values().flat_map(|(_, fds)| {
                [&fds.pidfd, &fds.channel, &fds.stdin, &fds.stdout, &fds.stderr]
            });
        let singles = rows.chain([&self.mirror.lock, &self.mirror.api]).flatten();
        let held = self.mirror.held.values().map(|(_, fd)| fd);
        for fd in singles.chain(held).chain(extra) {
            rustix::io::fcntl_setfd(fd, flags)?;
        }
        Ok(())
    }
}

impl NewKeeper {
    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a daemon of the new keeper has taken over every child; then this daemon may go. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// The new keeper ended first, or has not taken over `within` this time.
    pub async fn taken_over(mut self, within: Duration) -> Result<(), ReviveError> {
        let pid = self.pid();
        let end = self.until_closed();
        match tokio::time::timeout(within, end).await {
            Ok(Ok(())) => {}
            Ok(Err(source)) => return Err(ReviveError::Table { source }),
            Err(_) => return Err(ReviveError::TooSlow { pid, after_s: within.as_secs() }),
        }
        // A keeper that died closes the pipe as well.
        match self.child.try_wait() {
            Ok(Some(status)) => Err(ReviveError::Ended { how: status.to_string() }),
            _ => Ok(()),
        }
    }

    async fn until_closed(&self) -> io::Result<()> {
        let pipe = pipe::Receiver::from_owned_fd(self.done.try_clone()?)?;
        loop {
            pipe.readable().await?;
            match pipe.try_read(&mut [0; 16]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
