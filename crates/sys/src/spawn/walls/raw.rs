//! System calls without a wrapper in libc, for use between clone and exec: errors stay in errno.

use std::ptr;

use libc::{c_char, c_int, c_long, c_uint};

/// AT_RECURSIVE of linux/fcntl.h.
const AT_RECURSIVE: c_int = 0x8000;
/// RESOLVE_NO_MAGICLINKS and RESOLVE_NO_SYMLINKS of linux/openat2.h.
const NO_LINKS: u64 = 0x02 | 0x04;
/// MOVE_MOUNT_F_EMPTY_PATH of linux/mount.h.
const FROM_EMPTY: c_int = 4;
/// FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING and FSCONFIG_CMD_CREATE of linux/mount.h.
const SET_STRING: c_int = 1;
const CREATE: c_int = 6;
/// FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, OPEN_TREE_CLONE of linux/mount.h.
const CLOEXEC: c_int = 1;
const CLONE: c_int = 1;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// `struct open_how` of linux/openat2.h.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// `struct landlock_path_beneath_attr` of linux/landlock.h.
#[repr(C, packed)]
struct PathBeneath {
    access: u64,
    parent: c_int,
}

fn int(result: c_long) -> c_int {
    c_int::try_from(result).unwrap_or(-1)
}

/// A descriptor that stands for a path only (O_PATH); no link in the path is followed.
pub(super) fn look(dir: c_int, path: *const c_char) -> c_int {
    let flags = u64::from((libc::O_PATH | libc::O_CLOEXEC).unsigned_abs());
    let how = OpenHow { flags, mode: 0, resolve: NO_LINKS };
    // SAFETY: `path` is NUL-terminated by the caller's CString, `how` lives through the call and its size is given.
    int(unsafe {
        libc::syscall(libc::SYS_openat2, dir, path, ptr::from_ref(&how), size_of::<OpenHow>())
    })
}

/// Device and inode behind a descriptor.
pub(super) fn identity(fd: c_int) -> Option<(u64, u64)> {
    // SAFETY: stat is plain numbers; fstat fills it in or fails.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer has room for one stat.
    (unsafe { libc::fstat(fd, &raw mut stat) } == 0).then_some((stat.st_dev, stat.st_ino))
}

/// A copy of the mount at `path`, attached nowhere.
pub(super) fn copy_tree(dir: c_int, path: *const c_char, whole: bool) -> c_int {
    let whole = if whole { AT_RECURSIVE } else { 0 };
    let flags = CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH | whole;
    // SAFETY: `path` is NUL-terminated; plain numbers.
    int(unsafe { libc::syscall(libc::SYS_open_tree, dir, path, flags as c_uint) })
}

/// Sets attributes of a mount, of all beneath with `whole`.
pub(super) fn restrict(tree: c_int, set: u64, whole: bool) -> c_int {
    let attr = MountAttr { set, clear: 0, propagation: 0, userns: 0 };
    let flags = libc::AT_EMPTY_PATH | if whole { AT_RECURSIVE } else { 0 };
    let size = size_of::<MountAttr>();
    let (path, attr) = (c"".as_ptr(), ptr::from_ref(&attr));
    // SAFETY: the path is NUL-terminated, `attr` lives through the call and its size is given.
    int(unsafe { libc::syscall(libc::SYS_mount_setattr, tree, path, flags as c_uint, attr, size) })
}

/// Attaches a mount.
pub(super) fn attach(tree: c_int, dir: c_int, path: *const c_char) -> c_int {
    let empty = c"".as_ptr();
    // SAFETY: both paths are NUL-terminated.
    int(unsafe { libc::syscall(libc::SYS_move_mount, tree, empty, dir, path, FROM_EMPTY) })
}

/// A new filesystem, attached nowhere. `options` are `name=value` or names by commas, as of mount(8).
pub(super) fn filesystem(
    kind: &std::ffi::CStr,
    options: &std::ffi::CStr,
    attributes: u64,
) -> c_int {
    // SAFETY: NUL-terminated, plain numbers.
    let context = int(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOEXEC) });
    if context < 0 {
        return -1;
    }
    let mount = configure(context, options, attributes);
    close(context);
    mount
}

fn configure(context: c_int, options: &std::ffi::CStr, attributes: u64) -> c_int {
    for option in options.to_bytes().split(|byte| *byte == b',').filter(|text| !text.is_empty()) {
        let Some(at) = option.iter().position(|byte| *byte == b'=') else { return -1 };
        let mut name = [0u8; 32];
        let mut value = [0u8; 32];
        let (left, right) = (&option[..at], &option[at + 1..]);
        if left.len() >= name.len() || right.len() >= value.len() {
            return -1;
        }
        name[..left.len()].copy_from_slice(left);
        value[..right.len()].copy_from_slice(right);
        // SAFETY: both buffers end in NUL, as the texts are shorter.
        let set = unsafe {
            libc::syscall(libc::SYS_fsconfig, context, SET_STRING, name.as_ptr(), value.as_ptr(), 0)
        };
        if set != 0 {
            return -1;
        }
    }
    let none = ptr::null::<c_char>();
    // SAFETY: this command takes neither name nor value; plain numbers.
    unsafe {
        if libc::syscall(libc::SYS_fsconfig, context, CREATE, none, none, 0) != 0 {
            return -1;
        }
        int(libc::syscall(libc::SYS_fsmount, context, CLOEXEC, attributes as c_uint))
    }
}

/// Adds a rule to a ruleset of Landlock.
pub(super) fn add_rule(ruleset: c_int, parent: c_int, access: u64) -> c_int {
    /// LANDLOCK_RULE_PATH_BENEATH.
    const PATH_BENEATH: c_int = 1;
    let attr = PathBeneath { access, parent };
    let attr = ptr::from_ref(&attr);
    // SAFETY: `attr` has the kernel's packed layout and lives through the call.
    int(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, attr, 0) })
}

/// Writes a whole text to a file that is there.
pub(super) fn write_file(path: &std::ffi::CStr, text: &[u8]) -> bool {
    // SAFETY: a NUL-terminated path; the buffer is given with its length; the descriptor is this function's own.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return false;
        }
        let written = libc::write(fd, text.as_ptr().cast(), text.len());
        let errno = *libc::__errno_location();
        libc::close(fd);
        *libc::__errno_location() = errno;
        usize::try_from(written) == Ok(text.len())
    }
}

/// Brings the interface `lo` of this network namespace up; the kernel gives it its addresses.
pub(super) fn loopback() -> bool {
    // SAFETY: plain numbers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return false;
    }
    // SAFETY: an ifreq is plain numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: the request lives through the call, and is what this command takes.
    let up = unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request) } == 0;
    close(socket);
    up
}

/// Closes a descriptor; errno stays what it was.
pub(super) fn close(fd: c_int) {
    // SAFETY: plain numbers; errno's address is valid for the thread.
    unsafe {
        let errno = *libc::__errno_location();
        libc::close(fd);
        *libc::__errno_location() = errno;
    }
}

/// Says why, where no system call did.
pub(super) fn set_errno(errno: c_int) {
    // SAFETY: errno's address is valid for the thread.
    unsafe { *libc::__errno_location() = errno };
}
