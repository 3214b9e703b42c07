//! Landlock's part of a sandbox, as rights beneath paths inside.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ganger_sys::spawn::walls::Landlock;
use landlock::{ABI, Access as _, AccessFs, BitFlags};

use super::modes::Standing;
use super::paths::View;
use super::{Access, Net, ProfileName, Sandbox, Wall};
use crate::landlock::{Reach, ReachError};

/// How a lack of rules about ports is told, see `Reach::missing`.
pub(super) const PORTS: &str = "TCP ports";

/// The ruleset, and what this kernel's Landlock can't hold and nothing else holds either.
pub(super) fn rules(
    sandbox: &Sandbox,
    view: &View,
    standing: &Standing,
) -> Result<(Landlock, Vec<&'static str>), ReachError> {
    let [root, pid, net] = [Wall::Mount, Wall::Pid, Wall::Net].map(|wall| standing.has(wall));
    let (connect, bind) = match sandbox.net() {
        // There is nobody else to connect to.
        Net::None if sandbox.own_interface(standing) => (None, None),
        Net::None => (Some(Vec::new()), Some(Vec::new())),
        Net::Host => (None, None),
        Net::Ports { connect, bind } => (Some(connect), Some(bind)),
    };
    // Where the network is the machine's, its abstract sockets are too, as long as there is no port to be chosen.
    let open = matches!(sandbox.net(), Net::Host);
    let reach = Reach { connect, bind, abstract_sockets: open, signals: false, ..Reach::default() };
    let walls = reach.walls()?;
    let version = ganger_sys::landlock::version().unwrap_or(1);
    let known = ABI::from(i32::try_from(version).unwrap_or(1));
    let handled = AccessFs::from_all(known.min(ABI::V7));
    let mut rules = Vec::new();
    let mut add = |path: &Path, access: BitFlags<AccessFs>, folder: bool| {
        let access = access & handled;
        let access = if folder { access } else { access & AccessFs::from_file(ABI::V7) };
        let path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
        rules.push((path, access.bits()));
    };
    let execute = AccessFs::from_read(ABI::V7);
    let read = execute & !AccessFs::Execute;
    let no_device = AccessFs::MakeChar | AccessFs::MakeBlock;
    let write = AccessFs::from_all(ABI::V7) & !(no_device | AccessFs::Execute | AccessFs::IoctlDev);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let minimal = sandbox.profile == ProfileName::Strict;
    // Each rule is paid for at each start. A root of its own with a /proc of its own has nothing in it that may not be read, so one rule
    // says that; its devices lie in one folder, unless one of the machine's others is shown there.
    let readable = minimal && root && pid;
    let devices = root && !view.uses(Path::new("/dev"));
    // Without a /proc of its own there are names in it that may not be read, though none that may not be known of.
    let listed = match (minimal && root, readable) {
        (_, true) => read,
        (true, false) => AccessFs::ReadDir.into(),
        (false, false) => execute,
    };
    if root || !minimal {
        add(Path::new("/"), listed, true);
    }
    for (path, seen) in &view.seen {
        let access = match seen.access {
            Access::Read if readable => continue,
            Access::Read => read,
            Access::Execute => execute,
            Access::Write => write,
            Access::Work => write | AccessFs::Execute,
        };
        add(path, access, seen.folder);
    }
    let temporary = if minimal { write } else { write | AccessFs::Execute };
    if root {
        add(Path::new("/tmp"), temporary, true);
        add(Path::new("/dev/shm"), write, true);
        if minimal {
            // Elsewhere it is the machine's.
            add(Path::new(super::root::HOME), write, true);
        }
        for path in super::root::NAMES.iter().filter(|_| minimal && !readable) {
            add(Path::new(path), read, false);
        }
    }
    if devices {
        add(Path::new("/dev"), device, true);
    } else if root || !minimal {
        for name in super::root::DEVICES {
            add(&Path::new("/dev").join(name), device, false);
        }
    }
    // Without a /proc of its own it would be every process's.
    if root && pid && !readable || !minimal {
        add(Path::new("/proc"), read, true);
    }
    let covered = |what: &str| {
        what.starts_with("commands")
            || pid && what.starts_with("signals")
            || net && what.starts_with(PORTS)
    };
    let missing = walls.missing.iter().copied().filter(|what| !covered(what)).collect();
    Ok((Landlock { ruleset: walls.ruleset, rules }, missing))
}
