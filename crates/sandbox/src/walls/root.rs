//! What is in the root folder of a walled child: the entries that `ganger_sys` mounts, from what is to be seen.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ganger_sys::spawn::walls::{
    Base, Bind, Entry, NO_DEV, NO_EXEC, NO_SUID, Place, Private, READ_ONLY, Root,
};

use super::paths::{Seen, View};
use super::skeleton::{self, Skeleton};
use super::{Access, ProfileName};

/// Bytes a file of those that a child may make: what a tree of small sources has. It is also a page, which a short text takes.
const PER_FILE: u64 = 4096;
/// Files that it may make where it may keep next to nothing.
const FILES_LEAST: u64 = 64;
/// Devices that give or take bytes and nothing else.
pub(super) const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Where `ganger run` and the policies' programs find their own home.
pub(super) const HOME: &str = "/home";
/// Texts of its own, where nothing else is shown there.
pub(super) const NAMES: [&str; 3] = ["/etc/passwd", "/etc/group", "/etc/hosts"];
const TMP: &str = "/tmp";
const SHM: &str = "/dev/shm";
const DEV: &str = "/dev";

/// What of a root is decided elsewhere.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) profile: ProfileName,
    pub(super) view: &'a View,
    /// Files that are mapped as code though they are not executed.
    pub(super) libraries: &'a BTreeSet<PathBuf>,
    /// Landlock says what may be executed; else the mounts have to.
    pub(super) landlock: bool,
    /// There is a pid namespace, whose `/proc` it is.
    pub(super) pid: bool,
    pub(super) ids: (u32, u32),
    pub(super) disk: u64,
    /// Folders and files that nobody may look into.
    pub(super) hide: Vec<(PathBuf, bool)>,
    /// Where what is the same each time may be kept.
    pub(super) roots: Option<&'a Path>,
}

/// The path inside of a root: without the leading slash.
pub(super) fn inside(path: &Path) -> CString {
    let bytes = path.as_os_str().as_bytes();
    let bytes = bytes.strip_prefix(b"/").unwrap_or(bytes);
    // Paths of the kernel have no NUL, and paths of others were made from texts that were looked at.
    CString::new(bytes).unwrap_or_default()
}

pub(super) fn whole(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// A root that holds what is seen and nothing else.
pub(super) fn empty(wanted: &Wanted<'_>) -> Root {
    let view = wanted.view;
    let covered = |path: &Path| covered(view, path);
    let mut folders = BTreeSet::new();
    let mut above = |path: &Path| {
        folders.extend(path.ancestors().skip(1).map(Path::to_path_buf));
    };
    view.seen.keys().filter(|path| !covered(path)).for_each(|path| above(path));
    view.links.keys().filter(|path| !covered(path)).for_each(|path| above(path));
    view.empty.iter().for_each(|path| above(path));
    folders.extend(view.empty.iter().cloned());
    folders.extend(["/etc", "/proc"].map(PathBuf::from));
    folders.retain(|path| {
        !view.covers(path) && !view.links.contains_key(path) && path != Path::new("/")
    });
    let places = places(wanted, &[TMP, SHM, HOME]);
    let mut entries = vec![Entry::Folder(c"dev".to_owned())];
    entries.push(Entry::Private(Private { options: None, places, hide: hide(wanted) }));
    entries.extend(folders.iter().map(|path| Entry::Folder(inside(path))));
    for (at, to) in view.links.iter().filter(|(at, _)| !covered(at)) {
        entries.push(Entry::Link { to: whole(to), at: inside(at) });
    }
    for (path, seen) in &view.seen {
        if !covered(path) {
            let place = if seen.folder { Entry::Folder } else { Entry::Place };
            entries.push(place(inside(path)));
        }
        entries.push(Entry::Bind(bind(path, seen, wanted)));
    }
    entries.extend(names(wanted));
    entries.extend(devices());
    entries.push(proc(wanted));
    match wanted.roots.and_then(|roots| Skeleton::of(roots, &entries)) {
        Some(skeleton) => standing_on(skeleton, entries, wanted),
        None => Root { base: Base::Empty(options(wanted, &entries)), entries },
    }
}

/// The same, with what is the same each time from a folder.
fn standing_on(skeleton: Skeleton, entries: Vec<Entry>, wanted: &Wanted<'_>) -> Root {
    let places = skeleton::places(&entries);
    let left = entries.into_iter().filter(|entry| skeleton.leaves(entry, &places));
    let own = |entry| match entry {
        Entry::Private(mut private) => {
            private.options = Some(options(wanted, &[]));
            for (index, place) in private.places.iter_mut().enumerate() {
                place.name = whole(Path::new(&index.to_string()));
            }
            Entry::Private(private)
        }
        other => other,
    };
    let left: Vec<Entry> = left.map(own).collect();
    let entries = skeleton.devices.map(Entry::Bind).into_iter().chain(left).collect();
    Root { base: Base::Folder(skeleton.base), entries }
}

/// It lies over a folder that is seen: its place is there already.
fn covered(view: &View, path: &Path) -> bool {
    path.parent().is_some_and(|parent| view.covers(parent))
}

/// A path in which the machine's files are not seen: these places are the child's own.
pub(super) fn is_private(path: &Path) -> bool {
    ["/tmp", "/dev"].iter().any(|place| path.starts_with(place))
}

/// The machine's files read-only, without what is secret and with a `/dev` of its own.
pub(super) fn machine(wanted: &Wanted<'_>) -> Root {
    let places = places(wanted, &[DEV, TMP, SHM]);
    let options = Some(options(wanted, &[]));
    let mut entries = vec![Entry::Private(Private { options, places, hide: hide(wanted) })];
    entries.extend(devices());
    if wanted.pid {
        entries.push(proc(wanted));
    }
    for (path, seen) in &wanted.view.seen {
        let private = is_private(path);
        if private && !covered(wanted.view, path) {
            let mut above: Vec<&Path> =
                path.ancestors().skip(1).filter(|path| is_private(path)).collect();
            above.reverse();
            entries.extend(above.into_iter().skip(1).map(|path| Entry::Folder(inside(path))));
            let place = if seen.folder { Entry::Folder } else { Entry::Place };
            entries.push(place(inside(path)));
        }
        if private || matches!(seen.access, Access::Write | Access::Work) {
            entries.push(Entry::Bind(bind(path, seen, wanted)));
        }
    }
    entries.push(Entry::Shut(c"dev".to_owned()));
    Root { base: Base::Machine, entries }
}

fn bind(path: &Path, seen: &Seen, wanted: &Wanted<'_>) -> Bind {
    let attributes = NO_SUID
        | NO_DEV
        | match seen.access {
            Access::Write => NO_EXEC,
            Access::Work => 0,
            Access::Execute => READ_ONLY,
            Access::Read if wanted.landlock || wanted.libraries.contains(path) => READ_ONLY,
            Access::Read => READ_ONLY | NO_EXEC,
        };
    Bind { from: whole(path), file: seen.file, to: inside(path), folder: seen.folder, attributes }
}

/// Names for the one user and group that there are.
fn names(wanted: &Wanted<'_>) -> Vec<Entry> {
    let (uid, gid) = wanted.ids;
    let texts = [
        format!("user:x:{uid}:{gid}:user:{HOME}:/bin/false\n"),
        format!("user:x:{gid}:\n"),
        "127.0.0.1 localhost\n::1 localhost\n".to_owned(),
    ];
    let taken = |path: &str| {
        wanted.view.seen.contains_key(Path::new(path)) || wanted.view.covers(Path::new(path))
    };
    let free = NAMES.into_iter().zip(texts).filter(|(path, _)| !taken(path));
    free.map(|(path, text)| Entry::Text { at: inside(Path::new(path)), text: text.into_bytes() })
        .collect()
}

fn devices() -> Vec<Entry> {
    let mut entries = Vec::new();
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        // One that is not there can't be shown.
        let Ok(meta) = path.metadata() else { continue };
        entries.push(Entry::Place(inside(&path)));
        entries.push(Entry::Bind(Bind {
            from: whole(&path),
            file: (meta.dev(), meta.ino()),
            to: inside(&path),
            folder: false,
            attributes: NO_SUID | NO_EXEC,
        }));
    }
    let links =
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")];
    entries.extend(links.map(|(at, to)| Entry::Link {
        to: whole(Path::new(to)),
        at: inside(&Path::new("/dev").join(at)),
    }));
    entries
}

fn proc(wanted: &Wanted<'_>) -> Entry {
    if wanted.pid {
        return Entry::Proc(c"proc".to_owned());
    }
    let meta = Path::new("/proc").metadata();
    let file = meta.map(|meta| (meta.dev(), meta.ino())).unwrap_or_default();
    let attributes = READ_ONLY | NO_SUID | NO_DEV | NO_EXEC;
    let (from, to) = (c"/proc".to_owned(), c"proc".to_owned());
    Entry::Bind(Bind { from, file, to, folder: true, attributes })
}

fn hide(wanted: &Wanted<'_>) -> Vec<(CString, bool)> {
    wanted.hide.iter().map(|(path, folder)| (inside(path), *folder)).collect()
}

/// What can be written to: folders of one tmpfs, which have one budget of bytes and files.
fn places(wanted: &Wanted<'_>, paths: &[&str]) -> Vec<Place> {
    // What the program declares to be its /tmp or home stays that.
    let free = |path: &&str| *path == DEV || !wanted.view.seen.contains_key(Path::new(path));
    let place = |path: &str| {
        let (mode, programs) = match path {
            DEV => (0o755, false),
            HOME => (0o700, false),
            TMP => (0o1777, wanted.profile == ProfileName::Build),
            _ => (0o1777, false),
        };
        let attributes = NO_SUID | NO_DEV | if programs { 0 } else { NO_EXEC };
        let at = inside(Path::new(path));
        Place { name: at.clone(), at, mode, attributes }
    };
    paths.iter().copied().filter(free).map(place).collect()
}

/// Of the tmpfs: room for what the child may keep, and for what is in it before.
fn options(wanted: &Wanted<'_>, entries: &[Entry]) -> CString {
    let texts = entries.iter().filter(|entry| matches!(entry, Entry::Text { .. })).count() as u64;
    let size = wanted.disk + texts * PER_FILE;
    let files = wanted.disk / PER_FILE + FILES_LEAST + entries.len() as u64;
    CString::new(format!("size={size},nr_inodes={files},mode=0755")).unwrap_or_default()
}
