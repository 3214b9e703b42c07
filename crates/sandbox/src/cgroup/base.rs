//! Where in the cgroup2 tree ganger may put its folder, and which controllers it gets there.
//!
//! Controllers can be enabled for children of a folder only while it holds no process itself (cgroup-v2.rst, "no internal
//! process"; the root is exempt). So, tried in this order: the own folder after moving ganger's own processes into a leaf;
//! as root the nearest folder above that is free of processes; else a folder without controllers, which still ends trees.

use std::fs;
use std::path::{Path, PathBuf};

use super::hierarchy::Controller;
use crate::Degraded;

/// The leaf for keeper, logger, daemon and the command line that started them.
const LEAF: &str = "ganger-keeper";

/// The outcome.
#[derive(Debug, Default)]
pub(super) struct Base {
    /// The folder that holds one folder per tree.
    pub(super) folder: PathBuf,
    /// Controllers that trees have.
    pub(super) controllers: Vec<Controller>,
    /// Why one is missing.
    pub(super) why: String,
    /// What to do about it.
    pub(super) fix: String,
}

/// Makes `name` below `own` or, as root, above it.
pub(super) fn choose(mount: &Path, own: &Path, name: &str) -> Result<Base, Degraded> {
    // A keeper that follows a dead one starts in the leaf already.
    let own = if own.ends_with(LEAF) { own.parent().unwrap_or(own) } else { own };
    let root = rustix::process::geteuid().is_root();
    let candidates = own.ancestors().take_while(|path| path.starts_with(mount));
    let mut why = String::new();
    for candidate in candidates.take(if root { usize::MAX } else { 1 }) {
        match controllers_below(candidate, candidate == own) {
            Ok(controllers) => return finish(candidate, name, controllers, why),
            Err(reason) if why.is_empty() => why = reason,
            Err(_) => {}
        }
    }
    finish(own, name, Vec::new(), why)
}

fn finish(
    parent: &Path,
    name: &str,
    controllers: Vec<Controller>,
    why: String,
) -> Result<Base, Degraded> {
    let folder = parent.join(name);
    if let Err(error) = fs::create_dir(&folder)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(Degraded {
            what: "tree by cgroup".into(),
            why: format!("{}: {error}", folder.display()),
            fix: "run ganger as root, or give it a delegated cgroup: \
                  systemd-run --user --scope -p Delegate=yes ganger up"
                .into(),
        });
    }
    let controllers = enable(&folder, &controllers);
    let fix = "run ganger in a cgroup of its own: Delegate=yes in its unit, or \
               systemd-run --user --scope -p Delegate=yes ganger up"
        .into();
    Ok(Base { folder, controllers, why, fix })
}

/// Frees the folder of processes where that is ours to do, and enables what it offers.
fn controllers_below(folder: &Path, may_move: bool) -> Result<Vec<Controller>, String> {
    let offered = listed(&folder.join("cgroup.controllers"));
    if offered.is_empty() {
        return Err(format!("{} offers no controllers", folder.display()));
    }
    let is_root = !folder.join("cgroup.type").exists();
    if !is_root && !pids(folder).is_empty() {
        if !may_move {
            return Err(format!("{} holds processes", folder.display()));
        }
        move_ours(folder)?;
    }
    let enabled = enable(folder, &offered);
    if enabled.is_empty() {
        let file = folder.join("cgroup.subtree_control");
        return Err(format!("{} refuses every controller", file.display()));
    }
    Ok(enabled)
}

fn move_ours(folder: &Path) -> Result<(), String> {
    let strangers = pids(folder).into_iter().filter(|pid| !is_ours(*pid)).count();
    if strangers > 0 {
        return Err(format!("{} processes besides ganger are in {}", strangers, folder.display()));
    }
    let leaf = folder.join(LEAF);
    let told = |error| format!("{}: {error}", leaf.display());
    if !leaf.is_dir() {
        fs::create_dir(&leaf).map_err(told)?;
    }
    for pid in pids(folder) {
        fs::write(leaf.join("cgroup.procs"), pid.to_string()).map_err(told)?;
    }
    Ok(())
}

/// Runs the same binary: the command line that started us, a daemon or logger.
fn is_ours(pid: u32) -> bool {
    let exe = |who: &str| fs::read_link(format!("/proc/{who}/exe")).ok();
    pid == std::process::id() || exe(&pid.to_string()).is_some_and(|it| Some(it) == exe("self"))
}

/// Enables one by one, as one refusal would undo all; returns those that are on.
fn enable(folder: &Path, wanted: &[Controller]) -> Vec<Controller> {
    let file = folder.join("cgroup.subtree_control");
    for controller in wanted {
        // A refusal shows in what is read back.
        let _ = fs::write(&file, format!("+{}", controller.as_str()));
    }
    listed(&file).into_iter().filter(|have| wanted.contains(have)).collect()
}

fn listed(file: &Path) -> Vec<Controller> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let named = |c: &Controller| text.split_whitespace().any(|word| word == c.as_str());
    Controller::ALL.into_iter().filter(named).collect()
}

pub(super) fn pids(folder: &Path) -> Vec<u32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
