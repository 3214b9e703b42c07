//! One job: from its template to a child, and from its end to a row and what it said.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use ganger_core::{End, SpawnId};
use ganger_keeper::wire::Plan;
use ganger_keeper::{Ended, Gang};
use rustix::fs::MemfdFlags;

use super::feed::Job;
use super::limits::Times;
use crate::output::{Buffers, Lines, Printer, Said};
use crate::{
    Given, Many, MapError, Options, Row, Show, Template, TimeLimit, joblog, quote, results,
};

/// A block up to this size waits for its reader in memory, a larger one in an unlinked file.
const MAX_MEMORY_BLOCK: usize = 64 << 20;

/// Makes children out of jobs.
#[derive(Debug)]
pub(super) struct Maker {
    template: Template,
    tag: Option<Template>,
    names: Vec<Vec<u8>>,
    null: File,
    /// Numbers or blocks are in what it does: its command alone does not say which job it is.
    hashed: bool,
    /// The last program that was looked for.
    found: Option<(Vec<u8>, PathBuf)>,
    first: bool,
}

/// What a job will run.
#[derive(Debug)]
pub(super) struct Made {
    words: Vec<Vec<u8>>,
    /// For people.
    pub(super) shown: Vec<u8>,
    /// For the log.
    pub(super) logged: Vec<u8>,
    tag: Vec<u8>,
}

impl Maker {
    /// `blocks`: jobs get blocks, not values.
    pub(super) fn new(
        options: &Options,
        names: Vec<Vec<u8>>,
        blocks: bool,
    ) -> Result<Self, MapError> {
        let template = Template::new(&options.command, &names, &options.mark, options.many)?;
        let template = if blocks { template } else { template.with_values() };
        let tag = options.tag.as_ref().map(|tag| {
            Template::new(std::slice::from_ref(tag), &names, &options.mark, Many::Words)
        });
        let null = File::options().read(true).write(true).open("/dev/null");
        let fail = |source| MapError::File { what: "", path: "/dev/null".into(), source };
        let hashed = blocks || template.is_numbered();
        let (tag, null) = (tag.transpose()?, null.map_err(fail)?);
        Ok(Self { template, tag, names, null, hashed, found: None, first: true })
    }

    pub(super) fn make(&self, options: &Options, job: &Job, slot: usize) -> Made {
        let given = Given { values: &job.values, seq: job.seq, slot };
        let (words, shown) = match &options.shell {
            Some(shell) => {
                let text = self.template.shell(given);
                (vec![shell.clone().into_bytes(), b"-c".to_vec(), text.clone()], text)
            }
            None => {
                let words = self.template.words(given);
                let shown = if options.joblog.is_some() || options.dry_run {
                    quote::line(&words)
                } else {
                    Vec::new()
                };
                (words, shown)
            }
        };
        let tag = self.tag.as_ref().map_or_else(Vec::new, |tag| {
            let mut tag = tag.plain(given);
            tag.push(b'\t');
            tag
        });
        let logged = if options.joblog.is_none() {
            Vec::new()
        } else if self.hashed {
            let mut parts: Vec<&[u8]> = options.command.iter().map(Vec::as_slice).collect();
            parts.extend(job.values.iter().map(Vec::as_slice));
            parts.extend(job.block.as_deref());
            joblog::command(&shown, Some(&parts))
        } else {
            joblog::command(&shown, None)
        };
        Made { words, shown, logged, tag }
    }

    /// Starts a job. The inner error is a job that could not be started, with words about it.
    #[expect(clippy::type_complexity, reason = "an end and its words, once")]
    pub(super) fn start(
        &mut self,
        options: &Options,
        gang: &mut Gang,
        printer: &mut Printer,
        job: Job,
        made: Made,
        slot: usize,
    ) -> Result<Result<(SpawnId, Running), (Running, (End, String))>, MapError> {
        let mut running = Running::new(job, made.logged, made.tag, slot, options);
        let program = match self.program(options, &made.words) {
            Ok(program) => program,
            Err((code, why)) => {
                let errno =
                    if code == 127 { rustix::io::Errno::NOENT } else { rustix::io::Errno::ACCESS };
                let end = End::CouldNotSpawn { step: "execve".into(), errno: errno.raw_os_error() };
                return Ok(Err((running, (end, why))));
            }
        };
        let argv: Result<Vec<CString>, _> = made.words.into_iter().map(CString::new).collect();
        let Ok(argv) = argv else {
            let end = End::CouldNotSpawn {
                step: "execve".into(),
                errno: rustix::io::Errno::INVAL.raw_os_error(),
            };
            let why = "a value has a NUL byte, which no argument can have; are the values NUL-terminated (-0)?";
            return Ok(Err((running, (end, why.into()))));
        };
        let streams = self.streams(options, printer, &mut running)?;
        let plan = plan(&options.plan, program, &running);
        let stdin = match &streams.input {
            Some(block) => block.as_fd(),
            None if std::mem::take(&mut self.first) && options.first_stdin => {
                rustix::stdio::stdin()
            }
            None => self.null.as_fd(),
        };
        let (out, err) = printer.streams();
        let out = streams.out.as_ref().map_or(out.as_fd(), AsFd::as_fd);
        let err = streams.err.as_ref().map_or(err.as_fd(), AsFd::as_fd);
        match gang.start(&plan, argv, vec![(stdin, 0), (out, 1), (err, 2)]) {
            Ok(id) => Ok(Ok((id, running))),
            Err(failed) => {
                let why = format!("{}: {}", failed.end, failed.detail);
                Ok(Err((running, (failed.end, why))))
            }
        }
    }

    fn program(&mut self, options: &Options, words: &[Vec<u8>]) -> Result<PathBuf, (u8, String)> {
        let name = &words[0];
        if let Some((known, path)) = &self.found
            && known == name
        {
            return Ok(path.clone());
        }
        let text = std::str::from_utf8(name).map_err(|_| {
            (126, format!("the program's name {} is not UTF-8", String::from_utf8_lossy(name)))
        })?;
        let path = (options.find)(text).map_err(|(code, why)| {
            if text.contains(' ') && words.len() <= 2 && options.shell.is_none() {
                return (code, format!("{why}; a command line for a shell needs --shell"));
            }
            (code, why)
        })?;
        self.found = Some((name.clone(), path.clone()));
        Ok(path)
    }

    /// Descriptors of a job; what reads them stays in `running`.
    fn streams(
        &self,
        options: &Options,
        printer: &mut Printer,
        running: &mut Running,
    ) -> Result<Streams, MapError> {
        let input = running.job.block.as_deref().map(|block| input(block, printer.buffers()));
        let mut streams = Streams { input: input.transpose()?, out: None, err: None };
        let copy = |file: &File| file.try_clone().map(OwnedFd::from).map_err(MapError::Output);
        match (options.show, &options.results) {
            (_, Some(folder)) => {
                let job = &running.job;
                let (out, err) = results::open(folder, &self.names, &job.values, job.seq)?;
                streams.out = Some(copy(&out)?);
                streams.err = Some(copy(&err)?);
                running.files = Some((out, err));
                running.reusable = false;
            }
            (Show::Grouped, None) => {
                let (out, err) = (printer.buffers().take()?, printer.buffers().take()?);
                // The file itself is lent to the child: its own number there is another one.
                streams.out = Some(copy(&out)?);
                streams.err = Some(copy(&err)?);
                running.files = Some((out, err));
            }
            (Show::Lines, None) => {
                for (err, end) in [(false, &mut streams.out), (true, &mut streams.err)] {
                    let (lines, writer) = Lines::new(err).map_err(MapError::Output)?;
                    running.lines.push(lines);
                    *end = Some(writer);
                }
            }
            (Show::Live, None) => {}
        }
        Ok(streams)
    }
}

struct Streams {
    input: Option<File>,
    out: Option<OwnedFd>,
    err: Option<OwnedFd>,
}

/// A block as a file at its beginning, so that a job that reads nothing of it holds nobody up, and one that is tried again gets all of it.
fn input(block: &[u8], buffers: &mut Buffers) -> Result<File, MapError> {
    let mut file = if block.len() <= MAX_MEMORY_BLOCK {
        let memory = rustix::fs::memfd_create("ganger-map", MemfdFlags::CLOEXEC);
        File::from(
            memory
                .map_err(|errno| MapError::Read { what: "a block".into(), source: errno.into() })?,
        )
    } else {
        buffers.take()?
    };
    let folder = buffers.folder();
    let fail = |source| MapError::File { what: "a block in", path: folder, source };
    let written = file.write_all(block).and_then(|()| std::io::Seek::rewind(&mut file));
    written.map_err(fail)?;
    Ok(file)
}

/// The plan of one job: GNU parallel's variables tell it its number and slot.
fn plan(base: &Plan, program: PathBuf, running: &Running) -> Plan {
    let mut plan = base.clone();
    plan.program = program.into_os_string().into_string().unwrap_or_default();
    plan.env.set("PARALLEL_SEQ", running.job.seq.to_string());
    plan.env.set("PARALLEL_JOBSLOT", running.slot.to_string());
    plan.env.set("PARALLEL_PID", std::process::id().to_string());
    plan.tree = Some(format!("map{}", running.slot));
    plan
}

/// A job that runs, or just did.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) job: Job,
    pub(super) slot: usize,
    pub(super) began: Instant,
    since: SystemTime,
    logged: Vec<u8>,
    tag: Vec<u8>,
    files: Option<(File, File)>,
    pub(super) reusable: bool,
    pub(super) lines: Vec<Lines>,
    time: Option<TimeLimit>,
    pub(super) timed_out: Option<Duration>,
    /// When TERM had its time.
    pub(super) kill: Option<Instant>,
    pub(super) killed: bool,
    /// Ended for memory, to run again.
    pub(super) evicted: bool,
}

impl Running {
    fn new(job: Job, logged: Vec<u8>, tag: Vec<u8>, slot: usize, options: &Options) -> Self {
        Self {
            job,
            slot,
            began: Instant::now(),
            since: SystemTime::now(),
            logged,
            tag,
            files: None,
            reusable: true,
            lines: Vec::new(),
            time: options.timeout,
            timed_out: None,
            kill: None,
            killed: false,
            evicted: false,
        }
    }

    /// Its time limit now.
    pub(super) fn limit(&self, times: &Times) -> Option<Duration> {
        match self.time? {
            TimeLimit::Fixed(limit) => Some(limit),
            TimeLimit::Medians(share) => times.median().map(|median| median.mul_f64(share)),
        }
    }

    /// When something is due for it.
    pub(super) fn due(&self, times: &Times) -> Option<Instant> {
        if self.kill.is_some() || self.killed {
            return self.kill;
        }
        self.limit(times).map(|limit| self.began + limit)
    }

    /// How it ended, with what is known here.
    pub(super) fn end_of(&self, end: End) -> End {
        match (self.timed_out, end) {
            (Some(after), End::Signalled { .. } | End::Exited { .. }) => End::TimedOut { after },
            (_, end) => end,
        }
    }

    /// What a person must know of its end; what is not enforced is told with the first job.
    pub(super) fn warnings(&self, ended: &Ended, first: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        if first {
            let degraded = ended.report.degraded.iter();
            warnings.extend(
                degraded.map(|one| format!("{} not enforced: {}; {}", one.what, one.why, one.fix)),
            );
        }
        let seq = self.job.seq;
        if matches!(ended.end, End::LimitHit { .. } | End::SandboxViolation { .. }) {
            warnings.push(format!("job {seq}: {}", ended.end));
        }
        if ended.forks_refused > 0 {
            warnings.push(format!("job {seq}: the limit of processes was reached"));
        }
        if !ended.stuck.is_empty() {
            warnings.push(format!("job {seq}: could not be proven dead: {:?}", ended.stuck));
        }
        warnings
    }

    /// Passes on the lines that one of its streams has.
    pub(super) fn read_lines(&mut self, index: usize, printer: &Printer) -> Result<(), MapError> {
        let lines = &mut self.lines[index];
        let bytes = lines.read().map_err(MapError::Output)?;
        if bytes.is_empty() { Ok(()) } else { printer.lines(lines.err, &self.tag, &bytes) }
    }

    /// Passes on what is left of its lines when its tree has ended.
    pub(super) fn last_lines(&mut self, printer: &Printer) -> Result<(), MapError> {
        for lines in &mut self.lines {
            let bytes = lines.drain().map_err(MapError::Output)?;
            if !bytes.is_empty() {
                printer.lines(lines.err, &self.tag, &bytes)?;
            }
        }
        Ok(())
    }

    /// Its row in the log.
    pub(super) fn row(&self, end: &End) -> Row {
        const SIGTERM: i32 = 15;
        const SIGKILL: i32 = 9;
        let signal = match end {
            End::Signalled { signal, .. } => *signal,
            End::TimedOut { .. } if self.killed => SIGKILL,
            End::TimedOut { .. } => SIGTERM,
            End::LimitHit { .. } | End::SandboxViolation { .. } => SIGKILL,
            End::CouldNotSpawn { .. } | End::Exited { .. } | End::Lost => 0,
        };
        // GNU parallel writes 0 as the exit code of one that a signal ended.
        let code =
            if matches!(end, End::Signalled { .. }) { 0 } else { i32::from(end.shell_code()) };
        Row {
            seq: self.job.seq,
            began: self.since,
            took: self.began.elapsed(),
            sent: self.job.block.as_ref().map_or(0, |block| block.len() as u64),
            received: self.lines.iter().filter(|lines| !lines.err).map(|lines| lines.seen).sum(),
            code,
            signal,
            command: self.logged.clone(),
        }
    }

    /// The job, and what it said and nobody has seen yet.
    pub(super) fn into_said(self) -> Result<(Job, Option<Said>), MapError> {
        let Some((out, err)) = self.files else { return Ok((self.job, None)) };
        let size = |file: &File| file.metadata().map(|meta| meta.len()).map_err(MapError::Output);
        let (out_size, err_size) = (size(&out)?, size(&err)?);
        let (out, err) = (Some((out, out_size)), Some((err, err_size)));
        Ok((self.job, Some(Said { tag: self.tag, out, err, reuse: self.reusable })))
    }
}
