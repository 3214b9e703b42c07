//! `[alert.NAME]`: what people write, and the rule that was read from it.

use std::time::Duration;

use ganger_core::Dur;
use serde::{Deserialize, Serialize};

use crate::expr::{self, Compare, Expr, ExprError, Reads, Truth, Verdict};
use crate::group::Group;
use crate::labels::Labels;
use crate::values::{Object, Selector, Time, Values};

/// What missing data means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// As if the condition held: for what must always be there.
    Alert,
    /// The state stands still and its clocks with it; a firing alert says after five minutes that it knows nothing more.
    #[default]
    Keep,
    /// As if the condition did not hold; an alert that ends so says that it ended for want of data.
    Ok,
}

/// `[alert.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// The condition.
    pub when: String,
    /// What the rule is about; absent: the first selector of `when`, else the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// How long the condition must hold before anybody is told.
    #[serde(default, rename = "for")]
    pub hold: Dur,
    /// How long it must not hold before the alert ends.
    #[serde(default)]
    pub keep_firing: Dur,
    /// When a firing alert may end: another threshold (`"400MiB"`) or a condition of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<String>,
    /// Goes into the labels.
    #[serde(default = "severity")]
    pub severity: String,
    /// One line; `{object}`, `{value}`, `{threshold}` and `{name}` are filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// More labels.
    #[serde(default)]
    pub labels: Labels,
    /// Alerts with the same values of these labels are told together.
    #[serde(default = "group_by")]
    pub group_by: Vec<String>,
    /// Who is told: names of `[notify.NAME]`; `log` is always there.
    #[serde(default = "notify")]
    pub notify: Vec<String>,
    /// A firing alert is told again after this.
    #[serde(default = "repeat")]
    pub repeat: Dur,
    /// See [`Missing`].
    #[serde(default)]
    pub missing: Missing,
}

fn severity() -> String {
    "warning".to_owned()
}

fn group_by() -> Vec<String> {
    vec!["alertname".to_owned()]
}

fn notify() -> Vec<String> {
    vec!["log".to_owned()]
}

/// Alertmanager's default.
const fn repeat() -> Dur {
    Dur(Duration::from_secs(4 * 3_600))
}

impl RuleSettings {
    /// The condition with all else as usual.
    pub fn new(when: impl Into<String>) -> Self {
        Self {
            when: when.into(),
            on: None,
            hold: Dur::default(),
            keep_firing: Dur::default(),
            clear: None,
            severity: severity(),
            summary: None,
            labels: Labels::new(),
            group_by: group_by(),
            notify: notify(),
            repeat: repeat(),
            missing: Missing::default(),
        }
    }
}

/// What is wrong with a rule, and in which key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("alert {rule}: `{key}`: {error}")]
pub struct RuleError {
    /// The rule's name.
    pub rule: String,
    /// The key: `when`, `on`, `clear`, …
    pub key: &'static str,
    /// What is wrong, with its place in the value.
    pub error: ExprError,
}

/// What keeps a firing alert firing.
#[derive(Debug, Clone, PartialEq)]
enum Hold {
    /// The condition alone.
    When,
    /// The condition with the threshold of `clear`.
    Threshold(Expr),
    /// Until that condition holds.
    Until(Expr),
}

/// A rule that was read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// NAME of `[alert.NAME]`.
    pub name: String,
    /// As written.
    pub settings: RuleSettings,
    /// What it is about.
    pub subject: Selector,
    when: Expr,
    hold: Hold,
}

impl Rule {
    /// Reads and checks a rule.
    ///
    /// # Errors
    /// The first fault, with its key and place.
    pub fn new(name: impl Into<String>, settings: RuleSettings) -> Result<Self, RuleError> {
        let name = name.into();
        let fault = |key, error| RuleError { rule: name.clone(), key, error };
        let when = Expr::parse(&settings.when).map_err(|e| fault("when", e))?;
        let subject = match &settings.on {
            Some(on) => selector(on).map_err(|e| fault("on", e))?,
            None => when.subject.clone().unwrap_or_else(Selector::host),
        };
        check_selectors(&when, &subject, &settings.when).map_err(|e| fault("when", e))?;
        let hold = match &settings.clear {
            None => Hold::When,
            Some(text) => hold(&when, &subject, text).map_err(|e| fault("clear", e))?,
        };
        if settings.notify.is_empty() {
            let error =
                ExprError::new(0..0, "nobody would be told").help("write notify = [\"log\"]");
            return Err(fault("notify", error));
        }
        if settings.repeat.0.is_zero() {
            let error = ExprError::new(0..0, "it would be told without end").help("write 4h");
            return Err(fault("repeat", error));
        }
        Ok(Self { name, subject, when, hold, settings })
    }

    /// What the rule says about the object: with `firing`, whether the alert goes on, else whether it begins.
    pub fn verdict(
        &self,
        object: &Object,
        firing: bool,
        values: &impl Values,
        now: Time,
    ) -> Verdict {
        let mut verdict = self.when.verdict(object, values, now);
        if !firing || verdict.truth == Truth::True {
            return verdict;
        }
        match &self.hold {
            Hold::When => {}
            Hold::Threshold(held) => verdict = held.verdict(object, values, now),
            Hold::Until(clear) => {
                verdict.truth = match clear.verdict(object, values, now).truth {
                    Truth::True => verdict.truth,
                    Truth::False => Truth::True,
                    Truth::Missing => Truth::Missing,
                };
            }
        }
        verdict
    }

    /// The objects that the rule is about at that time: a name that is written out is there even when nobody knows it.
    pub(crate) fn objects(&self, values: &impl Values, now: Time) -> Vec<Object> {
        match self.subject.only() {
            Some(object) => vec![object],
            None => values.objects(&self.subject, now),
        }
    }

    /// What the rule reads: metrics, each of which objects; and detectors, likewise.
    #[must_use]
    pub fn reads(&self) -> Reads<'_> {
        let mut reads = Reads::default();
        let mut all = |expr| Expr::reads(expr, &self.subject, &mut reads);
        all(&self.when);
        if let Hold::Until(clear) = &self.hold {
            all(clear);
        }
        reads
    }

    /// The labels that an alert is grouped by, and its groups with their receivers.
    pub(crate) fn homes(&self, labels: &Labels) -> (Labels, Vec<(String, &str)>) {
        let grouped = |name: &String| Some((name.clone(), labels.get(name)?.clone()));
        let by: Labels = self.settings.group_by.iter().filter_map(grouped).collect();
        let receivers = self.settings.notify.iter();
        let keys = receivers.map(|to| (Group::key(to, &by), to.as_str())).collect();
        (by, keys)
    }

    /// The labels of an alert of that object.
    #[must_use]
    pub fn labels(&self, object: &Object) -> Labels {
        let mut labels = self.settings.labels.clone();
        labels.insert("alertname".to_owned(), self.name.clone());
        labels.insert("severity".to_owned(), self.settings.severity.clone());
        if object.name.is_empty() {
            labels.insert("object".to_owned(), object.kind.clone());
        } else {
            labels.insert(object.kind.clone(), object.name.clone());
        }
        labels
    }
}

/// `service:web`, `pool:*`, `host`.
fn selector(text: &str) -> Result<Selector, ExprError> {
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    let word = !kind.is_empty() && kind.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if !word || (kind == "host") != name.is_empty() {
        return Err(ExprError::new(0..text.len(), "this selects nothing")
            .help("write service:web, pool:* or host"));
    }
    Ok(Selector { kind: kind.to_owned(), name: name.to_owned() })
}

/// A selector of something else than the rule's subject must name one object, or nobody knows which is meant.
fn check_selectors(expr: &Expr, subject: &Selector, text: &str) -> Result<(), ExprError> {
    let stray = expr.selectors().into_iter().find(|s| *s != subject && s.only().is_none());
    let Some(stray) = stray else { return Ok(()) };
    let shown = stray.to_string();
    let at = text.rfind(&shown).map_or(0..text.len(), |at| at..at + shown.len());
    Err(ExprError::new(at, format!("the rule is about {subject}; which of {shown} is meant?"))
        .help("name one object, or make another rule"))
}

fn hold(when: &Expr, subject: &Selector, text: &str) -> Result<Hold, ExprError> {
    let Some(number) = expr::literal(text) else {
        let clear = Expr::parse(text)?;
        check_selectors(&clear, subject, text)?;
        return Ok(Hold::Until(clear));
    };
    let (Some(held), Some((compare, threshold))) = (when.with_threshold(number), when.threshold())
    else {
        return Err(ExprError::new(0..text.len(), "`when` is not one comparison with a number")
            .help("write a condition: clear = \"rss < 400MiB\""));
    };
    let sound = match compare {
        Compare::More | Compare::MoreEqual => number <= threshold,
        Compare::Less | Compare::LessEqual => number >= threshold,
        Compare::Equal | Compare::NotEqual => false,
    };
    if !sound {
        return Err(ExprError::new(
            0..text.len(),
            "this would end the alert while `when` still holds",
        )
        .help("the threshold of `clear` is on the calm side of that of `when`"));
    }
    Ok(Hold::Threshold(held))
}
