//! Jobs out of the input, numbered, as far as there is something to read.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::input::{Blocks, Cut, Packer, Rows, Step};
use crate::{Input, MapError};

/// A job before it runs.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) seq: u64,
    pub(super) values: Vec<Vec<u8>>,
    /// Its standard input.
    pub(super) block: Option<Vec<u8>>,
    /// Tries that failed.
    pub(super) tried: u32,
}

/// Jobs read ahead to know how many there are; beyond it their number stays unknown.
const MAX_AHEAD: usize = 1 << 20;

/// Jobs to come.
#[derive(Debug)]
pub(super) struct Feed {
    kind: Kind,
    ahead: VecDeque<Job>,
    /// Numbers given.
    last: u64,
    ended: bool,
}

#[derive(Debug)]
enum Kind {
    Values(Rows, Packer),
    Blocks { now: Option<(String, Blocks)>, files: std::vec::IntoIter<PathBuf>, cut: Cut },
}

impl Feed {
    pub(super) fn new(input: Input) -> Result<Self, MapError> {
        let kind = match input {
            Input::Values { sources, shape, pack } => {
                Kind::Values(Rows::open(sources, shape)?, Packer::new(pack))
            }
            Input::Pipe(cut) => {
                let name = "standard input".to_owned();
                let blocks = Blocks::stdin(cut.clone())
                    .map_err(|source| MapError::Read { what: name.clone(), source })?;
                Kind::Blocks { now: Some((name, blocks)), files: Vec::new().into_iter(), cut }
            }
            Input::Parts(files, cut) => Kind::Blocks { now: None, files: files.into_iter(), cut },
        };
        Ok(Self { kind, ahead: VecDeque::new(), last: 0, ended: false })
    }

    /// Jobs get blocks of input, and no values.
    pub(super) const fn is_blocks(&self) -> bool {
        matches!(self.kind, Kind::Blocks { .. })
    }

    /// What values are called; blocks are not.
    pub(super) fn names(&mut self) -> Result<Step<Vec<Vec<u8>>>, MapError> {
        match &mut self.kind {
            Kind::Values(rows, _) => rows.names(),
            Kind::Blocks { .. } => Ok(Step::Item(Vec::new())),
        }
    }

    pub(super) fn next(&mut self) -> Result<Step<Job>, MapError> {
        match self.ahead.pop_front() {
            Some(job) => Ok(Step::Item(job)),
            None => self.make(),
        }
    }

    /// Reads on until the number of jobs is known, or there are too many to hold.
    pub(super) fn look_ahead(&mut self) -> Result<(), MapError> {
        while !self.ended && self.ahead.len() < MAX_AHEAD {
            match self.make()? {
                Step::Item(job) => self.ahead.push_back(job),
                Step::Pending | Step::End => return Ok(()),
            }
        }
        Ok(())
    }

    /// All jobs, once known.
    pub(super) fn total(&self) -> Option<u64> {
        self.ended.then_some(self.last)
    }

    /// What has to become readable before there is more.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            _ if self.ended => None,
            Kind::Values(rows, _) => rows.fd(),
            Kind::Blocks { now, .. } => now.as_ref().and_then(|(_, blocks)| blocks.fd()),
        }
    }

    fn make(&mut self) -> Result<Step<Job>, MapError> {
        if self.ended {
            return Ok(Step::End);
        }
        let made = match &mut self.kind {
            Kind::Values(rows, packer) => values(rows, packer)?.map(|values| (values, None)),
            Kind::Blocks { now, files, cut } => {
                block(now, files, cut)?.map(|block| (Vec::new(), Some(block)))
            }
        };
        Ok(match made {
            Step::Item((values, block)) => {
                self.last += 1;
                Step::Item(Job { seq: self.last, values, block, tried: 0 })
            }
            Step::Pending => Step::Pending,
            Step::End => {
                self.ended = true;
                Step::End
            }
        })
    }
}

fn values(rows: &mut Rows, packer: &mut Packer) -> Result<Step<Vec<Vec<u8>>>, MapError> {
    loop {
        match rows.take()? {
            Step::Item(row) => {
                if let Some(values) = packer.push(row) {
                    return Ok(Step::Item(values));
                }
            }
            Step::Pending => return Ok(Step::Pending),
            Step::End => return Ok(packer.rest().map_or(Step::End, Step::Item)),
        }
    }
}

fn block(
    now: &mut Option<(String, Blocks)>,
    files: &mut impl Iterator<Item = PathBuf>,
    cut: &Cut,
) -> Result<Step<Vec<u8>>, MapError> {
    loop {
        if now.is_none() {
            let Some(path) = files.next() else { return Ok(Step::End) };
            let what = path.display().to_string();
            let blocks = Blocks::open(&path, cut.clone());
            let blocks = blocks.map_err(|source| MapError::Read { what: what.clone(), source })?;
            *now = Some((what, blocks));
        }
        let Some((what, blocks)) = now else { return Ok(Step::End) };
        match blocks.take().map_err(|source| MapError::Read { what: what.clone(), source })? {
            Step::End => *now = None,
            other => return Ok(other),
        }
    }
}
