//! Which processes are new: `/proc` is listed only when something was started since the last time, and only numbers not known are
//! looked at.
//!
//! The machine counts what it starts (`processes` of `/proc/stat`), so a quiet machine is never listed. A number that was given to
//! another process between two listings is told by its inode: `/proc` makes a new one for each process.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, RawDir, SeekFrom};

/// One `getdents` call brings about a thousand names.
const ROOM: usize = 32 << 10;
/// In [`Known::at`]: nobody's that is watched.
pub(crate) const STRANGER: u32 = u32::MAX;

/// A process that was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Its place in the table of processes, or [`STRANGER`].
    pub(crate) at: u32,
    inode: u64,
    pass: u32,
}

/// Everything in `/proc` as of the last listing.
#[derive(Debug)]
pub(crate) struct Found {
    folder: OwnedFd,
    known: HashMap<u32, Known>,
    /// Numbers of the last listing that were not known, each with its inode.
    pub(crate) fresh: Vec<(u32, u64)>,
    pass: u32,
    buffer: Vec<MaybeUninit<u8>>,
}

impl Found {
    pub(crate) fn new(proc: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(proc, flags, Mode::empty())?;
        let buffer = vec![MaybeUninit::uninit(); ROOM];
        Ok(Self { folder, known: HashMap::new(), fresh: Vec::new(), pass: 0, buffer })
    }

    /// Lists `/proc`; what is new then stands in `fresh`, strangers that are gone are forgotten.
    ///
    /// # Errors
    /// The kernel's; what is known stays as it was.
    pub(crate) fn list(&mut self) -> io::Result<()> {
        self.fresh.clear();
        self.pass = self.pass.wrapping_add(1);
        rustix::fs::seek(&self.folder, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&self.folder, &mut self.buffer);
        let mut seen = 0;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let Some(pid) = number(entry.file_name().to_bytes()) else { continue };
            match self.known.get_mut(&pid) {
                Some(known) if known.inode == entry.ino() => {
                    known.pass = self.pass;
                    seen += 1;
                }
                // Another process, or one whose inode the kernel dropped for want of memory: it is looked at either way.
                _ => self.fresh.push((pid, entry.ino())),
            }
        }
        if seen < self.known.len() {
            let pass = self.pass;
            self.known.retain(|_, known| known.pass == pass || known.at != STRANGER);
        }
        Ok(())
    }

    /// From now on it is known.
    pub(crate) fn know(&mut self, pid: u32, inode: u64, at: u32) {
        self.known.insert(pid, Known { at, inode, pass: self.pass });
    }

    /// The place of a process that is watched.
    pub(crate) fn place(&self, pid: u32) -> Option<usize> {
        let known = self.known.get(&pid).filter(|known| known.at != STRANGER)?;
        usize::try_from(known.at).ok()
    }

    pub(crate) fn is_stranger(&self, pid: u32) -> bool {
        self.known.get(&pid).is_some_and(|known| known.at == STRANGER)
    }

    /// A watched process that moved in the table.
    pub(crate) fn moved(&mut self, pid: u32, at: u32) {
        if let Some(known) = self.known.get_mut(&pid) {
            known.at = at;
        }
    }

    pub(crate) fn forget(&mut self, pid: u32) {
        self.known.remove(&pid);
    }

    /// Everybody's number but those of watched ones is looked at again at the next listing: there are new trees.
    pub(crate) fn forget_strangers(&mut self) {
        self.known.retain(|_, known| known.at != STRANGER);
    }
}

fn number(name: &[u8]) -> Option<u32> {
    if !name.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pids(found: &Found) -> Vec<u32> {
        let mut pids: Vec<u32> = found.fresh.iter().map(|(pid, _)| *pid).collect();
        pids.sort_unstable();
        pids
    }

    fn know_all(found: &mut Found, at: u32) {
        for (pid, inode) in std::mem::take(&mut found.fresh) {
            found.know(pid, inode, at);
        }
    }

    #[test]
    fn only_what_is_new_is_fresh_and_who_left_is_forgotten() {
        let proc = tempfile::tempdir().unwrap();
        let make = |name: &str| std::fs::create_dir(proc.path().join(name)).unwrap();
        ["1", "22", "sys", "self"].into_iter().for_each(make);
        let mut found = Found::new(proc.path()).unwrap();
        found.list().unwrap();
        assert_eq!(pids(&found), [1, 22]);
        know_all(&mut found, STRANGER);
        found.list().unwrap();
        assert_eq!(pids(&found), [0_u32; 0]);
        // A number that comes again is another process: the old folder is kept elsewhere, so its inode is not free.
        std::fs::rename(proc.path().join("22"), proc.path().join("old")).unwrap();
        make("22");
        make("3");
        found.list().unwrap();
        assert_eq!(pids(&found), [3, 22]);
        assert!(!found.is_stranger(22) && found.is_stranger(1), "what 22 was is forgotten");
        know_all(&mut found, 0);
        std::fs::remove_dir(proc.path().join("3")).unwrap();
        std::fs::remove_dir(proc.path().join("1")).unwrap();
        found.list().unwrap();
        assert_eq!(found.place(3), Some(0), "who is watched is missed by his clock, not here");
        assert!(!found.is_stranger(1));
    }

    #[test]
    fn the_machine_is_listed() {
        let mut found = Found::new(Path::new("/proc")).unwrap();
        found.list().unwrap();
        assert!(found.fresh.iter().any(|(pid, _)| *pid == std::process::id()));
    }
}
