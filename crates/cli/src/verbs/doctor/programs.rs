//! Programs that SDKs and examples use; none is needed by ganger itself.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    vec![program("node", "Node", "--version"), program("python3", "Python", "--version")]
}

fn program(name: &'static str, what: &str, flag: &str) -> Check {
    let Some(path) = on_path(name) else {
        return Check::info(name, format!("not on PATH; only {what} workers need it"));
    };
    let said = Command::new(&path).arg(flag).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let version = said
        .ok()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .filter(|version| !version.is_empty())
        .unwrap_or_else(|| "version unknown".to_owned());
    Check::info(name, format!("{version} ({})", path.display()))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
