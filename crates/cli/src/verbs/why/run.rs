//! `ganger why RUN`: why a command under a policy was denied, or failed, by what the audit log has of it. What the records do not
//! say is said to be not known.

use std::process::ExitCode;

use ganger_audit::{Denied, Ending, Entry, Event, Filter, Intent, Outcome, Record, RunId};
use serde::Serialize;

use super::super::audit::Where;
use crate::error::{CliError, Kind};
use crate::text;
use crate::ui::Ui;

/// Number of the signal that a seccomp filter kills by.
const SIGSYS: i32 = 31;

/// What scripts get.
#[derive(Debug, Serialize)]
struct Told {
    v: u8,
    run_id: RunId,
    verdict: &'static str,
    policy: Option<String>,
    rule: Option<String>,
    /// Word of a denial.
    reason: Option<String>,
    command: Vec<String>,
    /// Which argument was at fault, the program's name not counted.
    argument: Option<u32>,
    /// The line of the policy that would allow it.
    allow: Option<String>,
    why: Vec<String>,
}

pub(super) fn run(run: RunId, at: &Where, json: bool, ui: &Ui) -> Result<ExitCode, CliError> {
    let reader = at.reader(ui)?;
    let mut entries = Vec::new();
    let filter = Filter { run: Some(run), ..Filter::default() };
    reader.search(&filter, |found| {
        // Lines that can't be read are the business of `audit verify`.
        entries.extend(found.ok().map(|found| found.entry));
        true
    })?;
    if entries.is_empty() {
        return Err(CliError::new(Kind::NotFound, format!("no run {run} stands in the audit log"))
            .help("`ganger audit search --json` has the runs' ids; old segments may have been retired"));
    }
    let told = told(run, &entries);
    if json {
        ui.json(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = ui.out();
    for line in &told.why {
        out.line(&text::printable(line))?;
    }
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

fn told(run_id: RunId, entries: &[Entry]) -> Told {
    let mut intent = None;
    let mut outcome = None;
    let mut denied = None;
    for entry in entries {
        match &entry.event {
            Event::Record(Record::Intent(record)) => intent = Some((entry, record)),
            Event::Record(Record::Outcome(record)) => outcome = Some(record),
            Event::Record(Record::Denied(record)) => denied = Some((entry, record)),
            _ => {}
        }
    }
    let mut told = Told {
        v: 1,
        run_id,
        verdict: "unknown",
        policy: None,
        rule: None,
        reason: None,
        command: Vec::new(),
        argument: None,
        allow: None,
        why: vec!["the log has no decision on it".to_owned()],
    };
    if let Some((entry, denied)) = denied {
        told.verdict = "denied";
        told.policy = Some(denied.policy.clone()).filter(|name| !name.is_empty());
        told.rule.clone_from(&denied.rule);
        told.reason = Some(denied.reason.clone());
        told.command = entry.argv();
        told.argument = denied.at;
        told.allow.clone_from(&denied.allow);
        told.why = of_denied(denied, &told.command);
    } else if let Some((entry, intent)) = intent {
        told.policy = Some(intent.policy.clone());
        told.rule = Some(intent.rule.clone());
        told.command = entry.argv();
        match outcome {
            Some(outcome) => {
                let ended = outcome.end == Ending::Exited { code: 0 } && outcome.breach.is_none();
                told.verdict = if ended { "ended" } else { "failed" };
                told.why = of_outcome(intent, outcome);
            }
            None => {
                told.verdict = "running";
                told.why = vec![format!(
                    "rule {} allowed it, and no end of it is recorded: it runs, or ganger was killed while it did",
                    intent.rule
                )];
            }
        }
    }
    told
}

fn of_denied(denied: &Denied, command: &[String]) -> Vec<String> {
    let policy = if denied.policy.is_empty() { "no policy allows it" } else { &denied.policy };
    let mut lines = match (&denied.rule, denied.policy.is_empty()) {
        (Some(rule), _) => vec![format!("denied ({}), by what rule {rule} says", denied.reason)],
        (None, true) => vec![format!("denied ({}): {policy}", denied.reason)],
        (None, false) => vec![format!("denied ({}) under policy {policy}", denied.reason)],
    };
    lines.push(denied.message.clone());
    if let Some(at) = denied.at {
        let text = usize::try_from(at).ok().and_then(|at| command.get(at));
        let text = text.map_or_else(String::new, |text| format!(": {text}"));
        lines.push(format!("it is about argument {at}{text}"));
    }
    match (&denied.allow, &denied.danger) {
        (Some(allow), None) => lines.push(format!("this line would allow it: {allow}")),
        (Some(allow), Some(danger)) => lines.push(format!(
            "this line would allow it, and with it what it is known for ({danger}), so be sure: {allow}"
        )),
        (None, Some(danger)) => lines.push(format!(
            "no single line would allow it, and it is known to be dangerous ({danger})"
        )),
        (None, None) => lines.push("no single line of the policy would allow it".to_owned()),
    }
    lines
}

fn of_outcome(intent: &Intent, outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![how(intent, outcome)];
    if let Some(breach) = &outcome.breach {
        lines.push(format!(
            "the limit was {}, the highest use seen {}",
            amount(&breach.limit, breach.allowed),
            amount(&breach.limit, breach.peak)
        ));
        lines.push(format!(
            "this line of [policy.{}] decides: limits = {{ {} = … }}",
            intent.policy,
            key(&breach.limit)
        ));
    }
    if outcome.output_cut {
        lines.push("its output was cut at the limit: what a reader got is not all".to_owned());
    }
    for layer in &outcome.degraded {
        lines.push(format!("it ran without {}: {}", layer.what, layer.why));
    }
    if !outcome.enforced.is_empty() {
        let profile = &intent.profile;
        lines.push(format!("profile {profile} held it by {}", outcome.enforced.join(", ")));
    }
    lines
}

fn how(intent: &Intent, outcome: &Outcome) -> String {
    match &outcome.end {
        Ending::Exited { code: 0 } => "it ended in order".to_owned(),
        Ending::Exited { code } => format!(
            "it ended by itself with code {code}. Whether its sandbox refused it a file (EACCES) or a call (EPERM) before is \
             not known: refusals are told to the program only, so see what it said"
        ),
        Ending::Signalled { signal: SIGSYS, .. } => format!(
            "it made a system call that profile {} ends programs for (SIGSYS); which one is not known",
            intent.profile
        ),
        Ending::Signalled { signal, by, .. } => match by {
            ganger_core::SignalSource::Ganger => format!("ganger ended it with signal {signal}"),
            ganger_core::SignalSource::OomKiller => {
                "the kernel ended it because memory was used up".to_owned()
            }
            ganger_core::SignalSource::Unknown => {
                format!("signal {signal} ended it; who sent it is not known")
            }
        },
        Ending::TimedOut { after_ms } => {
            format!("its time was over after {}", amount("wall", *after_ms))
        }
        Ending::LimitHit { limit, .. } => format!("it was ended at its limit of {limit}"),
        Ending::SandboxViolation { what } => format!("its sandbox stopped it: {what}"),
        Ending::CouldNotSpawn { step, errno } => {
            let why = std::io::Error::from_raw_os_error(*errno);
            format!("it never ran: {step} failed: {why}")
        }
        Ending::Lost => "how it ended is not known: ganger was killed while it ran".to_owned(),
    }
}

/// A limit's key in a policy.
fn key(limit: &str) -> &str {
    match limit {
        "wall" => "time",
        "cpu" | "cpu_ms" => "cpu_time",
        other => other,
    }
}

/// A limit in its unit.
fn amount(limit: &str, n: u64) -> String {
    match limit {
        "wall" | "time" | "cpu_time" | "cpu_ms" => {
            ganger_core::Dur(std::time::Duration::from_millis(n)).to_string()
        }
        "memory" | "output" | "file_size" | "disk" => text::bytes(n),
        _ => n.to_string(),
    }
}

#[cfg(test)]
mod tests;
