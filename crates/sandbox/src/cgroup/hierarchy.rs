//! What is mounted where, and in which folder of each mount this process is.

use std::path::{Path, PathBuf};

/// A controller that ganger uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Controller {
    /// `memory`.
    Memory,
    /// `cpu`.
    Cpu,
    /// `pids`.
    Pids,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// The kernel's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

/// Folders of this process: in the cgroup2 tree, and per v1 controller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Own {
    /// (mount point, own folder) of cgroup2.
    pub(super) v2: Option<(PathBuf, PathBuf)>,
    /// Own folder per v1 controller.
    pub(super) v1: Vec<(Controller, PathBuf)>,
}

/// Reads `/proc/self/mountinfo` and `/proc/self/cgroup` texts (proc(5), cgroups(7)).
pub(super) fn parse(mountinfo: &str, cgroup: &str) -> Own {
    let mut own = Own::default();
    for mount in mountinfo.lines().filter_map(Mount::parse) {
        if mount.fstype == "cgroup2" && own.v2.is_none() {
            own.v2 = folder(&mount, cgroup, |list| list.is_empty())
                .map(|folder| (mount.point.clone(), folder));
        }
        if mount.fstype != "cgroup" {
            continue;
        }
        for controller in Controller::ALL {
            let named = |list: &str| list.split(',').any(|name| name == controller.as_str());
            let known = own.v1.iter().any(|(have, _)| *have == controller);
            if !known
                && named(mount.options)
                && let Some(folder) = folder(&mount, cgroup, named)
            {
                own.v1.push((controller, folder));
            }
        }
    }
    own
}

struct Mount<'a> {
    root: PathBuf,
    point: PathBuf,
    fstype: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// `36 35 98:0 /root /point rw,… [optional…] - fstype source superoptions`
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (unescape(left.next()?), unescape(left.next()?));
        let mut right = right.split(' ');
        let fstype = right.next()?;
        Some(Self { root, point, fstype, options: right.nth(1).unwrap_or("") })
    }
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut out = text.to_owned();
    for (code, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(code, plain);
    }
    out.into()
}

/// The folder below the mount point of the `/proc/self/cgroup` line whose controllers `wanted` accepts.
fn folder(mount: &Mount<'_>, cgroup: &str, wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, list, path) = (parts.next()?, parts.next()?, parts.next()?);
        wanted(list).then_some(path)
    })?;
    // A mount made in another cgroup namespace may not show our folder; then its top is the best there is.
    let below = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let outside = below.components().any(|part| part.as_os_str() == "..");
    Some(if outside { mount.point.clone() } else { mount.point.join(below) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_and_v1_folders_are_found() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      31 25 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
                      32 25 0:28 /box /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      33 25 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";
        let cgroup = "8:pids:/\n4:memory:/a/b\n2:cpu,cpuacct:/box/c\n0::/d\n";
        let own = parse(mounts, cgroup);
        let unified = PathBuf::from("/sys/fs/cgroup/unified");
        assert_eq!(own.v2, Some((unified.clone(), unified.join("d"))));
        let v1 = [
            (Controller::Memory, PathBuf::from("/sys/fs/cgroup/memory/a/b")),
            (Controller::Cpu, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/c")),
        ];
        assert_eq!(own.v1, v1);
    }

    #[test]
    fn namespaced_and_escaped_mounts() {
        let mounts = "30 25 0:26 /../.. /sys/fs/my\\040cgroup rw - cgroup2 cgroup rw\n";
        let own = parse(mounts, "0::/../../x\n");
        assert_eq!(own.v2.unwrap().1, PathBuf::from("/sys/fs/my cgroup/x"));
        assert_eq!(parse("", "0::/\n"), Own::default());
        assert_eq!(parse("garbage\n1 2\n", "garbage\n"), Own::default());
    }
}
