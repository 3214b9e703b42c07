//! Paths are opened, not checked: beneath their folder, through no link, once.
//!
//! openat2(2) with RESOLVE_BENEATH, NO_SYMLINKS and NO_MAGICLINKS, from a descriptor of the folder. What a caller hears is one text for
//! whatever went wrong, so that nobody learns what exists; the record has the system's reason.

use std::os::fd::{AsFd, OwnedFd};

use ganger_policy::{Access, Beneath, Feed, Launch};
use ganger_sandbox::{self as sandbox, Shown};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// What was opened for a run; held until its program runs.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Standard input, where it is a file.
    pub(crate) stdin: Option<OwnedFd>,
    /// What a sandbox shows of them: working folder and paths.
    pub(crate) shown: Vec<Shown>,
    /// The same, open.
    #[expect(
        dead_code,
        reason = "held for its drop: what was looked at can't be given to another file meanwhile"
    )]
    pub(crate) held: Vec<OwnedFd>,
}

/// A path that can't be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotOpened {
    /// `cwd`, `stdin`, `path`.
    pub(crate) code: &'static str,
    /// Index in `argv`, the program's own name counted.
    pub(crate) argument: Option<usize>,
    /// The path.
    pub(crate) path: String,
    /// The system's reason, for the record only.
    pub(crate) why: String,
}

impl NotOpened {
    /// For whoever asked: the same for what is missing, elsewhere, a link or forbidden.
    pub(crate) fn sentence(&self) -> String {
        let what = match self.code {
            "cwd" => "the working folder",
            "stdin" => "the file for stdin",
            _ => "a path",
        };
        format!("{what} {:?} can't be opened beneath the folder that is allowed", self.path)
    }
}

/// Opens what a launch names. Blocking: a file system may be far away.
pub(crate) fn open(launch: &Launch) -> Result<Opened, NotOpened> {
    let fail = |code, argument, path: &Beneath| {
        let path = path.absolute();
        move |errno: Errno| NotOpened { code, argument, path, why: errno.to_string() }
    };
    let folder = OFlags::PATH | OFlags::DIRECTORY;
    let cwd = beneath(&launch.cwd, folder).map_err(fail("cwd", None, &launch.cwd))?;
    let mut held = vec![cwd];
    let mut all = Vec::new();
    // The whole machine is nobody's working folder.
    if launch.cwd.absolute() != "/" {
        all.push(shown(&launch.cwd, sandbox::Access::Read));
    }
    for open in &launch.paths {
        let opened = path(&open.path, open.access);
        let (fd, is) = opened.map_err(fail("path", Some(open.argument), &open.path))?;
        all.push(is);
        held.push(fd);
    }
    let stdin = match &launch.stdin {
        Feed::File(file) => Some(regular(file).map_err(fail("stdin", None, file))?),
        Feed::None | Feed::Bytes(_) => None,
    };
    Ok(Opened { stdin, shown: all, held })
}

/// What is read must be there; what is written may be made by the program, in a folder that is there and is what is shown then.
fn path(path: &Beneath, access: Access) -> Result<(OwnedFd, Shown), Errno> {
    let to = match access {
        Access::Read => sandbox::Access::Read,
        Access::Write => sandbox::Access::Write,
    };
    match (beneath(path, OFlags::PATH), access) {
        (Err(Errno::NOENT), Access::Write) if !path.relative.is_empty() => {
            let above = path.relative.rsplit_once('/').map_or("", |(above, _)| above);
            let root = path.root.clone();
            let folder = Beneath { root, relative: above.to_owned(), slash: false };
            let fd = beneath(&folder, OFlags::PATH | OFlags::DIRECTORY)?;
            Ok((fd, shown(&folder, to)))
        }
        (opened, _) => Ok((opened?, shown(path, to))),
    }
}

/// As a sandbox takes it: what the policy names itself is the administrator's, what lies below was asked for.
fn shown(path: &Beneath, access: sandbox::Access) -> Shown {
    let plain = Beneath { slash: false, ..path.clone() };
    let beneath = (!path.relative.is_empty()).then(|| path.root.clone());
    Shown { path: plain.absolute(), beneath, access }
}

/// A file and nothing that waits or acts when it is opened.
fn regular(file: &Beneath) -> Result<OwnedFd, Errno> {
    let fd = beneath(file, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let is_file = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode).is_file();
    if is_file { Ok(fd) } else { Err(Errno::ACCESS) }
}

fn beneath(path: &Beneath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let top = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // The folder is the policy's own word: a link on the way to it is the administrator's.
    let root = rustix::fs::open(path.root.as_str(), top, Mode::empty())?;
    let relative = if path.relative.is_empty() { "." } else { path.relative.as_str() };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(root.as_fd(), relative, flags, Mode::empty(), resolve) {
            // Something was renamed meanwhile, or a signal came (openat2(2)).
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn at(root: &std::path::Path, relative: &str) -> Beneath {
        let root = root.to_str().unwrap().to_owned();
        Beneath { root, relative: relative.to_owned(), slash: false }
    }

    #[test]
    fn links_are_not_followed_wherever_they_lead() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir(root.join("in")).unwrap();
        std::fs::write(root.join("in/file"), "x").unwrap();
        symlink("/etc", root.join("in/out")).unwrap();
        symlink("file", root.join("in/near")).unwrap();
        let folder = root.join("in");
        let read = |name: &str| path(&at(&folder, name), Access::Read);
        assert!(read("file").is_ok() && read("").is_ok());
        for name in ["out", "out/passwd", "near", "missing", "../in/file"] {
            assert!(read(name).is_err(), "{name}");
        }
        // To be made by the program: its folder is what is opened.
        let (_, shown) = path(&at(&folder, "new"), Access::Write).unwrap();
        assert_eq!(shown.path, folder.to_str().unwrap());
        assert_eq!(shown.access, sandbox::Access::Write);
        assert!(path(&at(&folder, "no/new"), Access::Write).is_err());
        assert!(path(&at(&folder, "out/new"), Access::Write).is_err());
        assert!(regular(&at(&folder, "file")).is_ok());
        assert!(regular(&at(&folder, "")).is_err(), "a folder is no input");
    }
}
