//! The second half, in the process that becomes the program: rights taken away, one after the other, the filter of calls last.

use std::ffi::CStr;

use libc::c_int;

use super::{Walls, raw};
use crate::spawn::Step;
use crate::spawn::child::{Fault, check};

type Try = Result<(), Fault>;

/// After the last capability a kernel could have: one that it doesn't know ends the loop.
const CAPABILITIES_END: c_int = 64;

/// A descriptor of the program, compared with what the caller saw; -1 where it is to be executed by its path.
pub(in crate::spawn) fn program(walls: &Walls, path: *const libc::c_char) -> Result<c_int, Fault> {
    let Some(wanted) = walls.program else { return Ok(-1) };
    // SAFETY: the spec's path is NUL-terminated.
    let path = unsafe { CStr::from_ptr(path) };
    // SAFETY: a NUL-terminated text and plain numbers.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    check(fd >= 0, Step::Execve)?;
    if raw::identity(fd) != Some(wanted) {
        raw::set_errno(libc::ESTALE);
        return Err(Step::Program.into());
    }
    Ok(fd)
}

/// What could be got by executing a file. Before another user is taken on, who has no right to drop it.
pub(in crate::spawn) fn bound(walls: &Walls) -> Try {
    if walls.no_capabilities {
        // SAFETY: plain numbers; refused ones change nothing.
        unsafe {
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
            for capability in 0..CAPABILITIES_END {
                if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 {
                    // EINVAL: that was the last. EPERM: without the right to; then no_new_privs lets nothing be gained.
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Capabilities and Landlock. no_new_privs has been set. `ruleset` is Landlock's, where descriptors of the program are not.
pub(in crate::spawn) fn confine(walls: &Walls, ruleset: c_int) -> Try {
    if walls.no_capabilities {
        drop_capabilities()?;
    }
    if walls.landlock.is_some() {
        // SAFETY: plain numbers.
        let rc = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) };
        check(rc == 0, Step::Landlock)?;
    }
    Ok(())
}

/// The very last step before exec: the filter.
pub(in crate::spawn) fn settle(walls: &Walls) -> Try {
    if walls.seccomp.is_empty() {
        return Ok(());
    }
    check(crate::seccomp::put(&walls.seccomp), Step::Seccomp)
}

fn drop_capabilities() -> Try {
    // _LINUX_CAPABILITY_VERSION_3, this process; then effective, permitted, inheritable in two halves.
    let header = [0x2008_0522u32, 0];
    let none = [0u32; 6];
    // SAFETY: both have the kernel's layout for this version and live through the call.
    let rc = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    check(rc == 0, Step::Capabilities)
}
