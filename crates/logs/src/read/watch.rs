//! Hearing of changes: one inotify watch per folder.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ganger_core::Stream;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

use super::{Query, ReadError, at_path};
use crate::layout::{StreamKey, names, slots};

/// Events taken per read: a few hundred.
const BUFFER: usize = 16 << 10;

/// Events taken per wake-up, so that a child that never rests can't keep a reader from reading.
const EVENTS_MAX: usize = 4_096;

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Woken {
    pub(super) stop: bool,
    /// Folders came or went: [`Watch::scan`] again.
    pub(super) folders: bool,
    /// Events were lost: any stream may have changed.
    pub(super) all: bool,
    pub(super) streams: BTreeSet<StreamKey>,
}

/// Watches of all folders that a query may touch.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
    root: PathBuf,
    query: Query,
    streams: HashMap<i32, StreamKey>,
}

impl Watch {
    pub(super) fn new(root: &Path, query: &Query) -> Result<Self, ReadError> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags)
            .map_err(|e| ReadError::Watch { path: root.to_owned(), source: e.into() })?;
        Ok(Self { inotify, root: root.to_owned(), query: query.clone(), streams: HashMap::new() })
    }

    /// Watches every folder that is there, before looking into it. Gives the streams that are newly watched.
    pub(super) fn scan(&mut self) -> Result<Vec<StreamKey>, ReadError> {
        let mut fresh = Vec::new();
        let root = self.root.clone();
        if self.folder(&root)?.is_none() {
            // No logs yet: wait for the folder to be made.
            let parent = root.parent().filter(|p| !p.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new(".")).to_owned();
            if self.folder(&parent)?.is_none() {
                let source = io::Error::from(io::ErrorKind::NotFound);
                return Err(ReadError::File { path: parent, source });
            }
            // It may have been made in between.
            if self.folder(&root)?.is_none() {
                return Ok(fresh);
            }
        }
        for name in names(&root).map_err(at_path(&root))? {
            if !self.query.wants_name(&name) || self.folder(&root.join(&name))?.is_none() {
                continue;
            }
            for slot in slots(&root, &name).map_err(at_path(&root))? {
                let dir = root.join(&name).join(slot.to_string());
                if self.folder(&dir)?.is_none() {
                    continue;
                }
                for stream in [Stream::Stdout, Stream::Stderr] {
                    let key = StreamKey { name: name.clone(), slot, stream };
                    if self.query.wants(&key) && self.stream(&key)? {
                        fresh.push(key);
                    }
                }
            }
        }
        Ok(fresh)
    }

    fn folder(&self, path: &Path) -> Result<Option<i32>, ReadError> {
        use inotify::WatchFlags as W;
        self.add(path, W::CREATE | W::MOVED_TO | W::ONLYDIR)
    }

    /// True when the stream's folder was not watched before.
    fn stream(&mut self, key: &StreamKey) -> Result<bool, ReadError> {
        use inotify::WatchFlags as W;
        let flags = W::MODIFY | W::CREATE | W::DELETE | W::MOVED_TO | W::ONLYDIR;
        let Some(watch) = self.add(&key.dir(&self.root), flags)? else { return Ok(false) };
        Ok(self.streams.insert(watch, key.clone()).is_none())
    }

    fn add(&self, path: &Path, flags: inotify::WatchFlags) -> Result<Option<i32>, ReadError> {
        match inotify::add_watch(&self.inotify, path, flags) {
            Ok(watch) => Ok(Some(watch)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => {
                Err(ReadError::Watch { path: path.to_owned(), source: io::Error::from(error) })
            }
        }
    }

    /// Waits until something happens or `stop` is readable or closed; tells all that happened until then.
    pub(super) fn wait(&mut self, stop: &OwnedFd) -> Result<Woken, ReadError> {
        loop {
            let mut fds =
                [PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) => {
                    let stop = !fds[1].revents().is_empty();
                    return Ok(Woken { stop, ..self.events()? });
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn events(&mut self) -> Result<Woken, ReadError> {
        let mut woken = Woken::default();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(self.inotify.as_fd(), &mut buffer);
        for _ in 0..EVENTS_MAX {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(self.failed(error)),
            };
            if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                (woken.all, woken.folders) = (true, true);
            } else if event.events().contains(inotify::ReadFlags::IGNORED) {
                woken.streams.extend(self.streams.remove(&event.wd()));
            } else if let Some(key) = self.streams.get(&event.wd()) {
                woken.streams.insert(key.clone());
            } else {
                woken.folders = true;
            }
        }
        Ok(woken)
    }

    fn failed(&self, error: Errno) -> ReadError {
        ReadError::Watch { path: self.root.clone(), source: error.into() }
    }
}

/// Is `stop` readable or closed, right now?
pub(super) fn stopped(stop: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(stop, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
}
