//! From what a plan asks for to what `ganger_sys` puts up.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ganger_sys::seccomp::Instruction;
use ganger_sys::spawn::walls::{IdMap, Namespaces, Walls};

use super::LentNetwork;
use super::modes::{self, Missing, Standing};
use super::paths::View;
use super::root::{self, Wanted};
use super::{Access, Mode, Net, ProfileName, Sandbox, SandboxError, Wall, rules, secrets};
use crate::closure::Closure;
use crate::seccomp::{Calls, Filter};
use crate::{Degraded, Identity};

/// Who a child of root is inside, where no user was asked for: nobody special, so that no program thinks it may do more.
const USER_INSIDE: u32 = 1000;
const HOSTNAME: &str = "sandbox";

/// Who is to be walled in.
#[derive(Debug, Clone, Copy)]
pub struct Inmate<'a> {
    /// Absolute path of the program.
    pub program: &'a Path,
    /// Absolute working folder.
    pub cwd: &'a Path,
    /// Another user than ganger's own.
    pub identity: Option<&'a Identity>,
    /// Folders that it may not look into besides those that nobody may: ganger's own.
    pub hide: &'a [PathBuf],
    /// A folder of ganger's own, which nobody else can write to, for what is the same at each start of a program. Without it, or where it
    /// can't be used, all is made anew each time.
    pub roots: Option<&'a Path>,
}

/// Walls that are ready.
#[derive(Debug)]
pub struct Built {
    /// For the spawn.
    pub walls: Walls,
    /// The layers that will stand.
    pub standing: Vec<Wall>,
    /// Those that will not, though preferred, and what they lack.
    pub degraded: Vec<Degraded>,
    /// Variables that are otherwise inside.
    pub env: Vec<(&'static str, String)>,
    /// Has to live until the child runs.
    pub held: Vec<OwnedFd>,
    /// The network that is in the walls, to be given back when the child has ended.
    pub network: Option<LentNetwork>,
}

impl Built {
    /// It is one of the layers, or one of them can't be had without: the kernel takes a filter and Landlock's rules only from who
    /// can gain nothing.
    #[must_use]
    pub fn needs_no_new_privs(&self) -> bool {
        let needs = [Wall::NoNewPrivs, Wall::Landlock, Wall::Seccomp];
        needs.iter().any(|wall| self.standing.contains(wall))
    }
}

/// Who a child is, inside and outside of its user namespace.
struct Who {
    inside: (u32, u32),
    outside: (u32, u32),
}

impl Sandbox {
    /// Builds the walls. Opens and looks at files, starts nothing.
    ///
    /// # Errors
    /// A required layer is known to be missing, or a path can't be shown.
    pub fn build(&self, inmate: Inmate<'_>, missing: &Missing) -> Result<Built, SandboxError> {
        let own = rustix::process::geteuid();
        let standing = modes::stand(self, missing, own.is_root())?;
        let who = self.who(inmate.identity);
        let mut view = View::default();
        let libraries = self.look(&mut view, inmate, standing.has(Wall::Mount))?;
        let mut walls = Walls {
            namespaces: namespaces(&standing),
            ids: standing
                .has(Wall::User)
                .then(|| ids(&who, own.is_root(), inmate.identity.is_some())),
            hostname: standing.has(Wall::Uts).then(|| CString::new(HOSTNAME).unwrap_or_default()),
            loopback: self.own_interface(&standing),
            no_capabilities: standing.has(Wall::Capabilities),
            seccomp: if standing.has(Wall::Seccomp) { self.calls(&standing) } else { Vec::new() },
            program: self.program.map(|file| (file.device, file.inode)),
            ..Walls::default()
        };
        let mut degraded = standing.degraded.clone();
        let minimal = self.profile == ProfileName::Strict;
        if standing.has(Wall::Landlock) {
            let (landlock, lacks) = match rules::rules(self, &view, &standing) {
                Ok(made) => made,
                Err(error) => {
                    return self.without(Wall::Landlock, error.to_string(), inmate, missing);
                }
            };
            self.hold_ports(&lacks)?;
            degraded.extend(lacks.into_iter().map(lack));
            walls.landlock = Some(landlock);
        }
        if standing.has(Wall::Mount) {
            let hide = if minimal { Vec::new() } else { secrets::hidden(&view, inmate.hide) };
            let wanted = Wanted {
                profile: self.profile,
                view: &view,
                libraries: &libraries,
                landlock: standing.has(Wall::Landlock),
                pid: standing.has(Wall::Pid),
                ids: who.inside,
                disk: self.disk.unwrap_or_else(|| disk(self.profile)),
                hide,
                roots: inmate.roots.filter(|_| self.is_always_so(inmate)),
            };
            walls.root = Some(if minimal { root::empty(&wanted) } else { root::machine(&wanted) });
            if minimal {
                // Nobody can put another file where it is: the mount is of the file that was compared.
                walls.program = None;
            }
        }
        let env = self.env(standing.has(Wall::Mount));
        Ok(Built { walls, standing: standing.walls, degraded, env, held: view.held, network: None })
    }

    /// No path of it was chosen by whoever asks, and its user can reach what is ganger's.
    fn is_always_so(&self, inmate: Inmate<'_>) -> bool {
        inmate.identity.is_none() && self.paths.iter().all(|shown| shown.beneath.is_none())
    }

    /// Ports that were asked for are held by Landlock alone: where that is required, so are they.
    fn hold_ports(&self, lacks: &[&'static str]) -> Result<(), SandboxError> {
        let (wall, ports) = (Wall::Landlock, matches!(self.net(), Net::Ports { .. }));
        match lacks.iter().find(|what| what.starts_with(rules::PORTS)) {
            Some(what) if ports && self.mode(wall) == Mode::Require => {
                Err(SandboxError::Missing { wall, why: lack(what).why, fix: modes::fix(wall) })
            }
            _ => Ok(()),
        }
    }

    /// Once more, without a layer that turned out not to be had.
    fn without(
        &self,
        wall: Wall,
        why: String,
        inmate: Inmate<'_>,
        missing: &Missing,
    ) -> Result<Built, SandboxError> {
        let mut missing = missing.clone();
        missing.insert(wall, why);
        self.build(inmate, &missing)
    }

    fn who(&self, identity: Option<&Identity>) -> Who {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let outside = identity.map_or(own, |identity| (identity.uid, identity.gid));
        let plain = outside.0 == 0 && self.profile != ProfileName::Standard;
        Who { inside: if plain { (USER_INSIDE, USER_INSIDE) } else { outside }, outside }
    }

    /// Gathers what is to be seen; the files that are mapped as code.
    fn look(
        &self,
        view: &mut View,
        inmate: Inmate<'_>,
        mount: bool,
    ) -> Result<BTreeSet<PathBuf>, SandboxError> {
        let mut libraries = BTreeSet::new();
        for shown in &self.paths {
            view.show_asked(shown)?;
        }
        let fail =
            |path: &Path, error: &io::Error| SandboxError::path(path.to_string_lossy(), error);
        if self.profile == ProfileName::Build {
            view.show(inmate.cwd, Access::Work).map_err(|error| fail(inmate.cwd, &error))?;
        }
        if self.profile != ProfileName::Strict {
            let program =
                view.unfold(inmate.program).map_err(|error| fail(inmate.program, &error))?;
            let cwd = view_folder(inmate.cwd);
            // In places that are the child's own they would not be seen otherwise.
            for (path, access) in [(Some(program), Access::Execute), (cwd, Access::Read)] {
                let Some(path) = path else { continue };
                if root::is_private(&path) {
                    view.show(&path, access).map_err(|error| fail(&path, &error))?;
                } else {
                    view.empty.push(path);
                }
            }
            return Ok(libraries);
        }
        let closure = Closure::known(inmate.program)?;
        for path in closure.programs.iter().chain(&closure.loader) {
            let real = view.show(path, Access::Execute).map_err(|error| fail(path, &error))?;
            // What is compared here is what is mounted.
            let found = view.seen.get(&real).map(|seen| seen.file);
            let wanted = self.program.filter(|_| path == inmate.program);
            if wanted.is_some_and(|file| found != Some((file.device, file.inode))) {
                return Err(SandboxError::OtherProgram { path: path.display().to_string() });
            }
        }
        for path in &closure.libraries {
            libraries.insert(view.show(path, Access::Read).map_err(|error| fail(path, &error))?);
        }
        // Where the loader looks for libraries first; without it only in the usual folders.
        let _ = view.show(Path::new("/etc/ld.so.cache"), Access::Read);
        if mount && let Some(folder) = view_folder(inmate.cwd) {
            let folder = view.unfold(&folder).map_err(|error| fail(inmate.cwd, &error))?;
            view.empty.push(folder);
        }
        Ok(libraries)
    }

    fn calls(&self, standing: &Standing) -> Vec<Instruction> {
        let calls = match self.profile {
            ProfileName::Strict if self.net() == Net::None => Calls::Strict,
            ProfileName::Build => Calls::Build,
            _ => Calls::Standard,
        };
        // Without a root of its own the program is executed by the descriptor that was compared, and by execveat.
        match self.watched {
            true if standing.has(Wall::Mount) => filter(calls, Watch::ByPath).to_vec(),
            true => filter(calls, Watch::ByDescriptor).to_vec(),
            false => filter(calls, Watch::Nothing).to_vec(),
        }
    }

    fn env(&self, mount: bool) -> Vec<(&'static str, String)> {
        let tmp = ("TMPDIR", "/tmp".to_owned());
        match self.profile {
            ProfileName::Strict if mount => vec![("HOME", root::HOME.to_owned()), tmp],
            ProfileName::Build if mount => vec![("HOME", "/tmp".to_owned()), tmp],
            _ => Vec::new(),
        }
    }
}

/// The working folder, if it is there; what it holds is seen only where it is shown.
fn view_folder(cwd: &Path) -> Option<PathBuf> {
    cwd.is_dir().then(|| cwd.to_path_buf())
}

/// What ends a program instead of failing, by how it is executed itself.
#[derive(Debug, Clone, Copy)]
enum Watch {
    Nothing,
    ByPath,
    ByDescriptor,
}

/// Filters take a millisecond to make and never change.
fn filter(calls: Calls, watch: Watch) -> &'static [Instruction] {
    use std::sync::OnceLock;
    static FILTERS: [OnceLock<Filter>; 9] = [const { OnceLock::new() }; 9];
    let place = match calls {
        Calls::Strict => 0,
        Calls::Standard => 1,
        Calls::Build => 2,
    };
    let rules = || match watch {
        Watch::Nothing => calls.rules(),
        Watch::ByPath => calls.watched(),
        Watch::ByDescriptor => calls.watched_by_descriptor(),
    };
    FILTERS[place + 3 * watch as usize].get_or_init(|| Filter::of(&rules())).instructions()
}

const fn disk(profile: ProfileName) -> u64 {
    match profile {
        ProfileName::Strict => 64 << 20,
        ProfileName::Standard | ProfileName::None => 256 << 20,
        ProfileName::Build => 1 << 30,
    }
}

/// The layers that are namespaces.
pub(super) const NAMESPACES: [(Wall, Namespaces); 7] = [
    (Wall::User, Namespaces::USER),
    (Wall::Mount, Namespaces::MOUNT),
    (Wall::Pid, Namespaces::PID),
    (Wall::Net, Namespaces::NET),
    (Wall::Ipc, Namespaces::IPC),
    (Wall::Uts, Namespaces::UTS),
    (Wall::Cgroup, Namespaces::CGROUP),
];

fn namespaces(standing: &Standing) -> Namespaces {
    let standing = NAMESPACES.into_iter().filter(|(wall, _)| standing.has(*wall));
    standing.fold(Namespaces::default(), |set, (_, one)| set.and(one))
}

fn ids(who: &Who, root: bool, other: bool) -> IdMap {
    let line = |inside: u32, outside: u32| {
        CString::new(format!("{inside} {outside} 1")).unwrap_or_default()
    };
    let groups = rustix::process::getgroups().unwrap_or_default();
    let lose = groups.iter().any(|group| group.as_raw() != who.outside.1);
    IdMap {
        uid: who.inside.0,
        gid: who.inside.1,
        uids: line(who.inside.0, who.outside.0),
        gids: line(who.inside.1, who.outside.1),
        by_parent: root && (other || lose),
    }
}

fn lack(what: &'static str) -> Degraded {
    Degraded {
        what: "layer landlock".into(),
        why: format!("this kernel's Landlock does not hold {what}"),
        fix: "use a newer kernel; the other layers hold what they hold".into(),
    }
}
