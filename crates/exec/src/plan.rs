//! A launch as a plan for the keeper: typed values in, nothing looked up.

use ganger_core::{InstanceId, InstanceKind};
use ganger_keeper::wire::{Output, Pin, Plan, Stdin};
use ganger_policy::{Launch, Profile};
use ganger_sandbox as sandbox;

use crate::left::{Note, SUFFIX};

/// What the keeper is to start. `passed`: a descriptor for its standard input goes with the plan.
pub(crate) fn plan(launch: &Launch, note: &Note, slot: u32, passed: bool) -> Plan {
    let instance = InstanceId::new(format!("{}{SUFFIX}", note.policy), slot);
    // Arguments are made of texts; nothing of them can be lost here.
    let text = |arg: &ganger_policy::Argument| String::from_utf8_lossy(arg.bytes()).into_owned();
    let stamp = launch.program.stamp;
    Plan {
        env: launch.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        cwd: launch.cwd.absolute(),
        stdin: if passed { Stdin::Passed } else { Stdin::Null },
        stdout: Output::Pipe,
        stderr: Output::Pipe,
        profile: profile(launch),
        pin: Some(Pin {
            dev: stamp.dev,
            ino: stamp.ino,
            size: stamp.size,
            ctime_s: stamp.ctime.0,
            ctime_ns: stamp.ctime.1,
        }),
        blob: note.text(),
        ..Plan::new(
            instance,
            InstanceKind::Command,
            launch.program.real.clone(),
            launch.argv.iter().map(text).collect(),
        )
    }
}

/// Limits that the kernel enforces; time, output and what the whole tree may have of CPU time are the run's to watch.
fn profile(launch: &Launch) -> sandbox::Profile {
    let limits = &launch.limits;
    sandbox::Profile {
        limits: sandbox::Limits {
            memory: limits.memory.map(|size| size.0),
            cpu: limits.cpu,
            pids: limits.pids,
            files: limits.files,
            // A core may hold what the program read, secrets too.
            core: Some(0),
            cpu_time: limits.cpu_time.map(|time| whole_seconds(time.0)),
            file_size: limits.file_size.map(|size| size.0),
            address_space: None,
        },
        no_new_privs: true,
        ..sandbox::Profile::default()
    }
}

fn whole_seconds(time: std::time::Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

/// What the policy wants and this version does not apply: told with every run, never passed over.
pub(crate) fn missing(launch: &Launch) -> Vec<sandbox::Degraded> {
    let mut missing = Vec::new();
    if launch.sandbox != Profile::None {
        missing.push(sandbox::Degraded {
            what: format!("sandbox {}", launch.sandbox.as_str()),
            why: "this version does not apply it to commands".into(),
            fix: "write sandbox = \"none\" to say that you know".into(),
        });
    }
    if launch.limits.disk.is_some() {
        missing.push(sandbox::Degraded {
            what: "disk limit".into(),
            why: "commands have no temporary file system of their own in this version".into(),
            fix: "limits.file_size bounds each file".into(),
        });
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn cpu_time_is_never_rounded_to_none() {
        let whole = |ms| whole_seconds(Duration::from_millis(ms));
        assert_eq!((whole(0), whole(1), whole(1_000), whole(1_001)), (1, 1, 1, 2));
    }
}
