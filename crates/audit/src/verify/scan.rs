//! Files through the checker.

use std::fs::File;
use std::io::{self, Read, Take};
use std::path::PathBuf;

use super::checker::Checker;
use super::finding::{Fault, Finding, Place};
use super::lines::{Lines, Piece};
use crate::seal::Seal;
use crate::segment::Segment;

/// A scan stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    Found(Finding),
    Io { path: PathBuf, source: io::Error },
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Found(finding)
    }
}

/// What a scan saw of the last segment, and in sum.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Bytes of all whole lines.
    pub(crate) bytes: u64,
    /// Bytes of the whole lines of the last segment.
    pub(crate) last_len: u64,
    /// Bytes behind them.
    pub(crate) torn: u64,
    /// Where in the last segment the lines begin that no head covers.
    pub(crate) unsigned_from: u64,
}

/// The witness's checkpoints, in their order.
pub(crate) struct Seals {
    lines: Option<Lines<Take<File>>>,
    next: Option<Seal>,
    /// How many were read.
    pub(crate) read: u64,
}

impl Seals {
    pub(crate) const fn none() -> Self {
        Self { lines: None, next: None, read: 0 }
    }

    /// Those that the file has now: what comes later is of records that come later.
    pub(crate) fn of(file: File) -> Result<Self, Stop> {
        let bytes = file.metadata().map_or(u64::MAX, |meta| meta.len());
        let mut seals = Self { lines: Some(Lines::new(file.take(bytes))), next: None, read: 0 };
        seals.step()?;
        Ok(seals)
    }

    fn step(&mut self) -> Result<(), Stop> {
        let wrong = |why: &str| {
            let fault = Fault::Witness(format!("has an unreadable checkpoint: {why}"));
            Stop::Found(Finding { segment: 0, line: 0, seq: None, fault })
        };
        let before = self.next.take().map_or(0, |seal| seal.seq);
        let Some(lines) = &mut self.lines else { return Ok(()) };
        self.next = match lines.next() {
            // What is torn is being written, or was never acknowledged.
            Ok(None | Some(Piece::Torn(_))) => None,
            Ok(Some(Piece::Line(line))) => {
                let seal = Seal::read(line).ok_or_else(|| wrong("not a seal"))?;
                if seal.seq <= before {
                    return Err(wrong("not in order"));
                }
                Some(seal)
            }
            Ok(Some(Piece::TooLong)) => return Err(wrong("a line without end")),
            Err(error) => return Err(wrong(&error.to_string())),
        };
        self.read += u64::from(self.next.is_some());
        Ok(())
    }

    /// Gives the checker all that are due.
    fn feed(&mut self, checker: &mut Checker, seq: u64) -> Result<(), Stop> {
        while self.next.as_ref().is_some_and(|seal| seal.seq <= seq) {
            if let Some(seal) = self.next.clone() {
                checker.mark(Place::WitnessSeals, seal)?;
            }
            self.step()?;
        }
        Ok(())
    }

    /// Gives the checker what lies beyond the end.
    pub(crate) fn rest(&mut self, checker: &mut Checker) -> Result<(), Stop> {
        self.feed(checker, u64::MAX)
    }
}

/// Reads the segments in order. `head_seq`: the last record that a head covers.
pub(crate) fn scan(
    segments: &[Segment],
    checker: &mut Checker,
    seals: &mut Seals,
    head_seq: u64,
) -> Result<Seen, Stop> {
    let mut seen = Seen::default();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        let io = |source| Stop::Io { path: segment.path.clone(), source };
        checker.begin(segment.number)?;
        (seen.last_len, seen.unsigned_from) = (0, 0);
        let mut lines = Lines::new(File::open(&segment.path).map_err(io)?);
        while let Some(piece) = lines.next().map_err(io)? {
            match piece {
                Piece::Line(line) => {
                    checker.line(line)?;
                    seen.last_len += line.len() as u64;
                    seen.bytes += line.len() as u64;
                    let seq = checker.at().map_or(0, |at| at.seq);
                    if seq <= head_seq {
                        seen.unsigned_from = seen.last_len;
                    }
                    seals.feed(checker, seq)?;
                }
                Piece::Torn(bytes) if last => {
                    seen.torn = bytes as u64;
                    break;
                }
                Piece::Torn(_) => return Err(checker.here(Fault::TornWithin).into()),
                Piece::TooLong => {
                    let why = "a line without end".to_owned();
                    return Err(checker.here(Fault::Form(why)).into());
                }
            }
        }
        if checker.line_number() == 0 && !last {
            return Err(checker.here(Fault::Header("the file is empty")).into());
        }
    }
    Ok(seen)
}
