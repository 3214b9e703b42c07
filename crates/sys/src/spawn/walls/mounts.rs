//! A root folder of one's own, mounted and made the only one.

use std::ffi::CStr;

use libc::c_int;

use super::raw;
use super::{Base, Bind, Entry, NO_DEV, NO_EXEC, NO_SUID, PLACES_MAX, Private, READ_ONLY, Root};
use crate::spawn::Step;
use crate::spawn::child::{Fault, check};

type Try = Result<(), Fault>;

/// Builds the root and moves into it; nothing of the old one can be reached afterwards but what was bound.
pub(super) fn enter(root: &Root) -> Try {
    let none = std::ptr::null::<libc::c_char>();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: NUL-terminated paths; type and data are not used when propagation is changed.
    let alone = unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) };
    check(alone == 0, Step::Private)?;
    let base = base(&root.base)?;
    for (index, entry) in root.entries.iter().enumerate() {
        match entry {
            Entry::Private(private) => memory(base, private)?,
            Entry::Shut(_) => {}
            _ => put(base, entry).map_err(|()| Fault { step: Step::Mount, index })?,
        }
    }
    for (index, entry) in root.entries.iter().enumerate() {
        match entry {
            Entry::Private(private) => hide(base, private)?,
            Entry::Shut(_) => put(base, entry).map_err(|()| Fault { step: Step::Mount, index })?,
            _ => {}
        }
    }
    if matches!(root.base, Base::Empty(_)) {
        let closed = raw::restrict(base, READ_ONLY | NO_SUID | NO_DEV | NO_EXEC, false);
        check(closed == 0, Step::Root)?;
    }
    pivot(base)
}

/// The new root, mounted over the old one. Absolute paths still lead into the old one, which is below.
fn base(base: &Base) -> Result<c_int, Fault> {
    let tree = match base {
        Base::Empty(options) => raw::filesystem(c"tmpfs", options, NO_SUID | NO_DEV),
        Base::Folder(bind) => copy(bind).unwrap_or(-1),
        Base::Machine => raw::copy_tree(libc::AT_FDCWD, c"/".as_ptr(), true),
    };
    check(tree >= 0, Step::Root)?;
    if matches!(base, Base::Machine) {
        check(raw::restrict(tree, READ_ONLY | NO_SUID | NO_DEV, true) == 0, Step::Root)?;
    }
    check(raw::attach(tree, libc::AT_FDCWD, c"/".as_ptr()) == 0, Step::Root)?;
    Ok(tree)
}

fn put(base: c_int, entry: &Entry) -> Result<(), ()> {
    // SAFETY (of the calls in here): NUL-terminated texts of the caller's CStrings and plain numbers.
    match entry {
        Entry::Folder(at) => folder(base, at),
        Entry::Place(at) => {
            // SAFETY: see above.
            ok(unsafe { libc::mknodat(base, at.as_ptr(), libc::S_IFREG | 0o444, 0) })
        }
        Entry::Text { at, text } => file(base, at, text),
        // SAFETY: see above.
        Entry::Link { to, at } => ok(unsafe { libc::symlinkat(to.as_ptr(), base, at.as_ptr()) }),
        Entry::Shut(at) => {
            let mount = raw::look(base, at.as_ptr());
            let shut = mount >= 0 && raw::restrict(mount, READ_ONLY, false) == 0;
            raw::close(mount);
            if shut { Ok(()) } else { Err(()) }
        }
        Entry::Bind(one) => bind(base, one),
        // Its steps are told apart by the caller.
        Entry::Private(_) => Ok(()),
        Entry::Proc(at) => {
            let attributes = READ_ONLY | NO_SUID | NO_DEV | NO_EXEC;
            attached(raw::filesystem(c"proc", c"", attributes), base, at)
        }
    }
}

fn folder(base: c_int, at: &CStr) -> Result<(), ()> {
    // SAFETY: a NUL-terminated text and plain numbers.
    let made = unsafe { libc::mkdirat(base, at.as_ptr(), 0o755) };
    // SAFETY: errno's address is valid for the thread.
    if made == 0 || unsafe { *libc::__errno_location() } == libc::EEXIST { Ok(()) } else { Err(()) }
}

fn file(base: c_int, at: &CStr, text: &[u8]) -> Result<(), ()> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
    // SAFETY: a NUL-terminated path; the buffer is given with its length; the descriptor is this function's own.
    unsafe {
        let fd = libc::openat(base, at.as_ptr(), flags, 0o444);
        if fd < 0 {
            return Err(());
        }
        let written = libc::write(fd, text.as_ptr().cast(), text.len());
        raw::close(fd);
        if usize::try_from(written) == Ok(text.len()) { Ok(()) } else { Err(()) }
    }
}

fn bind(base: c_int, bind: &Bind) -> Result<(), ()> {
    attached(copy(bind)?, base, &bind.to)
}

/// A mount of a file or folder, attached nowhere. It is of what is compared, not of what the path leads to a moment later.
fn copy(bind: &Bind) -> Result<c_int, ()> {
    let found = raw::look(libc::AT_FDCWD, bind.from.as_ptr());
    if found < 0 {
        return Err(());
    }
    if raw::identity(found) != Some(bind.file) {
        raw::close(found);
        raw::set_errno(libc::ESTALE);
        return Err(());
    }
    let tree = raw::copy_tree(found, c"".as_ptr(), bind.folder);
    raw::close(found);
    if tree >= 0 && bind.attributes != 0 && raw::restrict(tree, bind.attributes, bind.folder) != 0 {
        raw::close(tree);
        return Err(());
    }
    if tree >= 0 { Ok(tree) } else { Err(()) }
}

fn attached(tree: c_int, base: c_int, at: &CStr) -> Result<(), ()> {
    if tree < 0 {
        return Err(());
    }
    let done = raw::attach(tree, base, at.as_ptr());
    raw::close(tree);
    ok(done)
}

/// One tmpfs, and so one budget, behind several places. Each is a folder of it, mounted where it lies, as only a mount of its own can have
/// attributes of its own. Nothing is taken off again: each time the kernel waits for all processors then.
fn memory(base: c_int, private: &Private) -> Try {
    let fault = |index| move |()| Fault { step: Step::Memory, index };
    let Some(first) = private.places.first() else { return Ok(()) };
    let mut whole = base;
    if let Some(options) = &private.options {
        whole = raw::filesystem(c"tmpfs", options, NO_SUID | NO_DEV);
        check(whole >= 0, Step::Memory)?;
        check(raw::attach(whole, base, first.at.as_ptr()) == 0, Step::Memory)?;
    }
    let mut trees = [-1; PLACES_MAX];
    for (index, (place, tree)) in private.places.iter().zip(&mut trees).enumerate() {
        // SAFETY: a NUL-terminated text and plain numbers.
        ok(unsafe { libc::mkdirat(whole, place.name.as_ptr(), place.mode) })
            .map_err(fault(index))?;
        *tree = raw::copy_tree(whole, place.name.as_ptr(), false);
        check(*tree >= 0, Step::Memory)?;
        check(raw::restrict(*tree, place.attributes, false) == 0, Step::Memory)?;
    }
    if whole != base {
        // It lies beneath the first place, out of everybody's reach.
        let shut = raw::restrict(whole, READ_ONLY | NO_EXEC, false);
        check(shut == 0, Step::Memory)?;
        raw::close(whole);
    }
    for (index, (place, tree)) in private.places.iter().zip(trees).enumerate() {
        attached(tree, base, &place.at).map_err(fault(index))?;
    }
    Ok(())
}

/// Puts a file or folder without any right over each. After all binds, which would lie over it.
fn hide(base: c_int, private: &Private) -> Try {
    if private.hide.is_empty() {
        return Ok(());
    }
    let (folder, file) = (c"dev/.hidden", c"dev/.hidden-file");
    // SAFETY: NUL-terminated texts and plain numbers.
    let made = unsafe {
        libc::mkdirat(base, folder.as_ptr(), 0) == 0
            && libc::mknodat(base, file.as_ptr(), libc::S_IFREG, 0) == 0
    };
    check(made, Step::Memory)?;
    for (index, (at, is_folder)) in private.hide.iter().enumerate() {
        let name = if *is_folder { folder } else { file };
        let tree = raw::copy_tree(base, name.as_ptr(), false);
        let shut = READ_ONLY | NO_SUID | NO_DEV | NO_EXEC;
        let mut hidden = tree >= 0 && raw::restrict(tree, shut, false) == 0;
        hidden = hidden && attached(tree, base, at).is_ok();
        // SAFETY: errno's address is valid for the thread.
        if !hidden && unsafe { *libc::__errno_location() } != libc::ENOENT {
            return Err(Fault { step: Step::Hide, index });
        }
        // What is not there, as it lies where the child has a place of its own, needs no hiding.
    }
    Ok(())
}

/// pivot_root(2), NOTES: with "." for both, the old root lies over the new one and is taken off.
fn pivot(base: c_int) -> Try {
    let here = c".".as_ptr();
    // SAFETY: NUL-terminated texts and plain numbers.
    unsafe {
        check(libc::fchdir(base) == 0, Step::Pivot)?;
        check(libc::syscall(libc::SYS_pivot_root, here, here) == 0, Step::Pivot)?;
        check(libc::umount2(here, libc::MNT_DETACH) == 0, Step::Pivot)?;
        check(libc::chdir(c"/".as_ptr()) == 0, Step::Pivot)?;
    }
    raw::close(base);
    Ok(())
}

const fn ok(result: c_int) -> Result<(), ()> {
    if result == 0 { Ok(()) } else { Err(()) }
}
