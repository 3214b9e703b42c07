//! The first half: namespaces filled, the root built, Landlock's rules made. Before it nothing of the child is walled, after it no path
//! of the machine can be reached.

use libc::c_int;

use super::{IdMap, Namespaces, Walls, mounts, raw};
use crate::spawn::Step;
use crate::spawn::child::{Fault, check};

type Try = Result<(), Fault>;

/// `go` is where the parent says that it has written the maps, if it does, and the copy of the end that says it.
pub(in crate::spawn) fn stage(walls: &Walls, go: [c_int; 2]) -> Try {
    // Modes of what is made are as they are said here.
    // SAFETY: umask can't fail.
    unsafe { libc::umask(0) };
    if let Some(ids) = &walls.ids {
        identify(ids, go)?;
    }
    let has = |one| walls.namespaces.has(one);
    if has(Namespaces::CGROUP) {
        // After the child is in its cgroups: the namespace's root is where it is now.
        // SAFETY: plain numbers.
        check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } == 0, Step::CgroupNamespace)?;
    }
    if let Some(name) = &walls.hostname {
        let length = name.as_bytes().len();
        // SAFETY: the pointer covers `length` bytes.
        check(unsafe { libc::sethostname(name.as_ptr(), length) } == 0, Step::Hostname)?;
    }
    if walls.loopback {
        check(raw::loopback(), Step::Loopback)?;
    }
    if has(Namespaces::USER) {
        // Counted in this namespace only: no namespace of users within, and so none of any other kind.
        let none = raw::write_file(c"/proc/sys/user/max_user_namespaces", b"0");
        check(none, Step::NoNesting)?;
    }
    if let Some(root) = &walls.root {
        mounts::enter(root)?;
    }
    if let Some(landlock) = &walls.landlock {
        use std::os::fd::AsRawFd;
        for (index, (path, access)) in landlock.rules.iter().enumerate() {
            rule(landlock.ruleset.as_raw_fd(), path, *access)
                .map_err(|()| Fault { step: Step::LandlockRule, index })?;
        }
    }
    Ok(())
}

fn identify(ids: &IdMap, [go, said]: [c_int; 2]) -> Try {
    if !ids.by_parent {
        // A single id of one's own may be mapped without any right, once groups can't be dropped to get around a denial.
        let mapped = raw::write_file(c"/proc/self/setgroups", b"deny")
            && raw::write_file(c"/proc/self/uid_map", ids.uids.as_bytes())
            && raw::write_file(c"/proc/self/gid_map", ids.gids.as_bytes());
        return check(mapped, Step::IdMap);
    }
    // With its own copy open it would wait for ever for a parent that has died.
    raw::close(said);
    let mut byte = 0u8;
    // SAFETY: room for the one byte that is read; no groups are given; plain numbers.
    unsafe {
        check(libc::read(go, (&raw mut byte).cast(), 1) == 1, Step::IdMap)?;
        let none = std::ptr::null::<libc::gid_t>();
        check(libc::syscall(libc::SYS_setgroups, 0, none) == 0, Step::Setgroups)?;
        let gid = ids.gid;
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0, Step::Setgid)?;
        // The rights in this namespace are needed until the root is built.
        libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0);
        let uid = ids.uid;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0, Step::Setuid)
    }
}

fn rule(ruleset: c_int, path: &std::ffi::CStr, access: u64) -> Result<(), ()> {
    // SAFETY: a NUL-terminated text and plain numbers.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    if fd < 0 {
        // SAFETY: errno's address is valid for the thread.
        let errno = unsafe { *libc::__errno_location() };
        return if errno == libc::ENOENT { Ok(()) } else { Err(()) };
    }
    let added = raw::add_rule(ruleset, fd, access);
    raw::close(fd);
    if added == 0 { Ok(()) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd as _, IntoRawFd as _};

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    #[test]
    fn a_parent_that_dies_before_the_maps_is_not_waited_for() {
        // Not blocking, so that this fails where it would wait.
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let ids = IdMap {
            uid: 1,
            gid: 1,
            uids: c"1 1 1".to_owned(),
            gids: c"1 1 1".to_owned(),
            by_parent: true,
        };
        let fault = identify(&ids, [reader.as_raw_fd(), writer.into_raw_fd()]).unwrap_err();
        assert_eq!(fault.step, Step::IdMap);
        assert_eq!(rustix::io::read(&reader, &mut [0u8; 1]), Ok(0), "an end to write is open");
    }
}
