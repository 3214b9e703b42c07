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
//! said through a pipe that only it can write to. Its memory is a copy of the keeper's and can't be looked at from inside: it keeps the
//! rights of its user namespace, which the program has none of, and is not dumpable.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use ganger_core::Usage;

use crate::reap::{Status, usage_of};

/// What goes through the pipe: smaller than PIPE_BUF, so whole or not at all.
#[repr(C)]
struct Outcome {
    status: i32,
    zero: i32,
    usage: libc::rusage,
}

/// The value that comes with a signal for everything inside, see [`crate::pidfd::send_to_all`].
pub(crate) const TO_ALL: usize = 0x6761_6e67_6572;

/// Stays until the program has ended. `told` is the pipe for its outcome.
pub(in crate::spawn) fn lead(program: i32, told: i32) -> ! {
    prepare(told);
    loop {
        reap(program);
        pass_on(program);
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

fn reap(program: i32) {
    loop {
        let mut status = 0;
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: both pointers are to values of the right type that live through the call.
        let pid = unsafe {
            libc::wait4(-1, &raw mut status, libc::WNOHANG | libc::__WALL, usage.as_mut_ptr())
        };
        if pid <= 0 {
            return;
        }
        if pid == program {
            // SAFETY: zeroed above and filled in by wait4.
            let usage = unsafe { usage.assume_init() };
            end(status, usage);
        }
    }
}

fn end(status: i32, usage: libc::rusage) -> ! {
    let outcome = Outcome { status, zero: 0, usage };
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    let code = signal.map_or(libc::WEXITSTATUS(status), |signal| 128 + signal);
    // SAFETY: the bytes of a live value without padding that matters; _exit runs no handlers of the keeper's image.
    unsafe {
        libc::write(0, ptr::from_ref(&outcome).cast(), size_of::<Outcome>());
        libc::_exit(code)
    }
}

/// Waits for a signal; all are blocked, so none is lost and none does anything by itself.
fn pass_on(program: i32) {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: sigfillset fills the set; sigwaitinfo fills `info` or fails.
    let signal = unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigwaitinfo(all.as_ptr(), info.as_mut_ptr())
    };
    if signal <= 0 || signal == libc::SIGCHLD {
        return;
    }
    // SAFETY: filled in by the kernel; with SI_QUEUE the value is in the part that is read, else nobody looks at it.
    let to_all = unsafe {
        let info = info.assume_init();
        info.si_code == libc::SI_QUEUE
            && info.si_pid() == 0
            && info.si_value().sival_ptr as usize == TO_ALL
    };
    // SAFETY: plain numbers. -1 is everything inside but this process.
    unsafe { libc::kill(if to_all { -1 } else { program }, signal) };
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
