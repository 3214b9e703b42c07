//! `ganger run`: one command under limits, ended with its whole tree. No daemon, no state folder.
//!
//! This process is the command's keeper for as long as it runs: it has one thread, so the clone is cheap and signals
//! have one reader. The command stays in the caller's session and process group, so that a terminal works as without us.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ganger_core::{Dur, End, InstanceId, InstanceKind, Size};
use ganger_keeper::wire::{Output, Plan, Stdin};
use ganger_keeper::{OneShot, OneShotEnd, oneshot};
use ganger_sandbox::{Access, Limits, Mode, Need, Net, Profile, ProfileName, Sandbox, Shown, Wall};

use crate::error::{CliError, Kind};
use crate::place::STATE_DIR_NAME;
use crate::text;
use crate::ui::Ui;

/// `run`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: the command's own; 124 timeout, 125 ganger itself failed, 126 not executable, \
127 not found, 128+N ended by signal N, 137 limit hit."
)]
pub(crate) struct Args {
    /// Memory of the command and all its processes: 64M, 2G
    #[arg(long, visible_alias = "mem", value_name = "SIZE")]
    memory: Option<Size>,
    /// CPU in cores: 0.5 is half of one
    #[arg(long, value_name = "CORES", value_parser = cores)]
    cpu: Option<f64>,
    /// Processes and threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pids: Option<u64>,
    /// End everything after this long
    #[arg(long, value_name = "TIME")]
    timeout: Option<Dur>,
    /// Put walls around it: strict (sees its program, its libraries and what --read, --write and --exec name; no network), build (the
    /// machine's files without secrets, the working folder writable, no network), standard (the same with network, nothing
    /// writable but /tmp) or none
    #[arg(long, value_name = "PROFILE", value_parser = profile)]
    sandbox: Option<ProfileName>,
    /// What it may read inside the sandbox
    #[arg(long, value_name = "PATH", requires = "sandbox")]
    read: Vec<PathBuf>,
    /// What it may read and change inside the sandbox
    #[arg(long, value_name = "PATH", requires = "sandbox")]
    write: Vec<PathBuf>,
    /// What it may read and execute inside the sandbox
    #[arg(long, value_name = "PATH", requires = "sandbox")]
    exec: Vec<PathBuf>,
    /// The network inside the sandbox: none or host
    #[arg(long, value_name = "NET", requires = "sandbox", value_parser = net)]
    net: Option<Net>,
    /// A layer's mode: landlock=prefer, net=off. Layers: user, mount, pid, net, ipc, uts, cgroup, capabilities, no_new_privs,
    /// landlock, seccomp; modes: require, prefer, off
    #[arg(long, value_name = "LAYER=MODE", requires = "sandbox", value_parser = layer)]
    layer: Vec<(Wall, Mode)>,
    /// Bytes in /tmp and home of the sandbox
    #[arg(long, value_name = "SIZE", requires = "sandbox")]
    disk: Option<Size>,
    /// Refuse to run where a limit can't be enforced, instead of saying so
    #[arg(long)]
    require: bool,
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

fn cores(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cores) if cores.is_finite() && cores > 0.0 => Ok(cores),
        _ => Err("write a number of cores above 0, like 1.5".to_owned()),
    }
}

fn profile(text: &str) -> Result<ProfileName, String> {
    word(text, &ProfileName::ALL)
}

fn net(text: &str) -> Result<Net, String> {
    match text {
        "none" => Ok(Net::None),
        "host" => Ok(Net::Host),
        _ => Err("write none or host".to_owned()),
    }
}

fn layer(text: &str) -> Result<(Wall, Mode), String> {
    let (wall, mode) = text.split_once('=').ok_or("write LAYER=MODE, like landlock=prefer")?;
    Ok((word(wall, &Wall::ALL)?, word(mode, &Mode::ALL)?))
}

fn word<T: Copy>(text: &str, all: &[(&'static str, T)]) -> Result<T, String> {
    let found = all.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    found.ok_or_else(|| format!("write one of {}", names.join(", ")))
}

/// The sandbox that the options ask for.
fn sandbox(args: &Args) -> Result<Option<Box<Sandbox>>, CliError> {
    let Some(profile) = args.sandbox else { return Ok(None) };
    let here = std::env::current_dir().unwrap_or_default();
    let lists =
        [(&args.read, Access::Read), (&args.write, Access::Write), (&args.exec, Access::Execute)];
    let mut paths = Vec::new();
    for (path, access) in
        lists.into_iter().flat_map(|(list, access)| list.iter().map(move |path| (path, access)))
    {
        let path = here.join(path).into_os_string().into_string();
        let path = path
            .map_err(|path| CliError::new(Kind::Run, format!("{} is not UTF-8", path.display())))?;
        paths.push(Shown { path, beneath: None, access });
    }
    Ok(Some(Box::new(Sandbox {
        profile,
        paths,
        net: args.net.clone(),
        layers: args.layer.iter().copied().collect(),
        program: None,
        disk: args.disk.map(|size| size.0),
        watched: false,
    })))
}

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
    // The state folders of whatever daemon works here: they hold a socket that commands ganger.
    let here = std::env::current_dir().unwrap_or_default();
    let own = here.ancestors().map(|folder| folder.join(STATE_DIR_NAME)).filter(|dir| dir.is_dir());
    let own = own.collect();
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
    let limits = Limits {
        memory: args.memory.map(|size| size.0),
        cpu: args.cpu,
        pids: args.pids,
        ..Limits::default()
    };
    let sandbox = sandbox(args)?.filter(|sandbox| !sandbox.is_nothing());
    let need = if args.require { Need::Require } else { Need::Prefer };
    Ok(Plan {
        env: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        cwd: cwd.into_os_string().into_string().map_err(|_| no_utf8("the working folder"))?,
        stdin: Stdin::Inherit,
        stdout: Output::Inherit,
        stderr: Output::Inherit,
        setsid: sandbox.is_some(),
        profile: Profile { limits, need, sandbox, ..Profile::default() },
        ..Plan::new(
            InstanceId::new("run", 1),
            InstanceKind::Command,
            program.into_os_string().into_string().map_err(|_| no_utf8("the program's path"))?,
            args.command.clone(),
        )
    })
}

/// The program as a shell would find it, or the exit code and words of its absence.
fn find(name: &str) -> Result<PathBuf, (u8, String)> {
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
            let allowed = args.memory.unwrap_or_default();
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
        let limit = args.pids.unwrap_or_default();
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

    #[test]
    fn cores_are_positive_numbers() {
        assert_eq!(cores("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "nan", "inf", "x"] {
            assert!(cores(wrong).is_err(), "{wrong}");
        }
    }
}
