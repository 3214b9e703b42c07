//! Paths of the machine as they are to be seen inside: links are copied as links, files and folders are told by what they are.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat2};

use super::unfold::Unfolded;
use super::{Access, SandboxError, Shown};

/// One thing to be seen inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) access: Access,
    pub(super) file: (u64, u64),
    pub(super) folder: bool,
}

/// What is seen: things by their path without links, and links by where they are.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) seen: BTreeMap<PathBuf, Seen>,
    pub(super) links: BTreeMap<PathBuf, PathBuf>,
    /// Folders that are there and empty.
    pub(super) empty: Vec<PathBuf>,
    /// Open until the child runs, so that no inode number is used again meanwhile.
    pub(super) held: Vec<OwnedFd>,
}

impl View {
    /// A path of the administrator's or of the machine's own.
    pub(super) fn show(&mut self, path: &Path, access: Access) -> io::Result<PathBuf> {
        let Unfolded { real, file, folder, .. } = self.followed(path)?;
        if real == Path::new("/") {
            return Err(io::Error::other("the whole machine can't be shown: name folders in it"));
        }
        self.insert(real.clone(), Seen { access, file, folder });
        Ok(real)
    }

    /// A path that is seen as what the more generous of two says.
    fn insert(&mut self, path: PathBuf, seen: Seen) {
        let slot = self.seen.entry(path).or_insert_with(|| seen.clone());
        if generous(seen.access) > generous(slot.access) {
            slot.access = seen.access;
        }
    }

    /// A path that was asked for: opened beneath its folder, no link followed.
    pub(super) fn show_asked(&mut self, shown: &Shown) -> Result<(), SandboxError> {
        let fail = |error: &io::Error| SandboxError::path(&shown.path, error);
        let path = Path::new(&shown.path);
        if !path.is_absolute() {
            let why = "it is not absolute".to_owned();
            return Err(SandboxError::Path { path: shown.path.clone(), why });
        }
        let Some(folder) = &shown.beneath else {
            return self.show(path, shown.access).map(drop).map_err(|error| fail(&error));
        };
        let outside = || SandboxError::Path {
            path: shown.path.clone(),
            why: format!("it does not lie in {folder}"),
        };
        let rest = path.strip_prefix(folder).map_err(|_| outside())?;
        let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
        let real = self.unfold(Path::new(folder)).map_err(|error| fail(&error))?;
        let (look, no_mode) = (OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let base = openat2(CWD, &real, look, no_mode, ResolveFlags::NO_SYMLINKS);
        let base = base.map_err(|errno| fail(&errno.into()))?;
        let strict =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd =
            openat2(&base, rest, look, no_mode, strict).map_err(|errno| fail(&errno.into()))?;
        let stat = fstat(&fd).map_err(|errno| fail(&errno.into()))?;
        let folder = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
        let seen = Seen { access: shown.access, file: (stat.st_dev, stat.st_ino), folder };
        self.held.push(fd);
        let real = if rest == Path::new(".") { real } else { real.join(rest) };
        self.insert(real, seen);
        Ok(())
    }

    /// The path without links; those that it goes through are seen as links.
    pub(super) fn unfold(&mut self, path: &Path) -> io::Result<PathBuf> {
        self.followed(path).map(|unfolded| unfolded.real)
    }

    fn followed(&mut self, path: &Path) -> io::Result<Unfolded> {
        let mut unfolded = Unfolded::known(path)?;
        self.links.extend(std::mem::take(&mut unfolded.links));
        Ok(unfolded)
    }

    /// Some folder above `path`, or itself, is seen with all beneath it.
    pub(super) fn covers(&self, path: &Path) -> bool {
        path.ancestors().any(|above| self.seen.get(above).is_some_and(|seen| seen.folder))
    }

    /// Something at `path` or beneath is seen.
    pub(super) fn uses(&self, path: &Path) -> bool {
        self.seen.keys().chain(&self.empty).any(|seen| seen.starts_with(path))
    }
}

const fn generous(access: Access) -> u8 {
    match access {
        Access::Read => 0,
        Access::Execute => 1,
        Access::Write => 2,
        Access::Work => 3,
    }
}
