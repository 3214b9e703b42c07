//! Seeing ended children, and taking them away with what they used.

use std::io;
use std::mem::MaybeUninit;

use ganger_core::{End, SignalSource, Usage};

/// The pid of a child that ended and is not yet reaped, without reaping it (waitid with WNOWAIT).
///
/// # Errors
/// None but the kernel's; no child at all is `Ok(None)`.
pub fn peek() -> io::Result<Option<u32>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
    // SAFETY: the pointer has room for one siginfo_t, zeroed, so that "nothing" reads as pid 0.
    let failed = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) };
    if failed != 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ECHILD) => Ok(None),
            _ => Err(error),
        };
    }
    // SAFETY: zeroed or filled in by the kernel; si_pid is in the part that waitid fills.
    let pid = unsafe { info.assume_init().si_pid() };
    Ok(u32::try_from(pid).ok().filter(|pid| *pid != 0))
}

/// Reaps one ended child and says how it ended and what it used. `None` when it has not ended.
///
/// # Errors
/// ECHILD when it is not a child of this process.
pub fn wait(pid: u32) -> io::Result<Option<(Status, Usage)>> {
    let number = i32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ECHILD))?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to values of the right type that live through the call.
    let got = unsafe { libc::wait4(number, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    match got {
        0 => Ok(None),
        got if got == number => {
            // SAFETY: zeroed above and filled in by wait4.
            let usage = unsafe { usage.assume_init() };
            Ok(Some((Status(status), usage_of(&usage))))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// A wait status (wait(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub i32);

impl Status {
    /// The signal that ended it, if one did.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        libc::WIFSIGNALED(self.0).then(|| libc::WTERMSIG(self.0))
    }

    /// As an [`End`]; `by` is what the caller knows about the sender of a signal.
    #[must_use]
    pub fn end(self, by: SignalSource) -> End {
        match self.signal() {
            Some(signal) => End::Signalled { signal, core: libc::WCOREDUMP(self.0), by },
            None => End::Exited { code: libc::WEXITSTATUS(self.0) },
        }
    }
}

pub(crate) fn usage_of(raw: &libc::rusage) -> Usage {
    let number = |n: libc::c_long| u64::try_from(n).unwrap_or(0);
    let micros = |t: libc::timeval| number(t.tv_sec) * 1_000_000 + number(t.tv_usec);
    Usage {
        user_us: micros(raw.ru_utime),
        system_us: micros(raw.ru_stime),
        // getrusage(2): kilobytes.
        peak_rss: number(raw.ru_maxrss) * 1024,
        major_faults: number(raw.ru_majflt),
        minor_faults: number(raw.ru_minflt),
        voluntary_switches: number(raw.ru_nvcsw),
        involuntary_switches: number(raw.ru_nivcsw),
    }
}
