//! Finding a tree's processes without a cgroup: by the marker in their environment and by descent.
//!
//! The keeper is a subreaper, so whatever outlives its parent becomes a child of the keeper (prctl(2)): a tree whose main
//! process is gone is empty if the keeper has no child it does not know. A process that replaced its environment is found
//! while its ancestors live; one that did so and was orphaned is a stranger whose tree nobody can tell.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::OwnedFd;

use crate::wire::SPAWN_MARK_ENV;

/// One process as `/proc` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    zombie: bool,
}

/// What a round found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Members that were alive, signalled or not.
    pub(crate) members: Vec<u32>,
    /// Children of the keeper whose tree could not be told at this moment (their program is just being replaced).
    pub(crate) unclear: Vec<u32>,
}

/// Goes through all processes once and calls `seen` with a pidfd of each member the moment it is found: a program that
/// forks and exits in a loop is ahead of anyone who looks first and acts later.
///
/// `mark` ends the search text: the whole value for one tree, the state's part for all. `main` is the tree's main process.
pub(crate) fn members(
    mark: &str,
    whole: bool,
    main: Option<u32>,
    keeper: u32,
    mut seen: impl FnMut(u32, &OwnedFd),
) -> Found {
    let mut found = Found::default();
    let mut inside: HashSet<u32> = main.into_iter().collect();
    let mut outside: HashMap<u32, u32> = HashMap::new();
    for pid in pids() {
        // The pidfd first: what is read after it is about this process or about one that it can't signal.
        let Ok(pidfd) = ganger_sys::pidfd::open(pid) else { continue };
        let Some(stat) = stat(pid).filter(|stat| !stat.zombie) else { continue };
        let marked = marked(pid, mark, whole);
        if pid == keeper {
            continue;
        }
        if inside.contains(&pid) || inside.contains(&stat.parent) || marked == Some(true) {
            inside.insert(pid);
            seen(pid, &pidfd);
            found.members.push(pid);
        } else if stat.parent == keeper && marked.is_none() {
            found.unclear.push(pid);
        } else {
            outside.insert(pid, stat.parent);
        }
    }
    // Numbers wrap: a child may have a lower number than its parent and have been passed over.
    loop {
        let late: Vec<u32> =
            outside.iter().filter(|(_, up)| inside.contains(up)).map(|(pid, _)| *pid).collect();
        if late.is_empty() {
            return found;
        }
        for pid in late {
            outside.remove(&pid);
            let Ok(pidfd) = ganger_sys::pidfd::open(pid) else { continue };
            if stat(pid).is_some_and(|now| inside.contains(&now.parent) && !now.zombie) {
                inside.insert(pid);
                seen(pid, &pidfd);
                found.members.push(pid);
            }
        }
    }
}

/// Children of this process that are none of `known`, zombies left out.
pub(crate) fn strays(keeper: u32, known: impl Fn(u32) -> bool) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/self/task/{keeper}/children"));
    let children: Vec<u32> = match list {
        Ok(list) => list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        // A kernel without CONFIG_PROC_CHILDREN.
        Err(_) => pids().filter(|pid| stat(*pid).is_some_and(|s| s.parent == keeper)).collect(),
    };
    let alive = |pid: &u32| stat(*pid).is_some_and(|stat| !stat.zombie);
    children.into_iter().filter(|pid| !known(*pid)).filter(alive).collect()
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|stat| stat.parent)
}

/// The wait status of somebody else's zombie, from the last field of its stat line. `None` for a process that is no zombie
/// and where the kernel would hide the status (proc_pid_stat(5): shown to who may trace it, others read 0).
pub(crate) fn zombie_status(pid: u32) -> Option<i32> {
    use std::os::unix::fs::MetadataExt;
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let owner = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    let tracer = || {
        let capabilities = rustix::thread::capabilities(None);
        capabilities
            .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_PTRACE))
    };
    let permitted = owner == rustix::process::geteuid().as_raw() || tracer();
    parse_stat(&text).filter(|stat| stat.zombie && permitted)?;
    text.rsplit(' ').next()?.trim().parse().ok()
}

/// Every process's number, rising; read as it goes, so that later ones are seen.
fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").ok().into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc_pid_stat(5): `pid (name) state ppid …`; the name may hold anything, its closing bracket is the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut rest = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = rest.next()?;
    let parent = rest.next()?.parse().ok()?;
    Some(Stat { parent, zombie: matches!(state, "Z" | "X") })
}

/// Whether the environment holds the marker; `None` when there is none to read: kernel thread, other user, or in exec.
fn marked(pid: u32, mark: &str, whole: bool) -> Option<bool> {
    let environment =
        fs::read(format!("/proc/{pid}/environ")).ok().filter(|all| !all.is_empty())?;
    Some(environment.split(|byte| *byte == 0).any(|entry| {
        let value = entry
            .strip_prefix(SPAWN_MARK_ENV.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
            .and_then(|value| value.strip_prefix(mark.as_bytes()));
        value.is_some_and(|rest| !whole || rest.is_empty())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_do_not_confuse() {
        let stat = parse_stat("12 (a) (b) Z 7 1 1").unwrap();
        assert_eq!(stat, Stat { parent: 7, zombie: true });
        assert_eq!(parse_stat("12 (a"), None);
    }

    #[test]
    fn a_marked_child_and_its_own_child_are_members() {
        let mark = format!("test-{}", std::process::id());
        let script = "env -u GANGER_SPAWN sleep 100 & echo on; wait";
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", script])
            .env(SPAWN_MARK_ENV, &mark)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 3];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        let found = members(&mark, true, None, 0, |_, pidfd| {
            ganger_sys::pidfd::send_signal(pidfd, 9).unwrap();
        });
        assert!(found.members.contains(&child.id()), "{found:?}");
        assert_eq!(found.members.len(), 2, "{found:?}");
        child.wait().unwrap();
        assert!(members(&format!("{mark}0"), true, None, 0, |_, _| {}).members.is_empty());
    }
}
