//! The first process of a pid namespace: starts the program, passes signals on, reaps what is orphaned, and ends with the program, by
//! which the kernel ends everything else in there.
//!
//! ```text
//! keeper ──signal, by pidfd──▶ first process ──same signal──▶ program (or, when it is marked so, everything inside)
//!    ▲                            │ wait4 for all ◀────────────── ends, and orphans
//!    └─ status and usage by pipe ─┘ exits
//! ```
//!
//! It can't end by a signal that it sends itself, as the kernel lets nothing from inside end a first process: so how the program ended is
//! said through a pipe that only it can write to. Its memory is what it needs of a copy of the keeper's, and can't be looked at from inside: it
//! keeps the rights of its user namespace, which the program has none of, and is not dumpable.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use ganger_core::Usage;

#[cfg(target_arch = "x86_64")]
use super::alone::{Range, call};
use crate::reap::{Status, usage_of};

/// Addresses from, to.
#[cfg(not(target_arch = "x86_64"))]
type Range = (usize, usize);

/// What goes through the pipe: smaller than PIPE_BUF, so whole or not at all.
#[repr(C)]
struct Outcome {
    status: i32,
    zero: i32,
    usage: libc::rusage,
}

/// The value that comes with a signal for everything inside, see [`crate::pidfd::send_to_all`].
pub(crate) const TO_ALL: usize = 0x6761_6e67_6572;

/// What the kernel fills in: made before memory is given back.
struct Room {
    outcome: Outcome,
    info: libc::siginfo_t,
}

/// Stays until the program has ended. `told` is the pipe for its outcome, `image` what memory it needs.
pub(in crate::spawn) fn lead(program: i32, told: i32, image: Option<Range>) -> ! {
    // SAFETY: plain numbers, for all of which zero is a value.
    let mut room: Room = unsafe { MaybeUninit::zeroed().assume_init() };
    prepare(told);
    #[cfg(target_arch = "x86_64")]
    if let Some(image) = image {
        super::alone::forget(image);
    }
    loop {
        reap(program, &mut room);
        pass_on(program, &mut room);
    }
}

/// Gives away all that the program was given: a pipe has to end with it. Number 0 is the outcome's from here on.
fn prepare(told: i32) {
    // SAFETY: plain numbers; what is not open is no matter.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        libc::dup3(told, 0, libc::O_CLOEXEC);
        libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0);
        libc::chdir(c"/".as_ptr());
    }
}

fn reap(program: i32, room: &mut Room) {
    let any = usize::MAX;
    let how = (libc::WNOHANG | libc::__WALL) as usize;
    loop {
        let (status, usage) = (&raw mut room.outcome.status, &raw mut room.outcome.usage);
        let pid = call(libc::SYS_wait4, [any, status as usize, how, usage as usize]);
        if pid <= 0 {
            return;
        }
        if pid == program as isize {
            end(&room.outcome);
        }
    }
}

fn end(outcome: &Outcome) -> ! {
    let status = outcome.status;
    let code = if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    loop {
        call(libc::SYS_write, [0, ptr::from_ref(outcome) as usize, size_of::<Outcome>(), 0]);
        call(libc::SYS_exit_group, [code as usize, 0, 0, 0]);
    }
}

/// Waits for a signal; all are blocked, so none is lost and none does anything by itself.
fn pass_on(program: i32, room: &mut Room) {
    let all = u64::MAX;
    let (set, info) = (ptr::from_ref(&all) as usize, &raw mut room.info as usize);
    let signal = call(libc::SYS_rt_sigtimedwait, [set, info, 0, size_of::<u64>()]);
    if signal <= 0 || signal == libc::SIGCHLD as isize {
        return;
    }
    let info = &room.info;
    // SAFETY: filled in by the kernel; with SI_QUEUE the value is in the part that is read, else nobody looks at it.
    let to_all = unsafe {
        info.si_code == libc::SI_QUEUE
            && info.si_pid() == 0
            && info.si_value().sival_ptr as usize == TO_ALL
    };
    // -1 is everything inside but this process.
    let to = if to_all { -1 } else { program };
    call(libc::SYS_kill, [to as usize, signal.unsigned_abs(), 0, 0]);
}

/// A system call. Where there is no other way yet, by libc: the whole memory stays there.
#[cfg(not(target_arch = "x86_64"))]
fn call(number: libc::c_long, [a, b, c, d]: [usize; 4]) -> isize {
    // SAFETY: callers pass what this call takes.
    unsafe { libc::syscall(number, a, b, c, d) as isize }
}

/// How the program behind a first process ended and what it used. `None` when nothing was said: the first process was killed.
///
/// # Errors
/// The pipe can't be read.
pub fn outcome(pipe: impl AsFd) -> io::Result<Option<(Status, Usage)>> {
    let mut bytes = MaybeUninit::<Outcome>::zeroed();
    // SAFETY: room for as many bytes as are asked for.
    let got = unsafe {
        libc::read(pipe.as_fd().as_raw_fd(), bytes.as_mut_ptr().cast(), size_of::<Outcome>())
    };
    if got < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
    }
    if usize::try_from(got) != Ok(size_of::<Outcome>()) {
        return Ok(None);
    }
    // SAFETY: plain integers, all of them read.
    let outcome = unsafe { bytes.assume_init() };
    Ok(Some((Status(outcome.status), usage_of(&outcome.usage))))
}
