//! Stands in for Node as `process.execPath`, and puts our codec between a Node parent and a Node child (`cargo xtask node-conformance`).
//!
//! ```text
//! parent ◄── its channel ──► copy ◄── socket pair ──► node (the process that the parent started, with its pid)
//! ```
//!
//! Beside the program stands `relay.conf`: the real Node, a file for one line per relay, and `end` or `pass`. `end` is two endpoints of ours, which
//! acknowledge, keep and send handles by themselves; `pass` cuts the stream into messages and puts them together again. A channel with `advanced`
//! serialization is always passed.
#![expect(clippy::unwrap_used, reason = "a tool of tests: it has nobody to tell but its stderr")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ganger_ipc::node::{
    Endpoint, Event, Frame, Frames, HandleIn, HandleOut, OutFrame, Outbox, Serialization, wire,
};
use ganger_sys::adopt_fd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

/// What a process of this program is, other than Node's stand-in: `start …` or `copy …`.
const ROLE: &str = "GANGER_RELAY_ROLE";

fn main() {
    match std::env::var(ROLE) {
        Ok(role) => play(&role),
        Err(_) => stand_in(),
    }
}

struct Conf {
    node: PathBuf,
    log: PathBuf,
    end: bool,
}

fn conf() -> Conf {
    let program = std::env::current_exe().unwrap();
    let text = std::fs::read_to_string(program.with_file_name("relay.conf")).unwrap();
    let mut lines = text.lines();
    let (node, log) = (lines.next().unwrap().into(), lines.next().unwrap().into());
    Conf { node, log, end: lines.next() == Some("end") }
}

/// Starts the copying process and becomes Node.
fn stand_in() {
    let channel = std::env::var("NODE_CHANNEL_FD").ok().and_then(|fd| fd.parse().ok());
    if let Some(number) = channel {
        let advanced =
            std::env::var("NODE_CHANNEL_SERIALIZATION_MODE").is_ok_and(|mode| mode == "advanced");
        let mode = if advanced { "advanced" } else { "json" };
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut place = Place::take(number);
        let parent = place.duplicate();
        // Node's end stands where the parent said; its number may be looked at.
        place.put(theirs);
        let (keep, close) = (FdFlags::empty(), FdFlags::CLOEXEC);
        fcntl_setfd(&parent, keep).unwrap();
        fcntl_setfd(&ours, keep).unwrap();
        let role = format!("start {} {} {mode}", parent.as_raw_fd(), ours.as_raw_fd());
        run_self(&role).wait().unwrap();
        place.keep();
        fcntl_setfd(&parent, close).unwrap();
        fcntl_setfd(&ours, close).unwrap();
        become_node();
    }
    become_node();
}

/// The channel's number: one of the standard streams may be it.
enum Place {
    Std(i32),
    Other(OwnedFd),
}

impl Place {
    fn take(number: i32) -> Self {
        if number <= 2 { Self::Std(number) } else { Self::Other(adopt_fd(number).unwrap()) }
    }

    fn duplicate(&self) -> OwnedFd {
        match self {
            Self::Std(0) => fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3),
            Self::Std(1) => fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3),
            Self::Std(_) => fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3),
            Self::Other(fd) => fcntl_dupfd_cloexec(fd, 3),
        }
        .unwrap()
    }

    /// Puts it there, closed in the helpers (their standard streams are their own).
    fn put(&mut self, fd: UnixStream) {
        match self {
            Self::Std(0) => rustix::stdio::dup2_stdin(fd).unwrap(),
            Self::Std(1) => rustix::stdio::dup2_stdout(fd).unwrap(),
            Self::Std(_) => rustix::stdio::dup2_stderr(fd).unwrap(),
            Self::Other(place) => {
                rustix::io::dup2(fd, place).unwrap();
                fcntl_setfd(place, FdFlags::CLOEXEC).unwrap();
            }
        }
    }

    /// For Node.
    fn keep(&self) {
        if let Self::Other(place) = self {
            fcntl_setfd(place, FdFlags::empty()).unwrap();
        }
    }
}

fn become_node() {
    let error = Command::new(conf().node).args(std::env::args_os().skip(1)).exec();
    panic!("node-relay: Node can't be started: {error}");
}

fn run_self(role: &str) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // Out of the way of Node's streams, signals and children.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.env(ROLE, role).spawn().unwrap()
}

#[expect(
    clippy::zombie_processes,
    reason = "the starter ends at once, and init waits for its child"
)]
fn play(role: &str) {
    let words: Vec<&str> = role.split(' ').collect();
    let [part, parent, child, mode] = words[..] else { panic!("node-relay: role {role}") };
    if part == "start" {
        // Ends at once, so that the copying process is nobody's child that Node could meet.
        run_self(&format!("copy {parent} {child} {mode}"));
        return;
    }
    let (parent, child) = (parent.parse().unwrap(), child.parse().unwrap());
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers: BTreeSet<i32> = numbers
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2 && *number != parent && *number != child)
        .collect();
    for number in numbers {
        // Whatever the parent gave its child; the number of the listing itself is closed already.
        drop(adopt_fd(number));
    }
    let serialization =
        if mode == "advanced" { Serialization::Advanced } else { Serialization::Json };
    let conf = conf();
    let end = conf.end && serialization == Serialization::Json;
    let side = |fd| Side::new(adopt_fd(fd).unwrap(), serialization);
    let mut relay =
        Relay { sides: [side(parent), side(child)], end, messages: 0, handles: 0, refused: 0 };
    relay.run();
    let line = format!(
        "{} {} {} {}\n",
        if end { "end" } else { mode },
        relay.messages,
        relay.handles,
        relay.refused
    );
    let log = std::fs::OpenOptions::new().append(true).create(true).open(conf.log);
    log.unwrap().write_all(line.as_bytes()).unwrap();
}

type Shared = Arc<OwnedFd>;

struct Side {
    socket: OwnedFd,
    frames: Frames<OwnedFd>,
    endpoint: Endpoint<Shared>,
    outbox: Outbox<Shared>,
    /// Read to its end.
    ended: bool,
    /// Can't be written.
    gone: bool,
}

impl Side {
    fn new(socket: OwnedFd, serialization: Serialization) -> Self {
        // What a reader and what a writer may hold at once is ours to bound.
        let frames = Frames::with_cap(serialization, 1 << 30);
        let (endpoint, outbox) = (Endpoint::default(), Outbox::new(serialization));
        Self { socket, frames, endpoint, outbox, ended: false, gone: false }
    }

    fn write(&mut self) {
        while let Some(frame) = self.endpoint.next_out() {
            self.outbox.push(frame);
        }
        if !self.gone && wire::send(&self.socket, &mut self.outbox).is_err() {
            self.gone = true;
        }
    }

    /// Nothing is left that it could be given.
    fn is_served(&self) -> bool {
        self.gone || self.ended || (self.outbox.pending() == 0 && self.endpoint.is_settled())
    }
}

struct Relay {
    /// Parent and child.
    sides: [Side; 2],
    end: bool,
    messages: u64,
    handles: u64,
    refused: u64,
}

impl Relay {
    fn run(&mut self) {
        loop {
            for from in [0, 1] {
                self.carry(from);
            }
            self.sides.iter_mut().for_each(Side::write);
            let [parent, child] = &self.sides;
            if (parent.ended && child.is_served()) || (child.ended && parent.is_served()) {
                return;
            }
            self.wait();
        }
    }

    /// What came from one side goes to the other.
    fn carry(&mut self, from: usize) {
        while let Some(frame) = self.sides[from].frames.next_frame() {
            let Ok(Frame { body, kind, handle }) = frame else {
                self.refused += 1;
                continue;
            };
            let handle = handle.map(Arc::new);
            self.messages += 1;
            self.handles += u64::from(handle.is_some());
            if !self.end {
                self.sides[1 - from].outbox.push(OutFrame { body, handle });
                continue;
            }
            match self.sides[from].endpoint.on_frame(Frame { body, kind, handle }) {
                Ok(Some(Event::Message { body, handle: None, .. })) => {
                    self.sides[1 - from].endpoint.send(body).unwrap();
                }
                Ok(Some(Event::Message { body, handle: Some(handle), .. })) => {
                    let HandleIn { is, fd, key, dgram } = handle;
                    let handle = HandleOut { is, fd, key, dgram };
                    self.sides[1 - from].endpoint.send_handle(&body, handle).unwrap();
                }
                Ok(_) => {}
                Err(_) => self.refused += 1,
            }
        }
    }

    fn wait(&mut self) {
        let full = [self.sides[1].outbox.is_full(), self.sides[0].outbox.is_full()];
        let mut wanted = [PollFlags::empty(); 2];
        for (n, side) in self.sides.iter().enumerate() {
            if !side.ended && !full[n] {
                wanted[n] |= PollFlags::IN;
            }
            if !side.gone && side.outbox.pending() > 0 {
                wanted[n] |= PollFlags::OUT;
            }
        }
        let mut ready = [PollFlags::empty(); 2];
        {
            let sides = self.sides.iter().zip(wanted).enumerate();
            let sides = sides.filter(|(_, (_, wanted))| !wanted.is_empty());
            let (numbers, mut polled): (Vec<_>, Vec<_>) =
                sides.map(|(n, (side, wanted))| (n, PollFd::new(&side.socket, wanted))).unzip();
            poll(&mut polled, None).unwrap();
            for (n, one) in numbers.into_iter().zip(&polled) {
                ready[n] = one.revents();
            }
        }
        for (n, side) in self.sides.iter_mut().enumerate() {
            let readable = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
            if wanted[n].contains(PollFlags::IN) && ready[n].intersects(readable) {
                match wire::receive(&side.socket, &mut side.frames) {
                    Ok((0, _)) => side.ended = true,
                    Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                        side.ended = true
                    }
                    _ => {}
                }
            }
        }
    }
}
