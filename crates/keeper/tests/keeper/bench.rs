//! The test's side: a keeper of its own in a temporary folder, and the daemon's end of its wire.

use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ganger_core::{InstanceId, InstanceKind, SpawnId};
use ganger_keeper::wire::{
    Event, ExitReport, Output, Plan, Request, Table, WIRE_VERSION, decode, encode,
};
use ganger_sys::frame::{FrameReader, FrameWriter, Progress};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use ganger_testkit::roles::{self, Handed, SOCKET_ENV};

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) keeper: Option<Child>,
    listener: UnixListener,
}

pub(crate) struct Daemon {
    pub(crate) pid: u32,
    pub(crate) table: Table,
    /// In the order of [`roles::numbers`].
    pub(crate) inherited: Vec<OwnedFd>,
    _relay: UnixStream,
    socket: OwnedFd,
    reader: FrameReader,
    writer: FrameWriter,
    early: VecDeque<(Event, Vec<OwnedFd>)>,
}

/// Waits for readiness; panics when it does not come.
pub(crate) fn wait(fd: impl AsFd, what: &str) {
    roles::wait(fd, PATIENCE, what);
}

impl Bench {
    pub(crate) fn new(env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("t.sock")).unwrap();
        let mut bench = Self { dir, keeper: None, listener };
        bench.start(env, &[]);
        bench
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn command(&self, env: &[(&str, &str)], args: &[String]) -> Command {
        let helper = roles::helper("keeper");
        let mut command = Command::new(helper.program);
        command.arg("role:keeper").arg(self.state_dir()).args(args);
        command.env(SOCKET_ENV, self.dir.path().join("t.sock"));
        command.envs(env.iter().copied());
        command
    }

    pub(crate) fn start(&mut self, env: &[(&str, &str)], args: &[String]) {
        self.keeper = Some(self.command(env, args).spawn().unwrap());
    }

    pub(crate) fn keeper_pid(&self) -> u32 {
        self.keeper.as_ref().unwrap().id()
    }

    /// The next daemon that the keeper starts, greeted.
    pub(crate) fn daemon(&self) -> Daemon {
        let Handed { pid, table, keeper, fds, relay } = self.relay();
        let mut daemon = Daemon {
            pid,
            table,
            _relay: relay,
            socket: keeper,
            inherited: fds,
            reader: FrameReader::new(),
            writer: FrameWriter::new(),
            early: VecDeque::new(),
        };
        daemon.send(&Request::Hello { version: WIRE_VERSION });
        daemon.until(|event| matches!(event, Event::Welcome { .. }));
        daemon.send(&Request::Ready);
        daemon
    }

    /// The next daemon that the keeper starts, as it was born.
    pub(crate) fn relay(&self) -> Handed {
        roles::next_relay(&self.listener, PATIENCE)
    }

    /// A copy of the keeper's binary, which is this test's.
    pub(crate) fn copy(&self, name: &str) -> PathBuf {
        let copy = self.dir.path().join(name);
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        copy
    }

    /// Kills without a word and takes the body away.
    pub(crate) fn kill_keeper(&mut self) {
        let mut keeper = self.keeper.take().unwrap();
        keeper.kill().unwrap();
        keeper.wait().unwrap();
    }

    /// The keeper ends by itself, well.
    pub(crate) fn shut_down(&mut self, mut daemon: Daemon) {
        daemon.send(&Request::Shutdown);
        drop(daemon);
        let mut keeper = self.keeper.take().unwrap();
        let pidfd = ganger_sys::pidfd::open(keeper.id()).unwrap();
        wait(&pidfd, "the keeper's end");
        assert!(keeper.wait().unwrap().success(), "{}", self.keeper_log());
    }

    pub(crate) fn keeper_log(&self) -> String {
        std::fs::read_to_string(self.state_dir().join("keeper.log")).unwrap_or_default()
    }
}

impl Drop for Bench {
    /// A failed test leaves nothing behind: SIGTERM brings all down, the next signal (another one: equal ones merge) at once.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("keeper.log:\n{}", self.keeper_log());
        }
        let Some(mut keeper) = self.keeper.take() else { return };
        let Ok(pidfd) = ganger_sys::pidfd::open(keeper.id()) else { return };
        for signal in [15, 2] {
            let _ = ganger_sys::pidfd::send_signal(&pidfd, signal);
        }
        let timeout = Timespec::try_from(PATIENCE).unwrap();
        if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) != Ok(1) {
            println!("keeper {} does not end", keeper.id());
            let _ = keeper.kill();
        }
        let _ = keeper.wait();
    }
}

impl Daemon {
    pub(crate) fn send(&mut self, request: &Request) {
        self.send_with(request, Vec::new());
    }

    pub(crate) fn send_with(&mut self, request: &Request, fds: Vec<OwnedFd>) {
        self.writer.push(&encode(request), fds).unwrap();
        while self.writer.write(&self.socket).unwrap() == Progress::Blocked {
            poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], None).unwrap();
        }
    }

    /// The first event that fits; others are kept for later.
    pub(crate) fn until(&mut self, fits: impl Fn(&Event) -> bool) -> (Event, Vec<OwnedFd>) {
        if let Some(at) = self.early.iter().position(|(event, _)| fits(event)) {
            return self.early.remove(at).unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(frame) = self.reader.next_frame().unwrap() {
                let event: Event = decode("an event", &frame.body).unwrap();
                if let Event::Ping { n } = event {
                    self.send(&Request::Pong { n });
                } else if fits(&event) {
                    return (event, frame.fds);
                } else {
                    self.early.push_back((event, frame.fds));
                }
            }
            let seen = &self.early;
            assert!(Instant::now() < deadline, "no fitting event among {seen:?}");
            wait(&self.socket, "an event");
            let progress = self.reader.read(&self.socket).unwrap();
            assert!(progress != Progress::Eof, "the keeper hung up; seen {:?}", self.early);
        }
    }

    /// Spawns; the pid and the descriptors that came.
    pub(crate) fn spawn(&mut self, id: u64, plan: &Plan) -> (u32, Vec<OwnedFd>) {
        self.spawn_with(id, plan, Vec::new())
    }

    pub(crate) fn spawn_with(
        &mut self,
        id: u64,
        plan: &Plan,
        fds: Vec<OwnedFd>,
    ) -> (u32, Vec<OwnedFd>) {
        let id = SpawnId(id);
        self.send_with(&Request::Spawn { id, plan: Box::new(plan.clone()) }, fds);
        let (event, fds) = self.until(|event| match event {
            Event::Spawned { id: told, .. } | Event::SpawnFailed { id: told, .. } => *told == id,
            _ => false,
        });
        match event {
            Event::Spawned { pid, .. } => (pid, fds),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn exit_of(&mut self, id: u64) -> ExitReport {
        let fits = |event: &Event| matches!(event, Event::Exited(report) if report.id.0 == id);
        match self.until(fits).0 {
            Event::Exited(report) => report,
            other => unreachable!("{other:?}"),
        }
    }

    /// Nothing of the kind has come up to now: the answer to a later request is here, and events keep their order.
    pub(crate) fn nothing_like(&mut self, fits: impl Fn(&Event) -> bool) {
        let tag = 4_000_000_007;
        self.send(&Request::FlushLogs { tag });
        let answer = |event: &Event| matches!(event, Event::Log(ganger_core::logwire::LogReply::Flushed { tag: told }) if *told == tag);
        self.until(answer);
        let found: Vec<_> = self.early.iter().filter(|(event, _)| fits(event)).collect();
        assert!(found.is_empty(), "{found:?}");
    }

    /// SIGKILL, as by an operator in a hurry.
    pub(crate) fn kill(self) {
        let pidfd = ganger_sys::pidfd::open(self.pid).unwrap();
        ganger_sys::pidfd::send_signal(&pidfd, 9).unwrap();
    }
}

/// A plan that runs `/bin/sh -c script`, output captured by pipe.
pub(crate) fn shell(name: &str, script: &str) -> Plan {
    plan(name, "/bin/sh", &["sh", "-c", script])
}

/// A plan that runs a hostile program of the test kit.
pub(crate) fn hostile(name: &str, args: &[&str]) -> Plan {
    let program = std::env::current_exe().unwrap();
    let argv = [&["test", "role:hostile"], args].concat();
    plan(name, program.to_str().unwrap(), &argv)
}

fn plan(name: &str, program: &str, argv: &[&str]) -> Plan {
    Plan {
        env: [("PATH", "/usr/bin:/bin")].into_iter().collect(),
        stdout: Output::Pipe,
        ..Plan::new(
            InstanceId::new(name, 1),
            InstanceKind::Service,
            program,
            argv.iter().map(|&arg| arg.into()).collect(),
        )
    }
}

/// Reads until `wanted` bytes are there.
pub(crate) fn read_some(fd: &OwnedFd, wanted: usize) -> String {
    let mut said = vec![0; wanted];
    let mut file = std::fs::File::from(fd.try_clone().unwrap());
    file.read_exact(&mut said).unwrap();
    String::from_utf8(said).unwrap()
}

/// Processes, zombies included, that carry a text in their environment or command line.
pub(crate) fn processes_with(text: &str) -> Vec<u32> {
    let me = std::process::id();
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != me)
        .filter(|pid| {
            let read =
                |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            let all = [read("environ"), read("cmdline")].concat();
            String::from_utf8_lossy(&all).contains(text)
        })
        .collect()
}

/// Zombies whose parent is `parent`.
pub(crate) fn zombies_of(parent: u32) -> Vec<String> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| {
            let rest = stat.rsplit(')').next().unwrap_or_default();
            let mut fields = rest.split_whitespace();
            fields.next() == Some("Z") && fields.next() == Some(&parent.to_string())
        })
        .collect()
}
