//! What a caller asks of a map, and what it hears meanwhile.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use ganger_keeper::wire::Plan;

use crate::input::{Cut, Pack, Shape, Source};
use crate::{Halt, Load, Many, Resume, Slots};

/// Where jobs come from.
#[derive(Debug)]
pub enum Input {
    /// Values (with each source: in step with the one before).
    Values {
        /// The sources.
        sources: Vec<(Source, bool)>,
        /// How they are read.
        shape: Shape,
        /// How they are packed.
        pack: Pack,
    },
    /// Blocks of standard input become jobs' standard input (`--pipe`).
    Pipe(Cut),
    /// Blocks of files do (`--pipepart`).
    Parts(Vec<PathBuf>, Cut),
}

/// When what a job says is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Show {
    /// When it has ended, all at once.
    #[default]
    Grouped,
    /// Line by line.
    Lines,
    /// As it says it: jobs write to the caller's own streams.
    Live,
}

/// How long a job may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TimeLimit {
    /// So long.
    Fixed(Duration),
    /// So many times the median of the jobs that ended well, once three have.
    Medians(f64),
}

/// Everything about a map.
#[derive(Debug)]
pub struct Options {
    /// The command's words.
    pub command: Vec<Vec<u8>>,
    /// What stands for all values (`-I`).
    pub mark: Vec<u8>,
    /// What a word with several values becomes.
    pub many: Many,
    /// The shell that reads the command, where one is asked for.
    pub shell: Option<String>,
    /// Where jobs come from.
    pub input: Input,
    /// Jobs at once.
    pub slots: Slots,
    /// When output is shown.
    pub show: Show,
    /// In the order of the input.
    pub ordered: bool,
    /// A template that stands before each line.
    pub tag: Option<Vec<u8>>,
    /// The job log.
    pub joblog: Option<PathBuf>,
    /// What of it is skipped.
    pub resume: Resume,
    /// Tries of a job in all.
    pub tries: u32,
    /// When to stop early.
    pub halt: Option<Halt>,
    /// Of one job.
    pub timeout: Option<TimeLimit>,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// Between two starts.
    pub delay: Duration,
    /// Above it nothing is started.
    pub load: Option<Load>,
    /// Free memory in bytes below which nothing is started, and below half of which the youngest job is ended and run again.
    pub memory_free: Option<u64>,
    /// Keeps outputs in files below it.
    pub results: Option<PathBuf>,
    /// Where outputs wait.
    pub tmp: PathBuf,
    /// Says what would run.
    pub dry_run: bool,
    /// Reads ahead to know how many jobs there will be.
    pub count_first: bool,
    /// The first job gets the caller's standard input.
    pub first_stdin: bool,
    /// What is the same for all jobs: environment, folder, limits, walls.
    pub plan: Plan,
    /// Folders that nobody behind walls may look into.
    pub own: Vec<PathBuf>,
    /// The program of a name; a shell's code and words where there is none.
    pub find: fn(&str) -> Result<PathBuf, (u8, String)>,
    /// Where standard output of jobs goes.
    pub out: File,
    /// And their standard error.
    pub err: File,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Jobs that run.
    pub running: usize,
    /// Jobs that ended, those skipped included.
    pub done: u64,
    /// Of these, failed.
    pub failed: u64,
    /// All jobs, once known.
    pub total: Option<u64>,
    /// How long the rest will take.
    pub left: Option<Duration>,
}

/// What the caller hears.
#[derive(Debug)]
pub enum Note<'a> {
    /// Something was started or ended.
    Progress(Progress),
    /// Jobs' words are about to be written.
    Output,
    /// Something that a person must know.
    Warning(&'a str),
}
