//! Lines of many streams in the order of their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Arc;

use regex::bytes::Regex;

use super::back::{Back, line_start};
use super::forward::Forward;
use super::tape::Tape;
use super::{Line, Query, ReadError, at_path};
use crate::layout::StreamKey;

/// More streams than this don't keep a descriptor each: the usual soft limit is 1,024.
const KEEP_OPEN_MAX: usize = 256;
/// All read buffers together, unless single lines are longer than their share.
const BUFFERS: usize = 16 << 20;
/// Bounds of one read buffer.
const BUFFER: std::ops::RangeInclusive<usize> = 4 << 10..=64 << 10;

/// Lines that are there; made by [`LogReader::read`](super::LogReader::read).
#[derive(Debug)]
pub struct Lines {
    sources: Vec<Source>,
    /// (time, source) of each source's next line.
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    /// The source whose line was given last: its next line is not in the heap yet.
    given: Option<usize>,
    grep: Option<Regex>,
    /// Following: a last line without its end is held back until it has one.
    following: bool,
}

#[derive(Debug)]
struct Source {
    key: StreamKey,
    name: Arc<str>,
    forward: Forward,
    /// Lost before lines that the pattern left out.
    lost: u64,
}

/// What one step brought.
#[derive(Debug)]
pub(super) enum Step {
    Line(Line),
    /// A line that the pattern leaves out.
    Skipped,
    /// Nothing there now.
    Dry,
}

/// Where reading of one stream starts.
struct Start {
    key: StreamKey,
    tape: Tape,
    low: u64,
    high: u64,
    continued: bool,
}

impl Lines {
    pub(super) fn open(
        root: &Path,
        keys: Vec<StreamKey>,
        query: &Query,
        following: bool,
    ) -> Result<Self, ReadError> {
        let many = keys.len() > KEEP_OPEN_MAX;
        let mut starts = Vec::with_capacity(keys.len());
        for key in keys {
            let dir = key.dir(root);
            starts.push(Start::find(key, root, query, !many).map_err(at_path(&dir))?);
        }
        if let Some(n) = query.tail_n {
            cut_to_last(&mut starts, n, query.grep.as_ref(), following)?;
        }
        let block = buffer_size(starts.len());
        let mut lines = Self {
            sources: Vec::with_capacity(starts.len()),
            heap: BinaryHeap::new(),
            given: None,
            grep: query.grep.clone(),
            following,
        };
        for start in starts {
            lines.push(start, block)?;
        }
        Ok(lines)
    }

    /// Adds a stream that appeared, from its beginning. Gives its number.
    pub(super) fn add(&mut self, root: &Path, key: StreamKey) -> Result<usize, ReadError> {
        let dir = key.dir(root);
        let keep_open = self.sources.len() < KEEP_OPEN_MAX;
        let start = Start::find(key, root, &Query::default(), keep_open).map_err(at_path(&dir))?;
        self.push(start, buffer_size(self.sources.len() + 1))
    }

    fn push(&mut self, start: Start, block: usize) -> Result<usize, ReadError> {
        let until = if self.following { u64::MAX } else { start.high };
        let forward = Forward::new(start.tape, start.low, until, block);
        let name = match self.sources.last() {
            Some(last) if *last.name == *start.key.name => Arc::clone(&last.name),
            _ => Arc::from(start.key.name.as_str()),
        };
        let forward = forward.continuing(start.continued);
        self.sources.push(Source { key: start.key, name, forward, lost: 0 });
        self.offer(self.sources.len() - 1)?;
        Ok(self.sources.len() - 1)
    }

    /// Looks at a stream's folder again.
    pub(super) fn refresh(&mut self, source: usize) -> Result<(), ReadError> {
        let forward = &mut self.sources[source].forward;
        let fresh = forward.tape().refresh();
        fresh.map_err(at_path(forward.tape().dir()))?;
        if forward.peek().is_none() {
            forward.rewind_if_restarted();
            self.offer(source)?;
        }
        Ok(())
    }

    fn offer(&mut self, source: usize) -> Result<(), ReadError> {
        let forward = &mut self.sources[source].forward;
        if forward.peek().is_some() {
            return Ok(());
        }
        let found = forward.find(!self.following);
        if found.map_err(at_path(forward.tape().dir()))? {
            let ts_ns = forward.peek().map_or(0, |raw| raw.ts_ns);
            self.heap.push(Reverse((ts_ns, source)));
        }
        Ok(())
    }

    /// The next line in time, if it is there and wanted.
    pub(super) fn step(&mut self) -> Result<Step, ReadError> {
        if let Some(given) = self.given.take() {
            self.sources[given].forward.take();
            self.offer(given)?;
        }
        let Some(Reverse((_, at))) = self.heap.pop() else { return Ok(Step::Dry) };
        self.given = Some(at);
        let source = &mut self.sources[at];
        let Some(raw) = source.forward.peek() else { return Ok(Step::Skipped) };
        source.lost += raw.lost_before;
        let bytes = source.forward.bytes();
        if self.grep.as_ref().is_some_and(|grep| !grep.is_match(bytes)) {
            return Ok(Step::Skipped);
        }
        Ok(Step::Line(Line {
            ts_ns: raw.ts_ns,
            name: Arc::clone(&source.name),
            slot: source.key.slot,
            stream: source.key.stream,
            line: String::from_utf8_lossy(bytes).into_owned(),
            continued: raw.continued,
            lost_before: std::mem::take(&mut source.lost),
        }))
    }
}

impl Iterator for Lines {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Step::Line(line)) => return Some(Ok(line)),
                Ok(Step::Skipped) => {}
                Ok(Step::Dry) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn buffer_size(streams: usize) -> usize {
    (BUFFERS / streams.max(1)).clamp(*BUFFER.start(), *BUFFER.end())
}

impl Start {
    fn find(key: StreamKey, root: &Path, query: &Query, keep_open: bool) -> std::io::Result<Self> {
        let mut tape = Tape::open(key.dir(root), keep_open)?;
        let first = match query.since_ms {
            Some(ms) => tape.first_since(ms.saturating_mul(1_000_000))?,
            None => tape.start(),
        };
        let low = line_start(&mut tape, first)?;
        let high = match query.until_ms {
            Some(ms) => {
                let after = tape.first_since(ms.saturating_add(1).saturating_mul(1_000_000))?;
                if after > tape.start() { line_start(&mut tape, after)? } else { after }
            }
            None => tape.end(),
        };
        Ok(Self { key, tape, low, high, continued: false })
    }
}

/// Moves the starts up so that the last `n` wanted lines are left: walks all streams back in time order, remembering
/// positions only, so that the memory needed doesn't depend on `n`.
fn cut_to_last(
    starts: &mut [Start],
    n: u64,
    grep: Option<&Regex>,
    following: bool,
) -> Result<(), ReadError> {
    let mut backs: Vec<Back> = starts.iter().map(|s| Back::new(s.low, s.high)).collect();
    let mut heap = BinaryHeap::new();
    for (at, start) in starts.iter_mut().enumerate() {
        start.low = start.high;
        let mut found = previous(start, &mut backs[at], grep)?;
        // The unfinished last line of a stream that is followed is still to come: it isn't one of the `n`.
        if let Some((_, span)) = found.filter(|(_, s)| following && s.end == start.tape.end()) {
            (start.low, start.continued) = (span.start, span.continued);
            found = previous(start, &mut backs[at], grep)?;
        }
        heap.extend(found.map(|(ts, span)| (ts, at, span.start, span.continued)));
    }
    for _ in 0..n {
        let Some((_, at, offset, continued)) = heap.pop() else { break };
        (starts[at].low, starts[at].continued) = (offset, continued);
        let found = previous(&mut starts[at], &mut backs[at], grep)?;
        heap.extend(found.map(|(ts, span)| (ts, at, span.start, span.continued)));
    }
    Ok(())
}

/// The wanted line before, with its time.
fn previous(
    start: &mut Start,
    back: &mut Back,
    grep: Option<&Regex>,
) -> Result<Option<(u64, super::back::Span)>, ReadError> {
    let tape = &mut start.tape;
    let mut find = || loop {
        let Some(span) = back.previous(tape)? else { return Ok(None) };
        let wanted = match grep {
            Some(grep) => grep.is_match(&tape.read_range(span.start, span.end)?),
            None => true,
        };
        if wanted {
            return Ok(Some((tape.time_at(span.start)?, span)));
        }
    };
    let found: std::io::Result<_> = find();
    found.map_err(at_path(start.tape.dir()))
}
