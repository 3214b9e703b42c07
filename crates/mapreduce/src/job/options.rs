//! What a job is.

use std::path::PathBuf;
use std::time::Duration;

use ganger_keeper::wire::Plan as ChildPlan;

use super::said::CounterName;
use crate::input::{Format, Inputs};
use crate::operators::{Decimal, Grep};

/// Finds a program as a shell would: its path, or the exit code and words of its absence.
pub type Find = fn(&str) -> Result<PathBuf, (u8, String)>;

/// What is done with each split.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Map {
    /// A command: the split on its standard input, `KEY TAB VALUE` lines on its standard output.
    Command(Vec<String>),
    /// Records as they are.
    Lines,
    /// Each word, with the value 1.
    Words,
    /// The records that match.
    Grep(Box<Grep>),
}

/// What is done with the lines of each key, which come together.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reduce {
    /// A command: sorted lines on its standard input.
    Command(Vec<String>),
    /// The lines, sorted.
    Lines,
    /// Each line once.
    Distinct,
    /// One line for each key.
    Fold(FoldBy),
}

/// How the values of a key become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldBy {
    /// How many there are.
    Count,
    /// Their sum, exact.
    Sum,
    /// The least.
    Min,
    /// The largest.
    Max,
}

/// Everything that decides about the result, and how it is worked at.
#[derive(Debug, Clone)]
pub struct Job {
    /// The files.
    pub inputs: Inputs,
    /// Form of records.
    pub format: Format,
    /// Bytes of a split; from the input and the slots when absent.
    pub split: Option<u64>,
    /// First step.
    pub map: Map,
    /// Between the two, for each map; none when absent.
    pub combine: Option<Reduce>,
    /// Second step; what maps write is the result when absent.
    pub reduce: Option<Reduce>,
    /// How many partitions; at most 65,535.
    pub reducers: u32,
    /// What stands between key and value.
    pub separator: u8,
    /// Fields that are the key.
    pub key_fields: usize,
    /// Fields of the key that decide about the partition; all when absent.
    pub partition_fields: Option<usize>,
    /// A folder that is not there.
    pub output: PathBuf,
    /// Words that tell this job from another one.
    pub identity: String,
    /// Attempts at once.
    pub slots: usize,
    /// Bytes of memory of all slots.
    pub memory: usize,
    /// The longest record and the longest line of a command, in bytes.
    pub record_max: usize,
    /// Failures of a task that make it dead.
    pub task_failures: u8,
    /// A dead map is left out and told, and the rest goes on.
    pub keep_going: bool,
    /// How long a command may neither read nor write.
    pub idle: Duration,
    /// Go on with what is there.
    pub resume: bool,
    /// Throw away what is there.
    pub fresh: bool,
    /// What every child has in common.
    pub plan: ChildPlan,
    /// Folders of ganger's own.
    pub own: Vec<PathBuf>,
    /// See [`Find`].
    pub find: Find,
}

/// What goes on, for who looks at it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Note<'a> {
    /// How far it is.
    Progress(Progress),
    /// A person must know.
    Warning(&'a str),
}

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Maps that are committed, and all.
    pub maps: (u32, u32),
    /// The same of reduces.
    pub reduces: (u32, u32),
    /// Attempts that run.
    pub running: usize,
    /// Bytes of splits that are committed, and all.
    pub bytes: (u64, u64),
}

/// What a job did.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Parts of the result.
    pub parts: usize,
    /// Their bytes and lines.
    pub written: (u64, u64),
    /// Maps and reduces in all.
    pub tasks: (u32, u32),
    /// Tasks that were found done.
    pub resumed: u32,
    /// Attempts that failed, and those that somebody ended from outside.
    pub failed: (u64, u64),
    /// Attempts besides a first one.
    pub speculative: u64,
    /// What maps left that had to be made again.
    pub remade: u64,
    /// What commands counted, of the attempts that count.
    pub counters: std::collections::BTreeMap<CounterName, i64>,
    /// Tasks that were given up: task, files and last failure.
    pub dead: Vec<(String, String)>,
}

impl FoldBy {
    pub(super) fn fold(self, sum: Decimal, value: Decimal) -> Decimal {
        match self {
            Self::Count | Self::Sum => sum + value,
            Self::Min => sum.min(value),
            Self::Max => sum.max(value),
        }
    }
}
