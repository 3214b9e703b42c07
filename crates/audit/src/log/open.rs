//! Opening: begin a log, or go on with one after looking at how it was left.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::Options;
use super::state::{State, create};
use crate::error::AuditError;
use crate::hash::{Hash, LogId};
use crate::keys::{KEY_FILE, Keys, PUBLIC_FILE};
use crate::line::Moment;
use crate::record::{Own, Recovered};
use crate::segment::{self, Segment};
use crate::verify::{
    At, Checker, Fault, Finding, Place, Seals, Seen, Stop, first_line, head_seal, head_seq,
    path_of, scan,
};
use crate::witness::{HEAD_FILE, HeadFound, Places, head_at, head_path};

/// Name of the lock file in the log's folder.
const LOCK_FILE: &str = "lock";

/// How a log was left.
struct Left {
    checker: Checker,
    seen: Seen,
    head: HeadFound,
}

impl State {
    pub(super) fn open(options: Options) -> Result<Self, AuditError> {
        let folder = options.folder.clone();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(AuditError::io("making", &folder))?;
        let lock = lock(&folder)?;
        let listed = segment::list(&folder).map_err(AuditError::io("listing", &folder))?;
        let head = head_at(&folder.join(HEAD_FILE)).map_err(AuditError::io("reading", &folder))?;
        // With its key in place a log has begun: what is missing then was taken away.
        if folder.join(KEY_FILE).symlink_metadata().is_ok() {
            let keys = Keys::load(&folder)?;
            complete(&folder, &listed, &head)?;
            let left = look(&options, &listed, head, &keys)?;
            return Self::resume(options, lock, keys, &listed, left);
        }
        let segments = never_begun(listed, &head)?;
        let drawn = Keys::drawn(&folder)?;
        if segments.is_empty() && head == HeadFound::Missing {
            return Self::fresh(options, lock, drawn);
        }
        let keys = drawn.map_or_else(|| Keys::load(&folder), Ok)?;
        let left = look(&options, &segments, head, &keys)?;
        let state = Self::resume(options, lock, keys, &segments, left)?;
        Keys::keep(&folder)?;
        Ok(state)
    }

    /// Begins a log.
    fn fresh(options: Options, lock: File, drawn: Option<Keys>) -> Result<Self, AuditError> {
        let folder = &options.folder;
        let keys = drawn.map_or_else(|| Keys::draw(folder), Ok)?;
        // Of another key: of a log whose files went away all but this one.
        remove_if_there(&folder.join(PUBLIC_FILE))?;
        keys.publish(&folder.join(PUBLIC_FILE))?;
        let log = LogId::random().map_err(AuditError::io("drawing the id of", folder))?;
        let places = Places::open(folder, options.witness.as_deref(), log, &keys)?;
        let file = create(&folder.join(segment::name(1)))?;
        let at = At { seq: 0, hash: Hash::START };
        let mut state = Self::at(options, keys, log, lock, file, at, places);
        state.begin(1)?;
        state.places.sync()?;
        // From here on whatever is not there was taken away.
        Keys::keep(&state.options.folder)?;
        Ok(state)
    }

    fn at(
        options: Options,
        keys: Keys,
        log: LogId,
        lock: File,
        file: File,
        at: At,
        places: Places,
    ) -> Self {
        Self {
            options,
            keys,
            log,
            _lock: lock,
            file,
            number: 0,
            len: 0,
            lines: 0,
            at,
            since_checkpoint: 0,
            unsigned_since: None,
            places,
            buffer: Vec::new(),
            seals: Vec::new(),
            now: Moment::now(),
        }
    }

    /// Goes on where the last writer stopped.
    fn resume(
        options: Options,
        lock: File,
        keys: Keys,
        segments: &[Segment],
        left: Left,
    ) -> Result<Self, AuditError> {
        let (Some(last), Some(at), Some(start)) =
            (segments.last(), left.checker.at(), left.checker.start.clone())
        else {
            let finding = Finding { segment: 1, line: 0, seq: None, fault: Fault::SegmentMissing };
            return Err(altered(&options.folder, finding));
        };
        let headless = left.seen.last_len == 0;
        let recovered = recovered(&left, at.seq);
        let file = mend(last, &left.seen)?;
        let places = Places::open(&options.folder, options.witness.as_deref(), start.log, &keys)?;
        let mut state = Self::at(options, keys, start.log, lock, file, at, places);
        (state.number, state.len) = (last.number, left.seen.last_len);
        state.lines = left.checker.line_number();
        state.since_checkpoint = left.checker.since_checkpoint;
        // From here on more may follow: a head that says `closed` must not survive that, not even a power cut.
        state.commit()?;
        state.places.sync()?;
        if headless {
            state.begin(last.number)?;
        } else if start.witness.as_ref().map(path_of) != state.options.witness {
            state.rotate()?;
        }
        if let Some(recovered) = recovered {
            tracing::warn!(?recovered, "the audit log was not closed in order");
            state.push_own(&Own::Recovered(recovered))?;
            state.commit()?;
        }
        Ok(state)
    }
}

fn lock(folder: &Path) -> Result<File, AuditError> {
    let path = folder.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(AuditError::io("opening", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(AuditError::Locked { path: folder.to_owned() }),
        Err(errno) => Err(AuditError::io("locking", path)(errno)),
    }
}

/// A crash between the making of the very first file and its first line leaves a log that never was.
fn never_begun(segments: Vec<Segment>, head: &HeadFound) -> Result<Vec<Segment>, AuditError> {
    match &segments[..] {
        [only] if only.number == 1 && *head == HeadFound::Missing && first_line(only).is_none() => {
            remove(&only.path)?;
            Ok(Vec::new())
        }
        _ => Ok(segments),
    }
}

/// A log that has begun has a segment and a head, whatever crash or power cut came: both were on disk before its key.
fn complete(folder: &Path, segments: &[Segment], head: &HeadFound) -> Result<(), AuditError> {
    let (segment, fault) = match head {
        _ if segments.is_empty() => (1, Fault::SegmentMissing),
        HeadFound::Missing => (0, Fault::Head("is missing")),
        HeadFound::Unreadable => (0, Fault::Head("is unreadable")),
        HeadFound::There(_) => return Ok(()),
    };
    Err(altered(folder, Finding { segment, line: 0, seq: None, fault }))
}

fn remove_if_there(path: &Path) -> Result<(), AuditError> {
    if path.exists() { remove(path) } else { Ok(()) }
}

fn remove(path: &Path) -> Result<(), AuditError> {
    std::fs::remove_file(path).map_err(AuditError::io("deleting", path))
}

fn altered(folder: &Path, finding: Finding) -> AuditError {
    AuditError::Altered { path: folder.to_owned(), finding: Box::new(finding) }
}

/// Checks the end of the log: from the segment that holds the signed head on, which is the last, or the last but one.
fn look(
    options: &Options,
    segments: &[Segment],
    head: HeadFound,
    keys: &Keys,
) -> Result<Left, AuditError> {
    let from = segments
        .iter()
        .rposition(|segment| first_line(segment).is_some_and(|first| first.seq <= head_seq(&head)))
        .unwrap_or(0);
    let mut checker = Checker::new(Some(keys.public()));
    let mut seen = Seen::default();
    let mut walk = || -> Result<(), Stop> {
        if let HeadFound::There(seal) = &head {
            checker.mark(Place::Head, (**seal).clone())?;
        }
        seen = scan(&segments[from..], &mut checker, &mut Seals::none(), head_seq(&head))?;
        witnessed(options, &mut checker)?;
        checker.end(head_seal(&head), from == 0)?;
        Ok(())
    };
    match walk() {
        Ok(()) => Ok(Left { checker, seen, head }),
        Err(Stop::Found(finding)) => Err(altered(&options.folder, finding)),
        Err(Stop::Io { path, source }) => Err(AuditError::io("reading", path)(source)),
    }
}

/// Compares with the witness's head, if the log went there before.
fn witnessed(options: &Options, checker: &mut Checker) -> Result<(), Stop> {
    let (Some(witness), Some(start)) = (&options.witness, checker.start.clone()) else {
        return Ok(());
    };
    // A log of one line may have been left before its first head was on disk.
    let begun = checker.at().is_some_and(|at| at.seq > 1);
    let known = begun && start.witness.as_ref().map(path_of).as_ref() == Some(witness);
    let path = head_path(witness, start.log);
    let wrong = |what: &str| {
        let fault = Fault::Witness(format!("{} {what}", witness.display()));
        Stop::Found(Finding { segment: 0, line: 0, seq: None, fault })
    };
    match head_at(&path) {
        Ok(HeadFound::There(seal)) => Ok(checker.mark(Place::WitnessHead, *seal)?),
        Ok(HeadFound::Missing) if known => Err(wrong("lost the head of this log")),
        Ok(HeadFound::Unreadable) if known => Err(wrong("has an unreadable head of this log")),
        Ok(_) => Ok(()),
        Err(source) => Err(Stop::Io { path, source }),
    }
}

fn recovered(left: &Left, last: u64) -> Option<Recovered> {
    let recovered = Recovered {
        torn_bytes: left.seen.torn,
        unsigned: last.saturating_sub(head_seq(&left.head)),
        head_lost: !matches!(left.head, HeadFound::There(_)),
    };
    let in_order = head_seal(&left.head).is_some_and(|head| head.closed);
    (!in_order || recovered != Recovered::default()).then_some(recovered)
}

/// Cuts off the torn line and writes the lines again that no head covers: if their fsync failed, the kernel may think
/// that they are on disk when they are not.
fn mend(last: &Segment, seen: &Seen) -> Result<File, AuditError> {
    let mended = || -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(true).open(&last.path)?;
        if seen.torn > 0 {
            file.set_len(seen.last_len)?;
        }
        let unsigned = seen.last_len.saturating_sub(seen.unsigned_from);
        if unsigned > 0 {
            let mut lines = vec![0; usize::try_from(unsigned).map_err(io::Error::other)?];
            file.read_exact_at(&mut lines, seen.unsigned_from)?;
            file.write_all_at(&lines, seen.unsigned_from)?;
        }
        file.sync_all()?;
        OpenOptions::new().append(true).open(&last.path)
    };
    mended().map_err(AuditError::io("mending", &last.path))
}
