//! `[alert.NAME]`, `[notify.NAME]` and `[inhibit.NAME]`: when people are told, who, and how.

use std::collections::BTreeMap;
use std::ops::Range;

use ganger_alert::labels::Matcher;
use ganger_alert::notify::{Channel, Webhook, http};
use ganger_alert::{Inhibition, Missing, RouteRate, Rule, RuleSettings, Selector, Settings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::Config;
use super::resolve::{check_name, in_range, is_name, not_zero};
use super::values::Time;
use super::walk::{At, FromNode, Key, Named, Node, Walk, section};
use super::{raw, words};
use crate::alerts::vocabulary;

/// The receiver that is always there.
pub(crate) const LOG: &str = "log";
/// More rules than a person reads, and each is looked at every few seconds.
const RULES_MAX: usize = 1_000;
/// Alerts of one body.
const ALERTS_MAX: u32 = 10_000;
/// Notifications at once.
const BURST_MAX: u32 = 1_000;

/// Everything about alerts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Alerting {
    /// `[alert.NAME]`.
    pub rules: BTreeMap<String, RuleSettings>,
    /// `[notify.NAME]`.
    pub receivers: BTreeMap<String, Channel>,
    /// What applies to all rules.
    pub settings: Settings,
}

impl Alerting {
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// The rules, read. One that an older daemon took and this one does not is told and left out.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let rules = self.rules.iter().map(|(name, settings)| Rule::new(name, settings.clone()));
        let known = rules.filter_map(|rule| {
            rule.inspect_err(|error| tracing::error!(%error, "this alert is left out")).ok()
        });
        known.collect()
    }
}

/// What missing data means.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct MissingWord(
    #[schemars(with = "String", extend("enum" = ["keep", "alert", "ok"]))] Missing,
);

impl FromNode for MissingWord {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let words = [("keep", Missing::Keep), ("alert", Missing::Alert), ("ok", Missing::Ok)];
        walk.word(node, &words).map(Self)
    }
}

section! {
    /// When people are told.
    struct RawAlert in "[alert.*]" {
        /// The condition: "p95(memory{service:web}, 5m) > 512MiB", "depth{queue:*} > 1000", "finding(leak{service:*})".
        when: String,
        /// What the rule is about: "service:web", "pool:*", "host". Default: the first selector of `when`.
        on: String,
        /// The condition must hold so long before anybody is told. Default: "0".
        r#for: Time,
        /// It must not hold for so long before the alert ends. Default: "0".
        keep_firing: Time,
        /// Another threshold ("400MiB") or condition that must be met before the alert ends. Default: `when` no longer holds.
        clear: String,
        /// A label: "info", "warning", "page" or your own. Default: "warning".
        severity: String,
        /// One line; {object}, {name}, {value} and {threshold} are filled in.
        summary: String,
        /// More labels.
        labels: Named<String>,
        /// Alerts with the same values of these labels are told together. Default: ["alertname"].
        group_by: Vec<At<String>>,
        /// Who is told: names of [notify.*]; "log" is always there. Default: ["log"].
        notify: Vec<At<String>>,
        /// A firing alert is told again after this. Default: "4h".
        repeat: Time,
        /// What missing data means: "keep" the state, "alert", "ok". Default: "keep".
        missing: MissingWord,
    }
}

section! {
    /// How somebody is told: exactly one of `webhook` and `exec`.
    struct RawNotify in "[notify.*]" {
        /// An HTTP POST of Alertmanager's body to http://host:port/path.
        webhook: String,
        /// Bodies are signed with it (HMAC-SHA256, header X-Ganger-Signature); best as "${NAME}".
        secret: String,
        /// The webhook may be on this machine. Default: false.
        allow_local: bool,
        /// Most alerts in a body. Default: all.
        max_alerts: u32,
        /// How long one try may take. Default: "10s".
        timeout: Time,
        /// A program by its absolute path, with arguments; it reads the same body on stdin. {status}, {group}, {summary} and {id} are filled in.
        exec: Vec<At<String>>,
        /// One more notification may be sent in this time. Default: "1m".
        every: Time,
        /// So many may be sent at once. Default: 10.
        burst: u32,
    }
}

section! {
    /// While an alert that `source` selects fires, those that `target` selects are not told.
    struct RawInhibit in "[inhibit.*]" {
        /// The greater alert: ["severity=page"]. All must match.
        source: Vec<At<String>>,
        /// The lesser ones.
        target: Vec<At<String>>,
        /// Labels that must agree.
        equal: Vec<At<String>>,
    }
}

/// Everything about alerts; objects are checked against the rest of the configuration.
pub(super) fn resolve(file: &raw::File, config: &Config, walk: &mut Walk<'_>) -> Alerting {
    let mut all = Alerting::default();
    for (name, keys) in file.notify.get().iter().flat_map(|named| &named.0) {
        check_name(name, walk);
        if name.value == LOG {
            walk.error(name.span.clone(), "`log` is always there: a line in the daemon's log")
                .help("choose another name".into());
        }
        if let Some(channel) = channel(name, &keys.value, walk) {
            all.receivers.insert(name.value.clone(), channel);
        }
        let usual = RouteRate::default();
        let every = time(&keys.value.every).unwrap_or(usual.every);
        not_zero(&keys.value.every.span(), every, walk);
        let burst = in_range(&keys.value.burst, usual.burst, 1, BURST_MAX, walk);
        let rate = RouteRate { every, burst };
        if rate != usual {
            all.settings.rates.insert(name.value.clone(), rate);
        }
    }
    for (name, keys) in file.inhibit.get().iter().flat_map(|named| &named.0) {
        let keys = &keys.value;
        let (source, target) =
            (matchers(name, &keys.source, walk), matchers(name, &keys.target, walk));
        all.settings.inhibit.push(Inhibition { source, target, equal: texts(&keys.equal) });
    }
    let receivers: Vec<String> = file
        .notify
        .get()
        .iter()
        .flat_map(|named| &named.0)
        .map(|(name, _)| name.value.clone())
        .chain([LOG.to_owned()])
        .collect();
    for (name, keys) in file.alert.get().iter().flat_map(|named| &named.0) {
        check_name(name, walk);
        if let Some(settings) = rule(name, &keys.value, &receivers, config, walk) {
            all.rules.insert(name.value.clone(), settings);
        }
    }
    all
}

/// What must hold whoever made it.
pub(super) fn verify(all: &Alerting) -> Vec<String> {
    let mut wrong = Vec::new();
    if all.rules.len() > RULES_MAX {
        wrong.push(format!("{} alerts are more than {RULES_MAX}", all.rules.len()));
    }
    for (name, settings) in &all.rules {
        if !is_name(name) {
            wrong.push(format!("alert `{name}`: this can't be a name"));
        }
        match Rule::new(name, settings.clone()) {
            Err(error) => wrong.push(error.to_string()),
            Ok(rule) => {
                let faults = vocabulary::faults(&rule).into_iter();
                wrong.extend(faults.map(|(why, _)| format!("alert `{name}`: {why}")));
            }
        }
        let unknown = settings.notify.iter();
        let unknown = unknown.filter(|to| *to != LOG && !all.receivers.contains_key(*to));
        wrong.extend(unknown.map(|to| format!("alert `{name}`: there is no receiver `{to}`")));
    }
    for (name, channel) in &all.receivers {
        match channel {
            _ if !is_name(name) => wrong.push(format!("notify `{name}`: this can't be a name")),
            Channel::Exec { command } if !is_program(command) => {
                wrong.push(format!("notify `{name}`: needs a program by its absolute path"));
            }
            Channel::Webhook(webhook) => {
                let fault = http::check(webhook).err();
                wrong.extend(fault.map(|why| format!("notify `{name}`: {why}")));
            }
            _ => {}
        }
    }
    wrong
}

fn is_program(command: &[String]) -> bool {
    command.first().is_some_and(|program| program.starts_with('/'))
        && !command.iter().any(|argument| argument.contains('\0'))
}

fn channel(name: &At<String>, keys: &RawNotify, walk: &mut Walk<'_>) -> Option<Channel> {
    if let Some(At { span, value }) = &keys.exec.0 {
        let command: Vec<String> = value.iter().map(|at| at.value.clone()).collect();
        if !is_program(&command) {
            walk.error(span.clone(), "a receiver needs a program by its absolute path")
                .help("exec = [\"/usr/local/bin/page\", \"{summary}\"]".into());
        }
        if let Some(span) = keys.webhook.span() {
            walk.error(span, "a receiver has either `exec` or `webhook`")
                .help("make two receivers, and name both in `notify`".into());
        }
        return Some(Channel::Exec { command });
    }
    let Some(At { span, value: url }) = &keys.webhook.0 else {
        if keys.webhook.is_absent() && keys.exec.is_absent() {
            walk.error(name.span.clone(), format!("receiver `{}` is told in no way", name.value))
                .help(
                    "webhook = \"http://host:9000/alerts\", or exec = [\"/usr/local/bin/page\"]"
                        .into(),
                );
        }
        return None;
    };
    let usual = Webhook::new(url.clone());
    let timeout = time(&keys.timeout).unwrap_or(usual.timeout);
    not_zero(&keys.timeout.span(), timeout, walk);
    let webhook = Webhook {
        secret: keys.secret.get().cloned(),
        allow_local: keys.allow_local.or(false),
        max_alerts: in_range(&keys.max_alerts, 0, 1, ALERTS_MAX, walk) as usize,
        timeout,
        ..usual
    };
    if let Err(why) = http::check(&webhook) {
        walk.error(span.clone(), why);
    }
    Some(Channel::Webhook(webhook))
}

fn rule(
    name: &At<String>,
    keys: &RawAlert,
    receivers: &[String],
    config: &Config,
    walk: &mut Walk<'_>,
) -> Option<RuleSettings> {
    let Some(when) = keys.when.get() else {
        if keys.when.is_absent() {
            walk.error(name.span.clone(), format!("alert `{}` has no condition", name.value))
                .help("when = \"p95(memory{service:web}, 5m) > 512MiB\"".into());
        }
        return None;
    };
    let usual = RuleSettings::new(when.clone());
    let labels = keys.labels.get().into_iter().flat_map(|named| &named.0);
    let settings = RuleSettings {
        on: keys.on.get().cloned(),
        hold: time(&keys.r#for).unwrap_or_default(),
        keep_firing: time(&keys.keep_firing).unwrap_or_default(),
        clear: keys.clear.get().cloned(),
        severity: keys.severity.get().cloned().unwrap_or(usual.severity.clone()),
        summary: keys.summary.get().cloned(),
        labels: labels.map(|(name, value)| (name.value.clone(), value.value.clone())).collect(),
        group_by: keys.group_by.get().map_or(usual.group_by.clone(), |_| texts(&keys.group_by)),
        notify: keys.notify.get().map_or(usual.notify.clone(), |_| texts(&keys.notify)),
        repeat: time(&keys.repeat).unwrap_or(usual.repeat),
        missing: keys.missing.get().map_or(usual.missing, |word| word.0),
        ..usual
    };
    for to in keys.notify.get().into_iter().flatten() {
        if !receivers.contains(&to.value) {
            let near = words::nearest(&to.value, receivers.iter().map(String::as_str));
            let diagnostic =
                walk.error(to.span.clone(), format!("there is no receiver `{}`", to.value));
            if let Some(near) = near {
                diagnostic.label(format!("did you mean `{near}`?"));
            }
            diagnostic.help(format!("add [notify.{}]", to.value));
        }
    }
    check(name, keys, &settings, config, walk);
    Some(settings)
}

/// What only the condition's own reader knows, at its place.
fn check(
    name: &At<String>,
    keys: &RawAlert,
    settings: &RuleSettings,
    config: &Config,
    walk: &mut Walk<'_>,
) {
    let rule = match Rule::new(&name.value, settings.clone()) {
        Ok(rule) => rule,
        Err(fault) => {
            let place = match fault.key {
                "when" => keys.when.0.as_ref(),
                "on" => keys.on.0.as_ref(),
                "clear" => keys.clear.0.as_ref(),
                _ => None,
            };
            let other = match fault.key {
                "notify" => keys.notify.span(),
                "repeat" => keys.repeat.span(),
                _ => None,
            };
            let span = place.map(|at| within(at, &fault.error.span)).or(other);
            let diagnostic =
                walk.error(span.unwrap_or_else(|| name.span.clone()), fault.error.message);
            if let Some(help) = fault.error.help {
                diagnostic.help(help);
            }
            return;
        }
    };
    let span = keys.when.span().unwrap_or_else(|| name.span.clone());
    for (why, help) in vocabulary::faults(&rule) {
        walk.error(span.clone(), why).help(help);
    }
    let reads = rule.reads();
    let mut objects: Vec<&Selector> = reads.metrics.iter().map(|(of, _)| *of).collect();
    objects.push(&rule.subject);
    objects.dedup();
    for object in objects {
        if let Some(why) = nobody(object, config) {
            walk.warning(span.clone(), why);
        }
    }
}

/// Why a selector selects nothing of this configuration.
fn nobody(of: &Selector, config: &Config) -> Option<String> {
    let only = of.only()?;
    let name = only.name.split('#').next().unwrap_or_default();
    let known = match &*of.kind {
        "service" => config.services.contains_key(name),
        "pool" => config.pools.contains_key(name),
        "queue" => config.queues.contains_key(name),
        _ => return None,
    };
    (!known).then(|| format!("there is no {} `{name}`: its values are always missing", of.kind))
}

/// A place within a text, as a place in the file; the whole text where it was written with escapes.
fn within(at: &At<String>, place: &Range<usize>) -> Range<usize> {
    let plain = at.span.len() == at.value.len() + 2 && !place.is_empty();
    if plain {
        at.span.start + 1 + place.start..at.span.start + 1 + place.end
    } else {
        at.span.clone()
    }
}

fn matchers(name: &At<String>, key: &Key<Vec<At<String>>>, walk: &mut Walk<'_>) -> Vec<Matcher> {
    let list = key.get().map_or(&[][..], Vec::as_slice);
    if list.is_empty() {
        let span = key.span().unwrap_or_else(|| name.span.clone());
        walk.error(span, "it would select every alert").help("[\"severity=page\"]".into());
    }
    let mut found = Vec::new();
    for at in list {
        match at.value.parse() {
            Ok(matcher) => found.push(matcher),
            Err(error) => {
                walk.error(at.span.clone(), error);
            }
        }
    }
    found
}

fn texts(key: &Key<Vec<At<String>>>) -> Vec<String> {
    key.get().into_iter().flatten().map(|at| at.value.clone()).collect()
}

fn time(key: &Key<Time>) -> Option<ganger_core::Dur> {
    key.get().map(|time| time.0)
}
