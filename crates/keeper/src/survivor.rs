//! Processes that could not be ended, or that can't be told from those that should have ended.

use std::fs;

use ganger_core::{InstanceId, SpawnId, StateId};

use ganger_sys::proc;

use crate::scan::{self, Marked};
use crate::wire::{INSTANCE_ENV, SPAWN_MARK_ENV, Survivor};

/// What can be told of a process that lives on. `None`: it has ended.
pub(crate) fn of(pid: u32, state: StateId) -> Option<Survivor> {
    let birth = proc::stat(pid).filter(|stat| !stat.zombie)?.birth;
    let environment = proc::environment(pid).unwrap_or_default();
    let value = |name: &str| std::str::from_utf8(proc::variable(&environment, name)?).ok();
    // Only together they are ours: a program may have set one of them.
    let spawn = value(SPAWN_MARK_ENV)
        .and_then(|mark| mark.strip_prefix(&format!("{state}:"))?.parse().ok())
        .map(SpawnId);
    let place = |text: &str| {
        let (name, slot) = text.rsplit_once('#')?;
        Some(InstanceId::new(name, slot.parse().ok()?))
    };
    let instance = spawn.and_then(|_| value(INSTANCE_ENV)).and_then(place);
    Some(Survivor { pid, birth, spawn, instance })
}

/// Whether a process with this number and birth is still there, if only as a zombie.
#[must_use]
pub fn is_there(pid: u32, birth: u64) -> bool {
    proc::stat(pid).is_some_and(|stat| stat.birth == birth)
}

/// Whether it lives: a zombie does not.
#[must_use]
pub fn lives(pid: u32, birth: u64) -> bool {
    proc::stat(pid).is_some_and(|stat| stat.birth == birth && !stat.zombie)
}

/// A process that could be the one that had this number at a moment of the past (wall clock, milliseconds since 1970), and
/// can't be told from it: it is as old, and does not show whose it is.
#[must_use]
pub fn may_be(pid: u32, at_ms: u64) -> Option<Survivor> {
    // Clock ticks are hundredths of a second everywhere (sysconf(_SC_CLK_TCK) says so since 2.4); the machine's start is
    // told in whole seconds.
    const TICK_MS: u64 = 10;
    const SLACK_MS: u64 = 2_000;
    let stat = proc::stat(pid).filter(|stat| !stat.zombie)?;
    let table = fs::read_to_string("/proc/stat").ok()?;
    let boot_s: u64 = table.lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse().ok())?;
    let born_ms = boot_s * 1000 + stat.birth * TICK_MS;
    let hidden = matches!(scan::marked(pid, "", false), Marked::Hidden | Marked::Empty);
    let same = hidden && born_ms <= at_ms.saturating_add(SLACK_MS);
    same.then_some(Survivor { pid, birth: stat.birth, spawn: None, instance: None })
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    /// A process with this environment only. It has spoken: until its exec is over it would show its parent's environment, also after a
    /// vfork(2) returned, for the kernel wakes the parent just before it changes the memory.
    fn speaker(environment: &[(&str, &str)]) -> std::process::Child {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "echo on; read -r line"])
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 3]).unwrap();
        child
    }

    #[test]
    fn a_process_is_told_by_its_marks_its_birth_and_its_age() {
        let state = StateId([7; 16]);
        let mark = format!("{state}:42");
        let mut child = speaker(&[(SPAWN_MARK_ENV, &mark), (INSTANCE_ENV, "images#2")]);
        let pid = child.id();
        let found = of(pid, state).unwrap();
        let place = InstanceId::new("images", 2);
        assert_eq!((found.spawn, found.instance), (Some(SpawnId(42)), Some(place)));
        assert!(lives(pid, found.birth) && !lives(pid, found.birth + 1));
        let other = of(pid, StateId([8; 16])).unwrap();
        assert_eq!((other.spawn, other.instance), (None, None), "another state's process");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        assert_eq!(may_be(pid, now), None, "it shows that it is not one that hides");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(of(pid, state).is_none() && !lives(pid, found.birth));

        let mut bare = speaker(&[]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let may = |at| may_be(bare.id(), at).map(|one| one.pid);
        assert_eq!((may(now + 1000), may(now - 60_000)), (Some(bare.id()), None), "by its age");
        bare.kill().unwrap();
        bare.wait().unwrap();
    }
}
