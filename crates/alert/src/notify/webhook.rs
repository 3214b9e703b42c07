//! Alertmanager's webhook body, version "4", as its own Go encoder writes it: fields in the order of its structs (`template.Data`, then
//! `webhook.Message`; `notification_reason` since 0.32), maps sorted, `<`, `>` and `&` escaped, a newline at the end. What ganger knows more stands in
//! annotations that begin with `ganger_`, so that receivers that know nothing of ganger pass it on.

use hmac::{Hmac, KeyInit, Mac};
use regex::escape;
use serde::Serialize;
use sha2::Sha256;

use crate::group::{Alert, Notification, Reason, Status};
use crate::labels::{self, Labels};
use crate::notify::message::{self, About};
use crate::values::Time;

/// What Go writes for a time that is not known.
const GO_ZERO: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    receiver: String,
    status: Status,
    alerts: Vec<Entry<'a>>,
    #[serde(rename = "notification_reason")]
    reason: Reason,
    group_labels: &'a Labels,
    common_labels: Labels,
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: String,
    truncated_alerts: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    status: Status,
    labels: &'a Labels,
    annotations: Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

/// The body of a notification. `external` is where ganger can be looked at, without a slash at the end, or empty; at most `max` alerts (0: all).
#[must_use]
pub fn body(
    notification: &Notification,
    external: &str,
    max: usize,
    about: impl Fn(&Alert) -> About,
) -> Vec<u8> {
    let all = notification.alerts.len();
    let kept = if max == 0 { all } else { max.min(all) };
    let entries: Vec<Entry> =
        notification.alerts[..kept].iter().map(|a| entry(a, external, &about(a))).collect();
    let firing = entries.iter().any(|entry| entry.status == Status::Firing);
    let body = Body {
        // Alertmanager hands receivers' names to templates as a regular expression.
        receiver: escape(&notification.receiver),
        status: if firing { Status::Firing } else { Status::Resolved },
        reason: notification.reason,
        group_labels: &notification.group,
        common_labels: common(entries.iter().map(|entry| entry.labels)),
        common_annotations: common(entries.iter().map(|entry| &entry.annotations)),
        external_url: external,
        version: "4",
        group_key: format!("{{}}:{}", labels::shown(&notification.group)),
        truncated_alerts: all - kept,
        alerts: entries,
    };
    let json = serde_json::to_string(&body).expect("texts and numbers are always JSON");
    go_escaped(&json).into_bytes()
}

/// Go's encoder escapes these so that JSON can stand in HTML; none of them occurs outside of strings.
fn go_escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('\n');
    out
}

/// What all have with the same value.
fn common<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
    let mut common = sets.next().cloned().unwrap_or_default();
    for set in sets {
        common.retain(|name, value| set.get(name) == Some(value));
    }
    common
}

fn entry<'a>(alert: &'a Alert, external: &str, about: &About) -> Entry<'a> {
    let generator_url = match external {
        "" => String::new(),
        url => format!("{url}/alerts?fingerprint={:016x}", alert.fingerprint),
    };
    Entry {
        status: alert.status,
        labels: &alert.labels,
        annotations: annotations(alert, about),
        starts_at: message::clock(alert.starts),
        ends_at: alert.ends.map_or(GO_ZERO.to_owned(), message::clock),
        generator_url,
        fingerprint: format!("{:016x}", alert.fingerprint),
    }
}

fn annotations(alert: &Alert, about: &About) -> Labels {
    let mut found = Labels::from([
        ("summary".to_owned(), alert.summary.clone()),
        ("description".to_owned(), message::text(alert, about)),
    ]);
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            found.insert(format!("ganger_{name}"), value);
        }
    };
    add("object", Some(alert.object.to_string()));
    add("pid", about.pid.map(|pid| pid.to_string()));
    add("attempt", about.attempt.map(|attempt| attempt.to_string()));
    add("since", Some(message::since(alert)));
    add("value", message::value(alert, about));
    add("flapping", alert.flapping.map(message::clock));
    add("no_data_since", alert.stale.map(message::clock));
    let causes: Vec<&str> = about.ranked().into_iter().map(|cause| cause.what.as_str()).collect();
    add("causes", Some(causes.join("\n")));
    add("log", Some(about.lines().collect::<Vec<_>>().join("\n")));
    add("try", Some(about.try_this.join("\n")));
    found
}

/// `sha256=…`: HMAC-SHA256 with the secret over the time of sending (milliseconds, decimal), a dot and the body. A receiver checks both the
/// signature and that the time is near, so that a body that was listened to is of no use later.
#[must_use]
pub fn signature(secret: &[u8], at: Time, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(at.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}
