//! The decision: from a request to the one value that is launched, or to a reason.
//!
//! ```text
//! bytes ─ policies of the target ─ who ─ rules (every one that agrees) ─ deny rules ─ env, cwd, stdin ─ the file ─ Launch
//!   └────────┴──────────────────────┴──────────┴──────────────────────────┴─────────────┴─────────────────┴─ Denied
//! ```
//!
//! Deny rules of every policy of the program count, whichever of them is asked for, as far as they are for whoever asks. The
//! order of rules and policies in a file means nothing: of several that allow, the least id is the one that is told.

use crate::argv::{Compiled, Matched};
use crate::decision::{Allowed, Argument, Code, Decision, Denied, Feed, Launch};
use crate::environment;
use crate::identity::{Identify, Pinned, Pins};
use crate::input::{Input, Principal, Probe, ProbeKind, Request, Target, probes};
use crate::model::{Cwd, Stdin};
use crate::path::{Beneath, NoPath, beneath, is_plain};
use crate::set::{Loaded, Policies};
use crate::told::{show, told};

impl Policies {
    /// Decides a request of somebody. Looks at no file but the program's stamp.
    pub fn decide(&self, who: &Principal, request: &Request, identify: &impl Identify) -> Decision {
        let mut probes = probes(&request.args);
        let leading = request.env.keys().any(|name| environment::danger(name).is_some());
        if leading {
            probes.push(Probe { argument: request.args.len(), kind: ProbeKind::Environment });
        }
        match self.verdict(who, request, identify) {
            Ok(allowed) => Decision::Allowed(Box::new(Allowed { probes, ..allowed })),
            Err(denied) => Decision::Denied(Box::new(Denied { probes, ..denied })),
        }
    }

    fn verdict(
        &self,
        who: &Principal,
        request: &Request,
        identify: &impl Identify,
    ) -> Result<Allowed, Denied> {
        let args = request.checked()?;
        let candidates = self.candidates(who, &request.target)?;
        let program = candidates.first().map_or("", |policy| policy.policy.program.as_str());
        // Whatever path leads to it: `/bin/git` and `/usr/bin/git` are one program.
        let mut same = self.of_same_file(program);
        same.retain(|policy| policy.is_for(who));
        let denies = || same.iter().flat_map(|policy| &policy.denies);
        let mut found: Option<Found<'_>> = None;
        let mut nearest: Option<(usize, Denied)> = None;
        for policy in candidates {
            let cwd = match working_folder(policy, request) {
                Ok(cwd) => cwd,
                Err(denied) => {
                    nearest
                        .get_or_insert((0, Denied { rule: Some(policy.name.clone()), ..denied }));
                    continue;
                }
            };
            let base = cwd.absolute();
            let mut furthest = None;
            for rule in policy.rules_for(&args) {
                match rule.read(&args, &base) {
                    Ok(matched) => {
                        if let Some(deny) = denies().find(|deny| deny.is_hit(rule, &matched, &args))
                        {
                            return Err(by_rule(deny));
                        }
                        if found.is_none() {
                            found = Some(Found { policy, rule, matched, cwd: cwd.clone() });
                        }
                    }
                    Err(refused) if furthest.is_none_or(|(_, at)| refused.at > at) => {
                        furthest = Some(((rule, refused), refused.at));
                    }
                    Err(_) => {}
                }
            }
            if let Some(((rule, refused), at)) = furthest
                && nearest.as_ref().is_none_or(|(other, _)| at > *other)
            {
                let veils = self.veils(&request.target);
                nearest = Some((at, told(&refused, rule, program, &args, &veils)));
            }
        }
        let Some(found) = found else {
            return Err(match denies().find(|deny| deny.is_hit_by_text(&args)) {
                Some(deny) => by_rule(deny),
                None => nearest.map_or_else(|| not_allowed(&request.target), |(_, denied)| denied),
            });
        };
        found.allow(request, identify)
    }

    /// The policies that a request could be under, in the order of their names.
    fn candidates(&self, who: &Principal, target: &Target) -> Result<Vec<&Loaded>, Denied> {
        let all: Vec<&Loaded> = match target {
            Target::Policy(name) => self.named(name).into_iter().collect(),
            Target::Program(path) => {
                let path = String::from_utf8_lossy(path);
                if path.contains('/') {
                    if !is_plain(&path) {
                        let why = "a program is named by its absolute path, without `.`, `..` and doubled slashes";
                        return Err(Denied::new(
                            Code::NotAllowed,
                            format!("{}: {why}", show(&path)),
                        ));
                    }
                    self.of_program(&path).collect()
                } else {
                    self.of_file_name(&path).collect()
                }
            }
        };
        let mine: Vec<&Loaded> = all.iter().copied().filter(|policy| policy.is_for(who)).collect();
        let Some(first) = mine.first() else {
            let code = if all.is_empty() { Code::NotAllowed } else { Code::NotYours };
            return Err(Denied { code, ..not_allowed(target) });
        };
        if mine.iter().any(|policy| policy.policy.program != first.policy.program) {
            let why = "several programs have this name: write the path";
            return Err(Denied::new(Code::NotAllowed, why));
        }
        Ok(mine)
    }
}

struct Found<'a> {
    policy: &'a Loaded,
    rule: &'a Compiled,
    matched: Matched<'a>,
    cwd: Beneath,
}

impl Found<'_> {
    fn allow(self, request: &Request, identify: &impl Identify) -> Result<Allowed, Denied> {
        let id = &self.rule.id;
        self.launch(request, identify)
            .map(|launch| Allowed {
                rule: id.clone(),
                reason: format!("rule `{id}` allows it"),
                launch,
                probes: Vec::new(),
            })
            .map_err(|denied| Denied { rule: Some(id.clone()), ..denied })
    }

    fn launch(&self, request: &Request, identify: &impl Identify) -> Result<Launch, Denied> {
        let policy = &self.policy.policy;
        let env = self.policy.env.decide(&request.env)?;
        let stdin = feed(&policy.stdin, &request.stdin, &self.cwd)?;
        let pins = unchanged(self.policy, identify)?;
        let (mut argv, mut paths) = self.rule.write(&policy.program, &self.matched);
        let script = pins.script.as_ref().map(|(script, argument)| {
            // As the kernel does it for `#!`: interpreter, its argument, the script in place of its name.
            argv[0] = Argument::plain(&script.real);
            let before = [Some(pins.program.path.clone()), argument.clone()].into_iter().flatten();
            let before: Vec<_> = before.map(Argument::plain).collect();
            paths.iter_mut().for_each(|open| open.argument += before.len());
            argv.splice(0..0, before);
            script.clone()
        });
        Ok(Launch {
            program: pins.program.clone(),
            script,
            argv,
            env,
            cwd: self.cwd.clone(),
            stdin,
            paths,
            sandbox: policy.sandbox,
            layers: policy.layers.clone(),
            limits: policy.limits,
            rate: policy.rate,
            running: policy.running,
            total: self.policy.total,
        })
    }
}

/// The pinned files, if they are what they were.
fn unchanged<'a>(policy: &'a Loaded, identify: &impl Identify) -> Result<&'a Pins, Denied> {
    let pins = match &policy.pins {
        Some(Ok(pins)) => pins,
        Some(Err(why)) => return Err(Denied::new(why.code(), why.to_string())),
        None => return Err(Denied::new(Code::ProgramUnsafe, "its program has not been looked at")),
    };
    let same = |pinned: &Pinned| match identify.stamp(&pinned.path) {
        Ok(stamp) if stamp == pinned.stamp => Ok(()),
        Ok(_) => {
            let why = format!(
                "{} is not the file it was when the policy was loaded: look at it, then load the policy again",
                pinned.path
            );
            Err(Denied::new(Code::ProgramChanged, why))
        }
        Err(error) => Err(Denied::new(
            Code::ProgramChanged,
            format!("{} can't be looked at: {error}", pinned.path),
        )),
    };
    same(&pins.program)?;
    if let Some((script, _)) = &pins.script {
        same(script)?;
    }
    Ok(pins)
}

fn working_folder(policy: &Loaded, request: &Request) -> Result<Beneath, Denied> {
    let refuse = |asked: &str, why: &dyn std::fmt::Display| {
        Denied::new(Code::Cwd, format!("working folder {}: {why}", show(asked)))
    };
    match &policy.policy.cwd {
        Cwd::Fixed(folder) => match &request.cwd {
            Some(asked) if asked != folder => {
                Err(refuse(asked, &format_args!("this policy always runs in {folder}")))
            }
            _ => Ok(Beneath { root: folder.clone(), relative: String::new(), slash: false }),
        },
        Cwd::Beneath(root) => {
            let asked = request.cwd.as_deref().unwrap_or(root);
            beneath(asked, root, root).map_err(|why| refuse(asked, &why))
        }
    }
}

fn feed(rule: &Stdin, asked: &Input, cwd: &Beneath) -> Result<Feed, Denied> {
    let refuse = |why: String, allow: &str| Denied {
        allow: Some(allow.to_owned()),
        ..Denied::new(Code::Stdin, why)
    };
    match (rule, asked) {
        (_, Input::None) => Ok(Feed::None),
        (Stdin::Bytes(max), Input::Bytes(bytes)) if *bytes <= max.0 => Ok(Feed::Bytes(*max)),
        (Stdin::Bytes(max), Input::Bytes(bytes)) => {
            let allow = format!("stdin = {{ bytes = \"{bytes}\" }}");
            Err(refuse(format!("{bytes} bytes for stdin: at most {max}"), &allow))
        }
        (Stdin::File(root), Input::File(file)) => {
            beneath(file, &cwd.absolute(), root).map(Feed::File).map_err(|why: NoPath| {
                Denied::new(Code::Stdin, format!("stdin {}: {why}", show(file)))
            })
        }
        (_, Input::Bytes(bytes)) => {
            let allow = format!("stdin = {{ bytes = \"{bytes}\" }}");
            Err(refuse("this policy takes no bytes for stdin".into(), &allow))
        }
        (_, Input::File(_)) => Err(refuse(
            "this policy takes no file for stdin".into(),
            "stdin = { beneath = \"/…\" }",
        )),
    }
}

/// The same for what is not there and for what is somebody else's.
fn not_allowed(target: &Target) -> Denied {
    let why = match target {
        Target::Policy(name) => {
            format!("there is no policy {} that this principal may use", show(name))
        }
        Target::Program(path) => {
            let path = String::from_utf8_lossy(path);
            format!("no policy that this principal may use allows {}", show(&path))
        }
    };
    Denied::new(Code::NotAllowed, why)
}

fn by_rule(deny: &crate::set::Denial) -> Denied {
    let reason = deny.deny.reason.clone();
    let reason = reason.unwrap_or_else(|| format!("rule `{}` denies it", deny.id));
    Denied { rule: Some(deny.id.clone()), ..Denied::new(Code::DenyRule, reason) }
}
