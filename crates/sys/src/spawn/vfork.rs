//! clone3 with CLONE_VM|CLONE_VFORK: the child borrows the parent's memory and a stack of its own until exec.
//!
//! Needs a few instructions of assembly: the child may not return on the parent's stack, and libc's `clone` knows no
//! CLONE_INTO_CGROUP.

use std::arch::asm;
use std::ptr;

use super::child;
use super::prepared::Prepared;

/// The child's routine needs under 4 KiB; an unoptimised build a few times that.
const STACK: usize = 64 << 10;

extern "C" fn enter(prepared: *mut Prepared) -> ! {
    // SAFETY: `clone3` below passes a pointer to the caller's value, and the caller is stopped until exec or _exit.
    child::run(unsafe { &mut *prepared })
}

/// Returns the child's pid or minus the errno. All signals must be blocked: a handler in the child would run in the
/// parent's memory.
pub(super) fn clone3(args: &mut libc::clone_args, prepared: &mut Prepared) -> libc::c_long {
    clone3_on(&mut stack(), args, prepared)
}

/// Memory for the child's stack.
pub(super) fn stack() -> Vec<u128> {
    vec![0; STACK / size_of::<u128>()]
}

/// As [`clone3`], on a [`stack`] that is there: nothing is allocated.
pub(super) fn clone3_on(
    stack: &mut [u128],
    args: &mut libc::clone_args,
    prepared: &mut Prepared,
) -> libc::c_long {
    args.stack = stack.as_mut_ptr() as u64;
    args.stack_size = size_of_val(stack) as u64;
    let result: libc::c_long;
    // SAFETY: the kernel reads `args`; the parent is stopped (CLONE_VFORK) until the child has left this memory, so
    // `stack` and `prepared` outlive its use of them. The child starts at the instruction after `syscall` with rax = 0 on
    // the 16-aligned end of `stack`, calls `enter`, which never returns. rcx and r11 are the syscall's clobbers.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") ptr::from_mut(args),
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") ptr::from_mut(prepared),
            in("r13") enter as extern "C" fn(*mut Prepared) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}
