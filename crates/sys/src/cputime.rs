//! The processor time of another process as a clock: one system call of a fifth of a microsecond, to the nanosecond, no file opened
//! and no permission needed. `/proc/PID/stat` tells the same in hundredths of a second and costs ten times as much.

use std::mem::MaybeUninit;

/// Nanoseconds of processor time that a process has used, all its threads, those that ended too (clock_getcpuclockid(3)). A zombie's is
/// told until it is reaped. `None`: there is no such process.
#[must_use]
pub fn process(pid: u32) -> Option<u64> {
    // clockid_t of a process: the complement of its number above three bits, of which 2 says "scheduler's clock" (the kernel's
    // include/linux/posix-timers_types.h: CPUCLOCK_SCHED). A number over 2^28 would not fit; the kernel's limit is 2^22.
    let number = i32::try_from(pid).ok().filter(|pid| *pid > 0 && *pid < 1 << 28)?;
    read((!number << 3) | 2)
}

/// The same of the thread that asks.
#[must_use]
pub fn this_thread() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

fn read(clock: libc::clockid_t) -> Option<u64> {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer has room for one timespec; an unknown clock is an error, not a fault.
    let failed = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    if failed != 0 {
        return None;
    }
    // SAFETY: zeroed above and filled in by the kernel.
    let time = unsafe { time.assume_init() };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).ok()?))
}

/// How many descriptors a process may open (its soft RLIMIT_NOFILE). `None`: gone, or another user's (prlimit(2)).
#[must_use]
pub fn descriptor_limit(pid: u32) -> Option<u64> {
    let number = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: nothing is set (a null pointer), and the other pointer has room for one rlimit.
    let failed =
        unsafe { libc::prlimit(number, libc::RLIMIT_NOFILE, std::ptr::null(), limit.as_mut_ptr()) };
    // SAFETY: zeroed above and filled in by the kernel where the call worked.
    (failed == 0).then(|| unsafe { limit.assume_init() }.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_clock_goes_on_and_a_stranger_has_none() {
        let before = process(std::process::id()).unwrap();
        let mut n = 0_u64;
        while this_thread() == 0 || process(std::process::id()).unwrap() == before {
            n = std::hint::black_box(n + 1);
        }
        assert!(process(std::process::id()).unwrap() > before);
        assert_eq!(process(0), None);
        assert_eq!(process(u32::MAX), None);
        assert_eq!(process((1 << 22) + 1), None, "over the kernel's largest number");
    }

    #[test]
    fn the_own_limit_is_told() {
        let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        assert_eq!(descriptor_limit(std::process::id()), Some(own.unwrap_or(u64::MAX)));
        assert_eq!(descriptor_limit(0), None, "0 would be the caller");
    }
}
