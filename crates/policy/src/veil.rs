//! Which arguments of a request could hold a secret, in whatever form they were given: nothing that is told may show them.
//!
//! A refused request is refused because it is not as a rule says, so its secrets are not where rules expect them: `-phunter2`
//! where only `-p hunter2` is allowed, an operand too many, a misspelt option with its value. Where a policy of the program
//! knows of no secret nothing is veiled; where one does, everything is that follows an option of a secret or an option that
//! nobody knows, and, if operands are secret, all operands that are not written down somewhere.

use std::collections::BTreeSet;

use crate::decision::Argument;
use crate::input::{Request, Target};
use crate::model::{Kind, Policy};
use crate::path::is_plain;
use crate::set::Policies;

/// What one policy knows of secrets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Veil {
    /// Options whose values are secret.
    options: BTreeSet<String>,
    /// An operand is.
    operands: bool,
    /// Options, words and texts that stand in the policy: whoever reads it knows them.
    known: BTreeSet<String>,
}

impl Veil {
    pub(crate) fn of(policy: &Policy) -> Self {
        let is_secret = |kind: &Kind| matches!(kind, Kind::Secret { .. });
        let mut veil = Self::default();
        for rule in &policy.allow {
            veil.known.extend(rule.subcommand.iter().cloned());
            for operand in &rule.args {
                veil.operands |= is_secret(&operand.kind);
                match &operand.kind {
                    Kind::Literal(text) => veil.known.extend([text.clone()]),
                    Kind::Enum(all) => veil.known.extend(all.iter().cloned()),
                    _ => {}
                }
            }
            for (name, option) in &rule.options {
                veil.known.insert(name.clone());
                if option.value.as_ref().is_some_and(is_secret) {
                    veil.options.insert(name.clone());
                }
            }
        }
        if veil.options.is_empty() && !veil.operands { Self::default() } else { veil }
    }

    fn is_empty(&self) -> bool {
        self.options.is_empty() && !self.operands
    }
}

/// What all policies that a request could be under know of secrets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Veils<'a>(Vec<&'a Veil>);

impl<'a> Veils<'a> {
    pub(crate) fn new(all: impl IntoIterator<Item = &'a Veil>) -> Self {
        Self(all.into_iter().filter(|veil| !veil.is_empty()).collect())
    }

    /// Where in an argument something begins that could be secret.
    pub(crate) fn from(&self, args: &[&str], at: usize) -> Option<usize> {
        let text = *args.get(at)?;
        if self.0.is_empty() || self.is_known(text) {
            return None;
        }
        if at > 0 && self.asks_for_value(args[at - 1]) {
            return Some(0);
        }
        if !text.starts_with('-') || text.len() < 2 {
            return self.0.iter().any(|veil| veil.operands).then_some(0);
        }
        if let Some(from) = self.behind_name(text) {
            return Some(from);
        }
        if let Some((before, _)) = text.split_once('=') {
            // A value of an option that is no secret's is shown; of one that nobody knows, it may be anything.
            return (!self.is_known(before)).then_some(before.len() + 1);
        }
        self.0.iter().any(|veil| veil.operands).then_some(0)
    }

    fn is_known(&self, text: &str) -> bool {
        self.0.iter().any(|veil| veil.known.contains(text))
    }

    fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|veil| &veil.options).map(String::as_str)
    }

    /// What follows this argument may be the value of a secret option, or of one that nobody knows.
    fn asks_for_value(&self, text: &str) -> bool {
        if !text.starts_with('-') || text.len() < 2 || text == "--" || text.contains('=') {
            return false;
        }
        let is_cluster = !text.starts_with("--");
        let ends_it = |name: &str| {
            name == text
                || (is_cluster && name.len() == 2 && text.ends_with(&name[1..]))
                || (!is_cluster && name.starts_with(text))
        };
        !self.is_known(text) || self.secrets().any(ends_it)
    }

    /// `-pVALUE`, `-vpVALUE`, `--token=VALUE`, `--tok=VALUE`, `--tokenVALUE`.
    fn behind_name(&self, text: &str) -> Option<usize> {
        let before = text.split('=').next().unwrap_or(text);
        let one = |name: &str| {
            if let Some(rest) = text.strip_prefix(name) {
                return Some(text.len() - rest.len() + usize::from(rest.starts_with('=')));
            }
            if before.len() < text.len() && before.len() > 2 && name.starts_with(before) {
                return Some(before.len() + 1);
            }
            let is_cluster = !text.starts_with("--") && name.len() == 2;
            let letter = name.get(1..).filter(|_| is_cluster)?;
            text[1..].find(letter).map(|at| at + 1 + letter.len())
        };
        self.secrets().filter_map(one).min()
    }
}

impl Policies {
    /// The arguments of a request as they may be shown and recorded, whether it is allowed or not. What is not UTF-8 is
    /// replaced; of an allowed request the launch says more exactly which are secret.
    #[must_use]
    pub fn veiled(&self, request: &Request) -> Vec<Argument> {
        let texts: Vec<_> = request.args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
        let args: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let veils = self.veils(&request.target);
        let one = |(at, text): (usize, &&str)| match veils.from(&args, at) {
            Some(from) => Argument::secret(&text[..from], &text[from..]),
            None => Argument::plain(*text),
        };
        args.iter().enumerate().map(one).collect()
    }

    /// Those of every policy of the program, for whomever it is.
    pub(crate) fn veils(&self, target: &Target) -> Veils<'_> {
        let path = match target {
            Target::Policy(name) => match self.named(name) {
                Some(policy) => policy.policy.program.clone(),
                None => return Veils::default(),
            },
            Target::Program(path) => String::from_utf8_lossy(path).into_owned(),
        };
        if is_plain(&path) {
            Veils::new(self.of_program(&path).map(|policy| &policy.veil))
        } else {
            let name = crate::path::file_name(&path);
            Veils::new(self.of_file_name(name).map(|policy| &policy.veil))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_secret_is_veiled() {
        let policy = |rule: &str| {
            let json = format!(r#"{{"program":"/usr/bin/x","allow":[{rule}]}}"#);
            Veil::of(&serde_json::from_str(&json).unwrap())
        };
        let options = policy(
            r#"{"subcommand":["login"],"options":{
                "--token":{"value":{"secret":{"max":9}},"forms":["equals"]},
                "-p":{"value":{"secret":{"max":9}},"forms":["separate"]},
                "-v":{},"--user":{"value":{"int":{"min":0,"max":9}},"forms":["equals"]}}}"#,
        );
        let veils = Veils::new([&options]);
        for (args, at, shown) in [
            (&["login", "--token=s3"][..], 1, Some("--token=")),
            (&["login", "--token", "s3"], 2, Some("")),
            (&["login", "--tok", "s3"], 2, Some("")),
            (&["login", "--tok=s3"], 1, Some("--tok=")),
            (&["login", "--tokens3"], 1, Some("--token")),
            (&["login", "--tokn=s3"], 1, Some("--tokn=")),
            (&["login", "--tokn", "s3"], 2, Some("")),
            (&["login", "-ps3"], 1, Some("-p")),
            (&["login", "-p=s3"], 1, Some("-p=")),
            (&["login", "-vps3"], 1, Some("-vp")),
            (&["login", "-vp", "s3"], 2, Some("")),
            (&["login", "--user=7"], 1, None),
            (&["login", "other"], 1, None),
            (&["login", "-v"], 1, None),
            (&["login", "-p", "login"], 2, None),
        ] {
            let from = veils.from(args, at);
            assert_eq!(from.map(|from| &args[at][..from]), shown, "{args:?}");
        }
        let operands = policy(
            r#"{"subcommand":["set"],"args":[{"literal":"x"},{"secret":{"max":9}}],"options":{"-v":{}}}"#,
        );
        let veils = Veils::new([&operands]);
        for (text, shown) in
            [("s3", Some("")), ("-s3", Some("")), ("set", None), ("x", None), ("-v", None)]
        {
            let from = veils.from(&["set", text], 1);
            assert_eq!(from.map(|from| &text[..from]), shown, "{text}");
        }
        assert!(policy(r#"{"args":[{"regex":{"pattern":"x","max":9}}]}"#).is_empty());
    }
}
