//! What goes wrong is told with its name and the way out, and nothing hangs.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use crate::{GANGER, TWO, folder, up};

#[test]
fn a_missing_program_is_named() {
    let it = folder();
    it.write(
        "ganger.toml",
        "version = 1\n[service.ghost]\ncommand = [\"/no/such/program\"]\nrestart = \"never\"\n",
    );
    let said = it.ganger(&["up", "-d", "--wait"]).with_code(1);
    assert!(said.err.contains("ghost"), "{}", said.err);
    let reason = it.instance("ghost", 1)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("/no/such/program") && reason.contains("No such file"), "{reason}");
}

#[test]
fn a_program_without_exec_bit_is_named() {
    let it = folder();
    it.write("tool.sh", "#!/bin/sh\nexit 0\n");
    it.write(
        "ganger.toml",
        "version = 1\n[service.tool]\ncommand = [\"./tool.sh\"]\nrestart = \"never\"\n",
    );
    let _ = it.ganger(&["up", "-d", "--wait"]).with_code(1);
    let reason = it.instance("tool", 1)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("tool.sh") && reason.contains("ermission"), "{reason}");
}

#[test]
fn a_broken_config_shows_all_errors_and_starts_nothing() {
    let it = folder();
    it.write(
        "ganger.toml",
        "version = 1\n[service.web]\ncomand = [\"x\"]\nstop_timeout = \"soon\"\n",
    );
    for words in [&["up", "-d"][..], &["validate"]] {
        let said = it.ganger(words).with_code(3);
        assert!(said.err.contains("ganger.toml:3") && said.err.contains("command"), "{}", said.err);
        assert!(said.err.contains("soon"), "{}", said.err);
    }
    let json = it.ganger(&["validate", "--json"]).with_code(3).json();
    assert_eq!(json["valid"], false);
    assert!(json["findings"].as_array().unwrap().len() >= 2, "{json}");
    assert!(!it.state_dir().exists());
}

#[test]
fn a_second_daemon_on_the_same_state_is_told() {
    let it = up(TWO);
    let said = it.ganger(&["daemon"]).with_code(9);
    assert!(said.err.contains(it.state_dir().to_str().unwrap()), "{}", said.err);
}

#[test]
fn a_read_only_state_folder_is_named() {
    let it = folder();
    it.write("ganger.toml", TWO);
    std::fs::set_permissions(it.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    // Root writes everywhere: then nobody runs it, from a copy of the binary that nobody may read.
    let copy = tempfile::tempdir().unwrap();
    std::fs::set_permissions(copy.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = copy.path().join("ganger");
    std::fs::copy(GANGER, &binary).unwrap();
    let mut command = std::process::Command::new(&binary);
    command.args(["up", "-d"]).current_dir(it.path()).env_remove("GANGER_STATE_DIR");
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().unwrap();
    std::fs::set_permissions(it.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains(it.state_dir().to_str().unwrap()) && said.contains("help"), "{said}");
}
