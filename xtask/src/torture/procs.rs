//! Processes of one torture run, found by a mark in their environment, whatever became of their parents.

use std::fs;

/// Environment variable that `up` hands down to every child. Not a GANGER_ one: those are kept from children.
pub(crate) const MARK: &str = "TORTURE_MARK";

/// One process.
#[derive(Debug, Clone)]
pub(crate) struct Proc {
    pub(crate) pid: i32,
    /// `name#slot`, of those that ganger started as an instance.
    pub(crate) instance: Option<String>,
    pub(crate) command: String,
}

/// All processes whose environment carries the mark. A process that ends meanwhile is left out; zombies have no environment.
pub(crate) fn marked(mark: &str) -> Vec<Proc> {
    let wanted = format!("{MARK}={mark}");
    pids()
        .filter_map(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let mut variables = environ.split(|b| *b == 0).map(String::from_utf8_lossy);
            variables.clone().find(|v| *v == wanted)?;
            let instance =
                variables.find_map(|v| v.strip_prefix("GANGER_INSTANCE=").map(str::to_owned));
            let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
            Some(Proc { pid, instance, command })
        })
        .collect()
}

/// Looks at a tree that re-forks all the time: one reading of /proc can miss a process that is born behind it.
const LOOKS: usize = 25;

/// All that several readings of /proc find. Empty means that nothing lives: a chain of processes would show in one of them.
pub(crate) fn marked_ever(mark: &str) -> Vec<Proc> {
    let mut found: Vec<Proc> = Vec::new();
    for _ in 0..LOOKS {
        for process in marked(mark) {
            if found.iter().all(|known| known.pid != process.pid) {
                found.push(process);
            }
        }
    }
    found
}

/// Zombies whose parent is one of `parents`.
pub(crate) fn zombies_of(parents: &[i32]) -> Vec<i32> {
    pids()
        .filter(|pid| {
            stat(*pid).is_some_and(|(state, parent)| state == 'Z' && parents.contains(&parent))
        })
        .collect()
}

/// How many zombies there are.
pub(crate) fn zombies() -> usize {
    pids().filter(|pid| stat(*pid).is_some_and(|(state, _)| state == 'Z')).count()
}

/// This process and all that came from it, as far as their parents live.
pub(crate) fn below(root: i32) -> Vec<i32> {
    let all: Vec<(i32, i32)> = pids().filter_map(|pid| Some((pid, stat(pid)?.1))).collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        tree.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

/// State letter and parent of a process (proc(5), /proc/pid/stat).
fn stat(pid: i32) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold anything; fields are counted behind its closing bracket.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Of every process.
pub(crate) fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
