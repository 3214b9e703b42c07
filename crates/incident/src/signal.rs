//! What one record says by itself. No memory here.

use ganger_audit::{Arg, Denied, Ending, Intent, Outcome, Text};

use crate::rule::Rule;

/// Words of records that rules know. Whoever writes other words for these things writes records that no rule sees.
pub mod words {
    /// `reason` of a denial: too often.
    pub const RATE: &str = "rate";
    /// `reason` of a denial: too many at once.
    pub const RUNNING: &str = "running";
    /// `reason` of a denial: the principal is locked out. It counts for nothing, else no lock-out would ever end.
    pub const LOCKED_OUT: &str = "locked_out";
    /// `reason` of a denial: a layer of the sandbox that is required can't be had.
    pub const SANDBOX: &str = "sandbox";
    /// Flags (of intents and denials) that an argument looks like an injection: the word, or `probe:WORD:ARGUMENT`.
    pub const PROBES: [&str; 5] =
        ["separator", "substitution", "control", "invisible", "confusable"];
    /// Flag: an argument has `..` in it.
    pub const TRAVERSAL: &str = "traversal";
    /// Flag: a variable that changes what programs load.
    pub const ENVIRONMENT: &str = "environment";
}

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
    Limited,
}

/// Something that a rule looks for.
#[derive(Debug, Clone)]
pub(crate) struct Signal {
    pub(crate) rule: Rule,
    pub(crate) when: When,
    /// Finer than the rule's own.
    pub(crate) technique: Option<&'static str>,
    /// A sentence.
    pub(crate) message: String,
}

impl Signal {
    pub(crate) fn now(rule: Rule, message: impl Into<String>) -> Self {
        Self { rule, when: When::Now, technique: None, message: message.into() }
    }

    fn often(rule: Rule, kind: Kind, message: &str) -> Self {
        Self { rule, when: When::Often(kind), technique: None, message: message.to_owned() }
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
        "program_changed" | "program_unsafe" => {
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

/// Of a run that is about to begin.
pub(crate) fn of_intent(intent: &Intent) -> Vec<Signal> {
    let message = || format!("{} got arguments that look like a shell's", intent.program.path);
    let probe = || Signal::often(Rule::InjectionProbe, Kind::AllowedProbes, &message());
    looks_injected(&intent.flags).then(probe).into_iter().collect()
}

/// Of a run that is over.
pub(crate) fn of_outcome(outcome: &Outcome, program: Option<&Text>) -> Vec<Signal> {
    let program = program.map_or_else(|| "a run".to_owned(), ToString::to_string);
    match &outcome.end {
        Ending::SandboxViolation { what } => vec![violation(what, &program)],
        Ending::Signalled { signal: SIGSYS, .. } => vec![Signal::now(
            Rule::PrivilegeAttempt,
            format!("{program} made a system call that its profile kills for (SIGSYS)"),
        )],
        Ending::CouldNotSpawn { step, errno } if is_layer(step) => vec![Signal::now(
            Rule::LessSecurity,
            format!("{program} was not started: {step} failed with errno {errno}"),
        )],
        Ending::TimedOut { .. } => vec![kill("wall", &program)],
        Ending::LimitHit { limit, .. } => vec![kill(limit, &program)],
        _ => outcome.breach.iter().map(|breach| kill(&breach.limit, &program)).collect(),
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
    match layer {
        "landlock" | "path" | "file" => Signal::now(Rule::FileViolation, message),
        "exec" | "noexec" | "memfd" => Signal::now(Rule::ExecViolation, message),
        "residue" => Signal::now(Rule::Residue, message),
        "network" | "socket" => Signal::now(Rule::PrivilegeAttempt, message).technique("T1071"),
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
