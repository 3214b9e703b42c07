//! What the keeper asks of the mover.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use ganger_core::Stream;
use ganger_core::logwire::{LogReply, LogRequest, LogTarget};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::control::Heard;
use super::serve::{BATCH, Mover, OPEN_MAX, now_ns};
use super::shelf::{Limits, Shelf};
use super::stream::LogStream;
use super::{MoverError, lock};
use crate::layout::{StreamKey, name_is_safe};

const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

impl Mover {
    /// Does what the keeper asks; false when it closed its end and all is drained.
    pub(super) fn listen(&mut self, now: Instant) -> Result<bool, MoverError> {
        loop {
            match self.control.hear()? {
                Heard::Request(request, fds) => self.obey(request, fds, now)?,
                Heard::Nothing => return Ok(true),
                Heard::Closed => {
                    self.drain_all()?;
                    return Ok(false);
                }
            }
        }
    }

    fn obey(
        &mut self,
        request: LogRequest,
        fds: Vec<OwnedFd>,
        now: Instant,
    ) -> Result<(), MoverError> {
        match request {
            LogRequest::Hello { dir, .. } => {
                let dir = PathBuf::from(dir);
                let lock =
                    lock(&dir).map_err(|source| MoverError::Folder { dir: dir.clone(), source })?;
                self.folder = Some((dir, lock));
                Ok(())
            }
            LogRequest::Add { target, stream } => self.add(target, stream, fds),
            LogRequest::Retire { name, slot, stream } => {
                let key = StreamKey { name: name.clone(), slot, stream };
                if let Some(id) = self.by_key.get(&key).copied() {
                    self.retire(id, now)?;
                }
                self.control.say(&LogReply::Retired { name, slot, stream })
            }
            LogRequest::Flush { tag } => {
                self.drain_all()?;
                self.control.say(&LogReply::Flushed { tag })
            }
        }
    }

    fn add(
        &mut self,
        target: LogTarget,
        stream: Stream,
        fds: Vec<OwnedFd>,
    ) -> Result<(), MoverError> {
        let broken = |why: &str| MoverError::Control { why: why.to_owned() };
        let Some((root, _)) = &self.folder else { return Err(broken("Add before Hello")) };
        if !name_is_safe(&target.name) {
            return Err(broken(&format!("`{}` can't be a folder's name", target.name)));
        }
        let limits = Limits::new(target.max_bytes, target.max_age_s);
        let key = StreamKey { name: target.name, slot: target.slot, stream };
        if limits.age.is_some() {
            self.expiry_ns = Some(0);
        }
        if let Some(known) = self.by_key.get(&key).and_then(|id| self.streams.get_mut(id)) {
            known.shelf.limits = limits;
            return Ok(());
        }
        let pipe = fds.into_iter().next().ok_or_else(|| broken("Add without a pipe"))?;
        self.last_id += 1;
        let data = epoll::EventData::new_u64(self.last_id);
        epoll::add(&self.epoll, &pipe, data, epoll::EventFlags::IN).map_err(io::Error::from)?;
        let shelf = Shelf::new(key.dir(root), limits);
        self.by_key.insert(key.clone(), self.last_id);
        self.streams.insert(self.last_id, LogStream::new(key, pipe, shelf));
        Ok(())
    }

    fn retire(&mut self, id: u64, now: Instant) -> Result<(), MoverError> {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.drain(&self.null, now_ns());
            if stream.report_due(now).is_some() {
                self.control.say(&stream.take_report(now))?;
            }
        }
        self.remove(id);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(stream) = self.streams.remove(&id) {
            self.by_key.remove(&stream.key);
            self.to_report.retain(|other| *other != id);
            self.open = self.open.saturating_sub(usize::from(stream.shelf.is_open()));
            // Before it is closed: the keeper's copy keeps the pipe alive, and with it a stale entry in the queue.
            let _ = epoll::delete(&self.epoll, &stream.pipe);
        }
    }

    /// Moves what is in the pipes at this moment. Asks for those that have something: there may be thousands.
    fn drain_all(&mut self) -> Result<(), MoverError> {
        let mut drained: HashSet<u64> = HashSet::new();
        let mut events = Vec::with_capacity(BATCH);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&NO_WAIT)) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(io::Error::from(error).into()),
            }
            // A full batch of known ones: the kernel hands out the ready in turn, so all have had theirs.
            let ready = events.iter().map(|event| event.data.u64());
            let fresh: Vec<u64> = ready.filter(|id| drained.insert(*id)).collect();
            for id in &fresh {
                self.drain(*id);
            }
            if fresh.is_empty() || events.len() < BATCH {
                break;
            }
        }
        if self.open > OPEN_MAX {
            self.close_idle(OPEN_MAX / 2);
        }
        Ok(())
    }

    fn drain(&mut self, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let was_open = stream.shelf.is_open();
        stream.drain(&self.null, now_ns());
        self.open += usize::from(stream.shelf.is_open() && !was_open);
        if stream.report_due(Instant::now()).is_some() && !self.to_report.contains(&id) {
            self.to_report.push(id);
        }
    }
}
