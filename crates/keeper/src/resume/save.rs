//! What the keeper knows, written down, and the step itself.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use ganger_core::logwire::LOG_WIRE_VERSION;

use super::Candidate;
use super::image::{Bytes, HelperRow, Image, Inner, SocketRow, encode};
use crate::child::Child;
use crate::helper::{Connection, Kept};
use crate::keeper::{Keeper, now_ms};
use crate::snapshot;
use crate::wire::Upgrade;

/// Descriptors that go through exec.
type Through<'a> = Vec<BorrowedFd<'a>>;

impl Keeper {
    /// Everything, and the descriptors that have to stay open. `previous` is the running daemon's binary.
    pub(super) fn image<'a>(
        &'a self,
        previous: &'a OwnedFd,
        upgrade: Option<Upgrade>,
    ) -> io::Result<(Image, Through<'a>)> {
        let paused_us = now_us();
        let mut fds = vec![previous.as_fd()];
        let mut table = snapshot::table(self, &mut fds);
        table.upgrade = upgrade.or(table.upgrade);
        let retiring = self.logs.by_key.iter().filter(|(_, pipe)| pipe.retiring);
        let image = Image {
            writer: super::PROGRAM.into(),
            paused_us,
            table,
            foreground: self.foreground,
            files: self.files,
            inner: self.children.values().map(inner).collect(),
            past: self.past.saved(),
            retiring: retiring.map(|(key, _)| key.clone()).collect(),
            flushes: self.flushes.iter().copied().collect(),
            idle: self.driver.idle().map(str::to_owned).collect(),
            logger: helper(&self.logger, &mut fds),
            log_wire: LOG_WIRE_VERSION,
            daemon: helper(&self.daemon, &mut fds),
            notified: self.notify.told(),
            previous: previous.as_raw_fd(),
        };
        Ok((image, fds))
    }

    /// The point of no return. Returns only when it was not reached, with the reason; nothing has changed then.
    pub(super) fn replace_self(&self, candidate: &Candidate) -> String {
        match self.try_replace(candidate) {
            Ok(never) => match never {},
            Err(error) => format!("{}: {error}", candidate.path),
        }
    }

    fn try_replace(&self, candidate: &Candidate) -> io::Result<std::convert::Infallible> {
        let previous = self.daemons_binary()?;
        let upgrade = Upgrade {
            from: self.daemons_version(),
            to: candidate.version.clone(),
            at_ms: now_ms(),
            keeper_gap_us: 0,
            children: u32::try_from(self.by_pid.len()).unwrap_or(u32::MAX),
            on_trial: true,
            failed: None,
        };
        let (image, mut keep) = self.image(&previous, Some(upgrade))?;
        let state = ganger_sys::memfd::sealed("ganger-state", &encode(&image))?;
        keep.push(state.as_fd());
        let mut argv = self.own_command.argv.clone();
        argv.extend(["--state-dir".into(), self.dir.to_string_lossy().into_owned()]);
        argv.extend(["--resume".into(), state.as_raw_fd().to_string()]);
        argv.extend(self.foreground.then(|| "--foreground".into()));
        let argv: Result<Vec<CString>, _> = argv.into_iter().map(CString::new).collect();
        let env = super::check::environment()?;
        Err(ganger_sys::exec::replace(&candidate.binary, &argv?, &env, &keep))
    }
}

/// Microseconds of the monotonic clock, which is the same for every process.
pub(super) fn now_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1_000
}

fn inner(child: &Child) -> Inner {
    Inner {
        id: child.id,
        sent: child.sent,
        ended: child.ended.clone(),
        life: child.life.saved(),
        tree: child.tree.as_ref().map(ganger_sandbox::cgroup::Tree::saved),
    }
}

fn helper<'a>(kept: &'a Kept, fds: &mut Through<'a>) -> Option<HelperRow> {
    let running = kept.running()?;
    fds.push(running.pidfd.as_fd());
    let socket = running.socket.as_ref().map(|connection| socket(connection, fds));
    Some(HelperRow { pid: running.pid, pidfd: running.pidfd.as_raw_fd(), socket })
}

fn socket<'a>(connection: &'a Connection, fds: &mut Through<'a>) -> SocketRow {
    let mut bytes = |bytes: &[u8], with: Vec<BorrowedFd<'a>>| {
        let row =
            Bytes { bytes: bytes.to_vec(), fds: with.iter().map(AsRawFd::as_raw_fd).collect() };
        fds.extend(with);
        row
    };
    let (socket, reader, writer) = connection.parts();
    let (read, with) = reader.rest();
    let read = bytes(read, with.collect());
    let unsent = writer.rest().map(|(unsent, with)| bytes(unsent, with)).collect();
    fds.push(socket);
    SocketRow { fd: socket.as_raw_fd(), read, unsent }
}
