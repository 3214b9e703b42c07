//! Limits and walls around commands, as `run` and `map` take them.

use std::path::PathBuf;

use ganger_core::Size;
use ganger_sandbox::{Access, Limits, Mode, Need, Net, Profile, ProfileName, Sandbox, Shown, Wall};

use crate::error::{CliError, Kind};
use crate::place::STATE_DIR_NAME;

/// Limits of a command and all its processes.
#[derive(Debug, clap::Args)]
pub(crate) struct Bounds {
    /// Memory of the command and all its processes: 64M, 2G
    #[arg(long, visible_alias = "mem", value_name = "SIZE")]
    pub(crate) memory: Option<Size>,
    /// CPU in cores: 0.5 is half of one
    #[arg(long, value_name = "CORES", value_parser = cores)]
    pub(crate) cpu: Option<f64>,
    /// Processes and threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) pids: Option<u64>,
}

/// Walls around it.
#[derive(Debug, clap::Args)]
pub(crate) struct Walls {
    /// Put walls around it: strict (sees its program, its libraries and what --read, --write and --exec name; no network), build (the
    /// machine's files without secrets, the working folder writable, no network), standard (the same with network, nothing
    /// writable but /tmp) or none
    #[arg(long, value_name = "PROFILE", value_parser = profile_name)]
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
}

/// What both ask for.
pub(crate) fn profile(bounds: &Bounds, walls: &Walls) -> Result<Profile, CliError> {
    let limits = Limits {
        memory: bounds.memory.map(|size| size.0),
        cpu: bounds.cpu,
        pids: bounds.pids,
        ..Limits::default()
    };
    let sandbox = sandbox(walls)?.filter(|sandbox| !sandbox.is_nothing());
    let need = if walls.require { Need::Require } else { Need::Prefer };
    Ok(Profile { limits, need, sandbox, ..Profile::default() })
}

/// The state folders of whatever daemon works here: they hold a socket that commands ganger.
pub(crate) fn own() -> Vec<PathBuf> {
    let here = std::env::current_dir().unwrap_or_default();
    let own = here.ancestors().map(|folder| folder.join(STATE_DIR_NAME));
    own.filter(|dir| dir.is_dir()).collect()
}

fn cores(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cores) if cores.is_finite() && cores > 0.0 => Ok(cores),
        _ => Err("write a number of cores above 0, like 1.5".to_owned()),
    }
}

fn profile_name(text: &str) -> Result<ProfileName, String> {
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
fn sandbox(args: &Walls) -> Result<Option<Box<Sandbox>>, CliError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_positive_numbers() {
        assert_eq!(cores("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "nan", "inf", "x"] {
            assert!(cores(wrong).is_err(), "{wrong}");
        }
    }
}
