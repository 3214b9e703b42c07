//! Files of other tools: each of thirty runs as it is, and every service of it is up. And what becomes of a folder.

use std::path::PathBuf;

use ganger_testkit::TempDaemon;
use ganger_testkit::daemon::Said;
use ganger_testkit::setups::{PM2, PROCFILES, SUPERVISORD, Setup, furnish};

use crate::folder;

/// A verb whose services find the setups' programs first, and whose question to node finds the real one.
fn ganger(it: &TempDaemon, words: &[&str]) -> Said {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = it.command(words);
    command.env("PATH", format!("{}:{path}", it.path().join("bin").display()));
    command.env("SETUP_PATH", path).env("SETUP_HOME", it.path());
    Said::of(&command.output().expect("the built ganger starts"))
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Brings up one after the other on the same daemon: each takes the place of the one before it.
fn all_start(setups: &[Setup]) {
    let it = folder();
    furnish(it.path());
    // What a file means does not depend on the kernel, and under emulation each takes many seconds.
    let emulated = std::env::var_os("GANGER_TEST_EMULATED").is_some();
    let setups = if emulated { &setups[..1] } else { setups };
    for setup in setups {
        if setup.file.ends_with("js") && !has("node") {
            continue;
        }
        it.write(setup.file, setup.text);
        let said = ganger(&it, &["up", "-f", setup.file, "-d", "--wait=120s"]);
        assert_eq!(said.code, Some(0), "{}: {}", setup.file, said.err);
        let config = ganger(&it, &["config", "show", "-f", setup.file, "--json"]).with_code(0);
        let services = config.json()["services"].as_object().expect("services").clone();
        let instances = it.ganger(&["ps", "--json"]).with_code(0).json();
        let instances = instances["instances"].as_array().expect("a list").clone();
        assert!(!services.is_empty() && !instances.is_empty(), "{}", setup.file);
        for (name, service) in services {
            let own: Vec<_> = instances.iter().filter(|one| one["name"] == name).collect();
            let up = own.iter().filter(|one| one["state"] == "running" && one["failures"] == 0);
            let wanted = service["replicas"].as_u64().and_then(|n| usize::try_from(n).ok());
            assert_eq!(Some(up.count()), wanted, "{} {name}: {own:?}", setup.file);
        }
    }
    let _ = it.ganger(&["down"]).with_code(0);
}

#[test]
fn ten_procfiles_start() {
    assert_eq!(PROCFILES.len(), 10);
    all_start(PROCFILES);
}

#[test]
fn ten_pm2_files_start() {
    assert_eq!(PM2.len(), 10);
    all_start(PM2);
}

#[test]
fn ten_files_of_supervisord_start() {
    assert_eq!(SUPERVISORD.len(), 10);
    all_start(SUPERVISORD);
}

#[test]
fn import_writes_shows_differences_and_keeps_what_is_there() {
    let it = folder();
    furnish(it.path());
    it.write(
        "process.yaml",
        "apps:\n  - { name: a, script: bin/server, cron_restart: 0 0 * * * }\n",
    );
    let fresh = ganger(&it, &["import", "process.yaml", "--diff"]).with_code(0);
    assert_eq!(fresh.out, "+ service a\n");
    let wrote = ganger(&it, &["import", "process.yaml", "-o", "ganger.toml"]).with_code(0);
    assert_eq!(wrote.err.matches("`cron_restart`").count(), 1, "{}", wrote.err);
    let _ = ganger(&it, &["validate"]).with_code(0);
    let same = ganger(&it, &["import", "process.yaml", "--diff"]).with_code(0);
    assert!(same.out.is_empty() && same.err.contains("they mean the same"), "{same:?}");
    it.write("process.yaml", "apps:\n  - { name: a, script: bin/server, instances: 2 }\n");
    let changed = ganger(&it, &["import", "process.yaml", "--diff"]).with_code(0);
    assert!(changed.out.contains("~ service a\n") && changed.out.contains("replicas: 1 → 2"));
    let _ = ganger(&it, &["import", "process.yaml", "-o", "ganger.toml"]).with_code(9);
    let _ = ganger(&it, &["import", "process.yaml", "-o", "ganger.toml", "--force"]).with_code(0);
    let same = ganger(&it, &["import", "process.yaml", "--diff"]).with_code(0);
    assert!(same.out.is_empty(), "{same:?}");
}

#[test]
fn pm2s_environments_are_chosen() {
    let it = folder();
    furnish(it.path());
    let apps = r#"{"apps":[{"name":"a","script":"bin/server","env":{"X":"1","Y":"1"},"env_production":{"X":"2"}}]}"#;
    it.write("process.json", apps);
    let plain = ganger(&it, &["import", "process.json"]).with_code(0).out;
    assert!(plain.contains("X = \"1\"") && plain.contains("Y = \"1\""), "{plain}");
    let chosen = ganger(&it, &["import", "process.json", "--env", "production"]).with_code(0).out;
    assert!(chosen.contains("X = \"2\"") && chosen.contains("Y = \"1\""), "{chosen}");
    let none = ganger(&it, &["up", "-f", "process.json", "--env", "prod"]).with_code(3);
    assert!(none.err.contains("env_prod"), "{}", none.err);
}

#[test]
fn a_systemd_unit_is_written_and_systemd_takes_it() {
    let it = folder();
    it.write("ganger.toml", crate::TWO);
    let unit = it.ganger(&["service-install", "--print"]).with_code(0).out;
    assert!(unit.contains("Type=notify\n") && unit.contains("Delegate=yes\n"), "{unit}");
    let home = it.path().join("config");
    let mut command = it.command(&["service-install", "--user"]);
    let said = Said::of(&command.env("XDG_CONFIG_HOME", &home).output().expect("it starts"));
    let said = said.with_code(0);
    assert!(said.err.contains("systemctl --user daemon-reload"), "{}", said.err);
    let written: PathBuf = home.join("systemd/user/ganger.service");
    assert!(written.is_file());
    if !has("systemd-analyze") {
        return;
    }
    it.write("ganger-test.service", &unit);
    let verified = std::process::Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(it.path().join("ganger-test.service"))
        .output()
        .expect("systemd-analyze starts");
    let words = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(!words.contains("ganger-test.service"), "{words}");
}
