//! What is doubtful about policies that load: dangers by GTFOBins' class, patterns that agree with too much, folders that
//! are too wide, secrets where everybody sees them, programs that can't be trusted.

use ganger_core::Mode;
use serde::Serialize;

use crate::catalog::{self, Class};
use crate::model::{Access, Kind, Opt, Policy, Profile, Rule};
use crate::path::file_name;
use crate::set::Policies;
use crate::value::whole;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The policy does not do what a policy is for, or never allows anything.
    Error,
    /// It is wider than it reads.
    Warning,
    /// Worth knowing.
    Note,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The policy.
    pub policy: String,
    /// The rule's id in it, if it is about one; empty for the rule in the policy itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How bad.
    pub level: Level,
    /// For scripts: what kind of finding.
    pub code: &'static str,
    /// GTFOBins' class, where it is a danger of the program's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// What, and what to do.
    pub message: String,
}

/// Texts that no name, number or word agrees with, and what each is.
const HOSTILE: [(&str, &str); 7] = [
    ("../x", "a path upwards"),
    ("/etc/shadow", "any absolute path"),
    ("@/etc/shadow", "the contents of a file, for many programs"),
    ("a;id", "a shell's separator"),
    ("$(id)", "a shell's substitution"),
    ("ext::sh -c id", "an address that is a command"),
    ("https://x.example/", "any host"),
];
/// Folders that hold what nobody means: `Read` of them is told, `Write` is worse.
const WIDE: [&str; 12] = [
    "/", "/etc", "/proc", "/sys", "/dev", "/root", "/home", "/usr", "/var", "/run", "/boot", "/tmp",
];

/// Everything doubtful about policies, the worst first; files are judged as [`Policies::pin`] found them.
#[must_use]
pub fn lint(policies: &Policies) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, policy) in policies.iter() {
        let mut lint = Lint { name, policy, rule: None, found: &mut found };
        lint.whole();
        for rule in &policy.allow {
            lint.rule = Some(rule.id.clone());
            lint.one(rule);
        }
    }
    for (name, why) in policies.untrusted() {
        found.push(Finding {
            policy: name.to_owned(),
            rule: None,
            level: Level::Error,
            code: "program",
            class: None,
            message: why.to_string(),
        });
    }
    found.sort_by(|a, b| (a.level, &a.policy, &a.rule).cmp(&(b.level, &b.policy, &b.rule)));
    found
}

struct Lint<'a> {
    name: &'a str,
    policy: &'a Policy,
    rule: Option<String>,
    found: &'a mut Vec<Finding>,
}

impl Lint<'_> {
    fn says(&mut self, level: Level, code: &'static str, class: Option<Class>, message: String) {
        if class.is_some_and(|class| self.policy.accept.contains(&class)) {
            return;
        }
        let rule = self.rule.clone();
        self.found.push(Finding {
            policy: self.name.to_owned(),
            rule,
            level,
            code,
            class,
            message,
        });
    }

    fn whole(&mut self) {
        let policy = self.policy;
        let name = file_name(&policy.program);
        for class in catalog::entry(&policy.program).map_or(&[][..], |entry| &entry.inside) {
            let message = format!(
                "{name} {} from inside, by its settings, its input or on a terminal, whatever its arguments are",
                class.as_phrase()
            );
            self.says(Level::Warning, "inside", Some(*class), message);
        }
        if policy.sandbox == Profile::None {
            let message = "without a sandbox the arguments are all that holds it".to_owned();
            self.says(Level::Warning, "no_sandbox", None, message);
        }
        for (layer, mode) in &policy.layers {
            let name = layer.as_str();
            match mode {
                Mode::Off => {
                    let message = format!("layer {name} is off: what it alone holds is not held");
                    self.says(Level::Warning, "layer_off", None, message);
                }
                Mode::Prefer => {
                    let message = format!(
                        "layer {name} is only preferred: where it can't be had, it runs without"
                    );
                    self.says(Level::Note, "layer_preferred", None, message);
                }
                Mode::Require => {}
            }
        }
        if policy.examples.allow.is_empty() || policy.examples.deny.is_empty() {
            let message =
                "examples of what must be allowed and of what must be denied hold a policy against what it is for".to_owned();
            self.says(Level::Note, "no_examples", None, message);
        }
        if policy.limits.time.is_none() {
            self.says(
                Level::Note,
                "no_time_limit",
                None,
                "without `limits.time` it may run for ever".into(),
            );
        }
        if policy.allow.is_empty() && policy.deny.is_empty() {
            self.says(Level::Error, "empty", None, "it has no rule: nothing is allowed".into());
        }
    }

    fn one(&mut self, rule: &Rule) {
        let name = file_name(&self.policy.program).to_owned();
        let operands = catalog::operands(&self.policy.program);
        for (at, operand) in rule.args.iter().enumerate() {
            let place = format!("argument {}", at + 1);
            self.kind(&operand.kind, &place);
            for class in operands {
                let bounded = !class.is_total() && matches!(operand.kind, Kind::Path { .. });
                if is_chosen(&operand.kind) && !bounded {
                    let level = if class.is_total() { Level::Error } else { Level::Warning };
                    let message = format!(
                        "{place}: {name} {} by its operands, and this one is the caller's choice",
                        class.as_phrase()
                    );
                    self.says(level, "operand", Some(*class), message);
                }
            }
        }
        for (option, opt) in &rule.options {
            if let Some(kind) = &opt.value {
                self.kind(kind, &format!("`{option}`"));
            }
            if let Some(class) = catalog::class_of_option(&self.policy.program, option) {
                self.option(&name, option, opt, class);
            }
        }
    }

    fn option(&mut self, program: &str, option: &str, opt: &Opt, class: Class) {
        let bounded = matches!(opt.value, Some(Kind::Path { .. }))
            && matches!(class, Class::Read | Class::Write);
        if bounded {
            return;
        }
        let written = opt.value.as_ref().is_some_and(|kind| !is_chosen(kind));
        let level = match (class.is_total() || class == Class::Load, written) {
            (true, false) => Level::Error,
            (true, true) | (false, false) => Level::Warning,
            (false, true) => Level::Note,
        };
        let but = if written { "; its values are written down here: be sure of them" } else { "" };
        let message = format!("`{option}` of {program} {}{but}", class.as_phrase());
        self.says(level, "option", Some(class), message);
    }

    fn kind(&mut self, kind: &Kind, place: &str) {
        match kind {
            Kind::Regex { pattern, .. } => self.pattern(pattern, place),
            Kind::Secret { .. } => {
                let message = format!(
                    "{place}: a secret among arguments is seen by everybody who can list processes; give it by stdin"
                );
                self.says(Level::Warning, "secret_argument", None, message);
            }
            Kind::Path { access, beneath } => self.folder(*access, beneath, place),
            Kind::Literal(_) | Kind::Enum(_) | Kind::Int { .. } => {}
        }
    }

    fn folder(&mut self, access: Access, folder: &str, place: &str) {
        let writes = access == Access::Write;
        let holds_program =
            self.policy.program.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        if writes && (holds_program || folder == "/") {
            let message =
                format!("{place}: {folder} holds the program itself: it could be replaced");
            self.says(Level::Error, "path_program", None, message);
        } else if WIDE.contains(&folder) {
            let level = if writes { Level::Error } else { Level::Warning };
            let message = format!(
                "{place}: beneath {folder} is much that nobody means: name the folder that is meant"
            );
            self.says(level, "path_wide", None, message);
        }
    }

    fn pattern(&mut self, pattern: &str, place: &str) {
        let Ok(regex) = whole(pattern) else { return };
        let agrees: Vec<_> = HOSTILE.iter().filter(|(text, _)| regex.is_match(text)).collect();
        if let Some((text, what)) = agrees.first() {
            let level = if agrees.len() == HOSTILE.len() { Level::Error } else { Level::Warning };
            let message = format!("{place}: `{pattern}` agrees with `{text}`: {what}");
            self.says(level, "pattern_wide", None, message);
        }
        if has_bare_dot(pattern) {
            let message = format!(
                "{place}: a dot in `{pattern}` stands for any character: write `\\.` for a dot"
            );
            self.says(Level::Warning, "pattern_dot", None, message);
        }
        if pattern.contains('^') && !pattern.contains("[^")
            || pattern.ends_with('$') && !pattern.ends_with("\\$")
        {
            let message = format!(
                "{place}: `{pattern}` holds for the whole text anyway: `^` and `$` add nothing"
            );
            self.says(Level::Note, "pattern_anchor", None, message);
        }
    }
}

/// What the caller chooses: everything that is not written down in the policy.
const fn is_chosen(kind: &Kind) -> bool {
    matches!(kind, Kind::Regex { .. } | Kind::Secret { .. } | Kind::Path { .. })
}

/// `example.com`: a dot between two characters of a name, neither escaped nor repeated nor in a class.
fn has_bare_dot(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let mut class = false;
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match byte {
            b'\\' => escaped = true,
            b'[' => class = true,
            b']' => class = false,
            b'.' if !class && at > 0 => {
                let around = [bytes[at - 1], *bytes.get(at + 1).unwrap_or(&b' ')];
                if around.iter().all(u8::is_ascii_alphanumeric) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}
