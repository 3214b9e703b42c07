//! `[incident]` as it is written.

use ganger_incident::Settings;

use super::*;

#[test]
fn what_is_said_counts_and_the_rest_is_as_usual() {
    let loaded = toml(
        r#"
[incident]
denials = { count = 5, within = "30s" }
probes = { count = 2 }
off = ["I15"]
lock_out = { time = "1h" }
hook = { command = ["/bin/logger", "-t", "ganger"], severity = "medium" }
"#,
    )
    .load("ganger.toml")
    .unwrap();
    let incident = &loaded.config.incident;
    insta::assert_json_snapshot!(incident);
    let text = serde_json::to_string(&loaded.config).unwrap();
    let again: crate::config::Config = serde_json::from_str(&text).unwrap();
    assert_eq!(&again.incident, incident);
    assert_eq!(crate::config::verify(&again), [] as [String; 0]);
    let nothing = toml("[service.web]\ncommand = [\"true\"]\n").load("ganger.toml").unwrap().config;
    assert_eq!(nothing.incident, Settings::default());
    assert!(!serde_json::to_string(&nothing).unwrap().contains("incident"));
}

#[test]
fn mistakes_in_incidents() {
    let text = r#"
[incident]
denials = { count = 0, within = "0" }
probe = { count = 3 }
off = ["I1", "I16"]
lock_out = { severity = "hihg" }
hook = { command = ["page"] }
"#;
    insta::assert_snapshot!(toml(text).findings("ganger.toml"));
}

#[test]
fn settings_from_elsewhere_are_held_to_the_same_rules() {
    let mut config = toml("[incident]\nlearn = 5\n").load("ganger.toml").unwrap().config;
    config.incident.kills.count = 0;
    let wrong = crate::config::verify(&config);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].contains("kills"));
}
