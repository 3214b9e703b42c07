//! What the keeper asks of the mover.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use ganger_core::Stream;
use ganger_core::logwire::{LogReply, LogRequest, LogTarget};
use rustix::event::epoll;

use super::control::Heard;
use super::serve::{Mover, OPEN_MAX, now_ns};
use super::shelf::{Limits, Shelf};
use super::stream::LogStream;
use super::{MoverError, lock};
use crate::layout::{StreamKey, name_is_safe};

impl Mover {
    /// Does what the keeper asks; false when it closed its end and all is drained.
    pub(super) fn listen(&mut self, now: Instant) -> Result<bool, MoverError> {
        loop {
            match self.control.hear()? {
                Heard::Request(request, fds) => self.obey(request, fds, now)?,
                Heard::Nothing => return Ok(true),
                Heard::Closed => {
                    self.drain_all();
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
                self.drain_all();
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

    fn drain_all(&mut self) {
        for (id, stream) in &mut self.streams {
            stream.drain(&self.null, now_ns());
            if stream.report_due(Instant::now()).is_some() && !self.to_report.contains(id) {
                self.to_report.push(*id);
            }
        }
        self.open = self.streams.values().filter(|stream| stream.shelf.is_open()).count();
        if self.open > OPEN_MAX {
            self.close_idle(OPEN_MAX / 2);
        }
    }
}
