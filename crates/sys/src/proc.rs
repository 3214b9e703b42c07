//! What `/proc` tells of processes (proc(5)). Numbers are looked at, never signalled: for that there are pidfds.
//!
//! Every answer may be old when it is here; whoever acts on one opens a pidfd first and looks again.

mod load;

use std::fs;
use std::io;

pub use load::{Load, load, memory, processors};

/// One process as its `stat` line tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its parent, or whoever took it over.
    pub parent: u32,
    /// It has ended and waits to be reaped.
    pub zombie: bool,
    /// Clock ticks since the machine's start.
    pub birth: u64,
}

/// Every process's number.
pub fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").ok().into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What its `stat` line tells; `None`: it is gone.
#[must_use]
pub fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&stat_line(pid)?)
}

/// The wait status in a zombie's `stat` line, its last field. `None` for a process that is no zombie. Who may not trace it
/// reads 0.
#[must_use]
pub fn zombie_status(pid: u32) -> Option<i32> {
    let text = stat_line(pid)?;
    parse_stat(&text).filter(|stat| stat.zombie)?;
    text.rsplit(' ').next()?.trim().parse().ok()
}

/// The numbers of its children, of all its threads; none where the kernel has no `children` files (CONFIG_PROC_CHILDREN).
pub fn children(pid: u32) -> impl Iterator<Item = u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok().into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| {
        list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    })
}

/// Its environment as it was at its exec. Empty in the middle of an exec, and of a zombie.
///
/// # Errors
/// It is gone, or another user's.
pub fn environment(pid: u32) -> io::Result<Vec<u8>> {
    fs::read(format!("/proc/{pid}/environ"))
}

/// The value of a variable in an [`environment`].
#[must_use]
pub fn variable<'a>(environment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut entries = environment.split(|byte| *byte == 0);
    entries.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The program's own name for itself, for a person.
#[must_use]
pub fn name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().chars().filter(|c| !c.is_control()).collect())
}

fn stat_line(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// proc_pid_stat(5): `pid (name) state ppid …`; the name may hold anything, its closing bracket is the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut rest = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = rest.next()?;
    let parent = rest.next()?.parse().ok()?;
    // The 22nd field; the rest begins with the third.
    let birth = rest.nth(17)?.parse().ok()?;
    Some(Stat { parent, zombie: matches!(state, "Z" | "X"), birth })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_do_not_confuse() {
        let stat =
            parse_stat("12 (a) (b) Z 7 1 1 0 -1 8 9 10 11 12 13 14 15 16 20 0 1 0 4711 3").unwrap();
        assert_eq!(stat, Stat { parent: 7, zombie: true, birth: 4711 });
        assert_eq!(parse_stat("12 (a"), None);
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environment = b"AB=1\0A=x=y\0C=\0";
        assert_eq!(variable(environment, "A"), Some(&b"x=y"[..]));
        assert_eq!(variable(environment, "C"), Some(&b""[..]));
        assert_eq!(variable(environment, "B"), None);
    }
}
