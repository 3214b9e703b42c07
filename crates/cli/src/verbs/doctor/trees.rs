//! Limits and the ending of trees, tried on a real process: what `run` and every service gets here.

use ganger_core::{End, InstanceId, InstanceKind};
use ganger_keeper::wire::Plan;
use ganger_keeper::{OneShot, OneShotEnd, oneshot};
use ganger_sandbox::{Layer, Limits, Profile};

use super::Check;

/// Large enough for a shell, small enough to be no default.
const MEMORY: u64 = 64 << 20;
const PIDS: u64 = 64;
/// The tried command leaves a process behind that nobody but its keeper would find.
const LEAVES_ONE: &str = "setsid sleep 300 >/dev/null 2>&1 </dev/null &";

/// Starts a shell under all limits, as this user, and looks what held.
pub(super) fn checks() -> Vec<Check> {
    match oneshot(OneShot {
        plan: plan(),
        own: Vec::new(),
        timeout: None,
        grace: std::time::Duration::ZERO,
    }) {
        Ok(outcome) => found(&outcome),
        Err(error) => vec![Check::fail(
            "start a process",
            error.to_string(),
            "allow the system calls named (a container's seccomp profile?)",
        )],
    }
}

fn plan() -> Plan {
    let limits =
        Limits { memory: Some(MEMORY), cpu: Some(1.0), pids: Some(PIDS), ..Limits::default() };
    Plan {
        env: std::env::var("PATH").map(|path| ("PATH".to_owned(), path)).into_iter().collect(),
        profile: Profile { limits, ..Profile::default() },
        ..Plan::new(
            InstanceId::new("doctor", 1),
            InstanceKind::Command,
            "/bin/sh",
            ["sh", "-c", LEAVES_ONE].map(str::to_owned).to_vec(),
        )
    }
}

fn found(outcome: &OneShotEnd) -> Vec<Check> {
    if let End::CouldNotSpawn { step, .. } = &outcome.end {
        let finding = format!("{step}: {}", outcome.detail);
        return vec![Check::fail("start a process", finding, "allow clone3 and execve")];
    }
    let mut checks = vec![Check::ok("start a process", "clone3 with a pidfd and exec")];
    for (name, layer) in
        [("memory limit", Layer::Memory), ("cpu limit", Layer::Cpu), ("pids limit", Layer::Pids)]
    {
        checks.push(limit(name, layer, outcome));
    }
    checks.push(tree(outcome));
    checks
}

fn limit(name: &'static str, layer: Layer, outcome: &OneShotEnd) -> Check {
    if outcome.report.enforced.contains(&layer) {
        return Check::ok(name, "enforced by a cgroup");
    }
    let word = name.split(' ').next().unwrap_or(name);
    match outcome.report.degraded.iter().find(|one| one.what.contains(word)) {
        Some(one) => Check::warn(name, one.why.clone(), one.fix.clone()),
        None => Check::warn(
            name,
            "not enforced for this user",
            "give this user a delegated cgroup (Delegate=yes in its unit), or run as root",
        ),
    }
}

fn tree(outcome: &OneShotEnd) -> Check {
    let name = "end of trees";
    if !outcome.stuck.is_empty() || outcome.leftovers == 0 {
        return Check::fail(
            name,
            format!(
                "a process that left its session was not found or not ended ({:?})",
                outcome.stuck
            ),
            "mount /proc so that this user sees its own processes (hidepid=0)",
        );
    }
    if outcome.report.enforced.contains(&Layer::Tree) {
        return Check::ok(name, "by cgroup.kill, at once");
    }
    Check::warn(
        name,
        "by search through /proc: a process that forks without pause is ended late",
        "give this user a cgroup2 tree (Delegate=yes in its unit), or run as root",
    )
}
