//! PM2's rules, a file with every key, and JavaScript that does not end.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::node::evaluate_within;
use crate::config::import::tests::has_node;
use crate::config::{Choice, Format, foreign};

fn toml(text: &str, choice: &Choice) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("www", "#!/usr/bin/env node\n"), ("tool", "plain"), ("main.js", "")] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let path = dir.path().join("process.json");
    let said = match foreign(Format::Pm2, &path, text, &BTreeMap::new(), choice, &mut vec![]) {
        Ok(foreign) => foreign.toml(dir.path()),
        Err(errors) => errors.to_string(),
    };
    said.replace(&dir.path().display().to_string(), "/app")
}

fn production() -> Choice {
    Choice { env: Some("production".into()) }
}

/// An app with every key.
fn full() -> serde_json::Map<String, serde_json::Value> {
    let mut app = serde_json::Map::new();
    for key in super::keys::APP.keys {
        let value = match key.name {
            "name" => "\"the app\"",
            "script" => "\"main.js\"",
            "args" => "\"--a 'b c'\"",
            "interpreter" => "\"/opt/node/bin/node\"",
            "interpreter_args" => "[\"--inspect\", 1]",
            "cwd" => "\"sub\"",
            "instances" => "3",
            "exec_mode" => "\"cluster_mode\"",
            "instance_var" => "\"NUMBER\"",
            "increment_var" => "\"PORT\"",
            "env" => "{\"PORT\": 4000, \"ON\": true, \"NO\": null, \"LIST\": [1]}",
            "env_file" => "\".env.app\"",
            "autorestart" | "shutdown_with_message" | "source_map_support" | "wait_ready" => "true",
            "treekill" | "autostart" => "false",
            "stop_exit_codes" => "[0, 3]",
            "max_memory_restart" => "\"200M\"",
            "min_uptime" => "\"10s\"",
            "kill_signal" => "\"SIGTERM\"",
            "max_restarts" => "7",
            "exp_backoff_restart_delay" => "100",
            "uid" => "\"ana\"",
            "gid" => "33",
            "namespace" => "\"site\"",
            "watch" => "[\"lib\", \"src/**/*.js\"]",
            "ignore_watch" => "[\"logs\", \"[\\\\/\"]",
            _ => "2000",
        };
        let name = if key.name == "env_*" { "env_production" } else { key.name };
        let value = if key.name == "env_*" { "{\"ON\": \"prod\"}" } else { value };
        app.insert(name.into(), serde_json::from_str(value).unwrap());
    }
    app
}

#[test]
fn a_file_with_every_key() {
    let mut app = full();
    app.insert("wach".into(), true.into());
    let file = serde_json::json!({ "apps": [app], "deploy": {}, "extra": 1 });
    insta::assert_snapshot!(toml(&file.to_string(), &production()));
}

/// The result without the notes.
fn meant(app: &serde_json::Map<String, serde_json::Value>) -> String {
    let text = toml(&serde_json::json!([app]).to_string(), &production());
    text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_table_says_is_taken_over_is() {
    // Alone without effect: another key beside it says the same, or nothing has to be done for it.
    let covered = ["user", "restart_delay", "disable_source_map_support", "port"];
    let full = full();
    for key in super::keys::APP.keys {
        let written = if key.name == "env_*" { "env_production" } else { key.name };
        let mut all = full.clone();
        if key.name != "autostart" {
            // It hides how many instances there are.
            all.remove("autostart");
        }
        let mut less = all.clone();
        assert!(less.remove(written).is_some(), "{written}");
        if key.name == "exec_mode" {
            // Without it several are a cluster as well.
            less.insert(key.name.to_owned(), "fork".into());
        }
        if key.name == "autorestart" {
            // True is the default.
            all.insert(key.name.to_owned(), false.into());
        }
        let left = matches!(key.fate, crate::config::import::keys::Fate::Left(_));
        let same = meant(&less) == meant(&all);
        assert_eq!(same, left || covered.contains(&key.name), "{}", key.name);
    }
}

#[test]
fn scripts_find_their_interpreters() {
    let command = |app: &str| {
        let text = toml(&format!("[{{{app}}}]"), &Choice::default());
        let line = text.lines().find(|l| l.starts_with("command") || l.starts_with("shell"));
        line.map_or(text.clone(), str::to_owned)
    };
    assert_eq!(command(r#""script":"main.js""#), r#"command = ["node", "main.js"]"#);
    assert_eq!(command(r#""script":"./gone.mjs""#), r#"command = ["node", "./gone.mjs"]"#);
    assert_eq!(command(r#""script":"a.py""#), r#"command = ["python3", "a.py"]"#);
    assert_eq!(command(r#""script":"www""#), r#"command = ["node", "www"]"#);
    assert_eq!(command(r#""script":"tool""#), r#"command = ["node", "tool"]"#);
    assert_eq!(command(r#""script":"tool","interpreter":"none""#), r#"command = ["./tool"]"#);
    assert_eq!(command(r#""script":"npm","args":["start"]"#), r#"command = ["npm", "start"]"#);
    assert_eq!(command(r#""script":"npm run x","args":["a b"]"#), r#"shell = "npm run x 'a b'""#);
    assert_eq!(command(r#""cmd":"serve","args":"-l 80""#), r#"command = ["serve", "-l", "80"]"#);
    let nvm = toml(r#"[{"script":"a.js","interpreter":"node@18.2"}]"#, &Choice::default());
    assert!(nvm.contains("asks nvm") && nvm.contains(r#"command = ["node", "a.js"]"#), "{nvm}");
}

#[test]
fn several_of_a_node_program_are_a_cluster_as_for_pm2() {
    let is_cluster = |app: &str| {
        let text = toml(&format!("[{{{app}}}]"), &Choice::default());
        text.lines().any(|line| line == "node_cluster = true")
    };
    for yes in [
        r#""script":"a.js","instances":4"#,
        r#""script":"a.js","instances":"2","exec_mode":null"#,
        r#""script":"a.js","exec_mode":"cluster""#,
    ] {
        assert!(is_cluster(yes), "{yes}");
    }
    for no in [
        r#""script":"a.js""#,
        r#""script":"a.js","instances":1"#,
        r#""script":"a.js","instances":4,"exec_mode":"fork""#,
        r#""script":"a.py","instances":4"#,
    ] {
        assert!(!is_cluster(no), "{no}");
    }
}

#[test]
fn restarts_by_default_are_pm2s() {
    let plain = toml(r#"[{"script":"a.js"},{"script":"a.js"}]"#, &Choice::default());
    assert!(plain.contains("[service.a]") && plain.contains("[service.a-2] # a"), "{plain}");
    assert_eq!(plain.matches("instance_var = \"NODE_APP_INSTANCE\"").count(), 2, "{plain}");
    assert!(plain.contains("restart = \"always\"") && plain.contains("stop_signal = \"SIGINT\""));
    let delay = toml(r#"[{"script":"a.js","restart_delay":3000}]"#, &Choice::default());
    assert!(delay.contains(r#"restart = { on = "always", backoff = "3s" }"#), "{delay}");
}

#[test]
fn values_that_make_no_sense_are_all_named() {
    insta::assert_snapshot!(toml(
        r#"{"apps":[{"name":"a","script":"x","instances":"many","max_memory_restart":"lots",
            "kill_timeout":"later","args":{},"env":1,"max_restarts":"no"},{"name":"b"},7]}"#,
        &production(),
    ));
}

#[test]
fn javascript_is_asked_with_a_deadline_and_its_errors_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let run = |name: &str, text: &str, limit: Duration, path: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let env = BTreeMap::from([
            ("PATH".to_owned(), path.to_owned()),
            ("X".to_owned(), "y".to_owned()),
        ]);
        evaluate_within(limit, Path::new(&file), &env)
    };
    let long = Duration::from_secs(60);
    let none = run("a.config.js", "module.exports = {}", long, "/nowhere").unwrap_err();
    assert!(none.contains("needs node") && none.contains("no such program"), "{none}");
    if !has_node() {
        return;
    }
    let js = "console.log('noise'); setInterval(() => {}, 1000); module.exports = { apps: process.env.X, f() {} };";
    assert_eq!(run("a.config.js", js, long, &path).unwrap(), serde_json::json!({ "apps": "y" }));
    let mjs = "export default async () => ({ apps: [] });";
    assert_eq!(run("a.config.mjs", mjs, long, &path).unwrap(), serde_json::json!({ "apps": [] }));
    let thrown = run("b.config.js", "throw new Error('no such luck')", long, &path).unwrap_err();
    assert!(thrown.contains("no such luck"), "{thrown}");
    let endless = "for (;;) {}";
    let hung = run("c.config.js", endless, Duration::from_millis(500), &path).unwrap_err();
    assert!(hung.contains("did not get to the end of this file in 0.5 s"), "{hung}");
}
