//! What jobs say, on its way to the caller.
//!
//! ```text
//! grouped  job ─its own writes─▶ unlinked file ─when its tree has ended─▶ caller     memory: one copy's buffer
//! lines    job ─pipe─▶ whole lines ─▶ caller                                         memory: one unfinished line per stream
//! live     job ─▶ caller
//! ```
//!
//! Files are used again once nobody can write to them any more, so that a job that says little costs two size queries.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use crate::MapError;

/// Bytes of one copy.
const CHUNK: usize = 64 * 1024;
/// An unfinished line that is longer goes on in parts.
pub(crate) const MAX_LINE: usize = 1 << 20;
/// Files kept for the next job.
const MAX_FREE: usize = 512;

/// Unlinked files for outputs.
#[derive(Debug)]
pub(crate) struct Buffers {
    folder: PathBuf,
    free: Vec<File>,
}

impl Buffers {
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder, free: Vec::new() }
    }

    /// An empty file that has no name.
    pub(crate) fn take(&mut self) -> Result<File, MapError> {
        if let Some(file) = self.free.pop() {
            return Ok(file);
        }
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC;
        let made = rustix::fs::open(&self.folder, flags, Mode::RUSR | Mode::WUSR).map(File::from);
        // A filesystem without O_TMPFILE.
        let made = made.or_else(|_| {
            let file = tempfile::tempfile_in(&self.folder)?;
            let flags = rustix::fs::fcntl_getfl(&file)? | OFlags::APPEND;
            rustix::fs::fcntl_setfl(&file, flags)?;
            Ok(file)
        });
        made.map_err(|source| MapError::File {
            what: "a buffer in",
            path: self.folder.clone(),
            source,
        })
    }

    /// Takes a file back whose writers have all ended.
    pub(crate) fn give(&mut self, file: File, used: bool) {
        if self.free.len() < MAX_FREE && (!used || file.set_len(0).is_ok()) {
            self.free.push(file);
        }
    }

    /// False when nothing more can be written here.
    pub(crate) fn has_room(&self) -> bool {
        rustix::fs::statvfs(&self.folder).map_or(true, |fs| fs.f_bavail > 0)
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }
}

/// What one ended job said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) tag: Vec<u8>,
    pub(crate) out: Option<(File, u64)>,
    pub(crate) err: Option<(File, u64)>,
    /// The files come back for the next job.
    pub(crate) reuse: bool,
}

/// Writes to the caller, in order if asked.
#[derive(Debug)]
pub(crate) struct Printer {
    out: File,
    err: File,
    buffers: Buffers,
    /// Next in order, where that is kept.
    next: Option<u64>,
    /// Said by those whose turn has not come; `None` said nothing.
    waiting: BTreeMap<u64, Option<Said>>,
    chunk: Vec<u8>,
}

impl Printer {
    pub(crate) fn new(out: File, err: File, buffers: Buffers, ordered: bool) -> Self {
        let next = ordered.then_some(1);
        Self { out, err, buffers, next, waiting: BTreeMap::new(), chunk: vec![0; CHUNK] }
    }

    pub(crate) const fn buffers(&mut self) -> &mut Buffers {
        &mut self.buffers
    }

    /// The caller's own streams.
    pub(crate) const fn streams(&self) -> (&File, &File) {
        (&self.out, &self.err)
    }

    /// Outputs that wait for their turn.
    pub(crate) fn backlog(&self) -> usize {
        self.waiting.len()
    }

    /// A job is over: what it said is written, now or in its turn.
    pub(crate) fn over(&mut self, seq: u64, said: Option<Said>) -> Result<(), MapError> {
        let Some(next) = self.next else {
            return said.map_or(Ok(()), |said| self.print(said));
        };
        if seq != next {
            self.waiting.insert(seq, said);
            return Ok(());
        }
        let mut turn = Some(said);
        let mut next = next;
        while let Some(said) = turn {
            if let Some(said) = said {
                self.print(said)?;
            }
            next += 1;
            turn = self.waiting.remove(&next);
        }
        self.next = Some(next);
        Ok(())
    }

    /// Writes what waits for the turn of jobs that will not come any more.
    pub(crate) fn finish(&mut self) -> Result<(), MapError> {
        for (_, said) in std::mem::take(&mut self.waiting) {
            if let Some(said) = said {
                self.print(said)?;
            }
        }
        Ok(())
    }

    /// Text of ganger's own, in the place of what a job says.
    pub(crate) fn text(&mut self, text: &[u8]) -> Result<Said, MapError> {
        let mut file = self.buffers.take()?;
        file.write_all(text).map_err(MapError::Output)?;
        let out = Some((file, text.len() as u64));
        Ok(Said { tag: Vec::new(), out, err: None, reuse: true })
    }

    /// Throws away what a job said.
    pub(crate) fn forget(&mut self, said: Said) {
        for (file, size) in [said.out, said.err].into_iter().flatten() {
            if said.reuse {
                self.buffers.give(file, size > 0);
            }
        }
    }

    fn print(&mut self, said: Said) -> Result<(), MapError> {
        for (stream, from) in [(&self.out, &said.out), (&self.err, &said.err)] {
            if let Some((file, size)) = from
                && *size > 0
            {
                let copied = copy(file, stream, &said.tag, &mut self.chunk);
                copied.map_err(MapError::Output)?;
            }
        }
        self.forget(said);
        Ok(())
    }

    /// Writes lines of a job that runs.
    pub(crate) fn lines(&self, err: bool, tag: &[u8], bytes: &[u8]) -> Result<(), MapError> {
        let mut stream = if err { &self.err } else { &self.out };
        let done = if tag.is_empty() {
            stream.write_all(bytes)
        } else {
            stream.write_all(&tagged(bytes, tag, &mut true))
        };
        done.map_err(MapError::Output)
    }
}

fn copy(from: &File, mut to: &File, tag: &[u8], chunk: &mut [u8]) -> io::Result<()> {
    let mut offset = 0;
    let mut fresh = true;
    loop {
        let got = from.read_at(chunk, offset)?;
        if got == 0 {
            return Ok(());
        }
        offset += got as u64;
        if tag.is_empty() {
            to.write_all(&chunk[..got])?;
        } else {
            to.write_all(&tagged(&chunk[..got], tag, &mut fresh))?;
        }
    }
}

/// Puts the tag before each line that begins in these bytes. `fresh`: the first byte begins one.
fn tagged(bytes: &[u8], tag: &[u8], fresh: &mut bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + tag.len() * 8);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if *fresh {
            text.extend_from_slice(tag);
        }
        text.extend_from_slice(line);
        *fresh = line.ends_with(b"\n");
    }
    text
}

/// One stream of a job that is shown by line.
#[derive(Debug)]
pub(crate) struct Lines {
    pipe: File,
    pub(crate) err: bool,
    rest: Vec<u8>,
    /// Bytes so far.
    pub(crate) seen: u64,
    pub(crate) open: bool,
}

impl Lines {
    /// A stream and the end that the job gets.
    pub(crate) fn new(err: bool) -> io::Result<(Self, std::os::fd::OwnedFd)> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        let pipe = File::from(reader);
        Ok((Self { pipe, err, rest: Vec::new(), seen: 0, open: true }, writer))
    }

    pub(crate) const fn pipe(&self) -> &File {
        &self.pipe
    }

    /// Reads once and gives whole lines, or what is too long to wait for its end. A job that says more than can be passed on waits.
    pub(crate) fn read(&mut self) -> io::Result<Vec<u8>> {
        let start = self.rest.len();
        self.rest.resize(start + CHUNK, 0);
        let got = match self.pipe.read(&mut self.rest[start..]) {
            Ok(0) => {
                self.open = false;
                0
            }
            Ok(got) => got,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                0
            }
            Err(error) => return Err(error),
        };
        self.rest.truncate(start + got);
        self.seen += got as u64;
        let end = match memchr::memrchr(b'\n', &self.rest) {
            Some(at) => at + 1,
            None if self.rest.len() >= MAX_LINE || !self.open => self.rest.len(),
            None => 0,
        };
        let rest = self.rest.split_off(end);
        Ok(std::mem::replace(&mut self.rest, rest))
    }

    /// Everything that is left when its job's tree has ended.
    pub(crate) fn drain(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let before = self.seen;
            all.append(&mut self.read()?);
            if self.seen == before {
                all.append(&mut self.rest);
                return Ok(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(buffers: &mut Buffers, text: &[u8], tag: &[u8]) -> Said {
        let mut file = buffers.take().unwrap();
        file.write_all(text).unwrap();
        let out = Some((file, text.len() as u64));
        Said { tag: tag.to_vec(), out, err: None, reuse: true }
    }

    fn printer(ordered: bool) -> (Printer, File) {
        let out = tempfile::tempfile().unwrap();
        let copy = out.try_clone().unwrap();
        let err = tempfile::tempfile().unwrap();
        (Printer::new(out, err, Buffers::new(std::env::temp_dir()), ordered), copy)
    }

    fn text(file: &File) -> Vec<u8> {
        let size = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let mut text = vec![0; size];
        file.read_exact_at(&mut text, 0).unwrap();
        text
    }

    proptest! {
        #[test]
        fn order_is_that_of_the_input(order in Just((1..=12u64).collect::<Vec<_>>()).prop_shuffle(), silent in any::<[bool; 13]>()) {
            let (mut printer, out) = printer(true);
            for seq in &order {
                let loud = !silent[usize::try_from(*seq).unwrap()];
                let said = loud.then(|| said(printer.buffers(), format!("{seq} ").as_bytes(), b""));
                printer.over(*seq, said).unwrap();
            }
            let expected: String = (1..=12).filter(|seq| !silent[*seq]).map(|seq| format!("{seq} ")).collect();
            prop_assert_eq!(text(&out), expected.into_bytes());
            prop_assert_eq!(printer.backlog(), 0);
        }

        #[test]
        fn tags_stand_before_every_line_wherever_chunks_end(lines in "[ab\n]{0,40}", at in 0..41usize) {
            let at = at.min(lines.len());
            let mut fresh = true;
            let mut got = tagged(&lines.as_bytes()[..at], b"T\t", &mut fresh);
            got.extend(tagged(&lines.as_bytes()[at..], b"T\t", &mut fresh));
            let expected: String = lines.split_inclusive('\n').map(|line| format!("T\t{line}")).collect();
            prop_assert_eq!(got, expected.into_bytes());
        }
    }

    #[test]
    fn files_are_used_again_and_come_back_empty() {
        let (mut printer, out) = printer(false);
        let first = said(printer.buffers(), &vec![b'x'; 200_000], b"");
        printer.over(1, Some(first)).unwrap();
        assert_eq!(text(&out).len(), 200_000);
        assert_eq!(printer.buffers.free.len(), 1);
        let file = printer.buffers().take().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        assert!(printer.buffers.has_room());
    }

    #[test]
    fn lines_are_whole_and_long_ones_go_on() {
        let (mut lines, writer) = Lines::new(false).unwrap();
        let mut writer = File::from(writer);
        writer.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.read().unwrap(), b"one\n");
        assert_eq!(lines.read().unwrap(), b"");
        writer.write_all(b"o\nthree").unwrap();
        assert_eq!(lines.drain().unwrap(), b"two\nthree");
        let mut all = 0;
        while all < MAX_LINE {
            writer.write_all(&[b'y'; 4096]).unwrap();
            all += lines.read().unwrap().len();
        }
        assert!(lines.rest.len() < MAX_LINE);
    }
}
