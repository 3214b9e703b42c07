//! One inotify watch per folder, kept as folders come and go.
//!
//! A root that is a file, or is not there, is seen from the nearest folder above it. inotify knows folders by inode, so a
//! folder that is reached by two ways has two paths.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::filter::Filter;

/// Folders watched for one service: a large source tree has a few thousand, and the kernel keeps about 1 KiB for each.
pub(super) const DIRS_MAX: usize = 8_192;
/// Bytes of events taken per read: a few hundred.
const BUFFER: usize = 16 << 10;
/// Events taken at a time, so that what never rests can't keep its task from anything else.
const EVENTS_MAX: usize = 4_096;

/// What was read and not looked at yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    events: Vec<Seen>,
    /// There is no more for now.
    pub(super) drained: bool,
}

impl Batch {
    /// Folders have come or gone: looking at it takes as long as the file system does.
    pub(super) fn is_slow(&self) -> bool {
        let slow = ReadFlags::ISDIR
            | ReadFlags::IGNORED
            | ReadFlags::QUEUE_OVERFLOW
            | ReadFlags::DELETE_SELF
            | ReadFlags::MOVE_SELF;
        self.events.iter().any(|seen| seen.flags.intersects(slow))
    }
}

#[derive(Debug)]
struct Seen {
    watch: i32,
    flags: ReadFlags,
    name: Option<Box<OsStr>>,
}

/// Watches of all folders that a filter enters.
#[derive(Debug)]
pub(super) struct Tree {
    inotify: Arc<OwnedFd>,
    filter: Filter,
    dirs: HashMap<i32, BTreeSet<PathBuf>>,
    /// Why not all is watched, until it has been told.
    trouble: Option<String>,
    told: bool,
}

impl Tree {
    /// A tree without watches.
    pub(super) fn new(filter: Filter) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).map_err(io::Error::from)?;
        let (dirs, trouble) = Default::default();
        Ok(Self { inotify: Arc::new(inotify), filter, dirs, trouble, told: false })
    }

    pub(super) fn fd(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.inotify)
    }

    pub(super) fn folders(&self) -> usize {
        self.dirs.len()
    }

    /// Why not all is watched; once.
    pub(super) fn trouble(&mut self) -> Option<String> {
        let trouble = self.trouble.take().filter(|_| !self.told);
        self.told |= trouble.is_some();
        trouble
    }

    /// Watches all there is below the roots, and gives what of it counts. Blocks as long as the file system does.
    pub(super) fn plant(&mut self) -> Vec<PathBuf> {
        let mut found = vec![];
        let roots: Vec<PathBuf> = self.filter.roots().map(Path::to_owned).collect();
        for root in roots {
            let mut above = None;
            while !self.add(&root) {
                let nearest = root.ancestors().skip(1).find(|dir| self.add(dir));
                if above.as_deref() == nearest {
                    // A file; or nothing, and whatever comes will be seen.
                    found.extend(
                        Some(root.clone()).filter(|f| f.is_file() && self.filter.counts(f)),
                    );
                    break;
                }
                // Folders may have come while the one above them was not watched yet: once more.
                above = nearest.map(Path::to_owned);
            }
            if root.is_dir() {
                self.walk(root, &mut found);
            }
        }
        found
    }

    /// Watches a folder and those below it, each before it is looked into.
    fn walk(&mut self, dir: PathBuf, found: &mut Vec<PathBuf>) {
        let mut left = vec![dir];
        while let Some(dir) = left.pop() {
            if !self.add(&dir) {
                continue;
            }
            // One that is gone again, or may not be read, has nothing to show.
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    if self.filter.enters(&path) {
                        left.push(path);
                    }
                } else if self.filter.counts(&path) {
                    found.push(path);
                }
            }
        }
    }

    /// False: it is no folder, or can't be watched.
    fn add(&mut self, dir: &Path) -> bool {
        use WatchFlags as W;
        let what = W::CLOSE_WRITE | W::CREATE | W::DELETE | W::MOVED_FROM | W::MOVED_TO;
        if self.dirs.len() >= DIRS_MAX {
            let why = format!(
                "there are more than {DIRS_MAX} folders; changes in the others are not seen: name fewer in `watch`, or `ignore` some"
            );
            self.trouble.get_or_insert(why);
            return false;
        }
        match inotify::add_watch(
            &*self.inotify,
            dir,
            what | W::DELETE_SELF | W::MOVE_SELF | W::ONLYDIR | W::EXCL_UNLINK,
        ) {
            Ok(watch) => {
                self.dirs.entry(watch).or_default().insert(dir.to_owned());
                true
            }
            Err(Errno::NOENT | Errno::NOTDIR) => false,
            Err(error) => {
                self.trouble.get_or_insert_with(|| refused(dir, error));
                false
            }
        }
    }

    /// Takes what has happened.
    pub(super) fn read(&mut self) -> io::Result<Batch> {
        let mut batch = Batch::default();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(self.inotify.as_fd(), &mut buffer);
        while batch.events.len() < EVENTS_MAX || !reader.is_buffer_empty() {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => {
                    batch.drained = true;
                    break;
                }
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).into());
            batch.events.push(Seen { watch: event.wd(), flags: event.events(), name });
        }
        Ok(batch)
    }

    /// What of it counts. Blocks as long as the file system does if the batch is slow.
    pub(super) fn absorb(&mut self, batch: Batch) -> Vec<PathBuf> {
        let (mut found, mut replant) = (vec![], false);
        for seen in batch.events {
            if seen.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                replant = true;
                found.extend(self.filter.roots().next().map(Path::to_owned));
            } else if seen.flags.contains(ReadFlags::IGNORED) {
                replant |= self.dirs.remove(&seen.watch).is_some();
            } else if let Some(paths) = self.dirs.get(&seen.watch).cloned() {
                for dir in paths {
                    replant |= match &seen.name {
                        Some(name) => self.entry(dir.join(&**name), seen.flags, &mut found),
                        None => self.itself(&dir, seen.flags),
                    };
                }
            }
        }
        if replant {
            // What was there all the time has not changed; what is there again has.
            let before: BTreeSet<PathBuf> = self.dirs.values().flatten().cloned().collect();
            let came = self.plant().into_iter();
            found.extend(came.filter(|file| file.parent().is_none_or(|dir| !before.contains(dir))));
        }
        found
    }

    /// The watched folder itself is gone from its place: true when roots must be looked for anew.
    fn itself(&mut self, dir: &Path, flags: ReadFlags) -> bool {
        let gone = flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF);
        if gone {
            self.uproot(dir);
        }
        gone
    }

    /// Something in a watched folder: true when roots must be looked for anew.
    fn entry(&mut self, path: PathBuf, flags: ReadFlags, found: &mut Vec<PathBuf>) -> bool {
        let came = flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
        let above_root = self.filter.roots().any(|root| root.starts_with(&path));
        if !flags.contains(ReadFlags::ISDIR) {
            // A new file is complete when it is closed, a link at once.
            let counts = self.filter.counts(&path);
            let link_to_folder = above_root && path.is_dir();
            if counts && (!flags.contains(ReadFlags::CREATE) || is_link(&path)) {
                found.push(path);
            }
            return above_root && came && link_to_folder;
        }
        if self.filter.enters(&path) {
            if came {
                self.walk(path, found);
            } else {
                self.uproot(&path);
                // Of a folder that is deleted each file has been; of one that is moved away nothing is known.
                found.extend(flags.contains(ReadFlags::MOVED_FROM).then_some(path));
            }
        }
        above_root
    }

    /// Folders that are no longer where they were.
    fn uproot(&mut self, path: &Path) {
        let inotify = &self.inotify;
        self.dirs.retain(|watch, paths| {
            paths.retain(|dir| !dir.starts_with(path));
            if paths.is_empty() {
                // Of a folder that is gone the kernel has forgotten it already.
                let _gone = inotify::remove_watch(&**inotify, *watch);
            }
            !paths.is_empty()
        });
    }
}

/// A symbolic link, or a further name of a file.
fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink() || meta.nlink() > 1)
}

fn refused(dir: &Path, error: Errno) -> String {
    let dir = dir.display();
    match error {
        Errno::NOSPC => format!(
            "{dir} and what follows is not watched: the kernel's limit of watches is reached; raise it: sysctl fs.inotify.max_user_watches={}",
            limit("max_user_watches") * 2
        ),
        error => format!("{dir} is not watched: {error}"),
    }
}

/// Why no inotify instance is to be had.
pub(super) fn no_instance(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => format!(
            "nothing is watched: no further inotify instance for this user (or no descriptor for this daemon); raise the limit: sysctl fs.inotify.max_user_instances={}",
            limit("max_user_instances") * 2
        ),
        _ => format!("nothing is watched: inotify: {error}"),
    }
}

fn limit(name: &str) -> u64 {
    let text = fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(name));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(4_096)
}
