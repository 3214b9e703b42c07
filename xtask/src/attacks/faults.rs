//! J14: a layer that can't be had. Required, nothing runs and the refusal names the layer and what to do; preferred, it runs and says
//! what is missing. Both by `ganger run` and by a policy, whose log says it too. The layer is taken away by `attack/without.c`, or the
//! machine is known to lack it. Limits of a tree are layers like any other: their controllers are taken away by `GANGER_NO_CGROUP`.

use anyhow::Result;
use serde_json::Value;

use super::daemon::Daemon;
use super::play::PWNED;
use super::{Found, Verdict, Wish};
use crate::actor::As;
use crate::actor::Said;

/// Layers, and a word of what is to be done about each.
const LAYERS: [(&str, &str); 11] = [
    ("user", "max_user_namespaces"),
    ("mount", "may mount"),
    ("pid", "/proc"),
    ("net", "sysctl"),
    ("ipc", "sysctl"),
    ("uts", "sysctl"),
    ("cgroup", "sysctl"),
    ("capabilities", "capset"),
    ("no_new_privs", "prctl"),
    ("landlock", "lsm="),
    ("seccomp", "CONFIG_SECCOMP_FILTER"),
];

/// What can't be had without a layer: only root has other namespaces without a user namespace, and the kernel takes filters and
/// Landlock's rules only from who can gain nothing.
fn leaning(layer: &str, who: As) -> &'static [&'static str] {
    match layer {
        "user" if who == As::User => &["mount", "pid", "net", "ipc", "uts", "cgroup"],
        "no_new_privs" => &["landlock", "seccomp"],
        _ => &[],
    }
}

/// Limits that a controller holds: options of `run`, keys of a policy, and who else holds each (nobody: a share of processors).
const LIMITS: [(&str, &str, &str); 3] =
    [("memory", "\"64M\"", "64M"), ("cpu", "0.5", "0.5"), ("pids", "32", "32")];

/// Every id of this file.
#[cfg(test)]
pub(super) const IDS: [&str; 7] = ["J14", "J14p", "J14r", "J14q", "J14m", "J14n", "J14o"];

pub(super) fn faults(daemon: &Daemon<'_>, who: As, wish: &Wish) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    if !wish.wants("J14") {
        return Ok(found);
    }
    for (layer, fix) in LAYERS {
        if !wish.lacks.is_empty() && !wish.lacks.iter().any(|lacks| lacks == layer) {
            continue;
        }
        let fault = Fault { daemon, layer, fix, who, real: !wish.lacks.is_empty() };
        for (id, how, judged) in [
            ("J14", "required", fault.required()?),
            ("J14p", "preferred", fault.preferred()?),
            ("J14r", "required by a policy", fault.recorded()?),
            ("J14q", "preferred by a policy", fault.recorded_preferred()?),
        ] {
            found.push(Found::new(id, who, "faults", format!("without {layer}, {how}"), judged));
        }
    }
    if wish.lacks.is_empty() {
        for (limit, written, value) in LIMITS {
            let bound = Bound { daemon, limit, written, value };
            for (id, how, judged) in [
                ("J14m", "required", bound.required()?),
                ("J14n", "preferred", bound.preferred()?),
                ("J14o", "required and preferred by a policy", bound.recorded()?),
            ] {
                let what = format!("limit of {limit} without a cgroup, {how}");
                found.push(Found::new(id, who, "faults", what, judged));
            }
        }
    }
    Ok(found)
}

/// What a policy says of the attacks' own program.
const SAY: &str = "program = \"{self}\"\nsubcommand = [\"say\"]\ndashes = false\n";

struct Fault<'a> {
    daemon: &'a Daemon<'a>,
    layer: &'a str,
    fix: &'a str,
    who: As,
    /// The machine lacks it.
    real: bool,
}

impl Fault<'_> {
    fn run(&self, with: bool, modes: &[String]) -> Result<Said> {
        let stage = self.daemon.stage();
        let (own, ganger) = (stage.path("attack"), stage.path("ganger"));
        let (own, ganger) = (own.display().to_string(), ganger.display().to_string());
        let mut words: Vec<&str> = Vec::new();
        if with && !self.real {
            words.extend([own.as_str(), "without", self.layer]);
        }
        words.extend([ganger.as_str(), "run", "--sandbox", "strict"]);
        words.extend(modes.iter().flat_map(|mode| ["--layer", mode.as_str()]));
        words.extend(["--", own.as_str(), "say"]);
        self.daemon.run(&words, "fault")
    }

    /// It runs where nothing is taken away.
    fn control(&self) -> Result<Option<(Verdict, String)>> {
        if self.real {
            return Ok(None);
        }
        let said = self.run(false, &[format!("{}=require", self.layer)])?;
        Ok((!said.has_line(PWNED)).then_some((Verdict::Void, said.text)))
    }

    fn required(&self) -> Result<(Verdict, String)> {
        if let Some(void) = self.control()? {
            return Ok(void);
        }
        let said = self.run(true, &[format!("{}=require", self.layer)])?;
        let names =
            said.text.contains(&format!("layer `{}`", self.layer)) && said.text.contains(self.fix);
        Ok(if said.has_line(PWNED) || said.code == Some(0) {
            (Verdict::Hole, said.text)
        } else if names {
            (Verdict::Blocked, said.text)
        } else {
            (Verdict::Unshown, said.text)
        })
    }

    fn preferred(&self) -> Result<(Verdict, String)> {
        let modes: Vec<String> = std::iter::once(self.layer)
            .chain(leaning(self.layer, self.who).iter().copied())
            .map(|layer| format!("{layer}=prefer"))
            .collect();
        let said = self.run(true, &modes)?;
        let told = format!("layer {} not enforced", self.layer);
        let right = said.has_line(PWNED) && said.code == Some(0) && said.text.contains(&told);
        Ok((if right { Verdict::Blocked } else { Verdict::Unshown }, said.text))
    }

    /// A daemon that never had the layer, with one policy.
    fn daemon(&self, folder: &str, rest: &str) -> Result<(Daemon<'_>, Said)> {
        let stage = self.daemon.stage();
        let own = stage.path("attack").display().to_string();
        let through = if self.real { vec![] } else { vec![own.as_str(), "without", self.layer] };
        let folder = format!("{folder}-{}", self.layer);
        let config = stage.filled(&format!("version = 1\n[policy.say]\n{SAY}{rest}"), None)?;
        Daemon::up(stage, &folder, &config, &through)
    }

    /// The same by a daemon: the intent's outcome says that it never ran.
    fn recorded(&self) -> Result<(Verdict, String)> {
        let required = format!("layers = {{ {} = \"require\" }}\n", self.layer);
        let (lacking, up) = self.daemon("fault", &required)?;
        if up.code != Some(0) {
            return Ok((Verdict::Unshown, format!("no daemon: {}", up.text)));
        }
        let said = lacking.verb(&["exec", "say", "--", "say"])?;
        let ended = outcome(&lacking)?;
        let how = ended["end"].to_string();
        let told = said.text.contains(self.layer) && said.text.contains(self.fix);
        Ok(if said.has_line(PWNED) {
            (Verdict::Hole, said.text)
        } else if told && how.contains("could_not_spawn") && how.contains("sandbox") {
            (Verdict::Blocked, said.text)
        } else {
            (Verdict::Unshown, format!("{}\nrecorded: {ended}", said.text))
        })
    }

    /// It runs, and result and record say what is missing.
    fn recorded_preferred(&self) -> Result<(Verdict, String)> {
        let layers =
            std::iter::once(self.layer).chain(leaning(self.layer, self.who).iter().copied());
        let modes: Vec<String> = layers.map(|layer| format!("{layer} = \"prefer\"")).collect();
        let preferred = format!("layers = {{ {} }}\n", modes.join(", "));
        let (lacking, up) = self.daemon("prefer", &preferred)?;
        if up.code != Some(0) {
            return Ok((Verdict::Unshown, format!("no daemon: {}", up.text)));
        }
        let said = lacking.verb(&["exec", "say", "--", "say"])?;
        let ended = outcome(&lacking)?;
        let name = format!("layer {}", self.layer);
        let told = said.text.contains(&format!("{name} not enforced"));
        let degraded = ended["degraded"].to_string();
        let enforced = ended["enforced"].as_array().into_iter().flatten();
        let stands = enforced.into_iter().any(|layer| layer == self.layer);
        let right = said.has_line(PWNED) && told && degraded.contains(&name) && !stands;
        Ok(if right {
            (Verdict::Blocked, said.text)
        } else {
            (Verdict::Unshown, format!("{}\nrecorded: {ended}", said.text))
        })
    }
}

/// What the log says of the end of the only run.
fn outcome(daemon: &Daemon<'_>) -> Result<Value> {
    let new = daemon.fresh()?;
    let ended = new.iter().find(|record| record["event"] == "outcome");
    Ok(ended.map(|record| record["body"].clone()).unwrap_or_default())
}

/// A limit of a tree, on a machine where nothing counts trees.
struct Bound<'a> {
    daemon: &'a Daemon<'a>,
    limit: &'a str,
    /// In a policy.
    written: &'a str,
    /// For `run`.
    value: &'a str,
}

const WITHOUT: [&str; 2] = ["env", "GANGER_NO_CGROUP=1"];

impl Bound<'_> {
    fn run(&self, more: &[&str]) -> Result<Said> {
        let stage = self.daemon.stage();
        let (own, ganger) = (stage.path("attack"), stage.path("ganger"));
        let (own, ganger) = (own.display().to_string(), ganger.display().to_string());
        let option = format!("--{}", self.limit);
        let words =
            [&WITHOUT[..], &[&ganger, "run", &option, self.value], more, &["--", &own, "say"]];
        self.daemon.run(&words.concat(), "fault")
    }

    fn required(&self) -> Result<(Verdict, String)> {
        let said = self.run(&["--require"])?;
        let names = said.text.contains(&format!("{} limit", self.limit));
        let says = said.text.contains("no cgroup") && said.text.contains("Delegate=yes");
        Ok(if said.has_line(PWNED) || said.code == Some(0) {
            (Verdict::Hole, said.text)
        } else if names && says {
            (Verdict::Blocked, said.text)
        } else {
            (Verdict::Unshown, said.text)
        })
    }

    /// A share of processors is held by nobody then, the others by a watchdog; either is said.
    fn preferred(&self) -> Result<(Verdict, String)> {
        let said = self.run(&[])?;
        let told = said.text.contains(&format!("{} limit", self.limit))
            && said.text.contains("not enforced")
            && (self.limit == "cpu" || said.text.contains("a watchdog"));
        let right = said.has_line(PWNED) && said.code == Some(0) && told;
        Ok((if right { Verdict::Blocked } else { Verdict::Unshown }, said.text))
    }

    fn recorded(&self) -> Result<(Verdict, String)> {
        let stage = self.daemon.stage();
        let policy = |name: &str, require: bool| {
            let limits = format!("{} = {}, require = {require}", self.limit, self.written);
            format!("[policy.{name}]\n{SAY}sandbox = \"none\"\nlimits = {{ {limits} }}\n")
        };
        let config = format!("version = 1\n{}{}", policy("held", true), policy("told", false));
        let folder = format!("bound-{}", self.limit);
        let (lacking, up) = Daemon::up(stage, &folder, &stage.filled(&config, None)?, &WITHOUT)?;
        if up.code != Some(0) {
            return Ok((Verdict::Unshown, format!("no daemon: {}", up.text)));
        }
        let held = lacking.verb(&["exec", "held", "--", "say"])?;
        let how = outcome(&lacking)?["end"].to_string();
        let told = lacking.verb(&["exec", "told", "--", "say"])?;
        let degraded = outcome(&lacking)?["degraded"].to_string();
        let name = format!("{} limit", self.limit);
        let refused = held.text.contains(&name) && held.text.contains("no cgroup");
        Ok(if held.has_line(PWNED) {
            (Verdict::Hole, held.text)
        } else if refused
            && how.contains("could_not_spawn")
            && told.has_line(PWNED)
            && told.text.contains(&name)
            && degraded.contains(&name)
        {
            (Verdict::Blocked, held.text)
        } else {
            let text = format!("{}\n{}\nrecorded: {how}, {degraded}", held.text, told.text);
            (Verdict::Unshown, text)
        })
    }
}
