//! Life without a libc: the first process of a pid namespace gives its copy of the keeper's memory back while its program starts, so that it
//! has next to nothing to give back when that has ended, which is what everybody waits for.
//!
//! What stays is this image (its code and constants), the page of the thread's own, where the kernel writes for rseq(2), and the stack from a
//! little below its top. From there on neither a library nor the heap may be touched: calls are made by hand.

use std::arch::asm;
use std::sync::OnceLock;

/// Below the top of the stack, for what is still to be called. The loop needs under 4 KiB; an unoptimised build a few times that.
const STACK: usize = 64 << 10;
/// Around the thread pointer: variables of threads lie below, the thread's control block above.
const THREAD: (usize, usize) = (64 << 10, 16 << 10);
const PAGE: usize = 4096;

/// Addresses from, to.
pub(in crate::spawn) type Range = (usize, usize);

/// Where this image lies, with the memory that follows it; `None` where it can't be told. Reads a file the first time.
pub(in crate::spawn) fn image() -> Option<Range> {
    static IMAGE: OnceLock<Option<Range>> = OnceLock::new();
    *IMAGE.get_or_init(|| {
        around(&std::fs::read_to_string("/proc/self/maps").ok()?, image as *const () as usize)
    })
}

/// Of the mappings in `maps` (proc_pid_maps(5)): all of the file that holds `address`, and what follows without a name.
fn around(maps: &str, address: usize) -> Option<Range> {
    let lines = maps.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some(((number(from)?, number(to)?), fields.nth(4).unwrap_or_default()))
    });
    let lines: Vec<(Range, &str)> = lines.collect();
    let within = |(from, to): Range| from <= address && address < to;
    let (_, file) = lines.iter().find(|(range, _)| within(*range))?;
    if !file.starts_with('/') {
        return None;
    }
    let mut own = lines.iter().filter(|(_, name)| name == file).map(|(range, _)| *range);
    let first = own.next()?;
    let (from, mut to) = own.fold(first, |all, one| (all.0.min(one.0), all.1.max(one.1)));
    for ((next, end), name) in &lines {
        if *next == to && name.is_empty() {
            to = *end;
        }
    }
    Some((from, to))
}

/// Gives all other memory back, as far as it lies below the stack.
pub(super) fn forget((from, to): Range) {
    let (stack, thread): (usize, usize);
    // SAFETY: reads two registers' worth of this thread's own; on x86-64 the thread pointer's first word is itself.
    unsafe {
        asm!("mov {}, rsp", out(reg) stack, options(nomem, nostack, preserves_flags));
        asm!("mov {}, fs:0", out(reg) thread, options(nostack, readonly, preserves_flags));
    }
    let stack = stack.saturating_sub(STACK) & !(PAGE - 1);
    let thread = (
        thread.saturating_sub(THREAD.0) & !(PAGE - 1),
        thread.saturating_add(THREAD.1 + PAGE - 1) & !(PAGE - 1),
    );
    let (low, high) = if from < thread.0 { ((from, to), thread) } else { (thread, (from, to)) };
    unmap(PAGE, low.0.min(stack));
    unmap(low.1, high.0.min(stack));
    unmap(high.1, stack);
}

fn unmap(from: usize, to: usize) {
    if from < to {
        call(libc::SYS_munmap, [from, to - from, 0, 0]);
    }
}

/// A system call; minus the errno where it fails.
pub(super) fn call(number: libc::c_long, args: [usize; 4]) -> isize {
    let [a, b, c, d] = args;
    let result: isize;
    // SAFETY: the caller passes what this call takes; rcx and r11 are the clobbers of the instruction.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_all_of_its_file_and_what_follows() {
        let maps = "5000-6000 r--p 00000000 08:01 7 /bin/x\n6000-8000 r-xp 00001000 08:01 7 /bin/x\n\
                    8000-9000 rw-p 00003000 08:01 7 /bin/x\n9000-a000 rw-p 00000000 00:00 0 \n\
                    c000-d000 rw-p 00000000 00:00 0 [heap]\n7000000-7001000 r-xp 00000000 08:01 9 /lib/y\n";
        assert_eq!(around(maps, 0x6800), Some((0x5000, 0xa000)));
        assert_eq!(around(maps, 0x700_0000), Some((0x700_0000, 0x700_1000)));
        assert_eq!((around(maps, 0xc000), around(maps, 0xb000)), (None, None));
        let (from, to) = image().unwrap();
        let here = an_image_is_all_of_its_file_and_what_follows as *const () as usize;
        assert!(from < here && here < to);
    }
}
