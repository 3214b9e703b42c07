//! Whether this kernel takes a part of a shared table well: tried out in processes of its own.
//!
//! ```text
//! caller ──clone──▶ first: fills 0-127 of its copy of the table ──clone3(CLONE_FILES)──▶ second: unshares below 64,
//!    └─────waits──────┘ waits, passes the verdict on ◀──────── exit code ────────────────────┘ asks for a number: 64?
//! ```

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use super::low::END;
use super::walls::Namespaces;

/// A word of the kernel's bitmap above the part that is copied: its mark must not come along.
const FILLED: RawFd = 128;
const GOOD: libc::c_int = 0;
/// CVE-2024-45025: the lowest free number is not what is given out.
const MARKS_LEFT: libc::c_int = 1;
const NO_UNSHARE: libc::c_int = 2;
const NO_ROOM: libc::c_int = 3;

/// Takes about as long as two forks.
///
/// # Errors
/// It can't, or it could not be found out.
pub(super) fn unshares_well(null: &File) -> io::Result<()> {
    let blocked = crate::signal::AllBlocked::new();
    let pid = clone(0);
    if pid == 0 {
        first(null.as_raw_fd());
    }
    let error = io::Error::last_os_error();
    drop(blocked);
    if pid < 0 {
        return Err(error);
    }
    match wait(pid) {
        GOOD => Ok(()),
        MARKS_LEFT => Err(io::Error::other(
            "this kernel has the fault CVE-2024-45025 (fixed in 6.11, 6.6.48, 6.1.107, 5.15.166 and 5.10.225)",
        )),
        NO_UNSHARE => Err(io::Error::other("close_range(2) with CLOSE_RANGE_UNSHARE is refused")),
        _ => Err(io::Error::other("the kernel could not be tried out")),
    }
}

/// In a process of its own, with a table of its own. Raw calls only, as between clone and exec.
fn first(null: RawFd) -> ! {
    for number in (0..FILLED).filter(|number| *number != null) {
        // SAFETY: plain numbers, in a table that nobody else uses.
        if unsafe { libc::dup2(null, number) } < 0 {
            exit(NO_ROOM);
        }
    }
    let pid = clone(libc::CLONE_FILES);
    if pid == 0 {
        second();
    }
    exit(if pid < 0 { NO_ROOM } else { wait(pid) })
}

fn second() -> ! {
    let (from, to) = (END.unsigned_abs(), libc::c_uint::MAX);
    // SAFETY: plain numbers; 0 is open.
    let lowest = unsafe {
        if libc::syscall(libc::SYS_close_range, from, to, libc::CLOSE_RANGE_UNSHARE) != 0 {
            exit(NO_UNSHARE);
        }
        libc::dup(0)
    };
    exit(if lowest == END { GOOD } else { MARKS_LEFT })
}

/// The first of these namespaces that can't be made here, alone or in a new user namespace where that is among them.
pub(super) fn refused(all: Namespaces) -> Option<Namespaces> {
    let one = |namespace: Namespaces| {
        let user = if all.has(Namespaces::USER) { Namespaces::USER } else { namespace };
        let blocked = crate::signal::AllBlocked::new();
        let pid = clone(namespace.and(user).flags());
        if pid == 0 {
            exit(GOOD);
        }
        drop(blocked);
        pid < 0 || wait(pid) != GOOD
    };
    let each = [
        Namespaces::USER,
        Namespaces::MOUNT,
        Namespaces::PID,
        Namespaces::NET,
        Namespaces::IPC,
        Namespaces::UTS,
        Namespaces::CGROUP,
    ];
    each.into_iter().filter(|namespace| all.has(*namespace)).find(|namespace| one(*namespace))
}

/// A child that tells nobody of its end: no signal comes, and only a wait for clones sees it.
fn clone(flags: libc::c_int) -> libc::c_long {
    // SAFETY: clone_args is plain integers, for which zero is "not given".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(flags.unsigned_abs());
    // SAFETY: fork semantics: the child has a copy of this memory and stack and leaves it by `exit` only.
    unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) }
}

/// The exit code of a child of [`clone`]; [`NO_ROOM`] for one that was killed.
fn wait(pid: libc::c_long) -> libc::c_int {
    let mut status: libc::c_int = 0;
    loop {
        // SAFETY: `status` is alive; no usage is asked for. The raw call: a libc's may be a point of cancellation.
        let waited = unsafe {
            let (status, none) = (ptr::from_mut(&mut status), ptr::null_mut::<libc::rusage>());
            libc::syscall(libc::SYS_wait4, pid, status, libc::__WALL, none)
        };
        // SAFETY: errno's address is valid for the thread.
        if waited < 0 && unsafe { *libc::__errno_location() } == libc::EINTR {
            continue;
        }
        let exited = waited == pid && libc::WIFEXITED(status);
        return if exited { libc::WEXITSTATUS(status) } else { NO_ROOM };
    }
}

fn exit(code: libc::c_int) -> ! {
    // SAFETY: does not return and runs no handlers of the parent's image.
    unsafe { libc::_exit(code) }
}
