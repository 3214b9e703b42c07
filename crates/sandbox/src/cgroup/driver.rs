//! What this machine's cgroups can do for ganger, and the folders in use.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ganger_core::StateId;

use super::base::{self, Base};
use super::controls::{self, Version};
use super::hierarchy::{self, Controller};
use super::tree::{Counters, Tree};
use crate::{Degraded, Layer, Limits, Need, Report};

/// Folders kept for the next process of their instance; the oldest beyond are removed.
const MAX_IDLE: usize = 256;
/// Longest name of a folder (NAME_MAX less room for the spawn id).
const MAX_NAME: usize = 200;

/// Which kind of machine this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Controllers in the cgroup2 tree.
    V2,
    /// v1 controllers, and a cgroup2 tree for membership.
    Hybrid,
    /// v1 controllers only.
    V1,
    /// A cgroup2 tree without controllers: trees end well, limits of trees don't hold.
    TreesOnly,
    /// Nothing that this user may use.
    None,
}

/// Owns ganger's folders of one state.
#[derive(Debug)]
pub struct Driver {
    v2: Option<Base>,
    /// ganger's folder per v1 controller.
    v1: Vec<(Controller, PathBuf)>,
    degraded: Vec<Degraded>,
    pub(super) idle: std::collections::VecDeque<String>,
    in_use: std::collections::HashSet<String>,
    /// Keeps a private cgroup2 mount alive; its folders are named through `/proc/self/fd`.
    _mount: Option<OwnedFd>,
}

/// A tree can't be had as required.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The plan requires a limit that this machine can't enforce.
    #[error("{}: {}; {}", .0.what, .0.why, .0.fix)]
    Required(Degraded),
    /// A folder or limit was refused.
    #[error("cgroup of {name}: {source}")]
    Io {
        /// The tree.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl Driver {
    /// Looks at the machine, makes ganger's folders and moves this process into a leaf where v2 needs it.
    #[must_use]
    pub fn detect(state: StateId) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let own = hierarchy::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        let name = format!("ganger-{}", &state.to_string()[..16]);
        let mut degraded = Vec::new();
        let (place, mount) = match own.v2 {
            Some(place) => (Some(place), None),
            None => private_mount(&mut degraded),
        };
        let v2 = place.and_then(|(point, folder)| {
            base::choose(&point, &folder, &name).map_err(|why| degraded.push(why)).ok()
        });
        let mut v1 = Vec::new();
        for (controller, folder) in own.v1 {
            let folder = folder.join(&name);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    degraded.push(refused(controller, &folder, &error));
                }
                _ => v1.push((controller, folder)),
            }
        }
        let (idle, in_use) = Default::default();
        Self { v2, v1, degraded, idle, in_use, _mount: mount }
    }

    /// A driver without any cgroup, as an unprivileged user of a v1 machine has it.
    #[must_use]
    pub fn none() -> Self {
        let why = Degraded {
            what: "tree by cgroup".into(),
            why: "cgroups are switched off for this keeper".into(),
            fix: "unset GANGER_NO_CGROUP".into(),
        };
        let (idle, in_use) = Default::default();
        Self { v2: None, v1: Vec::new(), degraded: vec![why], idle, in_use, _mount: None }
    }

    /// Which kind of machine this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match (&self.v2, self.v1.is_empty()) {
            (Some(base), _) if !base.controllers.is_empty() => Kind::V2,
            (Some(_), false) => Kind::Hybrid,
            (Some(_), true) => Kind::TreesOnly,
            (None, false) => Kind::V1,
            (None, true) => Kind::None,
        }
    }

    /// True when every tree has a cgroup2 folder, so that membership is certain.
    #[must_use]
    pub const fn holds_trees(&self) -> bool {
        self.v2.is_some()
    }

    /// What is missing whatever a plan asks for.
    #[must_use]
    pub fn degraded(&self) -> &[Degraded] {
        &self.degraded
    }

    /// A folder for a tree with its limits set and counters noted, and what of it holds. `spawn` makes the name unique when
    /// the instance's own folder is taken.
    ///
    /// # Errors
    /// A required limit can't be enforced, or the kernel refuses a folder.
    pub fn prepare(
        &mut self,
        name: &str,
        spawn: u64,
        limits: &Limits,
        need: Need,
    ) -> Result<(Tree, Report), TreeError> {
        let mut name = clean(name);
        if !self.idle.contains(&name) && !self.in_use.contains(&name) {
            // Left by an earlier keeper, which may have killed in it.
            self.tree(&name).remove();
        }
        let waits = self.idle.contains(&name) && self.tree(&name).is_empty();
        if !waits && self.exists(&name) {
            name = format!("{name}.{spawn}");
        }
        let fail = |source| TreeError::Io { name: name.clone(), source };
        let mut report = Report::default();
        let mut tree = Tree {
            v2: self.v2.as_ref().map(|base| base.folder.join(&name)),
            name: name.clone(),
            limited: Vec::new(),
            limits: limits.clone(),
            baseline: Counters::default(),
            killed: AtomicBool::new(false),
        };
        if let Some(folder) = &tree.v2 {
            make(folder).map_err(fail)?;
            report.enforced.push(Layer::Tree);
        }
        for controller in Controller::ALL {
            let asked = asked(limits, controller);
            let Some((version, folder)) = self.folder(controller, &name) else {
                if asked {
                    let missing = self.missing(controller);
                    if need == Need::Require {
                        return Err(TreeError::Required(missing));
                    }
                    report.degraded.push(missing);
                }
                continue;
            };
            if version == Version::V1 && !asked {
                continue;
            }
            make(&folder).map_err(fail)?;
            controls::set(version, controller, &folder, limits).map_err(fail)?;
            tree.limited.push((version, controller, folder));
            report.enforced.extend(asked.then_some(layer(controller)));
        }
        tree.take_baseline();
        self.idle.retain(|idle| *idle != name);
        self.in_use.insert(name);
        Ok((tree, report))
    }

    /// The tree of a name that an earlier keeper gave, with no limit of its own known.
    pub fn adopt(&mut self, name: &str) -> Tree {
        self.in_use.insert(name.to_owned());
        self.tree(name)
    }

    /// Gives a tree back: its folders wait for the next process of the instance, or go.
    pub fn release(&mut self, tree: Tree) {
        self.in_use.remove(&tree.name);
        if !tree.is_empty() {
            return;
        }
        if tree.killed.load(Ordering::Relaxed) {
            return tree.remove();
        }
        self.idle.push_back(tree.name);
        while self.idle.len() > MAX_IDLE {
            if let Some(oldest) = self.idle.pop_front() {
                self.tree(&oldest).remove();
            }
        }
    }

    /// Every tree of this state that is there, in use or left by a dead keeper.
    #[must_use]
    pub fn found(&self) -> Vec<Tree> {
        let bases = self.v2.iter().map(|base| &base.folder).chain(self.v1.iter().map(|(_, f)| f));
        let mut names: Vec<String> = bases
            .filter_map(|base| fs::read_dir(base).ok())
            .flatten()
            .filter_map(|entry| entry.ok().filter(|e| e.path().is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names.dedup();
        names.iter().map(|name| self.tree(name)).collect()
    }

    /// Removes every empty folder, at the keeper's end.
    pub fn close(&mut self) {
        for tree in self.found() {
            tree.remove();
        }
        for folder in self.v2.iter().map(|base| &base.folder).chain(self.v1.iter().map(|(_, f)| f))
        {
            // Refused while somebody is in it, and then the next keeper clears it.
            let _ = fs::remove_dir(folder);
        }
    }

    fn exists(&self, name: &str) -> bool {
        let tree = self.tree(name);
        self.in_use.contains(name) || tree.v2.is_some() || !tree.limited.is_empty()
    }

    /// The folders a name has now. Whether somebody killed in them is not known, so they count as killed.
    fn tree(&self, name: &str) -> Tree {
        let limited = Controller::ALL.into_iter().filter_map(|controller| {
            let (version, folder) = self.folder(controller, name)?;
            folder.is_dir().then_some((version, controller, folder))
        });
        Tree {
            name: name.to_owned(),
            v2: self.v2.as_ref().map(|base| base.folder.join(name)).filter(|path| path.is_dir()),
            limited: limited.collect(),
            limits: Limits::default(),
            baseline: Counters::default(),
            killed: AtomicBool::new(true),
        }
    }

    fn folder(&self, controller: Controller, name: &str) -> Option<(Version, PathBuf)> {
        if let Some(base) = &self.v2
            && base.controllers.contains(&controller)
        {
            return Some((Version::V2, base.folder.join(name)));
        }
        let v1 = self.v1.iter().find(|(have, _)| *have == controller);
        v1.map(|(_, folder)| (Version::V1, folder.join(name)))
    }

    fn missing(&self, controller: Controller) -> Degraded {
        let what = format!("{} limit", controller.as_str());
        if let Some(known) = self.degraded.iter().find(|known| known.what == what) {
            return known.clone();
        }
        match &self.v2 {
            Some(base) if !base.why.is_empty() => {
                Degraded { what, why: base.why.clone(), fix: base.fix.clone() }
            }
            _ => Degraded {
                what,
                why: format!("no cgroup with the {} controller here", controller.as_str()),
                fix: "run ganger as root or in a delegated cgroup (Delegate=yes)".into(),
            },
        }
    }
}

/// A cgroup2 mount that no path shows: ganger needs only its descriptor.
fn private_mount(degraded: &mut Vec<Degraded>) -> (Option<(PathBuf, PathBuf)>, Option<OwnedFd>) {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen,
    };
    let mount = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC).and_then(|context| {
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    });
    match mount {
        Ok(mount) => {
            let point = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
            (Some((point.clone(), point)), Some(mount))
        }
        Err(errno) => {
            degraded.push(Degraded {
                what: "tree by cgroup".into(),
                why: format!("no cgroup2 tree is mounted, and mounting one: {errno}"),
                fix: "run ganger as root, or mount cgroup2 (mount -t cgroup2 none /sys/fs/cgroup/unified)"
                    .into(),
            });
            (None, None)
        }
    }
}

fn refused(controller: Controller, folder: &Path, error: &io::Error) -> Degraded {
    Degraded {
        what: format!("{} limit", controller.as_str()),
        why: format!("{}: {error}", folder.display()),
        fix: "run ganger as root, or have that folder's parent given to its user".into(),
    }
}

const fn asked(limits: &Limits, controller: Controller) -> bool {
    match controller {
        Controller::Memory => limits.memory.is_some(),
        Controller::Cpu => limits.cpu.is_some(),
        Controller::Pids => limits.pids.is_some(),
    }
}

const fn layer(controller: Controller) -> Layer {
    match controller {
        Controller::Memory => Layer::Memory,
        Controller::Cpu => Layer::Cpu,
        Controller::Pids => Layer::Pids,
    }
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display())))
        }
        _ => Ok(()),
    }
}

/// A folder name that can't leave its parent or collide with the kernel's files (which all have a dot and no `@`).
fn clean(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_#".contains(c) { c } else { '_' };
    let short: String = name.chars().map(plain).take(MAX_NAME).collect();
    format!("@{short}")
}
