//! Cases played on a stage.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::cases::{CONFIG, Needs, Oracle, POLICIES, Policy, Recorded, WALLS, Wall};
use super::stage::{Said, Stage};
use super::{As, Found, Verdict, Wish};
use crate::torture::procs;

/// What an attack says when it had what it wanted.
pub(super) const PWNED: &str = "PWNED";
/// What it says when it runs at all.
const BEGAN: &str = "BEGAN";

/// All attacks on the walls.
pub(super) fn walls(stage: &Stage, who: As, wish: &Wish) -> Result<Vec<Found>> {
    let wanted = WALLS.iter().filter(|case| wish.wants(case.id));
    wanted
        .map(|case| {
            let (verdict, by) = if (case.needs == Needs::Root && who == As::User)
                || (case.needs == Needs::User && who == As::Root)
            {
                (Verdict::Skipped, "not this attacker's".to_owned())
            } else {
                wall(stage, case, &wish.profile)?
            };
            Ok(Found { id: case.id, who, kind: "walls", what: case.what, verdict, by })
        })
        .collect()
}

fn wall(stage: &Stage, case: &Wall, profile: &str) -> Result<(Verdict, String)> {
    let (said, success) = played(stage, case, None)?;
    if !success {
        return Ok((Verdict::Void, said.text));
    }
    let (said, success) = played(stage, case, Some(profile))?;
    Ok(if success {
        (Verdict::Hole, said.text)
    } else if said.has_line(BEGAN) {
        (Verdict::Blocked, said.text)
    } else {
        (Verdict::Unshown, format!("{}\nit never began, exit {:?}", said.text, said.code))
    })
}

/// Plays an attack, in the profile if one is given, and says whether it succeeded.
fn played(stage: &Stage, case: &Wall, profile: Option<&str>) -> Result<(Said, bool)> {
    let mark = format!("{}-{}-{}", std::process::id(), case.id, profile.unwrap_or("control"));
    let victim = stage.victim()?;
    let mut argv: Vec<String> = Vec::new();
    if let Some(profile) = profile {
        let ganger = stage.path("ganger").display().to_string();
        argv.extend([ganger, "run".into(), "--sandbox".into(), profile.into()]);
        argv.extend(["--write", "{rw}", "--read", "{ro}"].map(String::from));
        argv.extend(case.options.iter().map(|option| (*option).to_owned()));
        argv.push("--".into());
    }
    argv.push("{self}".into());
    argv.extend(case.attack.iter().map(|arg| (*arg).to_owned()));
    for arg in &mut argv {
        *arg = stage.filled(arg, Some(&victim))?;
    }
    if case.needs == Needs::Terminal {
        argv = ["script", "-qec", &argv.join(" "), "/dev/null"].map(String::from).to_vec();
    }
    let (program, args) = argv.split_first().context("an attack has a program")?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let said = stage.said(stage.command(program, &args, &mark)?)?;
    let left = procs::marked_ever(&mark);
    for process in &left {
        if let Some(pid) = Pid::from_raw(process.pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let success = match case.oracle {
        Oracle::Said => said.has_line(PWNED),
        Oracle::Survives => !left.is_empty(),
    };
    Ok((said, success))
}

/// All attacks on policies, by a daemon of their own.
pub(super) fn policies(stage: &Stage, who: As, wish: &Wish) -> Result<Vec<Found>> {
    let wanted: Vec<&Policy> = POLICIES.iter().filter(|case| wish.wants(case.id)).collect();
    if wanted.is_empty() && !["J02", "J05", "J13"].iter().any(|id| wish.wants(id)) {
        return Ok(Vec::new());
    }
    let sandboxed = |line: &str| {
        let profile = format!("sandbox = \"{}\"", wish.profile);
        if line.starts_with("[policy.") { format!("{line}\n{profile}") } else { line.to_owned() }
    };
    let config: Vec<String> = CONFIG.lines().map(sandboxed).collect();
    let config = stage.filled(&config.join("\n"), None)?;
    std::fs::write(stage.path("home/ganger.toml"), config)?;
    let ganger = stage.path("ganger").display().to_string();
    let verb = |args: &[&str]| stage.said(stage.command(&ganger, args, "daemon")?);
    let up = verb(&["up", "-d"])?;
    let mut found = Vec::new();
    for case in wanted {
        let (verdict, by) = if up.code == Some(0) {
            against(stage, case, &verb)?
        } else {
            (Verdict::Unshown, format!("the daemon is not up: {}", up.text))
        };
        found.push(Found { id: case.id, who, kind: "policy", what: case.what, verdict, by });
    }
    for (id, what, verdict, by) in super::extra::all(&verb)? {
        if wish.wants(id) {
            found.push(Found { id, who, kind: "policy", what, verdict, by });
        }
    }
    verb(&["down"])?;
    Ok(found)
}

fn against(
    stage: &Stage,
    case: &Policy,
    verb: &impl Fn(&[&str]) -> Result<Said>,
) -> Result<(Verdict, String)> {
    let (program, args) = case.control.split_first().context("a control has a program")?;
    let control = stage.said(stage.command(program, args, "control")?)?;
    if !control.has_line(PWNED) {
        return Ok((Verdict::Void, control.text));
    }
    let before = records(verb)?.len();
    let said = verb(case.verb)?;
    if said.has_line(PWNED) {
        return Ok((Verdict::Hole, said.text));
    }
    let new = records(verb)?.split_off(before);
    let of = |event: &str| new.iter().find(|record| record["event"] == event);
    let recorded = match case.recorded {
        Recorded::Nothing => new.is_empty() && said.code == Some(6),
        Recorded::Denied => of("denied").is_some() && said.code == Some(6),
        Recorded::Outcome => of("intent").is_some() && of("outcome").is_some(),
        Recorded::Breach => of("outcome").is_some_and(|it| it["body"]["breach"] != Value::Null),
    };
    if recorded {
        return Ok((Verdict::Blocked, said.text));
    }
    let events: Vec<String> = new.iter().map(|record| record["event"].to_string()).collect();
    let by = format!(
        "{}\nexit {:?}, recorded: [{}], wanted {:?}",
        said.text,
        said.code,
        events.join(", "),
        case.recorded
    );
    Ok((Verdict::Unshown, by))
}

/// Every record of the log but those about itself.
fn records(verb: &impl Fn(&[&str]) -> Result<Said>) -> Result<Vec<Value>> {
    let own = ["segment", "checkpoint", "recovered", "retired"];
    let log = verb(&["audit", "export", "--format", "jsonl"])?;
    let lines = log.text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(lines.filter(|record| !own.iter().any(|own| record["event"] == *own)).collect())
}
