//! Records as they come: one inotify watch on the folder, nothing polls.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::read::{Compiled, Found, ReadError};
use crate::segment;
use crate::verify::{Lines, Piece};

/// Bytes of events taken at once; what they say is only "look again".
const EVENTS: usize = 4 << 10;
/// Records taken from the file before they are handed over: bounds what a reader that rests holds.
const TAKEN_MAX: usize = 1_024;

/// Records as they come; made by [`Reader::follow`](crate::Reader::follow). `next` blocks.
#[derive(Debug)]
pub struct Follow {
    folder: PathBuf,
    filter: Compiled,
    inotify: OwnedFd,
    stop: OwnedFd,
    number: u64,
    lines: Lines<File>,
    /// Bytes of whole lines that were taken, from the beginning of the file.
    whole: u64,
    line: u64,
    /// The next line was no record, and is being read once more.
    doubted: bool,
    taken: VecDeque<Result<Found, ReadError>>,
}

impl Follow {
    pub(crate) fn open(folder: &Path, filter: Compiled, stop: OwnedFd) -> Result<Self, ReadError> {
        let failed = |source: io::Error| ReadError::File { path: folder.to_owned(), source };
        let watch = || -> rustix::io::Result<OwnedFd> {
            let inotify =
                inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            let what = inotify::WatchFlags::MODIFY
                | inotify::WatchFlags::CREATE
                | inotify::WatchFlags::ONLYDIR;
            inotify::add_watch(&inotify, folder, what)?;
            Ok(inotify)
        };
        let inotify = watch().map_err(|errno| failed(errno.into()))?;
        // Watched before looked at: nothing falls between.
        let segments = segment::list(folder).map_err(failed)?;
        let last = segments.last().ok_or_else(|| ReadError::NoLog(folder.to_owned()))?;
        let mut file = File::open(&last.path).map_err(failed)?;
        // Only whole lines count: what the writer is in the middle of comes whole later.
        let end = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let end = whole_until(&mut file, end).map_err(failed)?;
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        let lines = Lines::new(file);
        let folder = folder.to_owned();
        Ok(Self {
            folder,
            filter,
            inotify,
            stop,
            number: last.number,
            lines,
            whole: end,
            line: 0,
            doubted: false,
            taken: VecDeque::new(),
        })
    }

    /// Takes what is there; true if something was, wanted or not.
    fn take(&mut self) -> Result<bool, ReadError> {
        let path = self.folder.join(segment::name(self.number));
        let mut any = false;
        while self.taken.len() < TAKEN_MAX {
            let piece = self.lines.next();
            let piece = piece.map_err(|source| ReadError::File { path: path.clone(), source })?;
            let Some(Piece::Line(line)) = piece else {
                // A torn line is looked at anew: whoever opens the log after a crash cuts it off and writes another there.
                self.again(&path)?;
                break;
            };
            let bytes = line.len() as u64;
            let taken = self.filter.take(line);
            if taken.is_err() && !std::mem::replace(&mut self.doubted, true) {
                // Cut off and written over between two reads, perhaps: what is there now decides.
                self.again(&path)?;
                continue;
            }
            any = true;
            self.doubted = false;
            self.whole += bytes;
            self.line += 1;
            match taken {
                Ok(found) => self.taken.extend(found.map(Ok)),
                Err(source) => {
                    let (path, line) = (path.clone(), self.line);
                    self.taken.push_back(Err(ReadError::Line { path, line, source }));
                }
            }
        }
        Ok(any)
    }

    /// Reads on from behind the last whole line.
    fn again(&mut self, path: &Path) -> Result<(), ReadError> {
        let sought = self.lines.forget().seek(SeekFrom::Start(self.whole));
        sought.map(drop).map_err(|source| ReadError::File { path: path.to_owned(), source })
    }

    /// Goes to the next segment if there is one; the present one has ended then.
    fn step(&mut self) -> Result<bool, ReadError> {
        let failed = |path: &Path, source| ReadError::File { path: path.to_owned(), source };
        let segments =
            segment::list(&self.folder).map_err(|source| failed(&self.folder, source))?;
        let Some(next) = segments.into_iter().find(|segment| segment.number > self.number) else {
            return Ok(false);
        };
        // It may have grown between the last look and the birth of the next.
        if self.take()? {
            return Ok(true);
        }
        let file = File::open(&next.path).map_err(|source| failed(&next.path, source))?;
        (self.lines, self.number) = (Lines::new(file), next.number);
        (self.whole, self.line) = (0, 0);
        Ok(true)
    }

    /// Waits for a change; false when it is time to stop.
    fn wait(&self) -> Result<bool, ReadError> {
        let failed =
            |errno: Errno| ReadError::File { path: self.folder.clone(), source: errno.into() };
        loop {
            let mut fds =
                [PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) if !fds[1].revents().is_empty() => return Ok(false),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut events = inotify::Reader::new(self.inotify.as_fd(), &mut buffer);
        loop {
            match events.next() {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(true),
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}

impl Iterator for Follow {
    type Item = Result<Found, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.taken.pop_front() {
                return Some(record);
            }
            let moved = self.take().and_then(|took| if took { Ok(true) } else { self.step() });
            let go_on = match moved {
                Ok(true) => Ok(true),
                Ok(false) => self.wait(),
                Err(error) => Err(error),
            };
            match go_on {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Offset behind the last newline before `end`.
fn whole_until(file: &mut File, end: u64) -> io::Result<u64> {
    use std::os::unix::fs::FileExt;
    let from = end.saturating_sub(crate::LINE_MAX as u64);
    let mut tail = vec![0; usize::try_from(end - from).map_err(io::Error::other)?];
    file.read_exact_at(&mut tail, from)?;
    Ok(memchr::memrchr(b'\n', &tail).map_or(from, |at| from + at as u64 + 1))
}
