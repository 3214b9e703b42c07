//! `[alert.*]`, `[notify.*]` and `[inhibit.*]` as they are written.

use super::*;

const GOOD: &str = r#"
[service.web]
command = ["true"]

[alert.big]
when = "p95(memory{service:web}, 5m) > 512MiB"
for = "2m"
keep_firing = "5m"
clear = "400MiB"
severity = "page"
summary = "{object} is big: {value}"
labels = { team = "a" }
group_by = ["alertname", "service"]
notify = ["ops", "log"]
repeat = "1h"
missing = "ok"

[notify.ops]
webhook = "http://10.0.0.1:9093/hook"
secret = "s"
max_alerts = 10
timeout = "5s"
every = "30s"
burst = 3

[notify.page]
exec = ["/usr/local/bin/page", "{summary}"]

[inhibit.host]
source = ["alertname=host"]
target = ["severity!=page"]
equal = ["team"]
"#;

#[test]
fn what_is_said_of_alerts_counts() {
    let loaded = toml(GOOD).load("ganger.toml").unwrap();
    let alerting = &loaded.config.alerting;
    insta::assert_json_snapshot!(alerting);
    let text = serde_json::to_string(&loaded.config).unwrap();
    let again: crate::config::Config = serde_json::from_str(&text).unwrap();
    assert_eq!(&again.alerting, alerting);
    assert_eq!(crate::config::verify(&again), [] as [String; 0]);
    assert_eq!(alerting.rules().len(), 1);
    let nothing = toml("[service.web]\ncommand = [\"true\"]\n").load("ganger.toml").unwrap().config;
    assert!(!serde_json::to_string(&nothing).unwrap().contains("alert"));
}

#[test]
fn mistakes_in_alerts() {
    let text = r#"
[service.web]
command = ["true"]

[alert.none]
for = "1m"

[alert.words]
when = "memory{service:web} >"
notify = ["opss"]

[alert.metric]
when = "memry{service:web} > 1"
clear = "0"

[alert.clear]
when = "memory{service:web} > 1MiB"
clear = "2MiB"
repeat = "0"

[alert.gone]
when = "depth{queue:nope} > 1"
missing = "kep"

[notify.ops]
webhook = "https://example.org/x"

[notify.near]
webhook = "http://127.0.0.1:9093/hook"

[notify.log]
exec = ["page"]
webhook = "http://a/"

[notify.nobody]
burst = 0

[inhibit.all]
source = []
target = ["=~("]
"#;
    insta::assert_snapshot!(toml(text).findings("ganger.toml"));
}

#[test]
fn alerts_from_elsewhere_are_held_to_the_same_rules() {
    let mut config = toml(GOOD).load("ganger.toml").unwrap().config;
    config.alerting.receivers.clear();
    config.alerting.rules.get_mut("big").unwrap().when = "memory{service:web} > ".into();
    let wrong = crate::config::verify(&config);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
}
