//! Finding a tree's processes without a cgroup: by the marker in their environment and by descent.
//!
//! The keeper is a subreaper, so whatever outlives its parent becomes a child of the keeper (prctl(2)): a tree whose main
//! process is gone is empty if the keeper has no child it does not know. A process that replaced its environment is found
//! while its ancestors live; one that did so and was orphaned is a stranger whose tree nobody can tell.

use std::collections::HashSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use ganger_sys::proc::{self, pids, stat};

use crate::wire::SPAWN_MARK_ENV;

/// Which processes to look for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search<'a> {
    /// The marker's value.
    pub(crate) mark: &'a str,
    /// The whole value has to fit, not just its beginning.
    pub(crate) whole: bool,
    /// The tree's main process, if it lives.
    pub(crate) main: Option<u32>,
    /// This process.
    pub(crate) keeper: u32,
    /// Stop each member before looking at its children: what is about to be killed must not fork meanwhile.
    pub(crate) freeze: bool,
}

/// Goes through all processes and calls `seen` with a pidfd of each member the moment it and its children are known; who
/// was alive is returned.
///
/// A program that forks and exits in a loop is ahead of anyone who looks first and acts later, and the kernel hands out
/// process numbers in large batches: so numbers that are new since the last look are looked at until there are none.
pub(crate) fn members(search: Search<'_>, seen: impl FnMut(u32, &OwnedFd)) -> Vec<u32> {
    let mut walk = Walk { search, seen, inside: HashSet::new(), found: Vec::new() };
    let mut done: HashSet<u32> = HashSet::from([search.keeper]);
    for _ in 0..MAX_PASSES {
        let fresh: Vec<u32> = pids().filter(|pid| !done.contains(pid)).collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            // In the middle of an exec a process has no environment to read: it is looked at again.
            if walk.look(pid) {
                done.insert(pid);
            }
        }
    }
    walk.found
}

/// The same for a tree of this keeper's own, without looking at the whole machine: its members descend from its main process
/// or from children of the keeper that `known` does not know.
pub(crate) fn own_members(
    search: Search<'_>,
    known: impl Fn(u32) -> bool,
    seen: impl FnMut(u32, &OwnedFd),
) -> Vec<u32> {
    if !Path::new(&format!("/proc/self/task/{}/children", search.keeper)).exists() {
        return members(search, seen);
    }
    let mut walk = Walk { search, seen, inside: HashSet::new(), found: Vec::new() };
    let mut done: HashSet<u32> = HashSet::new();
    for _ in 0..MAX_PASSES {
        let roots = strays(search.keeper, &known).into_iter().chain(search.main);
        let fresh: Vec<u32> = roots.filter(|pid| !done.contains(pid)).collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            if walk.look_below(pid) {
                done.insert(pid);
            }
        }
    }
    walk.found
}

/// Passes over new numbers: on a machine that starts programs all the time there is always one more.
const MAX_PASSES: usize = 32;

struct Walk<'a, F> {
    search: Search<'a>,
    seen: F,
    inside: HashSet<u32>,
    found: Vec<u32>,
}

impl<F: FnMut(u32, &OwnedFd)> Walk<'_, F> {
    /// False when it can't be told yet.
    fn look(&mut self, pid: u32) -> bool {
        // The pidfd first: what is read after it is about this process or about one that it can't signal.
        let Ok(pidfd) = ganger_sys::pidfd::open(pid) else { return true };
        let Some(stat) = stat(pid).filter(|stat| !stat.zombie) else { return true };
        let marked = marked(pid, self.search.mark, self.search.whole);
        let inside = self.inside.contains(&stat.parent) || self.search.main == Some(pid);
        if inside || marked == Marked::Yes {
            self.visit(pid, &pidfd);
            return true;
        }
        marked != Marked::Empty || stat.parent == KTHREADD || pid == KTHREADD
    }

    /// The process and what is below it, member or not.
    fn look_below(&mut self, pid: u32) -> bool {
        let mut told = self.look(pid);
        if !self.inside.contains(&pid) {
            for (child, _) in children(pid) {
                told &= self.look_below(child);
            }
        }
        told
    }

    /// Children first: once their parent is gone they belong to the keeper, and nothing would tell whose they were.
    fn visit(&mut self, pid: u32, pidfd: &OwnedFd) {
        const SIGSTOP: i32 = 19;
        if pid == self.search.keeper || !self.inside.insert(pid) {
            return;
        }
        if self.search.freeze {
            // Gone in between: then it has no children either.
            let _ = ganger_sys::pidfd::send_signal(pidfd, SIGSTOP);
        }
        for (child, pidfd) in children(pid) {
            self.visit(child, &pidfd);
        }
        (self.seen)(pid, pidfd);
        self.found.push(pid);
    }
}

/// Living children with pidfds. A number counts only if it is still a child after its pidfd was opened.
fn children(parent: u32) -> Vec<(u32, OwnedFd)> {
    let list = || -> HashSet<u32> { proc::children(parent).collect() };
    let open = |pid: u32| Some((pid, ganger_sys::pidfd::open(pid).ok()?));
    let opened: Vec<_> = list().into_iter().filter_map(open).collect();
    if opened.is_empty() {
        return opened;
    }
    let still = list();
    let alive = |pid: u32| stat(pid).is_some_and(|stat| !stat.zombie);
    opened.into_iter().filter(|(pid, _)| still.contains(pid) && alive(*pid)).collect()
}

/// Living children of this process that are none of `known`.
///
/// A child that ends hands its own children over before it becomes a zombie: a look that saw only zombies is repeated until
/// one brings nothing new, else a program that forks and exits in a loop slips through between list and look.
pub(crate) fn strays(keeper: u32, known: impl Fn(u32) -> bool) -> Vec<u32> {
    let mut seen: HashSet<u32> = HashSet::new();
    loop {
        let unknown: Vec<u32> =
            own_children(keeper).into_iter().filter(|pid| !known(*pid)).collect();
        let fresh = unknown.iter().filter(|pid| seen.insert(**pid)).count();
        let alive = |pid: &u32| stat(*pid).is_some_and(|stat| !stat.zombie);
        let alive: Vec<u32> = unknown.into_iter().filter(alive).collect();
        if !alive.is_empty() || fresh == 0 {
            return alive;
        }
    }
}

fn own_children(keeper: u32) -> Vec<u32> {
    match fs::read_to_string(format!("/proc/self/task/{keeper}/children")) {
        Ok(list) => list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        // A kernel without CONFIG_PROC_CHILDREN.
        Err(_) => pids().filter(|pid| stat(*pid).is_some_and(|s| s.parent == keeper)).collect(),
    }
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|stat| stat.parent)
}

/// The wait status of somebody else's zombie. `None` for a process that is no zombie and where the kernel would hide the
/// status (proc_pid_stat(5): shown to who may trace it, others read 0).
pub(crate) fn zombie_status(pid: u32) -> Option<i32> {
    use std::os::unix::fs::MetadataExt;
    let owner = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    let tracer = || {
        let capabilities = rustix::thread::capabilities(None);
        capabilities
            .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_PTRACE))
    };
    let permitted = owner == rustix::process::geteuid().as_raw() || tracer();
    proc::zombie_status(pid).filter(|_| permitted)
}

/// The parent of all kernel threads, which have no environment.
const KTHREADD: u32 = 2;

/// What an environment says about the marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    Yes,
    No,
    /// Nothing in it: started without one, or in the middle of an exec.
    Empty,
    /// Another user's, or gone.
    Hidden,
}

pub(crate) fn marked(pid: u32, mark: &str, whole: bool) -> Marked {
    let environment = match proc::environment(pid) {
        Err(_) => return Marked::Hidden,
        Ok(all) if all.is_empty() => return Marked::Empty,
        Ok(all) => all,
    };
    let value = proc::variable(&environment, SPAWN_MARK_ENV);
    let rest = value.and_then(|value| value.strip_prefix(mark.as_bytes()));
    let holds = rest.is_some_and(|rest| !whole || rest.is_empty());
    if holds { Marked::Yes } else { Marked::No }
}

/// Of the keeper's own unknown children, those that may belong to a tree: only one that shows another marker or none is
/// somebody else's for certain.
pub(crate) fn doubtful(keeper: u32, mark: &str, known: impl Fn(u32) -> bool) -> Vec<u32> {
    let strays = strays(keeper, known);
    strays.into_iter().filter(|pid| marked(*pid, mark, true) != Marked::No).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let search = Search { mark: &mark, whole: true, main: None, keeper: 0, freeze: true };
        let found = members(search, |_, pidfd| {
            ganger_sys::pidfd::send_signal(pidfd, 9).unwrap();
        });
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[1], child.id(), "children come first");
        child.wait().unwrap();
        let mark = format!("{mark}0");
        assert!(members(Search { mark: &mark, ..search }, |_, _| {}).is_empty());
    }
}
