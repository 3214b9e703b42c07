//! Which layer a failed start is to be blamed on.

use std::path::Path;

use ganger_sys::spawn::walls::{Entry, Namespaces};
use ganger_sys::spawn::{SpawnError, Step};

use super::build::{Built, NAMESPACES};
use super::modes::{Missing, fix};
use super::{Mode, Sandbox, SandboxError, Wall};

/// What is to be done after a start that failed.
#[derive(Debug)]
pub enum Blame {
    /// It had nothing to do with walls.
    Other,
    /// Once more without this layer, which was only preferred.
    Again(Wall, String),
    /// It is refused.
    Refused(SandboxError),
}

impl Sandbox {
    /// Judges a failed start.
    #[must_use]
    pub fn blame(&self, built: &Built, error: &SpawnError, missing: &Missing) -> Blame {
        let Some((wall, on)) = layer(built, error) else { return Blame::Other };
        let text = ganger_core::end::errno_text(error.errno);
        let about_path = matches!(error.step, Step::Mount | Step::Hide) && is_path(error.errno);
        if let Some(path) = on.as_ref().filter(|_| about_path) {
            let why = format!("{text} when it was to be shown");
            return Blame::Refused(SandboxError::Path { path: path.clone(), why });
        }
        let on = on.map(|path| format!(" on {path}")).unwrap_or_default();
        let why = format!("{} failed{on}: {text}", error.step);
        // Left out already, it was tried for those that can't be had without.
        let (wall, why) = match (wall, leaning(built)) {
            (Wall::NoNewPrivs, Some(other)) if !built.standing.contains(&wall) => {
                (other, format!("it can't be had without no_new_privs: {why}"))
            }
            _ => (wall, why),
        };
        if self.mode(wall) == Mode::Prefer && !missing.contains_key(&wall) {
            return Blame::Again(wall, why);
        }
        Blame::Refused(SandboxError::Missing { wall, why, fix: fix(wall) })
    }
}

/// A layer that can't be had without no_new_privs.
fn leaning(built: &Built) -> Option<Wall> {
    [Wall::Seccomp, Wall::Landlock].into_iter().find(|wall| built.standing.contains(wall))
}

/// ENOENT, EACCES, ESTALE, ENOTDIR: the path is not there, not to be reached, or another file by now.
fn is_path(errno: i32) -> bool {
    use rustix::io::Errno;
    [Errno::NOENT, Errno::ACCESS, Errno::STALE, Errno::NOTDIR, Errno::LOOP]
        .iter()
        .any(|one| one.raw_os_error() == errno)
}

fn layer(built: &Built, error: &SpawnError) -> Option<(Wall, Option<String>)> {
    let walls = &built.walls;
    Some(match error.step {
        Step::Clone3 => (born(walls.namespaces)?, None),
        Step::IdMap | Step::NoNesting => (Wall::User, None),
        Step::Setgroups | Step::Setgid | Step::Setuid if walls.ids.is_some() => (Wall::User, None),
        Step::CgroupNamespace => (Wall::Cgroup, None),
        Step::Hostname => (Wall::Uts, None),
        Step::Loopback => (Wall::Net, None),
        Step::Private | Step::Root | Step::Memory | Step::Pivot => (Wall::Mount, None),
        Step::Mount => match walls.root.as_ref()?.entries.get(error.index)? {
            Entry::Proc(_) => (Wall::Pid, Some("/proc".into())),
            Entry::Bind(bind) => (Wall::Mount, Some(bind.from.to_string_lossy().into_owned())),
            _ => (Wall::Mount, None),
        },
        Step::Hide => {
            let mut entries = walls.root.as_ref()?.entries.iter();
            let hidden = entries.find_map(|entry| match entry {
                Entry::Private(private) => private.hide.get(error.index),
                _ => None,
            })?;
            let path = Path::new("/").join(hidden.0.to_string_lossy().as_ref());
            (Wall::Mount, Some(path.display().to_string()))
        }
        Step::LandlockRule => {
            let rule = walls.landlock.as_ref()?.rules.get(error.index)?;
            (Wall::Landlock, Some(rule.0.to_string_lossy().into_owned()))
        }
        Step::Landlock => (Wall::Landlock, None),
        Step::Capabilities => (Wall::Capabilities, None),
        Step::NoNewPrivs => (Wall::NoNewPrivs, None),
        Step::Seccomp => (Wall::Seccomp, None),
        _ => return None,
    })
}

fn born(namespaces: Namespaces) -> Option<Wall> {
    let refused = namespaces.refused()?;
    NAMESPACES.into_iter().find(|(_, one)| *one == refused).map(|(wall, _)| wall)
}
