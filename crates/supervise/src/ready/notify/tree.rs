//! Whether a process belongs to an instance's tree, as `/proc` tells it.

use std::fs;

use ganger_keeper::wire::SPAWN_MARK_ENV;
use ganger_sys::proc;

/// Ancestors looked at: deeper trees of a service are not built on purpose.
const DEPTH: usize = 64;

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belongs {
    Yes,
    No,
    /// It has ended and been reaped: nobody can tell any more.
    Gone,
}

/// The tree of one living process.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    main: u32,
}

impl Tree {
    /// The tree below this main process.
    pub(crate) const fn of(main: u32) -> Self {
        Self { main }
    }

    /// By descent, by cgroup where the tree has one of its own, by the marker in its environment.
    pub(crate) fn has(&self, pid: u32) -> Belongs {
        if pid == self.main {
            return Belongs::Yes;
        }
        let Some(mut parent) = parent(pid) else { return Belongs::Gone };
        for _ in 0..DEPTH {
            if parent == self.main {
                return Belongs::Yes;
            }
            match self::parent(parent) {
                Some(next) if parent > 1 => parent = next,
                _ => break,
            }
        }
        let cgroup = cgroup(self.main);
        let own = cgroup.is_some() && cgroup != self::cgroup(std::process::id());
        if own && cgroup == self::cgroup(pid) {
            return Belongs::Yes;
        }
        let mark = mark(self.main);
        if mark.is_some() && mark == self::mark(pid) { Belongs::Yes } else { Belongs::No }
    }
}

fn parent(pid: u32) -> Option<u32> {
    proc::stat(pid).map(|stat| stat.parent)
}

fn cgroup(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()
}

fn mark(pid: u32) -> Option<Vec<u8>> {
    let environment = proc::environment(pid).ok()?;
    proc::variable(&environment, SPAWN_MARK_ENV).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn children_and_marked_ones_belong_and_strangers_do_not() {
        let child = |mark: &str| {
            let mut command = Command::new("cat");
            command.env(SPAWN_MARK_ENV, mark).stdin(Stdio::piped());
            command.spawn().unwrap()
        };
        let (mut one, mut two, mut other) = (child("a"), child("a"), child("b"));
        let me = std::process::id();
        assert_eq!(Tree::of(me).has(me), Belongs::Yes);
        assert_eq!(Tree::of(me).has(one.id()), Belongs::Yes, "by descent");
        let tree = Tree::of(one.id());
        assert_eq!(tree.has(two.id()), Belongs::Yes, "by its marker");
        assert_eq!(tree.has(other.id()), Belongs::No);
        assert_eq!(tree.has(me), Belongs::No);
        assert_eq!(tree.has(1), Belongs::No);
        for child in [&mut one, &mut two, &mut other] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        assert_eq!(tree.has(two.id()), Belongs::Gone);
    }
}
