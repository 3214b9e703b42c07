//! Values out of bytes: what stands between two delimiters.

use std::io;
use std::os::fd::BorrowedFd;

use super::intake::Intake;
use super::{MAX_VALUE, Step};

/// Bytes per read.
const READ: usize = 64 * 1024;

/// Values of one source.
#[derive(Debug)]
pub(crate) enum Records {
    Words(std::vec::IntoIter<Vec<u8>>),
    Bytes(Bytes),
}

#[derive(Debug)]
pub(crate) struct Bytes {
    intake: Intake,
    delimiter: u8,
    buffer: Vec<u8>,
    /// Up to where the buffer is handed out.
    taken: usize,
    /// Up to where it holds no delimiter.
    searched: usize,
    ended: bool,
}

impl Records {
    pub(crate) const fn bytes(intake: Intake, delimiter: u8) -> Self {
        let buffer = Vec::new();
        Self::Bytes(Bytes { intake, delimiter, buffer, taken: 0, searched: 0, ended: false })
    }

    /// The descriptor that has to become readable before there is more.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Words(_) => None,
            Self::Bytes(bytes) => (!bytes.ended).then(|| bytes.intake.fd()),
        }
    }

    pub(crate) fn next(&mut self) -> io::Result<Step<Vec<u8>>> {
        match self {
            Self::Words(words) => Ok(words.next().map_or(Step::End, Step::Item)),
            Self::Bytes(bytes) => bytes.next(),
        }
    }
}

impl Bytes {
    fn next(&mut self) -> io::Result<Step<Vec<u8>>> {
        loop {
            if let Some(at) = memchr::memchr(self.delimiter, &self.buffer[self.searched..]) {
                let end = self.searched + at;
                let value = self.buffer[self.taken..end].to_vec();
                self.taken = end + 1;
                self.searched = self.taken;
                return if value.len() > MAX_VALUE {
                    Err(too_long())
                } else {
                    Ok(Step::Item(value))
                };
            }
            self.searched = self.buffer.len();
            if self.ended {
                let rest = self.buffer.split_off(self.taken);
                self.buffer.clear();
                (self.taken, self.searched) = (0, 0);
                return Ok(if rest.is_empty() { Step::End } else { Step::Item(rest) });
            }
            self.buffer.drain(..self.taken);
            self.searched -= self.taken;
            self.taken = 0;
            if self.buffer.len() > MAX_VALUE {
                return Err(too_long());
            }
            match self.intake.read(&mut self.buffer, READ)? {
                Step::Item(_) => {}
                Step::Pending => return Ok(Step::Pending),
                Step::End => self.ended = true,
            }
        }
    }
}

fn too_long() -> io::Error {
    let why = format!(
        "a value is longer than {MAX_VALUE} bytes, the longest argument that Linux passes on; is the delimiter right (-0, -d)?"
    );
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek, Write};

    use proptest::prelude::*;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    proptest! {
        #[test]
        fn values_are_what_stands_between_delimiters(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), 0..=255u8], 0..300)) {
            let mut records = Records::bytes(Intake::of(file(&bytes)).unwrap(), b'\n');
            let mut expected: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }
            let mut got = Vec::new();
            while let Step::Item(value) = records.next().unwrap() {
                got.push(value);
            }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(records.next().unwrap(), Step::End);
        }
    }

    #[test]
    fn nothing_is_waited_for_and_nothing_grows_without_end() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reader = File::from(std::os::fd::OwnedFd::from(reader));
        let mut records = Records::bytes(Intake::of(reader).unwrap(), b'\n');
        assert_eq!(records.next().unwrap(), Step::Pending);
        writer.write_all(b"one\ntw").unwrap();
        assert_eq!(records.next().unwrap(), Step::Item(b"one".to_vec()));
        assert_eq!(records.next().unwrap(), Step::Pending);
        drop(writer);
        assert_eq!(records.next().unwrap(), Step::Item(b"tw".to_vec()));
        assert_eq!(records.next().unwrap(), Step::End);

        let mut long = Records::bytes(Intake::of(file(&vec![b'x'; 400_000])).unwrap(), b'\n');
        assert_eq!(long.next().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
