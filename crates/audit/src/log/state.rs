//! What the writer thread owns: the files and the head of the chain.
//!
//! Order within a commit, which is what crashes see: lines, fdatasync, the witness's checkpoints, heads. A head is never
//! ahead of the log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

use super::{Options, Receipt};
use crate::error::AuditError;
use crate::hash::{Hash, LogId};
use crate::keys::{Keys, PublicKey, SecretDigests};
use crate::line::{Moment, Prepared};
use crate::record::{Own, SegmentStart, Why};
use crate::seal::Seal;
use crate::segment;
use crate::text::Text;
use crate::verify::At;
use crate::witness::{Places, sync_folder};

#[derive(Debug)]
pub(super) struct State {
    pub(super) options: Options,
    pub(super) keys: Keys,
    pub(super) log: LogId,
    /// Held for as long as we write.
    pub(super) _lock: File,
    pub(super) file: File,
    pub(super) number: u64,
    /// Bytes of the segment on disk.
    pub(super) len: u64,
    /// Lines of the segment, those in the buffer too.
    pub(super) lines: u64,
    pub(super) at: At,
    /// Records after the last checkpoint.
    pub(super) since_checkpoint: u64,
    /// When the first of them was written.
    pub(super) unsigned_since: Option<Instant>,
    pub(super) places: Places,
    /// Lines that are not yet on disk.
    pub(super) buffer: Vec<u8>,
    /// Checkpoints in the buffer, which the witness gets after the log.
    pub(super) seals: Vec<Seal>,
    pub(super) now: Moment,
}

impl State {
    pub(super) const fn log(&self) -> LogId {
        self.log
    }

    pub(super) fn public(&self) -> PublicKey {
        self.keys.public()
    }

    pub(super) fn digests(&self) -> SecretDigests {
        self.keys.digests()
    }

    pub(super) const fn seq(&self) -> u64 {
        self.at.seq
    }

    /// When the next checkpoint is due for its time; none when nothing is unsigned.
    pub(super) fn checkpoint_due(&self) -> Option<Instant> {
        self.unsigned_since.and_then(|since| since.checked_add(self.options.checkpoint_after))
    }

    /// A group begins: its records have one time, that of the write that brings them to the disk.
    pub(super) fn begin_group(&mut self) {
        self.now = Moment::now();
    }

    /// Adds a record to the group that [`State::commit`] will bring to the disk.
    pub(super) fn push(&mut self, prepared: &Prepared) -> Result<Receipt, AuditError> {
        let bytes = self.len + (self.buffer.len() + prepared.len_max()) as u64;
        // A segment with nothing but its first line goes on: else a line longer than a segment would end segments for ever.
        if bytes > self.options.segment_max && self.lines > 1 {
            self.rotate()?;
        }
        let receipt = self.line(prepared);
        self.since_checkpoint += 1;
        self.unsigned_since.get_or_insert_with(Instant::now);
        if self.since_checkpoint >= self.options.checkpoint_records {
            self.checkpoint(Why::Count)?;
        }
        Ok(receipt)
    }

    fn line(&mut self, prepared: &Prepared) -> Receipt {
        let from = self.buffer.len();
        let seq = self.at.seq + 1;
        prepared.write(seq, self.at.hash, &self.now, &mut self.buffer);
        self.at = At { seq, hash: Hash::of(&self.buffer[from..]) };
        self.lines += 1;
        Receipt { seq, hash: self.at.hash }
    }

    fn own(&mut self, record: &Own) -> Result<(), AuditError> {
        self.now = Moment::now();
        let prepared = Prepared::own(record)?;
        self.line(&prepared);
        Ok(())
    }

    /// Adds a record of the log about itself that counts as unsigned.
    pub(super) fn push_own(&mut self, record: &Own) -> Result<(), AuditError> {
        self.own(record)?;
        self.since_checkpoint += 1;
        self.unsigned_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn seal(&self, closed: bool) -> Seal {
        let ts = self.now.ts.clone();
        Seal::sign(&self.keys, self.log, self.at.seq, self.at.hash, ts, closed)
    }

    fn checkpoint(&mut self, why: Why) -> Result<(), AuditError> {
        self.now = Moment::now();
        let seal = self.seal(why == Why::Close);
        self.own(&Own::Checkpoint { seal: seal.clone(), why })?;
        self.seals.push(seal);
        (self.since_checkpoint, self.unsigned_since) = (0, None);
        Ok(())
    }

    /// A checkpoint whose time has come.
    pub(super) fn checkpoint_now(&mut self) -> Result<(), AuditError> {
        self.checkpoint(Why::Time)?;
        self.commit()
    }

    /// Brings the group to the disk and signs its head.
    pub(super) fn commit(&mut self) -> Result<(), AuditError> {
        self.flush()?;
        self.places.head(&self.seal(false))
    }

    fn flush(&mut self) -> Result<(), AuditError> {
        let path = || self.options.folder.join(segment::name(self.number));
        self.file.write_all(&self.buffer).map_err(|e| AuditError::io("writing", path())(e))?;
        self.file.sync_data().map_err(|e| AuditError::io("syncing", path())(e))?;
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        for seal in self.seals.drain(..) {
            self.places.checkpoint(&seal)?;
        }
        Ok(())
    }

    /// Ends the segment and begins the next.
    pub(super) fn rotate(&mut self) -> Result<(), AuditError> {
        self.checkpoint(Why::Rotation)?;
        self.commit()?;
        let number = self.number + 1;
        self.file = create(&self.options.folder.join(segment::name(number)))?;
        self.begin(number)?;
        self.retire()
    }

    /// Writes the first line of a segment into its empty file.
    pub(super) fn begin(&mut self, number: u64) -> Result<(), AuditError> {
        sync_folder(&self.options.folder)?;
        (self.number, self.len, self.lines) = (number, 0, 0);
        let witness = self.options.witness.as_deref().map(Text::from);
        let (log, key) = (self.log, self.keys.public());
        self.push_own(&Own::Segment(SegmentStart { log, number, key, witness }))?;
        self.commit()
    }

    /// Closes in order.
    pub(super) fn close(mut self) -> Result<(), AuditError> {
        self.checkpoint(Why::Close)?;
        self.flush()?;
        self.places.head(&self.seal(true))?;
        self.places.sync()
    }
}

pub(super) fn create(path: &std::path::Path) -> Result<File, AuditError> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true).mode(0o600);
    options.open(path).map_err(AuditError::io("making", path))
}
