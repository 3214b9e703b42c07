//! What of a root is the same each time: its folders, links, short texts and the places of mounts, as a folder on disk that is mounted
//! read-only instead of being made anew for each child; under root with the devices as well.
//!
//! ```text
//! ROOTS/NAME       the folder; NAME is the hash of what it holds
//! ROOTS/NAME.is    what it holds, to be compared: two of one hash would be one folder
//! ```
//!
//! It is made under another name, renamed when it is whole, and then never changed or taken away, as children may stand on it: a folder
//! that is removed takes the mounts on it along. Where there can be no more of them, or one can't be made, roots are made in memory.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ganger_sys::spawn::walls::{Bind, Entry, NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};
use rustix::fs::{CWD, FileType, Mode, StatVfsMountFlags, mknodat, statvfs};

/// More programs than a machine runs in `strict`. Each has two names.
const MADE_MAX: usize = 512;

/// What this process found whole or made; `None`: it can't be.
type Made = BTreeMap<(PathBuf, Vec<u8>), Option<PathBuf>>;

static MADE: Mutex<Made> = Mutex::new(BTreeMap::new());

/// A folder to stand on.
#[derive(Debug)]
pub(super) struct Skeleton {
    /// To be the root.
    pub(super) base: Bind,
    /// Its devices, where they are in it; they are no entries then.
    pub(super) devices: Option<Bind>,
}

impl Skeleton {
    /// The one below `roots` that holds what of these entries is the same each time.
    pub(super) fn of(roots: &Path, entries: &[Entry]) -> Option<Self> {
        let nodes = rustix::process::geteuid().is_root()
            && statvfs(roots).is_ok_and(|it| !it.f_flag.contains(StatVfsMountFlags::NODEV));
        let folder = known(roots, &contents(entries, nodes))?;
        let quiet = READ_ONLY | NO_SUID | NO_EXEC;
        let base = bind(&folder, c"", quiet | NO_DEV)?;
        let devices = if nodes { Some(bind(&folder.join("dev"), c"dev", quiet)?) } else { None };
        Some(Self { base, devices })
    }

    /// It is still to be made or mounted for each child.
    pub(super) fn leaves(&self, entry: &Entry, places: &[Vec<u8>]) -> bool {
        let device = |at: &CStr| self.devices.is_some() && is_device(at);
        match entry {
            Entry::Bind(bind) => !device(&bind.to),
            other => !is_fixed(other, places),
        }
    }
}

/// The places of the child's own memory among these.
pub(super) fn places(entries: &[Entry]) -> Vec<Vec<u8>> {
    let places = |entry: &Entry| match entry {
        Entry::Private(it) => it.places.iter().map(|place| place.at.as_bytes().to_vec()).collect(),
        _ => Vec::new(),
    };
    entries.iter().flat_map(places).collect()
}

fn is_device(at: &CStr) -> bool {
    let name = at.to_bytes().strip_prefix(b"dev/");
    name.is_some_and(|name| super::root::DEVICES.iter().any(|device| device.as_bytes() == name))
}

/// What does not lie in the child's own memory, and is no mount.
fn is_fixed(entry: &Entry, places: &[Vec<u8>]) -> bool {
    let (Entry::Folder(at) | Entry::Place(at) | Entry::Text { at, .. } | Entry::Link { at, .. }) =
        entry
    else {
        return false;
    };
    let below = |place: &Vec<u8>| {
        at.as_bytes().strip_prefix(place.as_slice()).is_some_and(|rest| rest.starts_with(b"/"))
    };
    !places.iter().any(below)
}

/// A line for each thing, in the order in which they are made: what it is, where, and what it says.
fn contents(entries: &[Entry], nodes: bool) -> Vec<u8> {
    let mut all = Vec::new();
    let mut say = |kind: u8, at: &[u8], text: &[u8]| {
        all.push(kind);
        all.extend_from_slice(at);
        all.push(0);
        all.extend_from_slice(text);
        all.push(0);
    };
    let places = places(entries);
    for entry in entries {
        match entry {
            Entry::Private(it) => {
                it.places.iter().for_each(|place| say(b'd', place.at.as_bytes(), b""))
            }
            entry if !is_fixed(entry, &places) => {}
            Entry::Folder(at) => say(b'd', at.as_bytes(), b""),
            Entry::Place(at) if nodes && is_device(at) => say(b'n', at.as_bytes(), b""),
            Entry::Place(at) => say(b'f', at.as_bytes(), b""),
            Entry::Text { at, text } => say(b'f', at.as_bytes(), text),
            Entry::Link { to, at } => say(b'l', at.as_bytes(), to.as_bytes()),
            Entry::Shut(_) | Entry::Bind(_) | Entry::Proc(_) => {}
        }
    }
    all
}

fn known(roots: &Path, holds: &[u8]) -> Option<PathBuf> {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (roots.to_path_buf(), holds.to_vec());
    match made.get(&key) {
        Some(Some(folder)) if folder.is_dir() => return Some(folder.clone()),
        Some(None) => return None,
        _ => {}
    }
    if made.len() >= MADE_MAX {
        return None;
    }
    let folder = find(roots, holds).ok().flatten();
    made.insert(key, folder.clone());
    folder
}

/// Finds it or makes it; `None` where there is no room, or another one has its name.
fn find(roots: &Path, holds: &[u8]) -> io::Result<Option<PathBuf>> {
    let mut hasher = DefaultHasher::new();
    hasher.write(holds);
    let name = format!("{:016x}", hasher.finish());
    // Mounts are of paths without links.
    let roots = &roots.canonicalize()?;
    let (folder, is) = (roots.join(&name), roots.join(format!("{name}.is")));
    if folder.is_dir() {
        return Ok((fs::read(is)? == holds).then_some(folder));
    }
    if fs::read_dir(roots)?.count() >= MADE_MAX {
        return Ok(None);
    }
    let new = roots.join(format!("{name}.new"));
    if new.exists() {
        // Of a keeper that ended meanwhile; nobody stands on it.
        fs::remove_dir_all(&new)?;
    }
    fs::create_dir(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o755))?;
    let mut parts = holds.split(|byte| *byte == 0);
    while let (Some(first), Some(text)) = (parts.next(), parts.next()) {
        let Some((kind, at)) = first.split_first() else { break };
        make(*kind, &new.join(OsStr::from_bytes(at)), text)?;
    }
    fs::write(is, holds)?;
    fs::rename(&new, &folder)?;
    Ok(Some(folder))
}

fn make(kind: u8, at: &Path, text: &[u8]) -> io::Result<()> {
    match kind {
        b'd' => {
            if !at.is_dir() {
                fs::create_dir(at)?;
            }
            fs::set_permissions(at, Permissions::from_mode(0o755))
        }
        b'l' => symlink(OsStr::from_bytes(text), at),
        b'n' => {
            let real = Path::new("/dev").join(at.file_name().unwrap_or_default());
            let device = real.metadata()?.rdev();
            mknodat(CWD, at, FileType::CharacterDevice, Mode::from(0o666), device)?;
            fs::set_permissions(at, Permissions::from_mode(0o666))
        }
        _ => {
            fs::write(at, text)?;
            fs::set_permissions(at, Permissions::from_mode(0o444))
        }
    }
}

fn bind(from: &Path, to: &CStr, attributes: u64) -> Option<Bind> {
    let meta = from.symlink_metadata().ok()?;
    let file = (meta.dev(), meta.ino());
    Some(Bind {
        from: super::root::whole(from),
        file,
        to: to.to_owned(),
        folder: false,
        attributes,
    })
}
