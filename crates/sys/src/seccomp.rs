//! seccomp(2): a filter of system calls for the calling thread and all that it starts.

use std::io;

/// One instruction of classic BPF, as `struct sock_filter` of linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Class, size, mode and operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jt: u8,
    /// Instructions to skip when it doesn't.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// The longest filter that the kernel takes (BPF_MAXINSNS of linux/bpf_common.h).
pub const FILTER_MAX: usize = 4096;

/// `struct sock_fprog` of linux/filter.h.
#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

/// Puts a filter on the calling thread; it can't be taken off. The thread must have no_new_privs, or CAP_SYS_ADMIN in its user
/// namespace.
///
/// # Errors
/// EACCES: no_new_privs is not set. EINVAL: not a filter, or longer than [`FILTER_MAX`]. ENOSYS: this kernel has no seccomp.
pub fn install(filter: &[Instruction]) -> io::Result<()> {
    if put(filter) { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The same between clone and exec: the reason of a failure is in errno.
pub(crate) fn put(filter: &[Instruction]) -> bool {
    // A filter that is too long becomes one that is refused.
    let len = u16::try_from(filter.len()).unwrap_or(u16::MAX);
    let program = Program { len, filter: filter.as_ptr() };
    // SAFETY: the kernel reads `len` instructions behind `filter`, which the slice lends for the call, and checks them; it keeps a
    // copy. Instruction has the layout of sock_filter: u16, u8, u8, u32 without padding.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            std::ptr::from_ref(&program),
        )
    };
    rc == 0
}
