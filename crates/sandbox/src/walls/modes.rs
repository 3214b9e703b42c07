//! A profile's layers with what was said otherwise, and what becomes of one that the machine does not give.

use std::collections::BTreeMap;

use super::{Mode, Net, ProfileName, Sandbox, SandboxError, Wall};
use crate::Degraded;

/// What this machine does not give, as far as is known: layer and reason.
pub type Missing = BTreeMap<Wall, String>;

/// Layers that somebody wants tried without: `GANGER_NO_LAYERS=landlock,net`.
#[must_use]
pub fn missing_by_wish() -> Missing {
    let wish = std::env::var("GANGER_NO_LAYERS").unwrap_or_default();
    let named =
        |name: &str| Wall::ALL.iter().find(|(word, _)| *word == name.trim()).map(|(_, wall)| *wall);
    let why = || "GANGER_NO_LAYERS says so".to_owned();
    wish.split(',').filter_map(named).map(|wall| (wall, why())).collect()
}

/// The layers that are to stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Standing {
    pub(super) walls: Vec<Wall>,
    pub(super) degraded: Vec<Degraded>,
}

impl Standing {
    pub(super) fn has(&self, wall: Wall) -> bool {
        self.walls.contains(&wall)
    }
}

impl Sandbox {
    /// What is done about a layer.
    #[must_use]
    pub fn mode(&self, wall: Wall) -> Mode {
        if let Some(mode) = self.layers.get(&wall) {
            return *mode;
        }
        if wall == Wall::Net && self.net() != Net::None {
            return Mode::Off;
        }
        default(self.profile, wall)
    }

    /// What it may connect to.
    #[must_use]
    pub fn net(&self) -> Net {
        let of_profile = match self.profile {
            ProfileName::Strict | ProfileName::Build => Net::None,
            ProfileName::Standard | ProfileName::None => Net::Host,
        };
        self.net.clone().unwrap_or(of_profile)
    }

    /// Its own network has an interface to itself: test suites start servers and talk to them.
    pub(super) fn own_interface(&self, standing: &Standing) -> bool {
        self.profile == ProfileName::Build && standing.has(Wall::Net)
    }

    /// Nothing of it changes how a child is started.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        Wall::ALL.iter().all(|(_, wall)| self.mode(*wall) == Mode::Off) && self.program.is_none()
    }
}

fn default(profile: ProfileName, wall: Wall) -> Mode {
    use Wall::{
        Capabilities, Cgroup, Ipc, Landlock, Mount, Net, NoNewPrivs, Pid, Seccomp, User, Uts,
    };
    match (profile, wall) {
        (ProfileName::None, _) => Mode::Off,
        // Names of cgroups tell little where no cgroup filesystem is mounted.
        (ProfileName::Strict | ProfileName::Build, Cgroup) => Mode::Prefer,
        (ProfileName::Strict, _) => Mode::Require,
        // The mounts hold it as well; where there is Landlock it is one more.
        (ProfileName::Build, Landlock) => Mode::Prefer,
        (
            ProfileName::Build,
            User | Mount | Pid | Net | Ipc | Uts | Capabilities | NoNewPrivs | Seccomp,
        ) => Mode::Require,
        (ProfileName::Standard, User | Mount | Capabilities | NoNewPrivs | Seccomp) => {
            Mode::Require
        }
        // Without a pid namespace it is what keeps a child of root from signalling the machine's processes.
        (ProfileName::Standard, Landlock) => Mode::Prefer,
        (ProfileName::Standard, Pid | Net | Ipc | Uts | Cgroup) => Mode::Off,
    }
}

/// Decides which layers stand. `root`: ganger has the rights of the administrator.
pub(super) fn stand(
    sandbox: &Sandbox,
    missing: &Missing,
    root: bool,
) -> Result<Standing, SandboxError> {
    let mut standing = Standing::default();
    for (_, wall) in Wall::ALL {
        let mode = sandbox.mode(wall);
        if mode == Mode::Off {
            continue;
        }
        let lone = is_namespace(wall) && wall != Wall::User && !root && !standing.has(Wall::User);
        let why = match missing.get(&wall) {
            Some(why) => Some(why.clone()),
            None if lone => Some("without a user namespace it is for root only".to_owned()),
            None => None,
        };
        match (why, mode) {
            (None, _) => standing.walls.push(wall),
            (Some(why), Mode::Require) => {
                return Err(SandboxError::Missing { wall, why, fix: fix(wall) });
            }
            (Some(why), _) => standing.degraded.push(degraded(wall, why)),
        }
    }
    Ok(standing)
}

fn degraded(wall: Wall, why: String) -> Degraded {
    Degraded { what: format!("layer {}", wall.as_str()), why, fix: fix(wall).to_owned() }
}

const fn is_namespace(wall: Wall) -> bool {
    use Wall::{Cgroup, Ipc, Mount, Net, Pid, User, Uts};
    matches!(wall, User | Mount | Pid | Net | Ipc | Uts | Cgroup)
}

/// What a person can do about a layer that is missing.
pub(super) const fn fix(wall: Wall) -> &'static str {
    match wall {
        Wall::User => {
            "allow unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns; in a container its seccomp profile), or start ganger as root"
        }
        Wall::Mount => {
            "run ganger where it may mount (in a container: without its seccomp profile, with its own /proc unmasked), on Linux 5.12 or newer"
        }
        Wall::Pid => "run ganger where /proc is not covered (in a container: with /proc unmasked)",
        Wall::Net | Wall::Ipc | Wall::Uts | Wall::Cgroup => {
            "run ganger as root or where user namespaces are allowed, on a kernel with this namespace (see sysctl user.max_*_namespaces)"
        }
        Wall::Landlock => "use Linux 5.13 or newer with `landlock` in the boot parameter lsm=",
        Wall::Seccomp => "use a kernel with CONFIG_SECCOMP_FILTER",
        Wall::Capabilities | Wall::NoNewPrivs => {
            "run ganger where capset(2) and prctl(2) are allowed"
        }
    }
}
