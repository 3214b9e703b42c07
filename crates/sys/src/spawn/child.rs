//! What the child does between clone and exec: raw system calls on prepared numbers, nothing else.

use std::ptr;

use super::prepared::Prepared;
use super::{Step, low, walls};

/// On the error pipe: the table of descriptors is the child's own from here on. No step has the number 0.
pub(super) const UNSHARED: u64 = 0;

/// The step that failed, and which of several things it was about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) step: Step,
    pub(super) index: usize,
}

impl From<Step> for Fault {
    fn from(step: Step) -> Self {
        Self { step, index: 0 }
    }
}

type Try = Result<(), Fault>;

/// Runs in the child and never returns: the program runs, or the failure is reported and the child exits 127.
pub(super) fn run(p: &mut Prepared) -> ! {
    if p.led {
        become_program(p);
    }
    match begin(p) {
        Ok(()) if p.told >= 0 => lead(p),
        Ok(()) => become_program(p),
        Err(fault) => fail(p, fault),
    }
}

/// What comes before the program's own process, where these are two.
fn begin(p: &Prepared) -> Try {
    default_dispositions();
    for file in &p.join {
        // SAFETY: two bytes of a literal; "0" stands for the writer itself (cgroups(7)).
        check(unsafe { libc::write(*file, b"0\n".as_ptr().cast(), 2) } == 2, Step::JoinCgroup)?;
    }
    match p.walls() {
        Some(walls) => walls::stage(walls, p.go),
        None => Ok(()),
    }
}

/// The first process of a pid namespace starts the program's.
fn lead(p: &mut Prepared) -> ! {
    p.led = true;
    // SAFETY: clone_args is plain integers, for which zero is "not given".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    #[cfg(target_arch = "x86_64")]
    let pid = {
        args.flags = u64::from((libc::CLONE_VM | libc::CLONE_VFORK).unsigned_abs());
        let mut stack = std::mem::take(&mut p.stack);
        let pid = super::vfork::clone3_on(&mut stack, &mut args, p);
        // Given back to the allocator it would be somebody's lock; this process ends by _exit.
        p.stack = stack;
        pid
    };
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: fork semantics, as for the process that does this; the child never returns.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    #[cfg(not(target_arch = "x86_64"))]
    if pid == 0 {
        become_program(p);
    }
    match i32::try_from(pid) {
        Ok(pid) if pid > 0 && p.failure == 0 => walls::lead(pid, p.told, p.image),
        // It has said why.
        // SAFETY: does not return and runs no handlers of the parent's image.
        Ok(pid) if pid > 0 => unsafe { libc::_exit(127) },
        _ => fail(p, Step::Init.into()),
    }
}

fn become_program(p: &mut Prepared) -> ! {
    let fault = match setup(p) {
        Ok(file) => {
            let (argv, envp) = (p.argv.as_ptr(), p.envp.as_ptr());
            // SAFETY: program, argv and envp are NUL-terminated strings and null-terminated arrays that the spec keeps
            // alive; execve and execveat return only on failure.
            unsafe {
                if file >= 0 {
                    let (empty, by_file) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
                    libc::syscall(libc::SYS_execveat, file, empty, argv, envp, by_file);
                } else {
                    libc::execve(p.program, argv, envp);
                }
            }
            Step::Execve.into()
        }
        Err(fault) => fault,
    };
    fail(p, fault)
}

fn fail(p: &mut Prepared, fault: Fault) -> ! {
    // SAFETY: errno's address is valid for the thread; in the child it is this thread's copy or, on the fast path, the
    // stopped parent's own.
    let errno = unsafe { *libc::__errno_location() };
    let index = (fault.index as u64).min(u64::from(u16::MAX));
    let step = u64::from(fault.step as u32);
    let word = (index << 48) | (step << 32) | u64::from(errno.unsigned_abs());
    p.failure = word;
    // SAFETY: writes 8 bytes of a live value to the error pipe (or to -1, which fails harmlessly); _exit does not return
    // and runs no handlers of the parent's image.
    unsafe {
        libc::write(p.report, ptr::from_ref(&word).cast(), size_of::<u64>());
        libc::_exit(127)
    }
}

/// Everything that the program's process does for itself. The descriptor of the program, or -1 where it goes by its path.
fn setup(p: &mut Prepared) -> Result<libc::c_int, Fault> {
    session(p)?;
    descriptors(p)?;
    let bounded = p.walls().map_or(Ok(()), walls::bound);
    bounded?;
    for (resource, limit) in &p.rlimits {
        // The raw call: its resource argument is an int on every libc.
        // SAFETY: the pointer is to a live rlimit64, the old value is not asked for.
        let failed = unsafe {
            let none = ptr::null_mut::<libc::rlimit64>();
            libc::syscall(libc::SYS_prlimit64, 0, *resource, ptr::from_ref(limit), none)
        };
        check(failed == 0, Step::Setrlimit)?;
    }
    if p.walls().is_none_or(|walls| walls.ids.is_none()) {
        identity(p)?;
    }
    // SAFETY: umask can't fail and touches no memory.
    unsafe { libc::umask(p.umask) };
    if !p.cwd.is_null() {
        // SAFETY: a NUL-terminated string that the spec keeps alive.
        check(unsafe { libc::chdir(p.cwd) } == 0, Step::Chdir)?;
    }
    let program = p.program;
    let file = p.walls().map_or(Ok(-1), |walls| walls::program(walls, program))?;
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
    if let Some(walls) = p.walls() {
        walls::confine(walls, p.ruleset)?;
    }
    unblock_all();
    p.walls().map_or(Ok(()), walls::settle)?;
    Ok(file)
}

pub(super) const fn check(ok: bool, step: Step) -> Try {
    if ok { Ok(()) } else { Err(Fault { step, index: 0 }) }
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
