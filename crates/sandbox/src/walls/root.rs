//! What is in the root folder of a walled child: the entries that `ganger_sys` mounts, from what is to be seen.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ganger_sys::spawn::walls::{
    Base, Bind, Entry, NO_DEV, NO_EXEC, NO_SUID, Place, Private, READ_ONLY, Root,
};

use super::paths::{Seen, View};
use super::{Access, ProfileName};

/// The root itself: it holds folders and links only.
const ROOT: &str = "size=1048576,nr_inodes=8192,mode=0755";
/// Devices that give or take bytes and nothing else.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Where `ganger run` and the policies' programs find their own home.
pub(super) const HOME: &str = "/home";

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
}

/// The path inside of a root: without the leading slash.
pub(super) fn inside(path: &Path) -> CString {
    let bytes = path.as_os_str().as_bytes();
    let bytes = bytes.strip_prefix(b"/").unwrap_or(bytes);
    // Paths of the kernel have no NUL, and paths of others were made from texts that were looked at.
    CString::new(bytes).unwrap_or_default()
}

fn whole(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// A root that holds what is seen and nothing else.
pub(super) fn empty(wanted: &Wanted<'_>) -> Root {
    let view = wanted.view;
    let mut folders = BTreeSet::new();
    let mut above = |path: &Path| {
        folders.extend(path.ancestors().skip(1).map(Path::to_path_buf));
    };
    // Deeper ones lie over the folder that shows them; there the place is there already.
    let covered = |path: &Path| path.parent().is_some_and(|parent| view.covers(parent));
    view.seen.keys().filter(|path| !covered(path)).for_each(|path| above(path));
    view.links.keys().filter(|path| !covered(path)).for_each(|path| above(path));
    view.empty.iter().for_each(|path| above(path));
    folders.extend(view.empty.iter().cloned());
    folders.extend(["/etc", "/proc"].map(PathBuf::from));
    folders.retain(|path| {
        !view.covers(path) && !view.links.contains_key(path) && path != Path::new("/")
    });
    let mut entries: Vec<Entry> =
        ["dev", "dev/shm", "tmp", "home"].map(|at| Entry::Folder(whole(Path::new(at)))).into();
    entries.push(Entry::Private(private(wanted, HOME)));
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
    let base = Base::Empty(CString::new(ROOT).unwrap_or_default());
    Root { base, entries }
}

/// A path in which the machine's files are not seen: these places are the child's own.
pub(super) fn is_private(path: &Path) -> bool {
    ["/tmp", "/dev"].iter().any(|place| path.starts_with(place))
}

/// The machine's files read-only, without what is secret and with a `/dev` of its own.
pub(super) fn machine(wanted: &Wanted<'_>) -> Root {
    let mut entries = vec![Entry::Memory(c"dev".to_owned())];
    entries.push(Entry::Folder(c"dev/shm".to_owned()));
    entries.push(Entry::Private(private(wanted, "")));
    entries.extend(devices());
    if wanted.pid {
        entries.push(proc(wanted));
    }
    for (path, seen) in &wanted.view.seen {
        let private = is_private(path);
        if private {
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
    let texts = BTreeMap::from([
        ("/etc/passwd", format!("user:x:{uid}:{gid}:user:{HOME}:/bin/false\n")),
        ("/etc/group", format!("user:x:{gid}:\n")),
        ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n".to_owned()),
    ]);
    let taken = |path: &str| {
        wanted.view.seen.contains_key(Path::new(path)) || wanted.view.covers(Path::new(path))
    };
    let free = texts.into_iter().filter(|(path, _)| !taken(path));
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

/// `/tmp`, shared memory and a home, which have one budget of bytes and files.
fn private(wanted: &Wanted<'_>, home: &str) -> Private {
    /// Bytes a file: what a tree of small sources has.
    const PER_FILE: u64 = 4096;
    let quiet = NO_SUID | NO_DEV;
    let programs = if wanted.profile == ProfileName::Build { 0 } else { NO_EXEC };
    let place = |at: &str, name: &str, mode: u32, attributes: u64| Place {
        at: inside(Path::new(at)),
        name: whole(Path::new(name)),
        mode,
        attributes,
    };
    let mut places = vec![
        place("/tmp", "tmp", 0o1777, quiet | programs),
        place("/dev/shm", "shm", 0o1777, quiet | NO_EXEC),
    ];
    if !home.is_empty() {
        places.push(place(home, "home", 0o700, quiet | NO_EXEC));
    }
    // What the program declares to be its /tmp or home stays that.
    places.retain(|place| {
        let path = Path::new("/").join(std::ffi::OsStr::from_bytes(place.at.as_bytes()));
        !wanted.view.seen.contains_key(&path)
    });
    let files = wanted.disk / PER_FILE + 64;
    let options = format!("size={},nr_inodes={files}", wanted.disk);
    let hide = wanted.hide.iter().map(|(path, folder)| (inside(path), *folder)).collect();
    Private { options: CString::new(options).unwrap_or_default(), places, hide }
}
