//! The rules of detection: what each is about, how bad it is, which technique of ATT&CK it points to.

use std::fmt;
use std::str::FromStr;

use ganger_audit::Severity;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A rule, by what it finds. Numbers are those of the design's table; 16 needs approvals, so it has no rule here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// I01: many denials of one principal in a short time.
    DeniedBurst,
    /// I02: a program that this principal never ran before.
    NewProgram,
    /// I03: the file is not the one that the policy pinned, or can't be trusted.
    ProgramChanged,
    /// I04: what a shell or terminal would act on, where the policy wants something else.
    InjectionProbe,
    /// I05: an argument that is known to run, read, write or connect.
    DangerousArgument,
    /// I06: a path that leads out of its folder.
    PathTraversal,
    /// I07: a variable that changes what programs load.
    EnvInjection,
    /// I08: a system call that no program of the profile makes.
    PrivilegeAttempt,
    /// I09: a file that the sandbox keeps closed.
    FileViolation,
    /// I10: a socket that no program of the profile has. Addresses and hosts need a proxy.
    NetworkViolation,
    /// I11: a second program, or code from memory or from a place for data.
    ExecViolation,
    /// I12: runs that were ended at their limits.
    ResourceKills,
    /// I13: processes that outlived their run.
    Residue,
    /// I14: far more requests than the rate allows.
    RateStorm,
    /// I15: at an hour, or from a program, that this principal never used.
    UnusualUse,
    /// I17: a policy that nobody loaded.
    PolicyTamper,
    /// I18: the audit log is not what was written.
    AuditTamper,
    /// I19: a layer of the sandbox that used to be there is gone.
    LessSecurity,
    /// I20: what a command said has the shape of a key or token.
    SecretOutput,
}

/// What is said of a rule.
struct About {
    rule: Rule,
    id: &'static str,
    title: &'static str,
    severity: Severity,
    technique: &'static str,
    /// The principal did it, so that it may be locked out for it.
    blames: bool,
    /// From so many on it is so bad.
    worse: Option<(u64, Severity)>,
    advice: &'static str,
}

use Severity::{Critical, High, Info, Low, Medium};

#[rustfmt::skip]
const TABLE: [About; 19] = [
    About { rule: Rule::DeniedBurst, id: "I01", title: "burst of denials", severity: Medium, technique: "T1083", blames: true, worse: None,
        advice: "ask the principal what it is after; a program that is set up wrongly looks the same" },
    About { rule: Rule::NewProgram, id: "I02", title: "new program", severity: Info, technique: "T1059.004", blames: false, worse: None,
        advice: "if nobody knows why, narrow `who` of the policy" },
    About { rule: Rule::ProgramChanged, id: "I03", title: "program changed", severity: High, technique: "T1554", blames: false, worse: None,
        advice: "compare it with its package (`dpkg -V`, `rpm -V`); after an update `ganger up` pins it anew" },
    About { rule: Rule::InjectionProbe, id: "I04", title: "injection probe", severity: Medium, technique: "T1059.004", blames: true, worse: None,
        advice: "look where the arguments come from: somebody puts text of others into a command" },
    About { rule: Rule::DangerousArgument, id: "I05", title: "dangerous argument", severity: High, technique: "T1059", blames: true, worse: None,
        advice: "an argument like this is rarely a mistake: look who sent it before the policy is widened" },
    About { rule: Rule::PathTraversal, id: "I06", title: "path traversal", severity: Medium, technique: "T1083", blames: true, worse: None,
        advice: "look for links in the folder that others can write, and where the path came from" },
    About { rule: Rule::EnvInjection, id: "I07", title: "environment injection", severity: High, technique: "T1574.006", blames: true, worse: None,
        advice: "who asks for such a variable wants other code to run: look at what sent it" },
    About { rule: Rule::PrivilegeAttempt, id: "I08", title: "privilege attempt", severity: High, technique: "T1611", blames: true, worse: None,
        advice: "treat the program and its input as hostile until the call is explained" },
    About { rule: Rule::FileViolation, id: "I09", title: "closed file", severity: High, technique: "T1005", blames: true, worse: None,
        advice: "see which file it was; one that the program needs belongs into its policy" },
    About { rule: Rule::NetworkViolation, id: "I10", title: "network violation", severity: High, technique: "T1071", blames: true, worse: None,
        advice: "the program wanted packets past the network that it has: treat it and its input as hostile" },
    About { rule: Rule::ExecViolation, id: "I11", title: "second program", severity: High, technique: "T1620", blames: true, worse: None,
        advice: "the program started, or tried to start, other code: treat its input as hostile" },
    About { rule: Rule::ResourceKills, id: "I12", title: "killed at limits", severity: Low, technique: "T1499.001", blames: true, worse: Some((10, Medium)),
        advice: "raise the limit if the work is honest, lower `running` and `rate` if not" },
    About { rule: Rule::Residue, id: "I13", title: "residue of a run", severity: Critical, technique: "T1611", blames: false, worse: None,
        advice: "look at the processes before you end them: they got out of their tree" },
    About { rule: Rule::RateStorm, id: "I14", title: "rate-limit storm", severity: Medium, technique: "T1499", blames: true, worse: None,
        advice: "find the loop that asks; it gets nothing but denials" },
    About { rule: Rule::UnusualUse, id: "I15", title: "unusual hour or source", severity: Low, technique: "T1078", blames: false, worse: None,
        advice: "ask whether it was them" },
    About { rule: Rule::PolicyTamper, id: "I17", title: "policy nobody loaded", severity: Critical, technique: "T1562.001", blames: false, worse: None,
        advice: "compare the stored policy with the file, then `ganger up`; look who can write the state folder" },
    About { rule: Rule::AuditTamper, id: "I18", title: "audit log damaged", severity: Critical, technique: "T1070", blames: false, worse: None,
        advice: "copy the log and its witness as evidence first, then `ganger audit verify`" },
    About { rule: Rule::LessSecurity, id: "I19", title: "less security than before", severity: High, technique: "T1562", blames: false, worse: None,
        advice: "`ganger doctor` says what the machine lacks; something changed on it" },
    About { rule: Rule::SecretOutput, id: "I20", title: "secret in the output", severity: Medium, technique: "T1552", blames: true, worse: None,
        advice: "replace the key, as whoever asked has it now; where printing keys is the work, `off = [\"I20\"]`" },
];

impl Rule {
    /// All of them, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|about| about.rule)
    }

    fn about(self) -> &'static About {
        // The table has every rule, in the enum's order: a test sees to it.
        &TABLE[self as usize]
    }

    /// `I01`.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.about().id
    }

    /// In two or three words.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.about().title
    }

    /// How bad it is when it is found first.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.about().severity
    }

    /// Technique of ATT&CK, where the record says nothing finer.
    #[must_use]
    pub fn technique(self) -> &'static str {
        self.about().technique
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        self.about().advice
    }

    /// True where it is the principal that did it: only then it can be locked out for it.
    #[must_use]
    pub fn blames_principal(self) -> bool {
        self.about().blames
    }

    /// True where it is about one principal; the others are about a program or about ganger itself, whoever was first to
    /// meet it.
    #[must_use]
    pub(crate) fn is_about_principal(self) -> bool {
        !matches!(
            self,
            Self::ProgramChanged | Self::PolicyTamper | Self::AuditTamper | Self::LessSecurity
        )
    }

    /// How bad it is when it was seen so often.
    #[must_use]
    pub(crate) fn severity_at(self, count: u64) -> Severity {
        let about = self.about();
        about.worse.filter(|(from, _)| count >= *from).map_or(about.severity, |(_, worse)| worse)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = TABLE.iter().find(|about| about.id == text).map(|about| about.rule);
        found.ok_or_else(|| {
            let ids: Vec<&str> = TABLE.iter().map(|about| about.id).collect();
            format!("`{text}` is no rule of detection; there are {}", ids.join(", "))
        })
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_rule_in_its_place() {
        for (at, about) in TABLE.iter().enumerate() {
            assert_eq!(about.rule as usize, at, "{}", about.id);
            assert_eq!(about.id.parse(), Ok(about.rule));
            assert!(about.technique.starts_with('T'));
        }
        assert!(TABLE.is_sorted_by(|a, b| a.id < b.id));
        assert!("I16".parse::<Rule>().unwrap_err().contains("I01, I02"));
    }
}
