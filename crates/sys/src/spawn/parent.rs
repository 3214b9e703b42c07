//! The parent's side: clone, then wait for the program to run or for a report of what failed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::gates::Gates;
use super::low::{Lent, LowNumbers};
use super::prepared::Prepared;
use super::{EXEC_DEADLINE, Pending, SpawnError, Spec, Started, Step, child};
use crate::signal::AllBlocked;

pub(super) fn spawn(spec: &Spec<'_>, low: Option<&mut LowNumbers>) -> Result<Started, SpawnError> {
    let mut prepared = Prepared::new(spec);
    let lent = low.and_then(|low| low.lend(spec, &mut prepared));
    #[cfg(target_arch = "x86_64")]
    if spec.fast && spec.identity.is_none() && spec.walls.is_none() {
        return spawn_fast(spec, &mut prepared, lent);
    }
    let mut lent = lent;
    let pending = begin_forked(spec, &mut prepared, lent.as_mut())?;
    wait(pending, lent)
}

/// A child that goes on by itself: all that it was given it has a copy of.
pub(super) fn begin(spec: &Spec<'_>) -> Result<Pending, SpawnError> {
    begin_forked(spec, &mut Prepared::new(spec), None)
}

/// What was lent stays the child's until [`wait`] gives it back.
fn begin_forked(
    spec: &Spec<'_>,
    prepared: &mut Prepared,
    mut lent: Option<&mut Lent<'_>>,
) -> Result<Pending, SpawnError> {
    let base = if lent.is_some() { 0 } else { prepared.base };
    let (reader, writer) = error_pipe(base).map_err(at(Step::Pipe))?;
    prepared.report = match &mut lent {
        Some(lent) => lent.put(writer.as_fd()).ok_or(SpawnError::of(Step::Pipe, libc::EMFILE))?,
        None => writer.as_raw_fd(),
    };
    let writer = lent.is_none().then_some(writer);
    let mut gates = Gates::open(spec, prepared)?;
    let mut pidfd: libc::c_int = -1;
    let args = clone_args(spec, &mut pidfd, files(lent.is_some()));
    let network = spec.walls.and_then(|walls| walls.network.as_ref());
    let away = network.map(|network| network.enter()).transpose().map_err(at(Step::Clone3))?;
    let blocked = AllBlocked::new();
    // SAFETY: fork semantics: without CLONE_VM the child has a copy of this memory and stack, and `child::run` never
    // returns into it. `args` is a clone_args with valid pointers, its size is given.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    if pid == 0 {
        child::run(prepared);
    }
    let error = io::Error::last_os_error();
    drop(blocked);
    drop(away);
    drop(writer);
    let mut started = started(pid, pidfd, &error)?;
    if let Err(error) = gates.pass(spec, started.pid) {
        // The result doesn't matter: a child that is gone needs no signal.
        let _ = crate::pidfd::send_signal(&started.pidfd, libc::SIGKILL);
        bury(&started, error.step);
        return Err(error);
    }
    started.outcome = gates.outcome.take();
    Ok(Pending { reader, started, deadline: Instant::now() + EXEC_DEADLINE })
}

pub(super) fn wait(pending: Pending, lent: Option<Lent<'_>>) -> Result<Started, SpawnError> {
    match await_exec(&pending, lent) {
        None => Ok(pending.started),
        Some(error) => {
            bury(&pending.started, error.step);
            Err(error)
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn spawn_fast(
    spec: &Spec<'_>,
    prepared: &mut Prepared,
    lent: Option<Lent<'_>>,
) -> Result<Started, SpawnError> {
    let mut pidfd: libc::c_int = -1;
    let shared = libc::CLONE_VM | libc::CLONE_VFORK | files(lent.is_some());
    let mut args = clone_args(spec, &mut pidfd, shared);
    let blocked = AllBlocked::new();
    let pid = super::vfork::clone3(&mut args, prepared);
    drop(blocked);
    // The child has left the table by now: by its own copy, or by its end.
    drop(lent);
    let error = io::Error::from_raw_os_error(i32::try_from(-pid).unwrap_or(libc::EINVAL));
    let started = started(pid, pidfd, &error)?;
    match report(prepared.failure) {
        None => Ok(started),
        Some(error) => {
            bury(&started, error.step);
            Err(error)
        }
    }
}

const fn files(shared: bool) -> libc::c_int {
    if shared { libc::CLONE_FILES } else { 0 }
}

fn clone_args(spec: &Spec<'_>, pidfd: &mut libc::c_int, more: libc::c_int) -> libc::clone_args {
    // SAFETY: clone_args is plain integers, for which zero is "not given".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    // uapi/linux/sched.h; libc has no constants for these two: their bits are outside an int.
    const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    args.flags = u64::from((libc::CLONE_PIDFD | more).cast_unsigned()) | CLONE_CLEAR_SIGHAND;
    args.pidfd = std::ptr::from_mut(pidfd) as u64;
    args.flags |= spec.walls.as_ref().map_or(0, |walls| walls.at_birth());
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    if let Some(cgroup) = spec.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    args
}

fn started(
    pid: libc::c_long,
    pidfd: libc::c_int,
    error: &io::Error,
) -> Result<Started, SpawnError> {
    let Some(number) = u32::try_from(pid).ok().filter(|pid| *pid > 0) else {
        let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
        return Err(SpawnError::of(Step::Clone3, errno));
    };
    // SAFETY: clone3 with CLONE_PIDFD stored a new descriptor there, close-on-exec, owned by nobody yet.
    Ok(Started { pid: number, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) }, outcome: None })
}

/// A pipe whose write end lies above every number that the child fills.
fn error_pipe(base: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    if writer.as_raw_fd() >= base {
        return Ok((reader, writer));
    }
    let moved = rustix::io::fcntl_dupfd_cloexec(&writer, base)?;
    Ok((reader, moved))
}

/// Waits until exec closes the pipe (`None`), the child reports, or the deadline is over. What it was lent is free as
/// soon as it says that its table is its own; until then nothing is opened or closed here.
fn await_exec(pending: &Pending, mut lent: Option<Lent<'_>>) -> Option<SpawnError> {
    let Pending { reader, started: child, deadline } = pending;
    let mut word = [0u8; 8];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        // Its end as well: while the write end is lent, a child that is killed does not end the pipe.
        let mut wait =
            [PollFd::new(reader, PollFlags::IN), PollFd::new(&child.pidfd, PollFlags::IN)];
        match poll(&mut wait, Some(&timeout)) {
            Ok(0) => break,
            Ok(_) if wait[0].revents().is_empty() => return None,
            Ok(_) => match rustix::io::read(reader.as_fd(), &mut word) {
                Ok(8) if u64::from_ne_bytes(word) == child::UNSHARED => lent = None,
                Ok(8) => return report(u64::from_ne_bytes(word)),
                Err(Errno::INTR) => {}
                // The end of the pipe: exec closed it, or the child was killed on its way and is reaped like any other.
                _ => return None,
            },
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    // The result doesn't matter: a child that is gone needs no signal.
    let _ = crate::pidfd::send_signal(&child.pidfd, libc::SIGKILL);
    drop(lent);
    Some(SpawnError::of(Step::Deadline, libc::ETIMEDOUT))
}

fn report(word: u64) -> Option<SpawnError> {
    let part = |from: u32| u32::from((word >> from) as u16);
    let step = Step::from_number(part(32))?;
    let errno = i32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
    Some(SpawnError { step, errno, index: part(48) as usize })
}

/// Reaps a child that reported and is at its `_exit`. One that hangs past the deadline is left to the reaping of all.
fn bury(child: &Started, step: Step) {
    if step == Step::Deadline {
        return;
    }
    let mut wait = [PollFd::new(&child.pidfd, PollFlags::IN)];
    let timeout = Timespec::try_from(EXEC_DEADLINE).unwrap_or_default();
    while poll(&mut wait, Some(&timeout)) == Err(Errno::INTR) {}
    // ECHILD only where the process ignores SIGCHLD; then the kernel has reaped it.
    let _ = crate::reap::wait(child.pid);
}

pub(super) fn at(step: Step) -> impl Fn(io::Error) -> SpawnError {
    move |error| SpawnError::of(step, error.raw_os_error().unwrap_or(libc::EINVAL))
}
