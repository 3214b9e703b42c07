//! What one record says by itself. No memory here.

use ganger_audit::{Arg, Denied, Ending, Intent, Outcome, PolicyLoaded, Severity, Text, words};

use crate::rule::Rule;

/// Number of the signal that a seccomp filter kills by.
const SIGSYS: i32 = 31;
/// What openat2 says of a link (ELOOP) and of a way out of the folder (EXDEV).
const OUTSIDE: [&str; 2] = ["(os error 40)", "(os error 18)"];
/// `..` as often as this in one path is no way that anybody writes by hand.
const DEEP: usize = 2;

/// When a signal is an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum When {
    /// At once.
    Now,
    /// With others of its principal within a window.
    Often(Kind),
}

/// Windows that a principal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Denials,
    Probes,
    AllowedProbes,
    Paths,
    Kills,
    Left,
    Limited,
}

impl Kind {
    /// Counted for each program of the principal; the others for the principal.
    pub(crate) const fn is_of_program(self) -> bool {
        matches!(self, Self::Kills | Self::Left)
    }
}

/// Something that a rule looks for.
#[derive(Debug, Clone)]
pub(crate) struct Signal {
    pub(crate) rule: Rule,
    pub(crate) when: When,
    /// Finer than the rule's own.
    pub(crate) technique: Option<&'static str>,
    /// Where it is not the rule's own.
    pub(crate) severity: Option<Severity>,
    /// A sentence.
    pub(crate) message: String,
}

impl Signal {
    pub(crate) fn now(rule: Rule, message: impl Into<String>) -> Self {
        Self { rule, when: When::Now, technique: None, severity: None, message: message.into() }
    }

    fn often(rule: Rule, kind: Kind, message: &str) -> Self {
        let when = When::Often(kind);
        Self { rule, when, technique: None, severity: None, message: message.to_owned() }
    }

    fn technique(self, technique: &'static str) -> Self {
        Self { technique: Some(technique), ..self }
    }
}

/// Of a denial.
pub(crate) fn of_denied(denied: &Denied) -> Vec<Signal> {
    let reason = denied.reason.as_str();
    let said = &denied.message;
    if reason == words::LOCKED_OUT {
        return Vec::new();
    }
    if reason == words::RATE || reason == words::RUNNING {
        return vec![Signal::often(Rule::RateStorm, Kind::Limited, said)];
    }
    let mut signals = vec![Signal::often(Rule::DeniedBurst, Kind::Denials, said)];
    if let Some(danger) = &denied.danger {
        signals
            .push(Signal::now(Rule::DangerousArgument, said).technique(danger_technique(danger)));
    }
    match reason {
        words::PROGRAM_CHANGED | "program_unsafe" => {
            signals.push(Signal::now(Rule::ProgramChanged, said));
        }
        "path" | "cwd" | "stdin" => signals.extend(of_path(denied)),
        words::SANDBOX => signals.push(Signal::now(Rule::LessSecurity, said)),
        _ => {}
    }
    if reason == "env_danger" || has(&denied.flags, words::ENVIRONMENT) {
        signals.push(Signal::now(Rule::EnvInjection, said));
    }
    if reason == "bytes" || looks_injected(&denied.flags) {
        signals.push(Signal::often(Rule::InjectionProbe, Kind::Probes, said));
    }
    signals
}

/// Of a policy that came into force.
pub(crate) fn of_loaded(loaded: &PolicyLoaded) -> Option<Signal> {
    let name = &loaded.policy;
    match loaded.doubt.as_deref()? {
        words::PROGRAM_CHANGED => {
            let message = format!(
                "the program of policy {name} was exchanged while no daemon watched it; the policy denies everything until `ganger up`"
            );
            Some(Signal::now(Rule::ProgramChanged, message))
        }
        words::NOT_LOADED => {
            let message = format!(
                "policy {name} is not what was loaded: what is stored was changed past ganger; it denies everything until `ganger up`"
            );
            Some(Signal::now(Rule::PolicyTamper, message))
        }
        _ => None,
    }
}

/// Of a run that is about to begin.
pub(crate) fn of_intent(intent: &Intent) -> Vec<Signal> {
    let message = || format!("{} got arguments that look like a shell's", intent.program.path);
    let probe = || Signal::often(Rule::InjectionProbe, Kind::AllowedProbes, &message());
    looks_injected(&intent.flags).then(probe).into_iter().collect()
}

/// Of a run that is over.
pub(crate) fn of_outcome(outcome: &Outcome, program: Option<&Text>) -> Vec<Signal> {
    let program = program.map_or_else(|| "a run".to_owned(), ToString::to_string);
    let mut signals = of_flags(&outcome.flags, &program);
    signals.extend(of_end(outcome, &program));
    signals
}

/// What was seen of a run besides its end.
fn of_flags(flags: &[String], program: &str) -> Vec<Signal> {
    let mut signals = Vec::new();
    for flag in flags {
        let (word, value) = flag.split_once(':').unwrap_or((flag, ""));
        match word {
            words::STUCK => {
                let message = format!("{value} processes of {program} could not be ended with it");
                signals.push(Signal::now(Rule::Residue, message));
            }
            // Once is a helper that went into the background: git does that when it tidies up.
            words::RESIDUE => {
                let message = format!("{program} left {value} processes behind, which were ended");
                let left = Signal::often(Rule::Residue, Kind::Left, &message);
                signals.push(Signal { severity: Some(Severity::Medium), ..left });
            }
            words::SECRET => {
                let message = format!("{program} said what has the shape of a secret: {value}");
                signals.push(Signal::now(Rule::SecretOutput, message));
            }
            _ => {}
        }
    }
    signals
}

fn of_end(outcome: &Outcome, program: &str) -> Vec<Signal> {
    match &outcome.end {
        Ending::SandboxViolation { what } => vec![violation(what, program)],
        Ending::Signalled { signal: SIGSYS, .. } => vec![Signal::now(
            Rule::PrivilegeAttempt,
            format!("{program} made a system call that its profile kills for (SIGSYS)"),
        )],
        Ending::CouldNotSpawn { step, errno } if is_layer(step) => vec![Signal::now(
            Rule::LessSecurity,
            format!("{program} was not started: {step} failed with errno {errno}"),
        )],
        Ending::TimedOut { .. } => vec![kill("wall", program)],
        Ending::LimitHit { limit, .. } => vec![kill(limit, program)],
        _ => outcome.breach.iter().map(|breach| kill(&breach.limit, program)).collect(),
    }
}

fn kill(limit: &str, program: &str) -> Signal {
    let message = format!("{program} was ended at its limit of {limit}");
    Signal::often(Rule::ResourceKills, Kind::Kills, &message)
}

/// `what` begins with the layer that said no: `seccomp: ptrace`, `landlock: /etc/shadow`, `exec: /tmp/x`.
fn violation(what: &str, program: &str) -> Signal {
    let layer = what.split([':', ' ']).next().unwrap_or_default();
    let message = format!("{program} was stopped by its sandbox: {what}");
    let called = |call: &str| what.strip_prefix("seccomp: ") == Some(call);
    match layer {
        "landlock" | "path" | "file" => Signal::now(Rule::FileViolation, message),
        "exec" | "noexec" | "memfd" => Signal::now(Rule::ExecViolation, message),
        "residue" => Signal::now(Rule::Residue, message),
        "network" | "socket" => Signal::now(Rule::NetworkViolation, message),
        "seccomp" if called("socket") => Signal::now(Rule::NetworkViolation, message),
        "seccomp" if called("execveat") => Signal::now(Rule::ExecViolation, message),
        "seccomp" if called("pidfd_getfd") => {
            Signal::now(Rule::PrivilegeAttempt, message).technique("T1055")
        }
        "seccomp" if what.contains("_module") => {
            Signal::now(Rule::PrivilegeAttempt, message).technique("T1547.006")
        }
        _ if what.contains("ptrace") || what.contains("process_vm") => {
            Signal::now(Rule::PrivilegeAttempt, message).technique("T1055.008")
        }
        _ if what.contains("setuid") || what.contains("capset") => {
            Signal::now(Rule::PrivilegeAttempt, message).technique("T1548.001")
        }
        _ => Signal::now(Rule::PrivilegeAttempt, message),
    }
}

/// The keeper's one word for a layer that is required and can't be put on; its detail names the layer.
fn is_layer(step: &str) -> bool {
    step == "sandbox"
}

fn danger_technique(class: &str) -> &'static str {
    match class {
        "privilege" => "T1548",
        "read" => "T1005",
        "write" => "T1565",
        "connect" => "T1105",
        "load" => "T1574",
        _ => "T1059",
    }
}

/// A path that was refused, as text or when it was opened: then the system's reason stands at the message's end.
fn of_path(denied: &Denied) -> Option<Signal> {
    let said = &denied.message;
    let now = || Some(Signal::now(Rule::PathTraversal, said));
    let opening = said.ends_with(')') && said.contains("(os error ");
    match opening {
        true if OUTSIDE.iter().any(|errno| said.contains(errno)) => now(),
        // Missing or forbidden: everybody mistypes a name.
        true => None,
        false if denied.argv.iter().any(is_deep) => now(),
        false => Some(Signal::often(Rule::PathTraversal, Kind::Paths, said)),
    }
}

/// A flag is its word, or has it between colons (`probe:separator:2`).
fn has(flags: &[String], word: &str) -> bool {
    flags.iter().any(|flag| flag.split(':').any(|part| part == word))
}

fn looks_injected(flags: &[String]) -> bool {
    words::PROBES.iter().any(|word| has(flags, word))
}

fn is_deep(arg: &Arg) -> bool {
    let Arg::Shown(text) = arg else { return false };
    text.as_bytes().split(|byte| *byte == b'/').filter(|part| *part == b"..").count() >= DEEP
}
