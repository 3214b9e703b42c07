//! What people see when a configuration is wrong, and what comes out when it is right.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

mod alert;
mod incident;
mod listen;
mod policy;
mod seeds;

struct Folder {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

impl Folder {
    fn new() -> Self {
        let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        Self { dir: tempfile::tempdir().unwrap(), env }
    }

    fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    fn load(&self, name: &str) -> Result<Loaded, ConfigErrors> {
        load_with(&self.dir.path().join(name), &self.env)
    }

    /// Errors and warnings as text, with the folder's path taken out.
    fn findings(&self, name: &str) -> String {
        let found = match self.load(name) {
            Ok(loaded) => loaded.warnings,
            Err(errors) => errors,
        };
        self.clean(&found.to_string())
    }

    fn clean(&self, text: &str) -> String {
        let dir = std::path::absolute(self.dir.path()).unwrap();
        text.replace(&dir.display().to_string(), "/app")
    }

    fn json(&self, name: &str) -> String {
        let loaded = self.load(name).unwrap_or_else(|e| panic!("{e}"));
        let mut config = loaded.config;
        for source in &mut config.sources {
            source.sha256 = source.sha256[..8].to_owned();
        }
        self.clean(&serde_json::to_string_pretty(&config).unwrap())
    }
}

fn toml(text: &str) -> Folder {
    Folder::new().with("ganger.toml", text)
}

#[test]
fn a_full_file() {
    let folder = toml(include_str!("../../tests/config/full.toml"))
        .with(".env", "FROM_FILE=1\nBOTH=file\n")
        .set("LEVEL", "debug");
    insta::assert_snapshot!(folder.json("ganger.toml"));
    assert_eq!(folder.findings("ganger.toml"), "");
}

#[test]
fn every_mistake_in_one_pass() {
    insta::assert_snapshot!(
        toml(include_str!("../../tests/config/mistakes.toml")).findings("ganger.toml")
    );
}

#[test]
fn retry_rules_as_written() {
    let folder = toml(
        r#"
        [queue.mail.retry]
        max = 8
        curve = "linear"
        backoff = "5s..1m"
        jitter = "equal"
        max_age = "1d"
        crash_limit = 2
        non_retryable = ["ValidationError", "http.4*"]
        on."http.*" = { curve = "fixed", backoff = "30s", jitter = "none" }
        on.ConnectionError = { max = 20 }
        [queue.old]
        retry = { max = 25, curve = "sidekiq" }
        [queue.poly]
        retry = { curve = "polynomial", power = 4, backoff = "1s..1h" }
        "#,
    );
    let queues = folder.load("ganger.toml").unwrap().config.queues;
    insta::assert_json_snapshot!(
        "retry",
        queues.iter().map(|(name, queue)| (name, &queue.retry)).collect::<BTreeMap<_, _>>()
    );
}

#[test]
fn retry_rules_that_contradict_themselves() {
    let folder = toml(
        r#"
        [queue.a.retry]
        curve = "oban"
        backoff = "1s..5s"
        jitter = "none"
        factor = 3
        [queue.b.retry]
        curve = "fixd"
        power = 200
        max_age = "0"
        [queue.c.retry]
        curve = "fixed"
        backoff = "1s..5s"
        non_retryable = ["", "X"]
        on.X = { max = 0 }
        on.Y = { retries = 1 }
        "#,
    );
    insta::assert_snapshot!(folder.findings("ganger.toml"));
}

#[test]
fn supervision_as_written() {
    let folder = toml(
        r#"
        [supervision]
        restarts_per_second = 20
        [service.db]
        command = "sleep 9"
        priority = "high"
        restart = { max = 3, breaker = "5s", healthy_after = "30s", backoff = { default = "1s..8s", oom = "10s..5m" } }
        [service.web]
        command = "sleep 9"
        depends_on = { db = "started" }
        [service.cache]
        command = "sleep 9"
        [group.site]
        strategy = "rest-for-one"
        members = ["db", "front"]
        [group.front]
        members = ["cache", "web"]
        optional = ["cache"]
        "#,
    );
    let config = folder.load("ganger.toml").unwrap().config;
    insta::assert_json_snapshot!(
        "supervision",
        (&config.supervision, &config.groups, &config.services["db"].program.restart)
    );
    assert_eq!(config.services["db"].priority, ganger_core::Priority::HIGH);
    assert!(crate::config::verify(&config).is_empty());
}

#[test]
fn mistakes_in_groups() {
    let folder = toml(
        r#"
        [supervision]
        restarts_per_second = 0
        restart_bursts = 3
        [service.db]
        command = "sleep 9"
        restart = { backoff = { oem = "1s" } }
        [service.web]
        command = "sleep 9"
        [group.a]
        strategy = "one_for_all"
        members = ["db", "wbe"]
        optional = ["web"]
        [group.b]
        members = ["db", "c"]
        [group.c]
        members = ["b"]
        [group.web]
        "#,
    );
    insta::assert_snapshot!(folder.findings("ganger.toml"));
}

#[test]
fn references() {
    insta::assert_snapshot!(
        toml(include_str!("../../tests/config/references.toml")).findings("ganger.toml")
    );
}

#[test]
fn keys_of_later_versions_and_of_other_tools() {
    insta::assert_snapshot!(
        toml(include_str!("../../tests/config/foreign.toml")).findings("ganger.toml")
    );
}

#[test]
fn broken_syntax_does_not_hide_the_rest() {
    let folder =
        toml("[service.a]\ncommand = \"true\nreplicas = 2\n[service.b]\ncomand = \"true\"\n");
    insta::assert_snapshot!(folder.findings("ganger.toml"));
}

#[test]
fn warnings_about_programs() {
    let folder = toml(
        "[service.a]\ncommand = [\"no-such-program\"]\n[service.b]\ncommand = \"./tool --x\"\n\
         [service.c]\ncommand = \"/nowhere/x\"\n[service.d]\ncommand = \"echo a | cat\"\n\
         [service.e]\ncommand = \"true\"\ncwd = \"gone\"\n",
    )
    .with("tool", "#!/bin/sh\n");
    assert!(folder.load("ganger.toml").is_ok());
    insta::assert_snapshot!(folder.findings("ganger.toml"));
}

#[test]
fn a_procfile_with_its_env() {
    let folder = Folder::new()
        .with(
            "Procfile",
            "# the gang\nweb: node server.js -p $PORT\n\nworker: while :; do sleep 1; done\n",
        )
        .with(".env", "RACK_ENV=dev\n");
    insta::assert_snapshot!(folder.json("Procfile"));
}

#[test]
fn a_procfile_counts_from_the_port_it_is_given() {
    let folder = Folder::new().with("Procfile", "a: x\nb: y\n").with(".env", "PORT=7000\n");
    let config = folder.load("Procfile").unwrap().config;
    assert_eq!(config.services["a"].port, Some(7000));
    assert_eq!(config.services["b"].port, Some(7100));
}

#[test]
fn a_broken_procfile() {
    let folder = Folder::new().with("Procfile", "web node\na: x\na: y\n").with(".env", "nothing\n");
    insta::assert_snapshot!(folder.findings("Procfile"));
}

#[test]
fn files_that_are_none() {
    let folder = Folder::new().with("binary.toml", "");
    std::fs::write(folder.dir.path().join("binary.toml"), b"# ok\n\xff\xfe").unwrap();
    assert!(folder.findings("binary.toml").contains("not UTF-8: line 2"));
    assert!(folder.findings("missing.toml").contains("No such file"));
    assert!(load(Path::new("/proc")).unwrap_err().to_string().contains("not a configuration"));
}

#[test]
fn templates_are_checked_and_a_payload_in_a_shell_is_warned_of() {
    let pool = |command: &str| {
        toml(&format!("[queue.q]\n[pool.p]\nqueues = [\"q\"]\nprotocol = \"command\"\n{command}\n"))
    };
    assert_eq!(pool("command = [\"cat\", \"{payload.a}\"]").findings("ganger.toml"), "");
    let unknown = pool("command = [\"cat\", \"{size}\"]");
    assert!(unknown.findings("ganger.toml").contains("`{size}` is no placeholder"));
    let injected = pool("command = [\"sh\", \"-c\", \"echo {payload.a}\"]").findings("ganger.toml");
    assert!(injected.contains("becomes part of a shell script"), "{injected}");
    let passed = pool("command = [\"sh\", \"-c\", \"echo $1\", \"-\", \"{payload.a}\"]");
    assert_eq!(passed.findings("ganger.toml"), "");
}

#[test]
fn colours_only_when_asked() {
    let errors = toml("x = 1").load("ganger.toml").unwrap_err();
    assert!(errors.render(true).contains('\u{1b}'));
    assert!(!errors.render(false).contains('\u{1b}'));
}

#[test]
fn a_changed_source_is_told() {
    let folder = toml("[service.a]\ncommand = \"true\"\n");
    let config = folder.load("ganger.toml").unwrap().config;
    assert!(config.sources[0].is_unchanged());
    let folder = folder.with("ganger.toml", "version = 1\n");
    assert!(!config.sources[0].is_unchanged());
    drop(folder);
    assert!(!config.sources[0].is_unchanged());
}

#[test]
fn the_resolved_form_reads_back() {
    let folder =
        toml(include_str!("../../tests/config/full.toml")).with(".env", "A=1\n").set("LEVEL", "x");
    let config = folder.load("ganger.toml").unwrap().config;
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
}

#[test]
fn every_key_of_the_schema_is_described() {
    fn walk(path: &str, schema: &serde_json::Value) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(
                property["description"].is_string() || property["$ref"].is_string(),
                "{path}.{key}"
            );
        }
        for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
            walk(name, definition);
        }
    }
    let schema = schema();
    walk("", &schema);
    assert!(schema["properties"]["service"]["additionalProperties"].is_object(), "{schema:#}");
    assert_eq!(schema["additionalProperties"], serde_json::Value::Bool(false));
    insta::assert_json_snapshot!("schema", schema);
}

proptest::proptest! {
    /// One changed, lost, doubled or swapped character in a key: the right key is suggested.
    #[test]
    fn typing_errors_are_understood(pick in 0usize..20, at in 0usize..40, kind in 0u8..4) {
        let keys = ["command", "cwd", "env_file", "user", "restart", "stop_signal", "stop_timeout",
            "limits", "replicas", "depends_on", "ready", "shell"];
        let key = keys[pick % keys.len()];
        let at = at % key.len();
        let mut typed: Vec<char> = key.chars().collect();
        match kind {
            0 => typed[at] = 'q',
            1 => { typed.remove(at); }
            2 => typed.insert(at, typed[at]),
            _ => { let other = (at + 1) % typed.len(); typed.swap(at, other); }
        }
        let typed: String = typed.into_iter().collect();
        proptest::prop_assume!(!keys.contains(&typed.as_str()) && typed != "nv" && !typed.is_empty());
        let text = toml(&format!("[service.a]\n{typed} = 1\n")).findings("ganger.toml");
        let meant = [format!("did you mean `{key}`?"), format!("ganger calls this `{key}`")];
        proptest::prop_assert!(meant.iter().any(|m| text.contains(m)), "{typed}: {text}");
    }

    /// Whatever is in the file, reading it ends with a result.
    #[test]
    fn nothing_panics(text in "(\\[(service|queue|pool|server)(\\.[a-c])?\\]\n([a-z_]{1,8} = (1|\"\\$\\{[A-Z]*\\}?\"|\\[\\]|\\{\\}|true)\n){0,3}){0,4}.{0,20}") {
        let _ = toml(&text).findings("ganger.toml");
    }
}

#[test]
fn a_thousand_mistakes_fit_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ganger.toml");
    let mut text = "version = 1\n".to_owned();
    for n in 0..1000 {
        text.push_str(&format!("[service.s{n}]\ncommand = [\"true\"]\nreplicsa = 2\n"));
    }
    std::fs::write(&path, text).unwrap();
    let errors = super::load(&path).unwrap_err();
    assert_eq!(errors.list.len(), 1000);
    assert_eq!(errors.render(false).matches("replicsa = 2").count(), 50);
    assert!(errors.render(false).ends_with("… and 950 more like these"));
}

#[test]
fn schedules() {
    let folder = toml(
        r#"
[queue.images]
[schedule.sweep]
cron = "*/5 9-17 * * mon-fri"
timezone = "Europe/Berlin"
jitter = "30s"
queue = "images"
kind = "sweep"
payload = { dir = "${DIR:-/tmp}", depth = -2, deep = [true, 1.5] }
priority = "low"
retry = { max = 2, backoff = "1s..5s" }
timeout = "1m"
overlap = "queue"
missed = "all"
missed_max = 7
paused = true
[schedule.once]
at = 2026-12-24T18:00:00+01:00
queue = "images"
[schedule.every]
cron = "@every 90s"
queue = "images"
payload = '["text"]'
"#,
    );
    assert_eq!(folder.findings("ganger.toml"), "");
    let config = folder.load("ganger.toml").unwrap().config;
    insta::assert_snapshot!(serde_json::to_string_pretty(&config.schedules).unwrap());
}

#[test]
fn mistakes_in_schedules() {
    let folder = toml(
        r#"
[queue.images]
max_payload = "10B"
[schedule.a]
cron = "*/5 25 * * *"
queue = "imags"
[schedule.b]
queue = "images"
payload = "hello"
missed_max = 3
overlap = "skipp"
[schedule.c]
cron = "*/90 * * * *"
at = "tomorrow"
payload = { far = "too long for it" }
retry = { non_retryable = ["X"] }
[schedule.d]
at = "tomorrow"
queue = "images"
jitter = "3d"
[schedule.e]
cron = "0 22-6 * * *"
tz = "Europe/Berlin"
queue = "images"
[schedule.f]
cron = "@daily"
timezone = "Europe/Berln"
queue = "images"
payload = { far = "too long for it" }
"#,
    );
    insta::assert_snapshot!(folder.findings("ganger.toml"));
}
