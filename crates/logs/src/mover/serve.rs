//! The mover's loop.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ganger_core::logwire::{LogReply, LogRequest, LogTarget};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::control::{Control, Heard};
use super::shelf::{Limits, Shelf};
use super::stream::{LogStream, Turn};
use super::{MoverError, lock};
use crate::layout::{StreamKey, name_is_safe};

/// Events taken per wait; the kernel hands out the ready ones in turn, so more streams than this are still served fairly.
const BATCH: usize = 64;
/// Segments kept open (two descriptors each). Beyond it the half that is idle longest is closed.
const OPEN_MAX: usize = 512;
/// Epoll's name for the control socket; streams count from 1.
const CONTROL: u64 = 0;

pub(super) struct Mover {
    control: Control,
    epoll: OwnedFd,
    null: File,
    /// The logs folder and its lock, from `Hello` on.
    folder: Option<(PathBuf, File)>,
    streams: HashMap<u64, LogStream>,
    by_key: HashMap<StreamKey, u64>,
    last_id: u64,
    turns: u64,
    last_spoke: u64,
    /// Segments open, at most: rotations count twice until the next count.
    open: usize,
    /// Streams with dropped bytes that were not told yet.
    to_report: Vec<u64>,
    expiry_ns: Option<u64>,
    control_blocked: bool,
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Mover {
    pub(super) fn new(ctl: OwnedFd) -> Result<Self, MoverError> {
        let control = Control::new(ctl);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let data = epoll::EventData::new_u64(CONTROL);
        epoll::add(&epoll, control.socket(), data, epoll::EventFlags::IN)
            .map_err(io::Error::from)?;
        Ok(Self {
            control,
            epoll,
            null: File::options().write(true).open("/dev/null")?,
            folder: None,
            streams: HashMap::new(),
            by_key: HashMap::new(),
            last_id: CONTROL,
            turns: 0,
            last_spoke: CONTROL,
            open: 0,
            to_report: Vec::new(),
            expiry_ns: None,
            control_blocked: false,
        })
    }

    pub(super) fn run(mut self) -> Result<(), MoverError> {
        let mut events = Vec::with_capacity(BATCH);
        loop {
            let timeout = self.timeout();
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            let (now, now_ns) = (Instant::now(), now_ns());
            let mut control = false;
            for event in &events {
                match event.data.u64() {
                    CONTROL => control = true,
                    id => self.serve(id, now, now_ns)?,
                }
            }
            if control && !self.listen(now)? {
                return Ok(());
            }
            self.expire(now_ns);
            self.report(now)?;
            self.send()?;
        }
    }

    /// Until the next report or removal is due; without either, for ever.
    fn timeout(&self) -> Option<Timespec> {
        let now = Instant::now();
        let reports = self.to_report.iter().filter_map(|id| self.streams.get(id)?.report_due(now));
        // A full socket wakes us by itself.
        let report = reports
            .min()
            .filter(|_| self.control.has_room())
            .map(|due| due.saturating_duration_since(now));
        let expiry = self.expiry_ns.map(|at| Duration::from_nanos(at.saturating_sub(now_ns())));
        let wait = report.into_iter().chain(expiry).min()?;
        // Rounded up, so that waking is never a moment too early.
        Timespec::try_from(wait + Duration::from_millis(1)).ok()
    }

    /// One turn of one stream.
    fn serve(&mut self, id: u64, now: Instant, now_ns: u64) -> Result<(), MoverError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        self.turns += 1;
        stream.last_turn = self.turns;
        let alone = self.last_spoke == id;
        let mut turn = stream.turn(&self.null, now, now_ns, alone);
        if turn == Turn::NoDescriptors {
            self.close_idle(0);
            let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
            turn = stream.turn(&self.null, now, now_ns, alone);
        }
        match turn {
            Turn::Moved { opened, .. } => {
                self.last_spoke = id;
                self.moved(id, opened, now, now_ns);
            }
            Turn::HungUp => self.remove(id),
            Turn::Empty | Turn::NoDescriptors => {}
        }
        Ok(())
    }

    fn moved(&mut self, id: u64, opened: bool, now: Instant, now_ns: u64) {
        let Some(stream) = self.streams.get(&id) else { return };
        if stream.report_due(now).is_some() && !self.to_report.contains(&id) {
            self.to_report.push(id);
        }
        if opened {
            if let Some(age) = stream.shelf.limits.age {
                let due = now_ns.saturating_add(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
                self.expiry_ns = Some(self.expiry_ns.map_or(due, |at| at.min(due)));
            }
            self.open += 1;
            if self.open > OPEN_MAX {
                self.close_idle(OPEN_MAX / 2);
            }
        }
    }

    /// Closes the segments of all but the `keep` streams that spoke last.
    fn close_idle(&mut self, keep: usize) {
        let open = self.streams.values_mut().filter(|stream| stream.shelf.is_open());
        let mut open: Vec<_> = open.collect();
        open.sort_unstable_by_key(|stream| std::cmp::Reverse(stream.last_turn));
        for stream in open.iter_mut().skip(keep) {
            stream.shelf.close();
        }
        self.open = keep.min(open.len());
    }

    /// Does what the keeper asks; false when it closed its end and all is drained.
    fn listen(&mut self, now: Instant) -> Result<bool, MoverError> {
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
        stream: ganger_core::Stream,
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

    fn remove(&mut self, id: u64) {
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

    fn expire(&mut self, now_ns: u64) {
        if self.expiry_ns.is_some_and(|at| at <= now_ns) {
            // A folder that can't be read now is tried again when its stream next speaks.
            let due = self.streams.values_mut().filter_map(|s| s.shelf.expire(now_ns).ok()?);
            self.expiry_ns = due.min();
            self.open = self.streams.values().filter(|stream| stream.shelf.is_open()).count();
        }
    }

    fn report(&mut self, now: Instant) -> Result<(), MoverError> {
        let mut later = Vec::new();
        for id in std::mem::take(&mut self.to_report) {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            match stream.report_due(now) {
                Some(due) if due <= now && self.control.has_room() => {
                    self.control.say(&stream.take_report(now))?;
                }
                Some(_) => later.push(id),
                None => {}
            }
        }
        self.to_report = later;
        Ok(())
    }

    /// Sends answers, and asks to be woken when a full socket takes more.
    fn send(&mut self) -> Result<(), MoverError> {
        let blocked = self.control.flush();
        if blocked != self.control_blocked {
            self.control_blocked = blocked;
            let out = if blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(CONTROL);
            epoll::modify(&self.epoll, self.control.socket(), data, epoll::EventFlags::IN | out)
                .map_err(io::Error::from)?;
        }
        Ok(())
    }
}
