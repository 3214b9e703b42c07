//! Commands played on a stage.

use anyhow::Result;
use serde_json::Value;

use super::cases::{Case, cases};
use super::policies::{ASKED, Asked, CONFIG};
use super::stage::Stage;
use super::{Found, Verdict, Wish};
use crate::actor::As;
use crate::actor::Said;

/// What one run may take: a compiler on a busy machine.
const TIMEOUT: &str = "120s";

/// All commands by `ganger run --sandbox`.
pub(super) fn runs(stage: &Stage, who: As, wish: &Wish) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for case in cases().filter(|case| wish.wants(case.name)) {
        let profiles = case.profiles.iter().filter(|profile| wish.wants_profile(profile));
        let profiles: Vec<&'static str> = profiles.copied().collect();
        if profiles.is_empty() {
            continue;
        }
        let lacks = control(stage, case)?;
        for profile in profiles {
            let (verdict, said) = match &lacks {
                Some(why) => (Verdict::Skipped, why.clone()),
                None => contained(stage, case, profile)?,
            };
            found.push(Found { name: case.name, who, profile, verdict, said });
        }
    }
    Ok(found)
}

/// Why it does not do what is expected where nothing contains it; none if it does.
fn control(stage: &Stage, case: &Case) -> Result<Option<String>> {
    let texts = case.command.iter().chain(case.strict).chain(case.more);
    let missing = texts.copied().find(|text| stage.filled(text).is_none());
    if let Some(text) = missing {
        return Ok(Some(format!("`{text}` is not there")));
    }
    let Some((program, args)) = case.command.split_first() else {
        return Ok(Some("no command".to_owned()));
    };
    if !program.contains('/') && super::stage::find(program).is_none() {
        return Ok(Some(format!("`{program}` is not installed")));
    }
    stage.fresh()?;
    let said = match stage.said(stage.command(program, args)?, case.input) {
        Ok(said) => said,
        Err(error) => return Ok(Some(format!("{error:#}"))),
    };
    let wrong = wrong(stage, case, &said);
    Ok(wrong.map(|why| format!("without ganger: {why}: {}", said.text)))
}

fn contained(stage: &Stage, case: &Case, profile: &str) -> Result<(Verdict, String)> {
    let ganger = stage.path("ganger").display().to_string();
    let mut args = vec!["run", "--timeout", TIMEOUT, "--sandbox", profile];
    args.extend(["--read", "{ro}", "--write", "{rw}"]);
    args.extend(if profile == "strict" { case.strict } else { case.more });
    args.push("--");
    args.extend(case.command);
    stage.fresh()?;
    let said = stage.said(stage.command(&ganger, &args)?, case.input)?;
    Ok(match wrong(stage, case, &said) {
        Some(why) => (Verdict::Broken, format!("{why}: {}", said.text)),
        None => (Verdict::Works, String::new()),
    })
}

/// What is not as it should be.
fn wrong(stage: &Stage, case: &Case, said: &Said) -> Option<String> {
    let made = stage.path("rw").join(case.makes);
    if said.code != Some(case.code) {
        return Some(format!("exit {:?}, not {}", said.code, case.code));
    }
    if !said.text.contains(case.says) {
        return Some(format!("it does not say `{}`", case.says));
    }
    let made = case.makes.is_empty() || made.metadata().is_ok_and(|meta| meta.len() > 0);
    (!made).then(|| format!("it did not make {}", case.makes))
}

/// All requests by `ganger exec`, by a daemon of their own, so often that a watcher of incidents knows whoever asks.
pub(super) fn policies(stage: &Stage, who: As, wish: &Wish) -> Result<Vec<Found>> {
    let wants = |it: &&Asked| wish.wants(it.name) && wish.wants_profile(it.profile);
    let wanted: Vec<&Asked> = ASKED.iter().filter(wants).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let ganger = stage.path("ganger").display().to_string();
    let verb = |args: &[&str], input| {
        let mut command = stage.command(&ganger, args)?;
        command.current_dir(stage.path("run"));
        stage.said(command, input)
    };
    let here = |part: &&str| stage.filled(part).is_some();
    let config: Vec<String> =
        CONFIG.split("\n\n").filter(here).filter_map(|part| stage.filled(part)).collect();
    std::fs::write(stage.path("run/ganger.toml"), config.join("\n"))?;
    stage.fresh()?;
    let up = verb(&["up", "-d"], None)?;
    let mut found = Vec::new();
    if up.code != Some(0) {
        let (name, profile, verdict) = ("exec: ganger up", "strict", Verdict::Broken);
        return Ok(vec![Found { name, who, profile, verdict, said: up.text }]);
    }
    for round in 0..wish.rounds.max(1) {
        for it in &wanted {
            let (verdict, said) =
                if config.iter().any(|part| part.contains(&format!("[policy.{}]", it.policy()))) {
                    asked(it, &verb(it.verb, it.input)?)
                } else {
                    (Verdict::Skipped, "its program is not installed".to_owned())
                };
            // A later round is told where it is otherwise than the first.
            if round == 0 || verdict == Verdict::Broken {
                found.push(Found { name: it.name, who, profile: it.profile, verdict, said });
            }
        }
    }
    let (profile, quiet) = ("strict", "no incident after all of it");
    let said = verb(&["incident", "list", "--all", "--json"], None)?;
    let none = serde_json::from_str::<Value>(&said.text)
        .is_ok_and(|list| list["incidents"].as_array().is_some_and(Vec::is_empty));
    let verdict = if none { Verdict::Works } else { Verdict::Broken };
    found.push(Found { name: quiet, who, profile, verdict, said: said.text });
    let said = verb(&["audit", "verify"], None)?;
    let verdict = if said.code == Some(0) { Verdict::Works } else { Verdict::Broken };
    found.push(Found { name: "the log after all of it", who, profile, verdict, said: said.text });
    verb(&["down"], None)?;
    Ok(found)
}

fn asked(it: &Asked, said: &Said) -> (Verdict, String) {
    if said.code == Some(0) && said.text.contains(it.says) {
        return (Verdict::Works, String::new());
    }
    (Verdict::Broken, format!("exit {:?}, not saying `{}`: {}", said.code, it.says, said.text))
}
