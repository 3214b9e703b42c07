//! What the child does between clone and exec: raw system calls on prepared numbers, nothing else.

use std::ptr;

use super::prepared::Prepared;
use super::{Step, low};

/// On the error pipe: the table of descriptors is the child's own from here on. No step has the number 0.
pub(super) const UNSHARED: u64 = 0;

type Try = Result<(), Step>;

/// Runs in the child and never returns: the program runs, or the failure is reported and the child exits 127.
pub(super) fn run(p: &mut Prepared) -> ! {
    let step = match setup(p) {
        Ok(()) => {
            // SAFETY: program, argv and envp are NUL-terminated strings and null-terminated arrays that the spec keeps
            // alive; execve returns only on failure.
            unsafe { libc::execve(p.program, p.argv.as_ptr(), p.envp.as_ptr()) };
            Step::Execve
        }
        Err(step) => step,
    };
    fail(p, step)
}

fn fail(p: &mut Prepared, step: Step) -> ! {
    // SAFETY: errno's address is valid for the thread; in the child it is this thread's copy or, on the fast path, the
    // stopped parent's own.
    let errno = unsafe { *libc::__errno_location() };
    let word = (u64::from(step as u32) << 32) | u64::from(errno.unsigned_abs());
    p.failure = word;
    // SAFETY: writes 8 bytes of a live value to the error pipe (or to -1, which fails harmlessly); _exit does not return
    // and runs no handlers of the parent's image.
    unsafe {
        libc::write(p.report, ptr::from_ref(&word).cast(), size_of::<u64>());
        libc::_exit(127)
    }
}

fn setup(p: &mut Prepared) -> Try {
    default_dispositions();
    session(p)?;
    for file in &p.join {
        // SAFETY: two bytes of a literal; "0" stands for the writer itself (cgroups(7)).
        check(unsafe { libc::write(*file, b"0\n".as_ptr().cast(), 2) } == 2, Step::JoinCgroup)?;
    }
    descriptors(p)?;
    for (resource, limit) in &p.rlimits {
        // The raw call: its resource argument is an int on every libc.
        // SAFETY: the pointer is to a live rlimit64, the old value is not asked for.
        let failed = unsafe {
            let none = ptr::null_mut::<libc::rlimit64>();
            libc::syscall(libc::SYS_prlimit64, 0, *resource, ptr::from_ref(limit), none)
        };
        check(failed == 0, Step::Setrlimit)?;
    }
    identity(p)?;
    // SAFETY: umask can't fail and touches no memory.
    unsafe { libc::umask(p.umask) };
    if !p.cwd.is_null() {
        // SAFETY: a NUL-terminated string that the spec keeps alive.
        check(unsafe { libc::chdir(p.cwd) } == 0, Step::Chdir)?;
    }
    if p.no_new_privs {
        // SAFETY: prctl with plain numbers.
        let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        check(set == 0, Step::NoNewPrivs)?;
    }
    if p.wants_pid() {
        // SAFETY: getpid takes nothing and can't fail; the raw call, as a libc may remember the parent's.
        let pid = unsafe { libc::syscall(libc::SYS_getpid) };
        p.write_pid(u32::try_from(pid).unwrap_or(0));
    }
    unblock_all();
    Ok(())
}

const fn check(ok: bool, step: Step) -> Try {
    if ok { Ok(()) } else { Err(step) }
}

/// CLONE_CLEAR_SIGHAND resets handlers; what the parent ignores (SIGPIPE in every Rust program) stays ignored without this.
fn default_dispositions() {
    const LAST_SIGNAL: libc::c_int = 64;
    // The kernel's struct sigaction, all zero: SIG_DFL, no flags, empty mask. The raw call, as libc's refuses the two
    // signals it keeps for itself, and an ignored 32 or 33 would pass on to every child.
    let default = [0u64; 4];
    let mask_bytes = size_of::<u64>();
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: `default` covers the kernel's struct on every 64-bit architecture; the old one is not asked for.
        // KILL and STOP are refused, which is fine.
        unsafe {
            let none = ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, mask_bytes);
        }
    }
}

fn session(p: &Prepared) -> Try {
    if p.setsid {
        // SAFETY: takes nothing. A new child leads no group, so it can.
        return check(unsafe { libc::setsid() } >= 0, Step::Setsid);
    }
    if let Some(terminal) = p.terminal {
        // All signals are blocked here, so SIGTTOU can't stop the handing over (tcsetpgrp(3)).
        // SAFETY: plain numbers; a terminal that is none is refused.
        let ok =
            unsafe { libc::setpgid(0, 0) == 0 && libc::tcsetpgrp(terminal, libc::getpid()) == 0 };
        return check(ok, Step::Foreground);
    }
    Ok(())
}

/// Takes a copy of the low part of a table that was the parent's until now, and says so where the parent waits for it.
fn unshare(p: &mut Prepared) -> Try {
    let (first, last) = (low::END.unsigned_abs(), libc::c_uint::MAX);
    // SAFETY: plain numbers. Refused, it has changed nothing.
    let unshared =
        unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_UNSHARE) };
    check(unshared == 0, Step::Descriptors)?;
    p.shared = false;
    if p.report >= 0 {
        let word = UNSHARED;
        // SAFETY: writes 8 bytes of a live value to the error pipe, which is empty.
        unsafe { libc::write(p.report, ptr::from_ref(&word).cast(), size_of::<u64>()) };
        if p.report < p.base {
            // SAFETY: plain numbers, in a table that is this process's own.
            let moved = unsafe { libc::fcntl(p.report, libc::F_DUPFD_CLOEXEC, p.base) };
            check(moved >= 0, Step::Descriptors)?;
            p.report = moved;
        }
    }
    Ok(())
}

/// Puts every source under its target without overwriting one that is still needed: first each source moves above all
/// targets, then everything from 3 up is marked close-on-exec, then targets are made, which are not.
fn descriptors(p: &mut Prepared) -> Try {
    if p.shared {
        unshare(p)?;
    }
    let base = p.base;
    for (from, _) in &mut p.fds {
        if *from < base {
            // SAFETY: plain numbers.
            let moved = unsafe { libc::fcntl(*from, libc::F_DUPFD_CLOEXEC, base) };
            check(moved >= 0, Step::Descriptors)?;
            *from = moved;
        }
    }
    let (first, last) = (3 as libc::c_uint, libc::c_uint::MAX);
    // SAFETY: plain numbers.
    let marked =
        unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
    check(marked == 0, Step::Descriptors)?;
    for (from, to) in &p.fds {
        // SAFETY: plain numbers.
        check(unsafe { libc::dup2(*from, *to) } >= 0, Step::Descriptors)?;
    }
    for kept in &p.keep {
        // SAFETY: plain numbers.
        check(unsafe { libc::fcntl(*kept, libc::F_SETFD, 0) } == 0, Step::Descriptors)?;
    }
    Ok(())
}

/// The raw calls: libc's versions would make all threads of the parent's image follow.
fn identity(p: &Prepared) -> Try {
    let Some((uid, gid)) = p.identity else { return Ok(()) };
    // SAFETY: the pointer covers `len` group ids.
    let set = unsafe { libc::syscall(libc::SYS_setgroups, p.groups.len(), p.groups.as_ptr()) };
    check(set == 0, Step::Setgroups)?;
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) } == 0, Step::Setgid)?;
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) } == 0, Step::Setuid)
}

fn unblock_all() {
    // SAFETY: zero is the empty set on Linux; sigprocmask only reads it.
    unsafe {
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}
