//! The rules of a chain, without I/O: fed line by line, says the first thing that is wrong.
//!
//! ```text
//! begin(segment) ─▶ line: must be `segment`, goes on with the chain ─▶ line … line ─▶ begin(next) …
//!                    every line: form, seq + 1, prev = hash of the line before
//!                    checkpoint: its seal is of the line before, signed by the log's key
//!                    a seal from elsewhere (head, witness) for this seq: same hash
//! ```

use serde::Deserialize;

use super::finding::{Fault, Finding, Place};
use crate::canonical::{self, Member};
use crate::hash::{Hash, LogId, unhex};
use crate::keys::PublicKey;
use crate::record::{Own, Retired, SegmentStart, Why};
use crate::seal::Seal;

/// What a line says about itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parts<'a> {
    pub(crate) body: &'a [u8],
    /// Without quotes.
    pub(crate) event: &'a [u8],
    pub(crate) prev: Option<Hash>,
    pub(crate) seq: Option<u64>,
    /// Without quotes.
    pub(crate) ts: &'a [u8],
}

/// Checks the form of a line (without its newline) and takes it apart.
pub(crate) fn parts(line: &[u8]) -> Result<Parts<'_>, String> {
    let mut parts = Parts::default();
    canonical::members(line, |Member { key, value }| match key {
        b"body" => parts.body = value,
        b"event" => parts.event = unquoted(value),
        b"prev" => parts.prev = unhex(unquoted(value)).map(Hash),
        b"seq" => parts.seq = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
        b"ts" => parts.ts = unquoted(value),
        _ => {}
    })
    .map_err(|wrong| wrong.to_string())?;
    if parts.prev.is_none() || parts.seq.is_none() || parts.event.is_empty() {
        return Err("`event`, `prev` or `seq` is missing".to_owned());
    }
    Ok(parts)
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or_default()
}

/// A seal from outside the log that one record must match.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) by: Place,
    pub(crate) seal: Seal,
}

/// Where a chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
}

#[derive(Debug)]
pub(crate) struct Checker {
    segment: u64,
    line: u64,
    /// Where the former segment's last line stood: a hash that the header denies is its.
    before: (u64, u64),
    at: Option<At>,
    log: Option<LogId>,
    key: Option<PublicKey>,
    marks: Vec<Mark>,
    pub(crate) start: Option<SegmentStart>,
    /// First record seen.
    pub(crate) first: u64,
    pub(crate) records: u64,
    pub(crate) checkpoints: u64,
    /// Records since the last checkpoint, that not counted.
    pub(crate) since_checkpoint: u64,
    pub(crate) retired: Option<Retired>,
    /// The last record is the checkpoint that closes.
    pub(crate) closed: bool,
    /// Segment number that was read first.
    first_segment: u64,
    first_prev: Hash,
}

impl Checker {
    /// `key`: verify with this one, whatever the log says; none: with the one that the log names.
    pub(crate) fn new(key: Option<PublicKey>) -> Self {
        Self {
            segment: 0,
            line: 0,
            before: (0, 0),
            at: None,
            log: None,
            key,
            marks: Vec::new(),
            start: None,
            first: 0,
            records: 0,
            checkpoints: 0,
            since_checkpoint: 0,
            retired: None,
            closed: false,
            first_segment: 0,
            first_prev: Hash::START,
        }
    }

    /// Adds a seal that one of the records to come must match. Its signature is checked now where the key is known.
    pub(crate) fn mark(&mut self, by: Place, seal: Seal) -> Result<(), Finding> {
        if self.key.is_some_and(|key| !seal.verifies(&key)) {
            return Err(self.nowhere(Fault::Signature(by)));
        }
        if self.log.is_some_and(|log| log != seal.log) {
            return Err(self.nowhere(Fault::Resigned(by)));
        }
        match self.at {
            Some(at) if seal.seq == at.seq => self.matches(by, &seal, at),
            Some(at) if seal.seq < at.seq => Ok(()),
            _ => {
                self.marks.push(Mark { by, seal });
                Ok(())
            }
        }
    }

    /// Where the chain is; none before the first line.
    pub(crate) const fn at(&self) -> Option<At> {
        self.at
    }

    pub(crate) const fn key(&self) -> Option<PublicKey> {
        self.key
    }

    pub(crate) const fn line_number(&self) -> u64 {
        self.line
    }

    /// A finding at the line that was read last.
    pub(crate) fn here(&self, fault: Fault) -> Finding {
        Finding { segment: self.segment, line: self.line, seq: self.at.map(|at| at.seq), fault }
    }

    const fn nowhere(&self, fault: Fault) -> Finding {
        Finding { segment: 0, line: 0, seq: None, fault }
    }

    /// The next file.
    pub(crate) fn begin(&mut self, number: u64) -> Result<(), Finding> {
        if self.segment > 0 && number != self.segment.saturating_add(1) {
            let fault = Fault::SegmentMissing;
            return Err(Finding {
                segment: self.segment.saturating_add(1),
                line: 0,
                seq: None,
                fault,
            });
        }
        self.before = (self.segment, self.line);
        (self.segment, self.line) = (number, 0);
        Ok(())
    }

    /// The next line, newline included.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<(), Finding> {
        self.line += 1;
        let text = &line[..line.len().saturating_sub(1)];
        let parts = parts(text).map_err(|why| self.wrong(None, Fault::Form(why)))?;
        let (Some(seq), Some(prev)) = (parts.seq, parts.prev) else {
            return Err(self.wrong(None, Fault::Form("no `seq` or `prev`".to_owned())));
        };
        if self.line == 1 {
            self.header(&parts, seq, prev)?;
        } else if parts.event == b"segment" {
            return Err(self.wrong(Some(seq), Fault::Header("it stands within a segment")));
        }
        self.follows(seq, prev)?;
        match parts.event {
            b"checkpoint" => self.checkpoint(&parts, seq)?,
            b"retired" => self.retires(&parts, seq)?,
            _ => {
                self.closed = false;
                self.since_checkpoint += 1;
            }
        }
        let at = At { seq, hash: Hash::of(line) };
        self.at = Some(at);
        self.records += 1;
        if self.marks.is_empty() {
            return Ok(());
        }
        let due: Vec<Mark> = self.marks.extract_if(.., |mark| mark.seal.seq <= seq).collect();
        due.iter().try_for_each(|mark| self.matches(mark.by, &mark.seal, at))
    }

    fn matches(&self, by: Place, seal: &Seal, at: At) -> Result<(), Finding> {
        if seal.seq == at.seq && seal.hash != at.hash {
            return Err(self.here(Fault::Resigned(by)));
        }
        Ok(())
    }

    /// The first line of a segment.
    fn header(&mut self, parts: &Parts<'_>, seq: u64, prev: Hash) -> Result<(), Finding> {
        let wrong = |what| self.wrong(Some(seq), Fault::Header(what));
        let Some(Own::Segment(start)) = own(parts) else {
            return Err(wrong("no `segment` record"));
        };
        if start.number != self.segment {
            return Err(wrong("it names another segment"));
        }
        if self.log.is_some_and(|log| log != start.log) {
            return Err(wrong("it names another log"));
        }
        if self.key.is_some_and(|key| key != start.key) {
            return Err(self.wrong(Some(seq), Fault::OtherKey("the one it should")));
        }
        if self.segment == 1 && (seq != 1 || prev != Hash::START) {
            return Err(wrong("the first segment begins with record 1"));
        }
        if self.at.is_none() {
            (self.first, self.first_segment, self.first_prev) = (seq, self.segment, prev);
            self.at = Some(At { seq: seq.saturating_sub(1), hash: prev });
            (self.log, self.key) = (Some(start.log), Some(start.key));
            // Seals that were added before log and key were known.
            for mark in std::mem::take(&mut self.marks) {
                self.mark(mark.by, mark.seal)?;
            }
        }
        self.start = Some(start);
        Ok(())
    }

    fn follows(&self, seq: u64, prev: Hash) -> Result<(), Finding> {
        let Some(at) = self.at else { return Ok(()) };
        let expected = at.seq.saturating_add(1);
        if seq > expected {
            return Err(self.wrong(Some(seq), Fault::Deleted { expected, found: seq }));
        }
        if seq < expected {
            return Err(self.wrong(Some(seq), Fault::Inserted { expected, found: seq }));
        }
        if prev != at.hash {
            let (segment, line) =
                if self.line > 1 { (self.segment, self.line - 1) } else { self.before };
            return Err(Finding { segment, line, seq: Some(at.seq), fault: Fault::Changed });
        }
        Ok(())
    }

    fn checkpoint(&mut self, parts: &Parts<'_>, seq: u64) -> Result<(), Finding> {
        let (Some(Own::Checkpoint { seal, why }), Some(at)) = (own(parts), self.at) else {
            return Err(self.wrong(Some(seq), Fault::Form("no checkpoint".to_owned())));
        };
        if !self.key.is_some_and(|key| seal.verifies(&key)) {
            return Err(self.wrong(Some(seq), Fault::Signature(Place::Log)));
        }
        if Some(seal.log) != self.log || seal.seq != at.seq || seal.hash != at.hash {
            return Err(self.wrong(Some(seq), Fault::Resigned(Place::Log)));
        }
        self.checkpoints += 1;
        self.since_checkpoint = 0;
        self.closed = why == Why::Close;
        Ok(())
    }

    fn retires(&mut self, parts: &Parts<'_>, seq: u64) -> Result<(), Finding> {
        let Some(Own::Retired(retired)) = own(parts) else {
            return Err(self.wrong(Some(seq), Fault::Form("no retirement".to_owned())));
        };
        let gone_before_first = retired.through.saturating_add(1) == self.first_segment;
        if gone_before_first && retired.hash != self.first_prev {
            return Err(self.wrong(Some(seq), Fault::Retirement));
        }
        self.closed = false;
        self.since_checkpoint += 1;
        self.retired = Some(retired);
        Ok(())
    }

    const fn wrong(&self, seq: Option<u64>, fault: Fault) -> Finding {
        Finding { segment: self.segment, line: self.line, seq, fault }
    }

    /// After the last line: is anything missing that was signed or announced?
    ///
    /// `whole`: the log was read from its first segment on.
    pub(crate) fn end(&self, head: Option<&Seal>, whole: bool) -> Result<(), Finding> {
        let Some(at) = self.at else { return Ok(()) };
        let announced = self.retired.map_or(0, |retired| retired.through);
        if whole && self.first_segment > announced.saturating_add(1) {
            let fault = Fault::SegmentMissing;
            return Err(Finding { segment: self.first_segment - 1, line: 0, seq: None, fault });
        }
        if let Some(mark) = self.marks.iter().max_by_key(|mark| mark.seal.seq) {
            let signed = mark.seal.seq;
            let older = mark.by != Place::Head && head.is_some_and(|head| head.seq <= at.seq);
            return Err(self.here(if older {
                Fault::OlderCopy { ends: at.seq, witnessed: signed }
            } else {
                Fault::TailCut { ends: at.seq, signed, by: mark.by }
            }));
        }
        match head {
            Some(head) if head.closed && head.seq < at.seq => {
                Err(self.here(Fault::AfterClose { closed_at: head.seq }))
            }
            _ => Ok(()),
        }
    }
}

/// A record of the log about itself.
fn own(parts: &Parts<'_>) -> Option<Own> {
    #[derive(Deserialize)]
    struct Checkpoint {
        seal: Seal,
        why: Why,
    }
    match parts.event {
        b"segment" => serde_json::from_slice(parts.body).ok().map(Own::Segment),
        b"retired" => serde_json::from_slice(parts.body).ok().map(Own::Retired),
        b"checkpoint" => {
            let Checkpoint { seal, why } = serde_json::from_slice(parts.body).ok()?;
            Some(Own::Checkpoint { seal, why })
        }
        _ => None,
    }
}
