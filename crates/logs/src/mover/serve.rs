//! The mover's loop.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::MoverError;
use super::control::Control;
use super::pace::Pace;
use super::stream::{LogStream, Turn};
use crate::layout::StreamKey;

/// Events taken per wait; the kernel hands out the ready ones in turn, so more streams than this are still served fairly.
pub(super) const BATCH: usize = 64;
/// Segments kept open (two descriptors each). Beyond it the half that is idle longest is closed.
pub(super) const OPEN_MAX: usize = 512;
/// Epoll's name for the control socket; streams count from 1.
const CONTROL: u64 = 0;

pub(super) struct Mover {
    pub(super) control: Control,
    pub(super) epoll: OwnedFd,
    pub(super) null: File,
    /// The logs folder and its lock, from `Hello` on.
    pub(super) folder: Option<(PathBuf, File)>,
    pub(super) streams: HashMap<u64, LogStream>,
    pub(super) by_key: HashMap<StreamKey, u64>,
    pub(super) last_id: u64,
    pub(super) turns: u64,
    pub(super) pace: Pace,
    pub(super) last_spoke: u64,
    /// Segments open, at most: rotations count twice until the next count.
    pub(super) open: usize,
    /// Streams with dropped bytes that were not told yet.
    pub(super) to_report: Vec<u64>,
    pub(super) expiry_ns: Option<u64>,
    pub(super) control_blocked: bool,
}

pub(super) fn now_ns() -> u64 {
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
            pace: Pace::new(),
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
                    id => self.serve(id, now)?,
                }
            }
            if control && !self.listen(now)? {
                return Ok(());
            }
            self.expire(now_ns);
            self.report(now)?;
            self.send()?;
            self.pace.round(now);
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
    fn serve(&mut self, id: u64, now: Instant) -> Result<(), MoverError> {
        // Asked for each stream: a round with many loud ones takes a while.
        let now_ns = now_ns();
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
            Turn::Moved { opened, bytes } => {
                self.last_spoke = id;
                self.pace.moved += bytes;
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
    pub(super) fn close_idle(&mut self, keep: usize) {
        let open = self.streams.values_mut().filter(|stream| stream.shelf.is_open());
        let mut open: Vec<_> = open.collect();
        open.sort_unstable_by_key(|stream| std::cmp::Reverse(stream.last_turn));
        for stream in open.iter_mut().skip(keep) {
            stream.shelf.close();
        }
        self.open = keep.min(open.len());
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
