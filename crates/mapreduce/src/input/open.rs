//! Where bytes come from: a range of a file, what a packed file unpacks to, or a stream.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{InputError, Packing, Piece};

/// Bytes in order, from one file or stream.
pub(super) struct From {
    /// Of the file, or what a stream is called.
    pub(super) path: PathBuf,
    /// Of the first byte that comes.
    pub(super) offset: u64,
    bytes: Bytes,
}

enum Bytes {
    /// Read where it lies, so that slots share nothing.
    Range {
        file: File,
        at: u64,
        end: u64,
    },
    Stream {
        reader: Box<dyn Read + Send>,
        packed: bool,
    },
}

impl From {
    pub(super) fn piece(
        file: File,
        path: PathBuf,
        packing: Packing,
        piece: Piece,
    ) -> Result<Self, InputError> {
        let buffered = |file| BufReader::with_capacity(128 << 10, file);
        let reader: Box<dyn Read + Send> = match packing {
            Packing::Plain => {
                let bytes = Bytes::Range { file, at: piece.start, end: piece.end };
                return Ok(Self { path, offset: piece.start, bytes });
            }
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(file))),
            Packing::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered(file));
                Box::new(decoder.map_err(InputError::io("unpack", &path))?)
            }
        };
        Ok(Self { path, offset: 0, bytes: Bytes::Stream { reader, packed: true } })
    }

    pub(super) fn stream(reader: Box<dyn Read + Send>, name: &Path) -> Self {
        let bytes = Bytes::Stream { reader, packed: false };
        Self { path: name.to_path_buf(), offset: 0, bytes }
    }

    /// Fills `buffer` as far as there is something; less than its length at the end only. `offset`: of what comes, for errors.
    pub(super) fn fill(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, InputError> {
        match &mut self.bytes {
            Bytes::Range { file, at, end } => {
                let want = buffer.len().min(usize::try_from(*end - *at).unwrap_or(usize::MAX));
                let read = file.read_exact_at(&mut buffer[..want], *at);
                read.map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        InputError::Shrunk { path: self.path.clone(), offset: *at }
                    }
                    _ => InputError::io("read", &self.path)(error),
                })?;
                *at += want as u64;
                Ok(want)
            }
            Bytes::Stream { reader, packed } => {
                let mut filled = 0;
                while filled < buffer.len() {
                    match reader.read(&mut buffer[filled..]) {
                        Ok(0) => break,
                        Ok(read) => filled += read,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) if *packed => {
                            return Err(InputError::Damaged {
                                path: self.path.clone(),
                                offset: offset + filled as u64,
                                why: error.to_string(),
                            });
                        }
                        Err(error) => return Err(InputError::io("read", &self.path)(error)),
                    }
                }
                Ok(filled)
            }
        }
    }
}
