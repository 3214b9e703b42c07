//! How verdicts, policies and findings are shown.

use std::collections::BTreeMap;
use std::process::ExitCode;

use ganger_policy::{
    Allowed, Decision, Denied, Feed, Finding, Level, Policies, Policy, Probe, ProbeKind, lint,
};
use serde::Serialize;

use super::Json;
use crate::error::{CliError, Kind};
use crate::table::{Table, Tone, left, right};
use crate::text;
use crate::ui::Ui;

#[derive(Serialize)]
struct VerdictJson<'a> {
    v: u8,
    #[serde(flatten)]
    decision: &'a Decision,
}

pub(super) fn verdict(decision: &Decision, out: Json, ui: &Ui) -> Result<ExitCode, CliError> {
    if out.json {
        ui.json(&VerdictJson { v: 1, decision })?;
    } else {
        let lines = match decision {
            Decision::Allowed(allowed) => allowed_lines(allowed),
            Decision::Denied(denied) => denied_lines(denied),
        };
        let mut out = ui.out();
        lines.iter().try_for_each(|line| out.line(line))?;
        out.done()?;
    }
    Ok(if decision.is_allowed() { ExitCode::SUCCESS } else { ExitCode::from(Kind::Denied as u8) })
}

fn allowed_lines(allowed: &Allowed) -> Vec<String> {
    let launch = &allowed.launch;
    let argv: Vec<_> = launch.argv.iter().map(|argument| quoted(&argument.shown())).collect();
    let env: Vec<_> =
        launch.env.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    let mut lines =
        vec![format!("allowed by {}", allowed.rule), format!("  runs     {}", argv.join(" "))];
    let mut file = launch.program.path.clone();
    if launch.program.real != launch.program.path {
        file.push_str(&format!(" -> {}", launch.program.real));
    }
    lines.push(format!(
        "  file     {file} (device {}, inode {})",
        launch.program.stamp.dev, launch.program.stamp.ino
    ));
    lines.push(format!("  env      {}", env.join(" ")));
    let stdin = match &launch.stdin {
        Feed::None => "nothing".to_owned(),
        Feed::Bytes(most) => format!("up to {most}"),
        Feed::File(path) => quoted(&path.absolute()),
    };
    lines.push(format!(
        "  in       {}; stdin: {stdin}; sandbox: {}",
        quoted(&launch.cwd.absolute()),
        launch.sandbox.as_str()
    ));
    if !launch.layers.is_empty() {
        let modes = launch.layers.iter();
        let modes: Vec<_> =
            modes.map(|(layer, mode)| format!("{} {}", layer.as_str(), mode.as_str())).collect();
        lines.push(format!("  layers   {}", modes.join(", ")));
    }
    for open in &launch.paths {
        let how = match open.access {
            ganger_policy::Access::Read => "reads   ",
            ganger_policy::Access::Write => "writes  ",
        };
        lines.push(format!(
            "  {how} {} beneath {}",
            quoted(&open.path.absolute()),
            quoted(&open.path.root)
        ));
    }
    lines.extend(probes(&allowed.probes));
    lines
}

fn denied_lines(denied: &Denied) -> Vec<String> {
    let by = denied.rule.as_ref().map_or_else(String::new, |rule| format!(" at {rule}"));
    let mut lines = vec![format!("denied{by} ({})", denied.code.as_str())];
    let at = denied.argument.map_or_else(String::new, |at| format!("argument {}: ", at + 1));
    lines.push(format!("  because  {at}{}", text::printable(&denied.reason)));
    if let Some(allow) = &denied.allow {
        let unless = denied
            .danger
            .map_or_else(String::new, |class| format!("   (it {})", class.as_phrase()));
        lines.push(format!("  allowed  by this line: {}{unless}", text::printable(allow)));
    }
    lines.extend(probes(&denied.probes));
    lines
}

fn probes(all: &[Probe]) -> impl Iterator<Item = String> + '_ {
    use ProbeKind as Looks;
    all.iter().map(|probe| {
        let like = match probe.kind {
            Looks::Separator => "a shell's separator; to the program it is text",
            Looks::Substitution => "a shell's substitution; to the program it is text",
            Looks::Control => "control characters",
            Looks::Invisible => "characters that are not seen",
            Looks::Confusable => "an option in other letters",
            Looks::Traversal => "a path upwards",
            Looks::Environment => {
                return "  probe    a variable that changes what programs load or run".to_owned();
            }
        };
        format!("  probe    argument {} has {like}", probe.argument + 1)
    })
}

/// As it can be read without doubt: plain words as they are, everything else in quotes with escapes.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=:,.+@%/".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    #[serde(flatten)]
    policy: &'a Policy,
    /// Why it denies everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    untrusted: Option<String>,
}

#[derive(Serialize)]
struct List<'a> {
    v: u8,
    policies: Vec<Listed<'a>>,
}

pub(super) fn list(policies: &Policies, out: Json, ui: &Ui) -> Result<ExitCode, CliError> {
    let untrusted: BTreeMap<&str, String> =
        policies.untrusted().map(|(name, why)| (name, why.to_string())).collect();
    if out.json {
        let all = policies.iter().map(|(name, policy)| Listed {
            name,
            policy,
            untrusted: untrusted.get(name).cloned(),
        });
        ui.json(&List { v: 1, policies: all.collect() })?;
        return Ok(ExitCode::SUCCESS);
    }
    if policies.is_empty() {
        ui.talk("the config file has no policy: everything is denied");
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [
        left("NAME", 0),
        left("PROGRAM", 0),
        right("ALLOW", 1),
        right("DENY", 2),
        left("SANDBOX", 1),
        left("WHO", 3),
        left("TRUSTED", 1),
    ];
    let mut table = Table::new(&columns);
    for (name, policy) in policies.iter() {
        let why = untrusted.get(name);
        table.row(
            if why.is_some() { Tone::Bad } else { Tone::Plain },
            vec![
                name.to_owned(),
                policy.program.clone(),
                policy.allow.len().to_string(),
                policy.deny.len().to_string(),
                policy.sandbox.as_str().to_owned(),
                who(policy),
                why.cloned().unwrap_or_else(|| "yes".to_owned()),
            ],
        );
    }
    let mut out = ui.out();
    out.line(&table.render(ui.width(), ui.data_is_coloured()))?;
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

fn who(policy: &Policy) -> String {
    let who = &policy.who;
    let uids = who.uids.iter().map(|id| format!("uid {id}"));
    let gids = who.gids.iter().map(|id| format!("gid {id}"));
    let tokens = who.tokens.iter().map(|name| format!("token {name}"));
    let all: Vec<_> = uids.chain(gids).chain(tokens).collect();
    if all.is_empty() { "owner".to_owned() } else { all.join(", ") }
}

#[derive(Serialize)]
struct Linted<'a> {
    v: u8,
    findings: &'a [Finding],
}

pub(super) fn findings(policies: &Policies, out: Json, ui: &Ui) -> Result<ExitCode, CliError> {
    let findings = lint(policies);
    if out.json {
        ui.json(&Linted { v: 1, findings: &findings })?;
    } else {
        let mut out = ui.out();
        for finding in &findings {
            let level = match finding.level {
                Level::Error => "error",
                Level::Warning => "warning",
                Level::Note => "note",
            };
            let place = match finding.rule.as_deref().filter(|rule| !rule.is_empty()) {
                Some(rule) => format!("{}/{rule}", finding.policy),
                None => finding.policy.clone(),
            };
            let class =
                finding.class.map_or_else(String::new, |class| format!(" [{}]", class.as_str()));
            out.line(&format!("{level}: {place}: {}{class}", text::printable(&finding.message)))?;
        }
        out.done()?;
        let policies = match policies.len() {
            1 => "1 policy".to_owned(),
            n => format!("{n} policies"),
        };
        ui.talk(&format!("{policies}: {}", text::count(findings.len(), "finding")));
    }
    let doubtful = findings.iter().any(|finding| finding.level < Level::Note);
    Ok(if doubtful { ExitCode::from(Kind::Config as u8) } else { ExitCode::SUCCESS })
}
