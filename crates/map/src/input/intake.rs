//! Bytes of a file, pipe or terminal, never waited for.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;

use super::Step;

/// Bytes per read from what has to be waited for: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// Bytes to come.
#[derive(Debug)]
pub(crate) struct Intake {
    file: File,
    /// A regular file is always ready.
    waits: bool,
}

impl Intake {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    pub(crate) fn of(file: File) -> io::Result<Self> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        if kind == FileType::Directory {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::ISDIR.raw_os_error()));
        }
        Ok(Self { file, waits: kind != FileType::RegularFile })
    }

    pub(crate) fn stdin() -> io::Result<Self> {
        Self::of(File::from(io::stdin().as_fd().try_clone_to_owned()?))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Adds what can be had now to `bytes`, `most` at most.
    pub(crate) fn read(&mut self, bytes: &mut Vec<u8>, most: usize) -> io::Result<Step<usize>> {
        let most = if self.waits { most.min(CHUNK) } else { most };
        if self.waits {
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&Timespec::default())) {
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Step::Pending),
                Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let start = bytes.len();
        bytes.resize(start + most, 0);
        let got = loop {
            match self.file.read(&mut bytes[start..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        bytes.truncate(start + got.as_ref().map_or(0, |got| *got));
        match got {
            Ok(0) => Ok(Step::End),
            Ok(got) => Ok(Step::Item(got)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Pending),
            Err(error) => Err(error),
        }
    }
}
