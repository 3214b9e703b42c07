//! Signals and exit status through pidfds, which can't hit a stranger that got the same number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A pidfd of a process.
///
/// # Errors
/// ESRCH when there is no such process.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// Sends a signal, real-time ones included; 0 only asks whether the process is there.
///
/// # Errors
/// ESRCH when the process is gone, EPERM when it may not be signalled, EINVAL for a wrong number.
pub fn send_signal(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks the kernel to fill in its own; the other arguments are plain numbers.
    let failed = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to every process inside a pid namespace but its first, of which this is the pidfd: see [`crate::spawn::walls`].
///
/// # Errors
/// As [`send_signal`].
pub fn send_to_all(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    /// `siginfo_t` with a value, for 64-bit machines: signal, errno, code, padding, pid and uid, value.
    #[repr(C)]
    struct Queued {
        signal: i32,
        errno: i32,
        code: i32,
        padding: i32,
        sender: u64,
        value: usize,
        rest: [u64; 12],
    }
    let (value, code) = (crate::spawn::walls::TO_ALL, libc::SI_QUEUE);
    let info = Queued { signal, errno: 0, code, padding: 0, sender: 0, value, rest: [0; 12] };
    const { assert!(size_of::<Queued>() == size_of::<libc::siginfo_t>()) };
    let (fd, info) = (pidfd.as_fd().as_raw_fd(), std::ptr::from_ref(&info));
    // SAFETY: `info` is as long as a siginfo_t and lives through the call; the other arguments are plain numbers.
    let failed = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What the kernel can still tell about a process that is not our child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitInfo {
    /// Its wait status (as from wait(2)): it ended and its parent has reaped it.
    Status(i32),
    /// It runs, or is a zombie that nobody has reaped yet.
    NotYet,
    /// This kernel keeps no exit status behind a pidfd (before 6.15).
    Unsupported,
}

/// Asks a pidfd for the exit status of its process (ioctl PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15).
///
/// The kernel keeps it as long as a pidfd opened before the reaping lives.
#[must_use]
pub fn exit_info(pidfd: impl AsFd) -> ExitInfo {
    // SAFETY: pidfd_info is plain integers, for which zero is a value.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    let want = u64::from(libc::PIDFD_INFO_EXIT);
    info.mask = want;
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: the request number carries the size of pidfd_info, which is what the pointer has room for.
    let failed = unsafe { libc::ioctl(fd, libc::PIDFD_GET_INFO, &raw mut info) };
    if failed != 0 {
        // ESRCH: reaped, and no exit record was kept; everything else: a kernel without this ioctl.
        return ExitInfo::Unsupported;
    }
    if info.mask & want != 0 { ExitInfo::Status(info.exit_code) } else { ExitInfo::NotYet }
}

/// Whether [`exit_info`] works on this kernel: asked of the own process, which has not ended.
#[must_use]
pub fn exit_info_supported() -> bool {
    // The ioctl exists from 6.13 without the exit record: kernels mark what they filled in, and only a release number
    // tells 6.13 and 6.14 apart from 6.15 before something has ended.
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|p| p.parse().unwrap_or(0));
    let version: (u32, u32) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    version >= (6, 15)
}
