//! Running other programs: one line of what is run, an error that says which program failed and how.

use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// The command as a person would type it (no quoting; for messages only).
pub(crate) fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// Runs it with this terminal's streams. An exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let text = shown(command);
    let status = command.status().with_context(|| format!("could not start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed: {status}");
    }
    Ok(())
}

/// Runs it and returns what it printed, whatever its exit code.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    let text = shown(command);
    command.stdin(Stdio::null()).output().with_context(|| format!("could not start `{text}`"))
}

/// Runs it and returns its stdout. An exit code other than 0 is an error that carries the last lines of its stderr.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let text = shown(command);
    let out = output(command)?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        bail!("`{text}` failed: {}\n{}", out.status, last_lines(&said, 8));
    }
    String::from_utf8(out.stdout).with_context(|| format!("`{text}` printed something not UTF-8"))
}

/// The last `n` lines of a text.
pub(crate) fn last_lines(text: &str, n: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(n)..].join("\n")
}

/// Where `name` is found along PATH, as `command -v` would.
pub(crate) fn which(name: &str) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| {
        std::fs::metadata(candidate)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}
