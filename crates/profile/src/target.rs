//! The processes a profile is about: given ones and all below them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode, OFlags, open};

/// A process, as much as must be kept in case it ends before the profile does.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) name: String,
    /// Its number in its own pid namespace.
    pub(crate) inner: u32,
    pub(crate) uid: Option<u32>,
    /// Its root folder, held.
    pub(crate) root: Option<OwnedFd>,
    /// Its mount namespace's number.
    pub(crate) mounts: u64,
}

impl Process {
    /// What can be told of it now.
    pub(crate) fn look(pid: u32) -> Self {
        let folder = format!("/proc/{pid}");
        let status = fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_ascii_whitespace())
        };
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self {
            name: ganger_sys::proc::name(pid).unwrap_or_else(|| pid.to_string()),
            inner: number(field("NSpid:").and_then(Iterator::last)).unwrap_or(pid),
            // Real, effective, …: files belong to the effective one.
            uid: number(field("Uid:").and_then(|mut words| words.nth(1))),
            root: open(format!("{folder}/root"), flags, Mode::empty()).ok(),
            mounts: fs::metadata(format!("{folder}/ns/mnt")).map_or(0, |ns| ns.ino()),
        }
    }
}

/// `roots` and everything below them that lives now.
pub(crate) fn tree(roots: &[u32]) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut alive = BTreeSet::new();
    for pid in ganger_sys::proc::pids() {
        if let Some(stat) = ganger_sys::proc::stat(pid).filter(|stat| !stat.zombie) {
            alive.insert(pid);
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut open: Vec<u32> = roots.iter().copied().filter(|pid| alive.contains(pid)).collect();
    while let Some(pid) = open.pop() {
        if found.insert(pid) {
            open.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found
}

/// The numbers of its threads.
pub(crate) fn threads(pid: u32) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).ok().into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Numbers of a kernel list: `0-3,8`.
pub(crate) fn list(text: &str) -> Vec<u32> {
    let mut all = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            all.extend(first..=last.min(first.saturating_add(8_191)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(list("0"), [0]);
        assert_eq!(list(""), [0_u32; 0]);
    }

    #[test]
    fn this_process_and_what_it_started() {
        let own = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let found = tree(&[own]);
        assert!(found.contains(&own) && found.contains(&child.id()));
        assert_eq!(tree(&[child.id()]), BTreeSet::from([child.id()]));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree(&[child.id()]).is_empty());
        assert!(threads(own).any(|tid| tid == own));
        let process = Process::look(own);
        assert!(process.root.is_some() && process.uid.is_some() && process.mounts > 0);
    }
}
