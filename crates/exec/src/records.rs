//! What is written down, and the way to the log: nothing is done before its record is on disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ganger_audit as audit;
use ganger_audit::{AuditError, Log, Record, RunId, SecretDigests, Text};
use ganger_core::Size;
use ganger_policy::{Code, Launch, Pinned, Policies, Probe, Request, Target};
use tokio::sync::broadcast;

use crate::opened::NotOpened;

/// Characters of a policy's name that the record of a denial has: whoever asks may write any.
const NAME_CHARS: usize = 256;
/// The same of a path: more has no file (PATH_MAX).
const PATH_BYTES: usize = 4_096;

/// A record that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub seq: u64,
    /// Nanoseconds since boot, near to those in the record.
    pub mono_ns: u64,
    /// What it says.
    pub append: audit::Append,
}

/// The log, and those who want to know of each record. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    pub(crate) log: Log,
    pub(crate) seen: broadcast::Sender<Arc<Seen>>,
}

impl Book {
    /// Appends and tells; returns when it is on disk.
    pub(crate) async fn append(&self, append: audit::Append) -> Result<(), AuditError> {
        let receipt = self.log.append(&append).await?;
        if self.seen.receiver_count() > 0 {
            let seen = Seen { seq: receipt.seq, mono_ns: mono_ns(), append };
            // Those who listened may have gone this moment.
            drop(self.seen.send(Arc::new(seen)));
        }
        Ok(())
    }

    /// A record of a run.
    pub(crate) async fn of_run(
        &self,
        run: RunId,
        who: &audit::Principal,
        record: Record,
    ) -> Result<(), AuditError> {
        let principal = Some(who.clone());
        self.append(audit::Append { run: Some(run), principal, record }).await
    }
}

/// Nanoseconds since boot, as the log counts them.
pub(crate) fn mono_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let whole = u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    whole.saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// The intent of a launch.
pub(crate) fn intent(
    policy: &str,
    rule: &str,
    policy_sha256: Option<String>,
    launch: &Launch,
    probes: &[Probe],
    digests: &SecretDigests,
) -> audit::Intent {
    audit::Intent {
        policy: policy.to_owned(),
        rule: rule.to_owned(),
        policy_sha256,
        program: program(&launch.program, launch.script.as_ref()),
        argv: launch.argv.iter().map(|arg| digests.arg(arg.bytes(), arg.is_secret())).collect(),
        env: launch.env.keys().map(|name| Text::from(name.as_str())).collect(),
        cwd: Text::from(launch.cwd.absolute().as_str()),
        profile: launch.sandbox.as_str().to_owned(),
        layers: modes(launch),
        limits: limits(launch),
        flags: flags(probes),
    }
}

/// Layers that the policy treats otherwise than its profile does, by name.
fn modes(launch: &Launch) -> BTreeMap<String, String> {
    let modes = launch.layers.iter();
    modes.map(|(layer, mode)| (layer.as_str().to_owned(), mode.as_str().to_owned())).collect()
}

/// Limits in the log's units.
pub(crate) fn limits(launch: &Launch) -> audit::Limits {
    let it = &launch.limits;
    let ms = |time: ganger_core::Dur| millis(time.0);
    let bytes = |size: Size| size.0;
    audit::Limits {
        wall_ms: it.time.map(ms),
        cpu_ms: it.cpu_time.map(ms),
        cpu_milli: it.cpu.map(|cores| (cores * 1_000.0).round() as u64),
        memory: it.memory.map(bytes),
        pids: it.pids,
        files: it.files,
        file_size: it.file_size.map(bytes),
        disk: it.disk.map(bytes),
        output: it.output.map(bytes),
        require: it.require,
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A pinned program as it is recorded; of a script, its interpreter is `program`.
pub(crate) fn program(program: &Pinned, script: Option<&Pinned>) -> audit::Program {
    let one = |pinned: &Pinned| {
        let (seconds, nanos) = pinned.stamp.ctime;
        audit::Program {
            path: Text::from(pinned.path.as_str()),
            dev: pinned.stamp.dev,
            ino: pinned.stamp.ino,
            size: pinned.stamp.size,
            ctime_ns: seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos)),
            sha256: pinned.sha256.clone(),
            interpreter: None,
        }
    };
    match script {
        None => one(program),
        Some(script) => audit::Program { interpreter: Some(Box::new(one(program))), ..one(script) },
    }
}

/// What is recorded of a request that was not allowed.
#[derive(Debug, Clone)]
pub(crate) struct Refusal<'a> {
    pub(crate) rule: Option<&'a str>,
    pub(crate) code: &'a str,
    pub(crate) message: String,
    pub(crate) argument: Option<usize>,
    pub(crate) probes: &'a [Probe],
    pub(crate) allow: Option<&'a str>,
    pub(crate) danger: Option<String>,
}

impl<'a> Refusal<'a> {
    pub(crate) fn new(code: &'a str, message: impl Into<String>) -> Self {
        Self {
            rule: None,
            code,
            message: message.into(),
            argument: None,
            probes: &[],
            allow: None,
            danger: None,
        }
    }

    pub(crate) fn of(denied: &'a ganger_policy::Denied) -> Self {
        let danger = denied.danger.and_then(|class| serde_json::to_value(class).ok());
        Self {
            rule: denied.rule.as_deref(),
            code: denied.code.as_str(),
            message: denied.reason.clone(),
            argument: denied.argument,
            probes: &denied.probes,
            allow: denied.allow.as_deref(),
            danger: danger.and_then(|name| name.as_str().map(str::to_owned)),
        }
    }

    pub(crate) fn not_opened(not: &'a NotOpened, rule: &'a str, probes: &'a [Probe]) -> Self {
        Self {
            rule: Some(rule),
            argument: not.argument.and_then(|at| at.checked_sub(1)),
            probes,
            ..Self::new(not.code, format!("{} ({})", not.sentence(), not.why))
        }
    }

    /// The record.
    pub(crate) fn record(
        &self,
        request: &Request,
        policies: &Policies,
        digests: &SecretDigests,
    ) -> audit::Denied {
        let (name, program) = match &request.target {
            Target::Policy(name) => {
                let policy = policies.iter().find(|(known, _)| known == name);
                let program = policy.map(|(_, policy)| Text::from(policy.program.as_str()));
                (name.chars().take(NAME_CHARS).collect(), program)
            }
            Target::Program(path) => {
                (String::new(), Some(Text::new(&path[..path.len().min(PATH_BYTES)])))
            }
        };
        // Which of them was meant as a secret nobody can say when the request is not allowed: the policies say which could be.
        let veiled = policies.veiled(request);
        let words = request.args.iter().zip(&veiled);
        let argv = words.map(|(arg, shown)| digests.arg(arg, shown.is_secret()));
        audit::Denied {
            policy: self.rule.and_then(|rule| rule.split('/').next()).map_or(name, str::to_owned),
            rule: self.rule.map(str::to_owned),
            reason: self.code.to_owned(),
            message: self.message.clone(),
            program,
            argv: argv.collect(),
            at: self.argument.and_then(|at| u32::try_from(at).ok()),
            flags: flags(self.probes),
            allow: self.allow.map(str::to_owned),
            danger: self.danger.clone(),
        }
    }
}

fn flags(probes: &[Probe]) -> Vec<String> {
    let word = |probe: &Probe| serde_json::to_value(probe.kind).ok();
    let words = probes.iter().filter_map(|probe| {
        let kind = word(probe)?;
        Some(format!("probe:{}:{}", kind.as_str()?, probe.argument))
    });
    words.collect()
}

/// A code that would tell whoever asked what is there for others.
pub(crate) const fn is_oracle(code: Code) -> bool {
    matches!(code, Code::NotYours)
}
