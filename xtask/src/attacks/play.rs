//! Attacks on the walls, played on a stage.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::daemon::Daemon;
use super::stage::Stage;
use super::walls::{Held, Needs, Oracle, WALLS, Wall};
use super::{Found, Verdict, Wish};
use crate::actor::As;
use crate::actor::Said;
use crate::torture::procs;

/// What an attack says when it had what it wanted.
pub(super) const PWNED: &str = "PWNED";
/// What it says when it runs at all.
pub(super) const BEGAN: &str = "BEGAN";

/// What stands around an attack.
#[derive(Debug, Clone, Copy)]
pub(super) enum Around<'a> {
    /// Nothing.
    Nothing,
    /// The profile by `ganger run`, less these layers.
    Run(&'a [&'a str]),
    /// This policy of the daemon.
    Policy(&'a str),
}

/// All attacks on the walls that are wanted.
pub(super) fn walls(daemon: &Daemon<'_>, who: As, wish: &Wish) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for case in WALLS.iter().filter(|case| wish.wants(case.id)) {
        let others = (case.needs == Needs::Root && who == As::User)
            || (case.needs == Needs::User && who == As::Root);
        let (verdict, by) = if others {
            (Verdict::Skipped, "not this attacker's".to_owned())
        } else if wish.find_layers {
            (
                Verdict::Skipped,
                super::find::holders(daemon.stage(), case, &wish.profile, who == As::Root)?,
            )
        } else {
            Play { daemon, case, who, profile: &wish.profile }.wall()?
        };
        let held = match case.held {
            Held::Limit => case.limits.to_owned(),
            Held::Always => "always".to_owned(),
            _ => case.layers(who == As::Root).join(" + "),
        };
        found.push(Found::new(case.id, who, "walls", case.what, (verdict, by)).held(held));
    }
    Ok(found)
}

struct Play<'a> {
    daemon: &'a Daemon<'a>,
    case: &'a Wall,
    who: As,
    profile: &'a str,
}

impl Play<'_> {
    fn wall(&self) -> Result<(Verdict, String)> {
        let (said, success) = self.played(Around::Nothing)?;
        if !success {
            return Ok((Verdict::Void, format!("{}\nalso without ganger", said.text)));
        }
        if let Some(void) = self.without()? {
            return Ok(void);
        }
        let (said, success) = self.played(Around::Run(&[]))?;
        if self.case.held != Held::Limit && (success || !said.has_line(BEGAN)) {
            let verdict = if success { Verdict::Hole } else { Verdict::Unshown };
            return Ok((verdict, format!("{}\nby ganger run", said.text)));
        }
        self.daemon.fresh()?;
        let (said, success) = self.played(Around::Policy(&self.case.policy()))?;
        Ok(if success {
            (Verdict::Hole, said.text)
        } else if said.hung {
            (Verdict::Unshown, format!("{}\nnothing ended it", said.text))
        } else if !said.has_line(BEGAN) {
            (Verdict::Unshown, format!("{}\nit never began, exit {:?}", said.text, said.code))
        } else {
            match self.recorded() {
                Ok(()) => (Verdict::Blocked, said.text),
                Err(why) => (Verdict::Unshown, format!("{}\n{why:#}", said.text)),
            }
        })
    }

    /// The control within ganger: with the layers or the limit that hold it left out it succeeds, and each of several layers holds
    /// it alone.
    fn without(&self) -> Result<Option<(Verdict, String)>> {
        let root = self.who == As::Root;
        let (layers, off) = (self.case.layers(root), self.case.off(root));
        let around = match self.case.held {
            Held::Always => return Ok(None),
            Held::Limit => Around::Policy("wall"),
            // Which layer holds it is known of the strictest profile only.
            _ if self.profile != "strict" => return Ok(None),
            _ => Around::Run(&off),
        };
        let (said, success) = self.played(around)?;
        if !success {
            let what = format!("{}{}", off.join(" and "), self.case.limits);
            return Ok(Some((Verdict::Void, format!("{}\nalso without {what}", said.text))));
        }
        if layers.len() < 2 {
            return Ok(None);
        }
        for alone in layers {
            let others: Vec<&str> = off.iter().copied().filter(|it| it != alone).collect();
            if self.played(Around::Run(&others))?.1 {
                let text = format!("{alone} alone does not hold it");
                return Ok(Some((Verdict::Unshown, text)));
            }
        }
        Ok(None)
    }

    fn played(&self, around: Around<'_>) -> Result<(Said, bool)> {
        played(self.daemon.stage(), self.case, around, self.profile, Some(self.daemon))
    }

    /// The log says what was to run, under which policy and profile, what stood around it, and which limit ended it.
    fn recorded(&self) -> Result<()> {
        let new = self.daemon.fresh()?;
        let of = |event: &str| -> Result<&Value> {
            let mut found = new.iter().filter(|record| record["event"] == event);
            let one = found.next().with_context(|| format!("no {event} is recorded"))?;
            anyhow::ensure!(found.next().is_none(), "more than one {event} is recorded");
            Ok(one)
        };
        let (intent, outcome) = (of("intent")?, of("outcome")?);
        anyhow::ensure!(intent["run"] == outcome["run"], "intent and outcome are of two runs");
        let (asked, ended) = (&intent["body"], &outcome["body"]);
        let policy = self.case.policy();
        anyhow::ensure!(asked["policy"] == policy, "recorded for policy {}", asked["policy"]);
        anyhow::ensure!(asked["profile"] == self.profile, "recorded as {}", asked["profile"]);
        let words = asked["argv"].to_string();
        anyhow::ensure!(words.contains(self.case.attack[0]), "recorded as {words}");
        let enforced: Vec<&str> = texts(&ended["enforced"]).collect();
        for layer in self.case.layers(self.who == As::Root) {
            let stands = enforced.contains(layer) || self.profile != "strict";
            anyhow::ensure!(stands, "{layer} is not recorded: {enforced:?}");
        }
        let breach = ended["breach"]["limit"].as_str().unwrap_or_default();
        let how = &ended["end"];
        anyhow::ensure!(breach == self.case.breach, "recorded is breach {breach:?}, end {how}");
        if breach.is_empty() {
            // Some calls only an attack makes: the layer that refuses others ends these, and its record says so.
            let layers = self.case.layers(self.who == As::Root);
            let ended = how["how"] == "sandbox_violation" && layers.contains(&"seccomp");
            anyhow::ensure!(ended || how["how"] == "exited", "recorded is end {how}");
        }
        Ok(())
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Plays an attack and says whether it succeeded.
pub(super) fn played(
    stage: &Stage,
    case: &Wall,
    around: Around<'_>,
    profile: &str,
    daemon: Option<&Daemon<'_>>,
) -> Result<(Said, bool)> {
    let place = match around {
        Around::Nothing => "control",
        Around::Run(_) => "run",
        Around::Policy(_) => "exec",
    };
    let mark = format!("{}-{}-{place}", std::process::id(), case.id);
    let victim = stage.victim()?;
    let mut argv = before(stage, around, profile, &mark);
    argv.extend(case.attack.iter().map(|arg| (*arg).to_owned()));
    for arg in &mut argv {
        *arg = stage.filled(arg, Some(&victim))?;
    }
    if case.needs == Needs::Terminal {
        argv = ["script", "-qec", &argv.join(" "), "/dev/null"].map(String::from).to_vec();
    }
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let said = match daemon {
        Some(daemon) => daemon.run(&words, &mark)?,
        None => stage.said(stage.command(words[0], &words[1..], &mark)?)?,
    };
    // One look at all processes takes milliseconds; who re-forks is looked for where that is the question.
    let survives = case.oracle == Oracle::Survives;
    let left = if survives { procs::marked_ever(&mark) } else { procs::marked(&mark) };
    for process in &left {
        if let Some(pid) = Pid::from_raw(process.pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let success = match case.oracle {
        Oracle::Said => said.has_line(PWNED),
        Oracle::Survives => !left.is_empty(),
        Oracle::Mounted => stage.unmounted("rw/m")?,
    };
    Ok((said, success))
}

/// What stands before the attack's own words.
fn before(stage: &Stage, around: Around<'_>, profile: &str, mark: &str) -> Vec<String> {
    let ganger = stage.path("ganger").display().to_string();
    let mut argv: Vec<String> = match around {
        Around::Nothing => Vec::new(),
        Around::Run(_) => {
            let words = [&ganger, "run", "--sandbox", profile, "--write", "{rw}", "--read", "{ro}"];
            words.map(String::from).to_vec()
        }
        Around::Policy(name) => {
            let variable = format!("{}={mark}", procs::MARK);
            let words = [&ganger, "exec", name, "--env", &variable, "--", "--rw={rw}", "--ro={ro}"];
            words.map(String::from).to_vec()
        }
    };
    if let Around::Run(off) = around {
        argv.extend(off.iter().flat_map(|layer| ["--layer".to_owned(), format!("{layer}=off")]));
        argv.push("--".into());
    }
    if !matches!(around, Around::Policy(_)) {
        argv.push("{self}".into());
    }
    argv
}
