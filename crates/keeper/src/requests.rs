//! What a daemon asks for.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use ganger_core::{SpawnId, Stream};
use ganger_sys::frame::Frame;

use crate::keeper::{Keeper, now_ms, say};
use crate::launch::{self, Begun, Failure, Lent};
use crate::stdio;
use crate::wire::{Event, Held, MAX_BLOB, Plan, Request, WIRE_VERSION, decode};

/// Descriptors held under names: listeners and the like, not connections.
const MAX_HELD: usize = 4096;

impl Keeper {
    pub(crate) fn on_request(&mut self, frame: Frame, now: Instant) {
        let Frame { body, fds } = frame;
        let mut fds = fds.into_iter();
        match decode::<Request>("a request", &body) {
            Err(error) => {
                say(&error.to_string());
                self.refuse(None, error.to_string());
            }
            Ok(request) => self.on_decoded(request, fds.next(), now),
        }
    }

    fn on_decoded(&mut self, request: Request, fd: Option<OwnedFd>, now: Instant) {
        self.settle_before(&request);
        match request {
            Request::Hello { version } => self.on_hello(version),
            Request::Ready => self.on_daemon_ready(),
            Request::Spawn { id, plan } => self.on_spawn(id, plan, fd),
            Request::Signal { id, signal, scope } => {
                if let Err(error) = self.signal(id, signal, scope) {
                    self.refuse(Some(id), format!("signal {signal} to spawn {id}: {error}"));
                }
            }
            Request::EndTree { id } if self.children.contains_key(&id) => self.end_tree(id, now),
            Request::EndTree { id } => {
                self.tell(&Event::TreeEnded { id, stuck: Vec::new() }, Vec::new());
            }
            Request::AckExit { id } => self.on_ack(id),
            Request::SetBlob { id, blob } => self.on_blob(id, blob),
            Request::Hold { name } => self.on_hold(name, fd),
            Request::Release { name } => self.on_release(&name),
            Request::RetireLog { name, slot } => self.retire_log(&name, slot),
            Request::FlushLogs { tag } => self.flush_logs(tag),
            Request::Pong { n } => self.ping.answered(n),
            Request::Examine { path } => self.on_examine(path, now),
            Request::Upgrade => self.on_upgrade(),
            Request::Shutdown => self.on_shutdown(now),
        }
    }

    pub(crate) fn refuse(&mut self, id: Option<SpawnId>, why: String) {
        self.tell(&Event::Refused { id, why }, Vec::new());
    }

    fn on_hello(&mut self, version: u32) {
        if version.abs_diff(WIRE_VERSION) > 1 {
            let why =
                format!("daemon speaks version {version}, keeper {WIRE_VERSION}; restart both");
            say(&why);
            self.refuse(None, why);
        }
        let (keeper_pid, state_id) = (self.pid, self.state);
        self.tell(&Event::Welcome { version: WIRE_VERSION, keeper_pid, state_id }, Vec::new());
        self.repeat_leaving();
    }

    fn on_spawn(&mut self, id: SpawnId, plan: Box<Plan>, passed: Option<OwnedFd>) {
        if let Some(child) = self.children.get(&id) {
            let again = child.spawned();
            self.tell_spawned(id, again);
            return;
        }
        if let Some(answer) = self.past.answer(id) {
            let answer = answer.clone();
            return self.tell(&answer, Vec::new());
        }
        self.room_to_start();
        // Taken before it runs: a quick program's first line must not be older than its start, by which log lines are told
        // from those of the process before.
        let started_at_ms = now_ms();
        let begun = self.spawn(id, plan, passed);
        self.begun(id, started_at_ms, begun);
    }

    pub(crate) fn tell_spawned(
        &mut self,
        id: SpawnId,
        answer: std::io::Result<(Event, Vec<OwnedFd>)>,
    ) {
        match answer {
            Ok((event, fds)) => self.tell(&event, fds),
            // The child runs and is in the next table; only this daemon can't have its descriptors.
            Err(error) => self.refuse(Some(id), format!("descriptors of spawn {id}: {error}")),
        }
    }

    fn spawn(
        &mut self,
        id: SpawnId,
        plan: Box<Plan>,
        passed: Option<OwnedFd>,
    ) -> Result<Begun, Failure> {
        launch::check(&plan)?;
        let logs = [(Stream::Stdout, &plan.stdout), (Stream::Stderr, &plan.stderr)];
        for (stream, output) in logs {
            if let crate::wire::Output::Log(target) = output {
                let opened = self.open_log(target, stream);
                opened.map_err(|error| Failure::io("pipe", "its log pipe", &error))?;
            }
        }
        let made = stdio::make(&plan, passed, |number, target| {
            let stream = if number == 1 { Stream::Stdout } else { Stream::Stderr };
            let key = (target.name.clone(), target.slot, stream);
            let pipe = self.logs.by_key.get(&key).expect("opened just above");
            pipe.write.try_clone()
        });
        let stdio = made.map_err(|error| Failure::io("stdio", "its descriptors", &error))?;
        let mut inherit = Vec::new();
        for (name, number) in &plan.inherit {
            let fd = self.held.get(name);
            let fd = fd.ok_or_else(|| Failure::plan(format!("nothing is held as {name:?}")))?;
            inherit.push((fd.as_fd(), *number));
        }
        let (driver, networks) = (&mut self.driver, &mut self.networks);
        let (files, low) = (self.files, self.low.as_mut());
        let own = std::slice::from_ref(&self.dir);
        let dir = Some(self.dir.as_path());
        let mut lent =
            Lent { state: self.state, driver, networks, files, low, own, dir, inherit, argv: None };
        launch::begin(id, plan, stdio, &mut lent)
    }

    fn on_ack(&mut self, id: SpawnId) {
        match self.children.get(&id).map(|child| child.exit.is_some()) {
            None => {}
            Some(false) => self.refuse(Some(id), format!("spawn {id} has not ended")),
            Some(true) => {
                if let Some(tree) = self.children.remove(&id).and_then(|child| child.tree) {
                    self.driver.release(tree);
                }
                self.clearing.remove(&id);
                let why = format!("spawn {id} has ended and was acknowledged");
                self.past.remember(id, Event::Refused { id: Some(id), why });
            }
        }
    }

    fn on_blob(&mut self, id: SpawnId, blob: String) {
        if blob.len() > MAX_BLOB {
            let size = blob.len();
            return self.refuse(Some(id), format!("blob of {size} bytes; the most is {MAX_BLOB}"));
        }
        if let Some(child) = self.children.get_mut(&id) {
            child.blob = blob;
        }
    }

    fn on_hold(&mut self, name: String, fd: Option<OwnedFd>) {
        let Some(fd) = fd else {
            return self.refuse(None, format!("no descriptor came to be held as {name:?}"));
        };
        if self.held.len() >= MAX_HELD && !self.held.contains_key(&name) {
            return self.refuse(None, format!("{MAX_HELD} descriptors are held; release some"));
        }
        match fd.try_clone() {
            Ok(copy) => {
                self.held.insert(name.clone(), fd);
                self.tell(&Event::Held { name, what: Held::Named }, vec![copy]);
            }
            Err(error) => self.refuse(None, format!("holding {name:?}: {error}")),
        }
    }

    /// `chan:ID`, `stdin:ID`, `stdout:ID` and `stderr:ID` are the keeper's copies of a child's ends; a child sees the end of
    /// its stdin only when daemon and keeper have both closed theirs.
    fn on_release(&mut self, name: &str) {
        let end = name.split_once(':').and_then(|(end, id)| Some((end, SpawnId(id.parse().ok()?))));
        if let Some((end, id)) = end
            && let Some(child) = self.children.get_mut(&id)
        {
            match end {
                "chan" => child.ends.channel = None,
                "stdin" => child.ends.stdin = None,
                "stdout" => child.ends.stdout = None,
                "stderr" => child.ends.stderr = None,
                _ => {}
            }
        }
        self.held.remove(name);
    }
}
