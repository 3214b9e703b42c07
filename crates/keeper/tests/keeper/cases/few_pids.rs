//! Where pids are few and come back at once: a signal for a child that is gone reaches nobody else.
//!
//! ```text
//! this test ── unshare: a pid namespace of 400 pids ── driver (pid 1)
//!                                                      ├─ keeper ── children that live for milliseconds
//!                                                      └─ the crowd: strangers that take every pid that falls free
//! ```
//!
//! Children are signalled while they live, when they are dead and not acknowledged, and when they are forgotten. A stranger that is hit
//! dies of it or is killed: all the crowd must end by itself, well.

use std::collections::HashSet;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use ganger_core::SpawnId;
use ganger_keeper::wire::{Plan, Request, Scope};

use crate::bench::{Bench, Daemon, shell};

/// The namespace's pids: the crowd, some children and ganger, with little left (the kernel's least is 301).
const PIDS: &str = "400";
/// Strangers at a time, by thread.
const CROWD: [usize; 2] = [60, 60];
/// Signals in all, where nothing else is asked for by [`COUNT_ENV`].
const SIGNALS: usize = 5_000;
const COUNT_ENV: &str = "GANGER_SIGNALS";
/// Children at a time, and signals to each: alive, dead, forgotten.
const CHILDREN: u64 = 16;
const EACH: [usize; 3] = [10, 20, 20];
/// The first kernel whose `pid_max` belongs to the namespace and not to the machine.
const KERNEL: (u32, u32) = (6, 14);

pub(crate) fn strangers_are_safe() {
    if kernel() < KERNEL {
        return println!("skipped: pid_max belongs to the whole machine before Linux 6.14");
    }
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    command.arg(std::env::current_exe().unwrap()).arg("role:crowded");
    let output = command.output().unwrap();
    let (said, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if told.contains("unshare failed") {
        return println!("skipped: no pid namespace for this user: {}", told.trim());
    }
    print!("{said}");
    assert!(output.status.success(), "{}: {told}", output.status);
}

fn kernel() -> (u32, u32) {
    let release = rustix::system::uname();
    let release = release.release().to_str().unwrap();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// What runs in the namespace.
pub(crate) fn crowded() -> ExitCode {
    std::fs::write("/proc/sys/kernel/pid_max", PIDS).unwrap();
    let wanted = std::env::var(COUNT_ENV).map_or(SIGNALS, |count| count.parse().unwrap());
    let over = AtomicBool::new(false);
    let strangers = Mutex::new(Vec::new());
    let (signals, ours) = std::thread::scope(|scope| {
        for size in CROWD {
            let (over, strangers) = (&over, &strangers);
            scope.spawn(move || strangers.lock().unwrap().extend(crowd(size, over)));
        }
        let seen = std::panic::catch_unwind(|| {
            // With cgroups where there are any, and by the marks of a tree.
            let (first, mut pids) = signalled(&[], wanted / 2);
            let (second, more) = signalled(&[("GANGER_NO_CGROUP", "1")], wanted / 2);
            pids.extend(more);
            (first + second, pids)
        });
        over.store(true, Ordering::Relaxed);
        seen.unwrap()
    });
    let strangers = strangers.into_inner().unwrap();
    let hit: Vec<_> = strangers.iter().filter(|(_, how)| how != "exit status: 0").collect();
    assert!(hit.is_empty(), "{} strangers were hit: {hit:?}", hit.len());
    let reused: HashSet<u32> =
        strangers.iter().map(|(pid, _)| *pid).filter(|pid| ours.contains(pid)).collect();
    println!(
        "  {signals} signals to {} children, {} strangers, {} pids were theirs and ours",
        ours.len(),
        strangers.len(),
        reused.len()
    );
    assert!(!reused.is_empty(), "no pid came back: nothing was shown");
    ExitCode::SUCCESS
}

/// Keeps so many strangers up; tells of each its pid and how it ended.
fn crowd(size: usize, over: &AtomicBool) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    let mut up = std::collections::VecDeque::new();
    while !over.load(Ordering::Relaxed) {
        if up.len() == size {
            let mut eldest: std::process::Child = up.pop_front().unwrap();
            all.push((eldest.id(), eldest.wait().unwrap().to_string()));
        }
        // No pid may be free for a moment.
        if let Ok(child) = Command::new("sleep").arg("0.05").spawn() {
            up.push_back(child);
        }
    }
    all.extend(up.into_iter().map(|mut child| (child.id(), child.wait().unwrap().to_string())));
    all
}

/// Sends so many signals at children's lives and after; how many, and the pids that the children had.
fn signalled(env: &[(&str, &str)], wanted: usize) -> (usize, Vec<u32>) {
    let mut bench = Bench::new(env);
    let mut daemon = bench.daemon();
    let mut pids = Vec::new();
    let (mut sent, mut first) = (0, 1);
    while sent < wanted {
        let ids = first..first + CHILDREN;
        first = ids.end;
        for id in ids.clone() {
            pids.push(daemon.spawn(id, &short_lived(id)).0);
        }
        sent += volley(&mut daemon, ids.clone(), EACH[0]);
        for id in ids.clone() {
            daemon.exit_of(id);
        }
        sent += volley(&mut daemon, ids.clone(), EACH[1]);
        for id in ids.clone() {
            daemon.send(&Request::AckExit { id: SpawnId(id) });
        }
        sent += volley(&mut daemon, ids, EACH[2]);
    }
    bench.shut_down(daemon);
    (sent, pids)
}

/// Half of them die of the first signal, the others by themselves.
fn short_lived(id: u64) -> Plan {
    let script = if id.is_multiple_of(2) { "exec sleep 0.01" } else { "trap '' 10 15; sleep 0.01" };
    shell(&format!("short{id}"), script)
}

/// Signals to each in turn, to the main process and to the tree; the last of them ends the tree.
fn volley(daemon: &mut Daemon, ids: std::ops::Range<u64>, each: usize) -> usize {
    let mut sent = 0;
    for round in 0..each {
        for id in ids.clone().map(SpawnId) {
            let scope = if round % 2 == 0 { Scope::Main } else { Scope::Tree };
            let signal = if round % 3 == 0 { 15 } else { 10 };
            daemon.send(&Request::Signal { id, signal, scope });
            sent += 1;
        }
    }
    for id in ids.map(SpawnId) {
        daemon.send(&Request::EndTree { id });
        sent += 1;
    }
    sent
}
