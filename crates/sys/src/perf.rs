//! Sampling where threads spend their time: perf_event_open(2), the rings it writes, and their records.
//!
//! An event belongs to one thread on one processor: only so may it be inherited by what the thread starts *and* write to a
//! ring. All events of a processor write to one ring ([`Event::join`]), as perf(1) does it.

mod record;
mod ring;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub use record::{Record, Records, Registers, Sample};
pub use ring::Ring;

/// What makes a sample fall due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The processor's cycle counter: exact, also inside code that holds interrupts off. Absent in many virtual machines.
    Cycles,
    /// The kernel's timer of a running thread: everywhere.
    CpuClock,
}

/// What to sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// What samples are due by.
    pub clock: Clock,
    /// Samples a second of a thread that runs.
    pub hertz: u32,
    /// Also inside the kernel; needs `perf_event_paranoid` ≤ 1 or CAP_PERFMON.
    pub kernel: bool,
    /// Bytes of the user's stack to copy with each sample, 0 for none; a multiple of 8 below 64 KiB.
    pub stack: u32,
}

/// `struct perf_event_attr` up to PERF_ATTR_SIZE_VER5 (Linux 4.8).
#[repr(C)]
#[derive(Default)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    frequency: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    config1: u64,
    config2: u64,
    branches: u64,
    registers: u64,
    stack: u32,
    clock_id: i32,
    registers_interrupted: u64,
    aux_watermark: u32,
    max_stack: u16,
    reserved: u16,
}
const _: () = assert!(size_of::<Attr>() == 112);

const TYPE_HARDWARE: u32 = 0;
const TYPE_SOFTWARE: u32 = 1;
/// PERF_COUNT_HW_CPU_CYCLES and PERF_COUNT_SW_CPU_CLOCK are both the first of their kind.
const FIRST: u64 = 0;

/// PERF_SAMPLE_*: what a sample's record holds. [`record`] reads it in this order.
const SAMPLE_IP: u64 = 1;
const SAMPLE_TID: u64 = 1 << 1;
const SAMPLE_TIME: u64 = 1 << 2;
const SAMPLE_CALLCHAIN: u64 = 1 << 5;
const SAMPLE_REGS_USER: u64 = 1 << 12;
const SAMPLE_STACK_USER: u64 = 1 << 13;

/// Bits of the attribute: inherit, exclude_kernel, exclude_hv, mmap, comm, freq, task, sample_id_all, mmap2, comm_exec.
const INHERIT: u64 = 1 << 1;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
const TELL_MAPS: u64 = 1 << 8 | 1 << 23;
const TELL_NAMES: u64 = 1 << 9 | 1 << 24;
const BY_FREQUENCY: u64 = 1 << 10;
const TELL_TASKS: u64 = 1 << 13;
const TIME_EVERYWHERE: u64 = 1 << 18;

/// PERF_FLAG_FD_CLOEXEC
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;
/// PERF_EVENT_IOC_DISABLE, PERF_EVENT_IOC_SET_OUTPUT
const DISABLE: libc::c_ulong = 0x2401;
const SET_OUTPUT: libc::c_ulong = 0x2405;

impl Request {
    fn attr(self) -> Attr {
        let mut attr = Attr {
            kind: if self.clock == Clock::Cycles { TYPE_HARDWARE } else { TYPE_SOFTWARE },
            size: size_of::<Attr>() as u32,
            config: FIRST,
            frequency: u64::from(self.hertz),
            sample_type: SAMPLE_IP | SAMPLE_TID | SAMPLE_TIME | SAMPLE_CALLCHAIN,
            flags: INHERIT
                | EXCLUDE_HYPERVISOR
                | TELL_MAPS
                | TELL_NAMES
                | TELL_TASKS
                | BY_FREQUENCY
                | TIME_EVERYWHERE,
            ..Attr::default()
        };
        if !self.kernel {
            attr.flags |= EXCLUDE_KERNEL;
        }
        if self.stack > 0 {
            attr.sample_type |= SAMPLE_REGS_USER | SAMPLE_STACK_USER;
            attr.registers = record::REGISTERS;
            attr.stack = self.stack;
        }
        attr
    }
}

/// Samples one thread, and all it starts, on one processor until it is dropped.
#[derive(Debug)]
pub struct Event(File);

impl Event {
    /// Begins to sample thread `tid` whenever it runs on processor `cpu`.
    ///
    /// # Errors
    /// EACCES or EPERM: not allowed (`perf_event_paranoid`, the thread's user, a seccomp filter); ENOENT, ENODEV or EOPNOTSUPP: no
    /// such clock here, or no such processor; ESRCH: the thread is gone; EMFILE: too many descriptors; ENOSYS: a kernel without perf.
    pub fn open(request: Request, tid: u32, cpu: u32) -> io::Result<Self> {
        let attr = request.attr();
        let to_i32 = |n: u32| i32::try_from(n).map_err(|_| io::ErrorKind::InvalidInput);
        let (tid, cpu) = (to_i32(tid)?, to_i32(cpu)?);
        // SAFETY: `attr` is a perf_event_attr of the size it says and lives through the call; the rest are plain numbers.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                std::ptr::from_ref(&attr),
                tid,
                cpu,
                -1,
                CLOSE_ON_EXEC,
            )
        };
        let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::Other)?;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor; nobody else has it.
        Ok(Self(File::from(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Lets it write to the ring of `other`, an event of the same processor that has one.
    ///
    /// # Errors
    /// EINVAL: another processor, or no ring.
    pub fn join(&self, other: &Self) -> io::Result<()> {
        self.control(SET_OUTPUT, other.0.as_raw_fd())
    }

    /// Takes no more samples; what is in the ring stays.
    ///
    /// # Errors
    /// None that is known.
    pub fn stop(&self) -> io::Result<()> {
        self.control(DISABLE, 0)
    }

    fn control(&self, what: libc::c_ulong, value: i32) -> io::Result<()> {
        // SAFETY: these requests take a number, no pointer.
        let failed = unsafe { libc::ioctl(self.0.as_raw_fd(), what as _, value) };
        if failed < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
