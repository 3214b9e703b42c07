//! The plan of one program: environment, identity, limits, logs.

use ganger_core::logwire::LogTarget;
use ganger_core::{InstanceId, InstanceKind};
use ganger_keeper::wire::{Env, Output, Plan};
use ganger_sandbox::{Limits, Profile};

use super::identity::{self, IdentityError};
use crate::config::{LogRules, Program, find_executable};
use crate::environments::Variables;

/// Least bytes kept of one stream, or rotation would drop nearly all of it.
const STREAM_MIN: u64 = 128 << 10;

/// The plan of instances of `name`; the slot is filled in for each.
pub(crate) fn plan(
    name: &str,
    kind: InstanceKind,
    program: &Program,
    instances: u32,
    inherited: Variables,
) -> Result<Plan, IdentityError> {
    let mut env = Env::inheriting(inherited);
    let user = program.user.as_deref().map(identity::look_up).transpose()?;
    if let Some((user_name, home)) = user.as_ref().and_then(|user| user.entry.as_ref()) {
        // What login(1) sets: a program run as somebody looks for its files in that somebody's home.
        env.set("USER", user_name);
        env.set("LOGNAME", user_name);
        env.set("HOME", home);
    }
    for (name, value) in &program.env {
        env.set(name, value);
    }
    let path = env.get("PATH").unwrap_or_default();
    let first = program.command.first().map_or("", String::as_str);
    // One that is not there now is left to exec, whose answer becomes the instance's reason.
    let executable =
        find_executable(first, &program.cwd, path).unwrap_or_else(|_| program.cwd.join(first));
    let output = Output::Log(log_target(name, program.log, instances));
    Ok(Plan {
        env,
        cwd: program.cwd.display().to_string(),
        stdout: output.clone(),
        stderr: output,
        profile: Profile {
            limits: limits(program.limits),
            identity: user.map(|user| user.identity),
            sandbox: program.sandbox.clone().map(Box::new),
            ..Profile::default()
        },
        ..Plan::new(
            InstanceId::new(name, 1),
            kind,
            executable.display().to_string(),
            program.command.clone(),
        )
    })
}

/// The cap of a service is shared evenly among the two streams of each of its slots.
pub(crate) fn log_target(name: &str, rules: LogRules, instances: u32) -> LogTarget {
    let streams = u64::from(instances.max(1)) * 2;
    LogTarget {
        name: name.to_owned(),
        slot: 1,
        max_bytes: (rules.max_size.0 / streams).max(STREAM_MIN),
        max_age_s: rules.max_age.map_or(0, |age| age.0.as_secs().max(1)),
    }
}

fn limits(limits: crate::config::Limits) -> Limits {
    Limits {
        memory: limits.memory.map(|size| size.0),
        cpu: limits.cpu,
        pids: limits.pids,
        files: limits.files,
        ..Limits::default()
    }
}
