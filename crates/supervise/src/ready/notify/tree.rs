//! Whether a process belongs to an instance's tree, as `/proc` tells it.

use std::fs;

use ganger_keeper::wire::SPAWN_MARK_ENV;

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

/// The program's own name for itself, for a person.
pub(crate) fn name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().chars().filter(|c| !c.is_control()).collect())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets too.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn cgroup(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()
}

fn mark(pid: u32) -> Option<Vec<u8>> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let variable = |entry: &[u8]| {
        let rest = entry.strip_prefix(SPAWN_MARK_ENV.as_bytes())?;
        rest.strip_prefix(b"=").map(<[u8]>::to_vec)
    };
    environ.split(|byte| *byte == 0).find_map(variable)
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
        assert_eq!(name(one.id()).as_deref(), Some("cat"));
        for child in [&mut one, &mut two, &mut other] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        assert_eq!(tree.has(two.id()), Belongs::Gone);
    }
}
