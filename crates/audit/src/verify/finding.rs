//! What verification finds, and where.

use std::fmt;

/// The first place at which a log is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Number of the segment; 0 where no segment is concerned.
    pub segment: u64,
    /// Line in its file, counted from 1; 0: the file as such.
    pub line: u64,
    /// Number of the record there, where it is known.
    pub seq: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A line is not one JSON object in the log's form.
    Form(String),
    /// The next line (or the next segment) names another hash for this one.
    Changed,
    /// Records are missing before this one.
    Deleted {
        /// The number that should stand here.
        expected: u64,
        /// The one that does.
        found: u64,
    },
    /// A record stands here that stood elsewhere, or never was.
    Inserted {
        /// The number that should stand here.
        expected: u64,
        /// The one that does.
        found: u64,
    },
    /// A segment is missing and its retirement was not announced.
    SegmentMissing,
    /// The segment's first line is not its own.
    Header(&'static str),
    /// A segment other than the last ends within a line.
    TornWithin,
    /// A checkpoint or head does not verify with the log's key.
    Signature(Place),
    /// What was signed for this record is another hash.
    Resigned(Place),
    /// The log ends before what was signed: its tail was cut.
    TailCut {
        /// Last record that is there.
        ends: u64,
        /// Last record that was signed.
        signed: u64,
        /// Who has that signature.
        by: Place,
    },
    /// Log and head agree, and the witness saw more: an older copy was put back.
    OlderCopy {
        /// Last record that is there.
        ends: u64,
        /// Last record that the witness saw.
        witnessed: u64,
    },
    /// Records follow though the log was closed.
    AfterClose {
        /// Last record when it was closed.
        closed_at: u64,
    },
    /// The log's head is not there, or is not one.
    Head(&'static str),
    /// The witness has nothing, or something unreadable, of this log.
    Witness(String),
    /// The log says it is signed with another key than the one given, or than that of `audit.pub` or the witness.
    OtherKey(&'static str),
    /// A retirement announces a hash that the chain doesn't have.
    Retirement,
}

/// Where a signature stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A checkpoint in the log.
    Log,
    /// The head in the log's folder.
    Head,
    /// The witness folder's head.
    WitnessHead,
    /// The witness folder's checkpoints.
    WitnessSeals,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "the checkpoint in the log",
            Self::Head => "the log's head",
            Self::WitnessHead => "the witness's head",
            Self::WitnessSeals => "a checkpoint of the witness",
        })
    }
}

impl Fault {
    /// A word for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Form(_) => "form",
            Self::Changed => "changed",
            Self::Deleted { .. } => "deleted",
            Self::Inserted { .. } => "inserted",
            Self::SegmentMissing => "segment_missing",
            Self::Header(_) => "header",
            Self::TornWithin => "torn_within",
            Self::Signature(_) => "signature",
            Self::Resigned(_) => "resigned",
            Self::TailCut { .. } => "tail_cut",
            Self::OlderCopy { .. } => "older_copy",
            Self::AfterClose { .. } => "after_close",
            Self::Head(_) => "head",
            Self::Witness(_) => "witness",
            Self::OtherKey(_) => "other_key",
            Self::Retirement => "retirement",
        }
    }

    /// True for what a writer at work can make a reader see for a moment: it concerns the ends of the log, or the places that are
    /// written over.
    pub(super) const fn may_pass(&self) -> bool {
        match self {
            Self::Signature(place) | Self::Resigned(place) => !matches!(place, Place::Log),
            Self::SegmentMissing | Self::AfterClose { .. } | Self::Head(_) | Self::Witness(_) => {
                true
            }
            _ => self.is_rollback(),
        }
    }

    /// True where the end of the log is missing rather than something within it.
    #[must_use]
    pub const fn is_rollback(&self) -> bool {
        matches!(self, Self::TailCut { .. } | Self::OlderCopy { .. })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(why) => write!(f, "not a line that ganger writes: {why}"),
            Self::Changed => {
                f.write_str("this line, or the one after it, was changed after it was written")
            }
            Self::Deleted { expected, found } => write!(
                f,
                "records {expected} to {} are missing before record {found}",
                found.saturating_sub(1)
            ),
            Self::Inserted { expected, found } => {
                write!(
                    f,
                    "record {found} stands where record {expected} should: moved, doubled or put in"
                )
            }
            Self::SegmentMissing => {
                f.write_str("the segment is missing, and no retirement announced it")
            }
            Self::Header(what) => write!(f, "the segment's first line is not its own: {what}"),
            Self::TornWithin => {
                f.write_str("the segment ends within a line, and another follows it")
            }
            Self::Signature(by) => write!(f, "the signature of {by} is not of the log's key"),
            Self::Resigned(by) => write!(f, "this is not the record that {by} was signed for"),
            Self::TailCut { ends, signed, by } => {
                write!(
                    f,
                    "the log ends with record {ends}, and {by} saw record {signed}: its tail was cut"
                )
            }
            Self::OlderCopy { ends, witnessed } => write!(
                f,
                "the log ends with record {ends}, and the witness saw record {witnessed}: an older copy was put back"
            ),
            Self::AfterClose { closed_at } => {
                write!(f, "records follow though the log was closed after record {closed_at}")
            }
            Self::Head(what) => write!(f, "the log's head {what}"),
            Self::Witness(what) => write!(f, "the witness {what}"),
            Self::OtherKey(whose) => write!(f, "the log names another key than {whose}"),
            Self::Retirement => {
                f.write_str("a retirement announced another hash than the chain has")
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segment > 0 {
            write!(f, "segment {}", self.segment)?;
            if self.line > 0 {
                write!(f, " line {}", self.line)?;
            }
            if let Some(seq) = self.seq {
                write!(f, " (record {seq})")?;
            }
            f.write_str(": ")?;
        }
        self.fault.fmt(f)
    }
}
