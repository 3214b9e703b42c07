//! What a run says, as it comes: frames of one byte of kind, four bytes of length (big endian) and so many bytes.
//!
//! ```text
//! start (JSON, if it runs) ─ stdout, stderr (bytes as they were said) … ─ end (JSON, always, last)
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Media type of a row of frames.
pub const FRAMES: &str = "application/vnd.ganger.exec";
/// Bytes before those of a frame.
const HEAD: usize = 5;
/// Bytes of one frame: outputs come in blocks of 64 KiB, and what is told at the end is smaller.
const FRAME_MAX: usize = 1 << 20;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// [`ExecStart`](super::ExecStart) as JSON.
    Start = 1,
    /// Bytes of the standard output.
    Stdout = 2,
    /// Bytes of the standard error.
    Stderr = 3,
    /// [`ExecEnd`](super::ExecEnd) as JSON.
    End = 4,
}

/// Bytes that are no frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A kind of another version, or other bytes.
    #[error("a frame of kind {0} is not known")]
    Kind(u8),
    /// Longer than a frame may be.
    #[error("a frame of {0} bytes is longer than {FRAME_MAX}")]
    Long(usize),
}

/// One frame.
#[must_use]
pub fn frame(kind: FrameKind, content: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + content.len());
    frame.put_u8(kind as u8);
    frame.put_u32(u32::try_from(content.len()).unwrap_or(u32::MAX));
    frame.put_slice(content);
    frame.freeze()
}

/// Takes frames out of bytes as they come.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: BytesMut,
}

impl Frames {
    /// More bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// These bytes are no frame; nothing behind them can be read.
    pub fn take(&mut self) -> Result<Option<(FrameKind, Bytes)>, FrameError> {
        if self.bytes.len() < HEAD {
            return Ok(None);
        }
        let kind = match self.bytes[0] {
            1 => FrameKind::Start,
            2 => FrameKind::Stdout,
            3 => FrameKind::Stderr,
            4 => FrameKind::End,
            other => return Err(FrameError::Kind(other)),
        };
        let length = (&self.bytes[1..HEAD]).get_u32() as usize;
        if length > FRAME_MAX {
            return Err(FrameError::Long(length));
        }
        if self.bytes.len() < HEAD + length {
            return Ok(None);
        }
        self.bytes.advance(HEAD);
        Ok(Some((kind, self.bytes.split_to(length).freeze())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_however_they_were_cut() {
        let all =
            [(FrameKind::Start, &b"{}"[..]), (FrameKind::Stdout, b""), (FrameKind::End, b"abc")];
        let bytes: Vec<u8> = all.iter().flat_map(|(kind, text)| frame(*kind, text)).collect();
        for step in 1..bytes.len() {
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(step) {
                frames.feed(piece);
                while let Some(found) = frames.take().unwrap() {
                    seen.push(found);
                }
            }
            let wanted: Vec<_> = all.iter().map(|(k, t)| (*k, Bytes::from_static(t))).collect();
            assert_eq!(seen, wanted, "{step}");
        }
        let mut frames = Frames::default();
        frames.feed(&[9, 0, 0, 0, 0]);
        assert_eq!(frames.take(), Err(FrameError::Kind(9)));
        let mut frames = Frames::default();
        frames.feed(&[2, 255, 0, 0, 0]);
        assert!(matches!(frames.take(), Err(FrameError::Long(_))));
    }
}
