//! `ganger run`: one command under limits, ended with its whole tree. No daemon, no state folder.
//!
//! This process is the command's keeper for as long as it runs: it has one thread, so the clone is cheap and signals
//! have one reader. The command stays in the caller's session and process group, so that a terminal works as without us.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ganger_core::{Dur, End, InstanceId, InstanceKind};
use ganger_keeper::wire::{Output, Plan, Stdin};
use ganger_keeper::{OneShot, OneShotEnd, oneshot};

use crate::error::{CliError, Kind};
use crate::text;
use crate::ui::Ui;
use crate::verbs::bounds::{Bounds, Walls, own, profile};

/// `run`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: the command's own; 124 timeout, 125 ganger itself failed, 126 not executable, \
127 not found, 128+N ended by signal N, 137 limit hit."
)]
pub(crate) struct Args {
    #[command(flatten)]
    bounds: Bounds,
    /// End everything after this long
    #[arg(long, value_name = "TIME")]
    timeout: Option<Dur>,
    #[command(flatten)]
    walls: Walls,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<String>,
}

/// `TERM` first; a second later nothing of it may be left.
const GRACE: Duration = Duration::from_millis(500);
/// coreutils' timeout(1), env(1) and the shells agree on these two.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let program = match find(&args.command[0]) {
        Ok(program) => program,
        Err((code, why)) => {
            let _ = CliError::new(Kind::Run, why).show(ui);
            return Ok(ExitCode::from(code));
        }
    };
    let plan = plan(args, program)?;
    let timeout = args.timeout.map(|timeout| timeout.0);
    let own = own();
    let outcome = oneshot(OneShot { plan, own, timeout, grace: GRACE })
        .map_err(|error| CliError::new(Kind::Run, error.to_string()))?;
    for text in remarks(args, &outcome) {
        ui.talk(&text);
    }
    Ok(ExitCode::from(outcome.end.shell_code()))
}

fn plan(args: &Args, program: PathBuf) -> Result<Plan, CliError> {
    let no_utf8 = |what: &str| CliError::new(Kind::Run, format!("{what} is not UTF-8"));
    let cwd = std::env::current_dir().map_err(|error| {
        CliError::new(Kind::Run, format!("the working folder can't be read: {error}"))
    })?;
    let profile = profile(&args.bounds, &args.walls)?;
    Ok(Plan {
        env: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        cwd: cwd.into_os_string().into_string().map_err(|_| no_utf8("the working folder"))?,
        stdin: Stdin::Inherit,
        stdout: Output::Inherit,
        stderr: Output::Inherit,
        setsid: profile.sandbox.is_some(),
        profile,
        ..Plan::new(
            InstanceId::new("run", 1),
            InstanceKind::Command,
            program.into_os_string().into_string().map_err(|_| no_utf8("the program's path"))?,
            args.command.clone(),
        )
    })
}

/// The program as a shell would find it, or the exit code and words of its absence.
pub(crate) fn find(name: &str) -> Result<PathBuf, (u8, String)> {
    let here = std::env::current_dir().unwrap_or_default();
    if name.contains('/') {
        let path = here.join(name);
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(why) => Err(why),
        };
    }
    let mut refused = None;
    for folder in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        let path = here.join(folder).join(name);
        match executable(&path) {
            Ok(()) => return Ok(path),
            Err((NOT_EXECUTABLE, why)) => refused = refused.or(Some((NOT_EXECUTABLE, why))),
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| (NOT_FOUND, format!("`{name}` is not on PATH"))))
}

fn executable(path: &Path) -> Result<(), (u8, String)> {
    let name = path.display();
    let meta = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => (NOT_FOUND, format!("{name} does not exist")),
        _ => (NOT_EXECUTABLE, format!("{name}: {error}")),
    })?;
    if meta.is_dir() {
        return Err((NOT_EXECUTABLE, format!("{name} is a folder")));
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Err((NOT_EXECUTABLE, format!("{name} is not executable; `chmod +x` makes it so")));
    }
    Ok(())
}

/// What a person must know beyond the exit code.
fn remarks(args: &Args, outcome: &OneShotEnd) -> Vec<String> {
    let mut remarks: Vec<String> = outcome
        .report
        .degraded
        .iter()
        .map(|one| format!("warning: {} not enforced: {}; {}", one.what, one.why, one.fix))
        .collect();
    let took = text::age(outcome.took);
    match &outcome.end {
        End::Exited { .. } => {}
        End::LimitHit { limit, peak } if limit == "memory" => {
            let allowed = args.bounds.memory.unwrap_or_default();
            let peak = text::bytes(*peak);
            remarks
                .push(format!("killed: memory limit {allowed} reached after {took} (peak {peak})"));
        }
        End::TimedOut { after } => {
            remarks.push(format!("killed: timeout of {} reached", Dur(*after)));
        }
        End::CouldNotSpawn { .. } => {
            remarks.push(format!("error: could not start: {}", outcome.detail));
        }
        end => remarks.push(format!("{end} after {took}")),
    }
    if outcome.forks_refused > 0 {
        let limit = args.bounds.pids.unwrap_or_default();
        remarks.push(format!(
            "warning: the limit of {limit} processes was reached {}",
            text::count(usize::try_from(outcome.forks_refused).unwrap_or(usize::MAX), "time")
        ));
    }
    if !outcome.stuck.is_empty() {
        remarks.push(format!("warning: could not be proven dead: {:?}", outcome.stuck));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_does() {
        assert!(find("sh").unwrap().is_absolute());
        assert_eq!(find("no-such-program-here").unwrap_err().0, 127);
        assert_eq!(find("/no/such/file").unwrap_err().0, 127);
        assert_eq!(find("/etc/passwd").unwrap_err().0, 126);
        assert_eq!(find("/etc/").unwrap_err().0, 126);
    }
}
