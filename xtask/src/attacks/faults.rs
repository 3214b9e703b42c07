//! J14: a layer that can't be had. Required, nothing runs and the refusal names the layer and what to do; preferred, it runs and says
//! what is missing. The layer is taken away by `attack/without.c`, or the machine is known to lack it.

use anyhow::Result;

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
            ("J14r", "by a policy", fault.recorded()?),
        ] {
            found.push(Found::new(id, who, "faults", format!("without {layer}, {how}"), judged));
        }
    }
    Ok(found)
}

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

    /// The same by a daemon that never had the layer: the intent's outcome says that it never ran.
    fn recorded(&self) -> Result<(Verdict, String)> {
        const CONFIG: &str = "version = 1\n[policy.say]\nprogram = \"{self}\"\nsubcommand = [\"say\"]\ndashes = false\n";
        let stage = self.daemon.stage();
        let own = stage.path("attack").display().to_string();
        let through = if self.real { vec![] } else { vec![own.as_str(), "without", self.layer] };
        let folder = format!("fault-{}", self.layer);
        let (lacking, up) = Daemon::up(stage, &folder, &stage.filled(CONFIG, None)?, &through)?;
        if up.code != Some(0) {
            return Ok((Verdict::Unshown, format!("no daemon: {}", up.text)));
        }
        let said = lacking.verb(&["exec", "say", "--", "say"])?;
        let new = lacking.fresh()?;
        let outcome = new.iter().find(|record| record["event"] == "outcome");
        let how = outcome.map(|it| it["body"]["end"].to_string()).unwrap_or_default();
        // In `strict` a namespace of cgroups is only preferred.
        let preferred = self.layer == "cgroup";
        let told = said.text.contains(self.layer) && said.text.contains(self.fix);
        let degraded = outcome.map(|it| it["body"]["degraded"].to_string()).unwrap_or_default();
        let right = if preferred {
            said.has_line(PWNED) && degraded.contains(self.layer)
        } else {
            told && how.contains("could_not_spawn") && how.contains("sandbox")
        };
        Ok(if !preferred && said.has_line(PWNED) {
            (Verdict::Hole, said.text)
        } else if right {
            (Verdict::Blocked, said.text)
        } else {
            (Verdict::Unshown, format!("{}\nrecorded: end {how}, degraded {degraded}", said.text))
        })
    }
}
