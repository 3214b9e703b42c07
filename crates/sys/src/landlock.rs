//! Landlock's system calls: the calling thread, and all that it starts, under a ruleset.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The version of Landlock that this kernel has, as landlock(7) counts: 1 came with Linux 5.13.
///
/// # Errors
/// ENOSYS: not built in. EOPNOTSUPP: not enabled when the machine started.
pub fn version() -> io::Result<u32> {
    /// LANDLOCK_CREATE_RULESET_VERSION of linux/landlock.h.
    const VERSION: u32 = 1;
    let none = std::ptr::null::<u8>();
    // SAFETY: with this flag the kernel reads no attributes.
    let rc = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0usize, VERSION) };
    u32::try_from(rc).map_err(|_| io::Error::last_os_error())
}

/// Puts the calling thread under a ruleset; it can't be taken off. The thread must have no_new_privs, or CAP_SYS_ADMIN in its user
/// namespace.
///
/// # Errors
/// EPERM: no_new_privs is not set. E2BIG: sixteen rulesets are on it already. ENOSYS, EOPNOTSUPP: this kernel has no Landlock.
pub fn restrict(ruleset: impl AsFd) -> io::Result<()> {
    const NO_FLAGS: u32 = 0;
    let fd = ruleset.as_fd().as_raw_fd();
    // SAFETY: plain numbers; a descriptor that is no ruleset is refused.
    let rc = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, fd, NO_FLAGS) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
