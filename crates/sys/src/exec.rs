//! This process's program replaced by another (execveat(2)): pid, children, descriptors without close-on-exec, blocked and
//! pending signals, session, cgroup and the subreaper attribute stay.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::FdFlags;

/// Executes the file behind `program` in place. Returns only when that failed; nothing has changed then.
///
/// Not by path: what runs is the file that was looked at. The signal mask is left as it is, other than by
/// `std::process::Command::exec`, which empties it: a signal that waits would be delivered before anybody listens.
///
/// `keep` goes through under its numbers; every other descriptor from 3 up that is close-on-exec is closed. Only for a
/// process with one thread: another could fork while the flags are off.
pub fn replace(
    program: impl AsFd,
    argv: &[CString],
    env: &[CString],
    keep: &[BorrowedFd<'_>],
) -> io::Error {
    if let Err(error) = inheritable(keep, true) {
        // Those that were changed are set back; the first error is the one to tell.
        let _ = inheritable(keep, false);
        return error;
    }
    let argv = pointers(argv);
    let env = pointers(env);
    // SAFETY: the path is an empty NUL-terminated string; argv and env are null-terminated arrays of NUL-terminated strings
    // that live past the call, which returns only on failure.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_fd().as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    let error = io::Error::last_os_error();
    // Can't fail on descriptors that were open a moment ago.
    let _ = inheritable(keep, false);
    error
}

fn inheritable(fds: &[BorrowedFd<'_>], yes: bool) -> io::Result<()> {
    let flags = if yes { FdFlags::empty() } else { FdFlags::CLOEXEC };
    let mut result = Ok(());
    for fd in fds {
        result = result.and(rustix::io::fcntl_setfd(fd, flags));
    }
    Ok(result?)
}

fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_program_changes_nothing() {
        let (reader, _writer) = io::pipe().unwrap();
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let error = replace(&file, &[c"x".to_owned()], &[], &[reader.as_fd()]);
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
        assert_eq!(rustix::io::fcntl_getfd(&reader).unwrap(), FdFlags::CLOEXEC);
    }
}
