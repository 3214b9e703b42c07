//! Programs to watch, and a sampler whose seconds pass when a test says so.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ganger_core::Usage;
use ganger_sampler::{Options, Sample, Sampler, Tree, TreeId, Watch};

/// A shell command that says lines and waits for lines; it and its session end with the test.
pub(crate) struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
    stdin: Option<ChildStdin>,
}

impl Program {
    pub(crate) fn start(script: &str) -> Self {
        Self::with(script, &[])
    }

    /// In its own session, as the keeper starts them.
    pub(crate) fn with(script: &str, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", script]).envs(env.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let stdin = child.stdin.take();
        Self { child, lines, stdin }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended without a line");
        line.trim().to_owned()
    }

    /// The number in its next line.
    pub(crate) fn number(&mut self) -> u32 {
        self.line().parse().unwrap()
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Its end of input, its end, and what wait4 tells of it.
    pub(crate) fn ended(mut self) -> Usage {
        drop(self.stdin.take());
        let pidfd = ganger_sys::pidfd::open(self.pid()).unwrap();
        wait_for(&pidfd);
        ganger_sys::reap::wait(self.pid()).unwrap().unwrap().1
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The session's processes are of one group: no shell here has job control.
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        // Where it has not come to lead its session there is no group yet.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns when the process has ended.
pub(crate) fn wait_for(pidfd: impl std::os::fd::AsFd) {
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    while rustix::event::poll(&mut fds, None).is_err() {}
}

pub(crate) struct Stage {
    pub(crate) sampler: Sampler,
    now: Instant,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let now = Instant::now();
        Self { sampler: Sampler::new(options, now).unwrap(), now }
    }

    pub(crate) fn watch(&mut self, name: &str, pid: u32) -> TreeId {
        self.watch_marked(name, pid, None)
    }

    pub(crate) fn watch_marked(&mut self, name: &str, pid: u32, mark: Option<&str>) -> TreeId {
        let mark = mark.map(str::to_owned);
        let (name, pidfd, cgroup) = (name.to_owned(), None, None);
        let watch = Watch { name, slot: 0, pid, pidfd, cgroup, mark, descendants: true };
        self.sampler.watch(watch).unwrap()
    }

    /// A second passes.
    pub(crate) fn tick(&mut self) -> &Sample {
        self.pass(1)
    }

    pub(crate) fn pass(&mut self, seconds: u64) -> &Sample {
        self.now += Duration::from_secs(seconds);
        self.sampler.tick(self.now)
    }

    /// A tick, and one tree in it.
    pub(crate) fn tree(&mut self, id: TreeId) -> Tree {
        self.tick().trees[id.0 as usize].clone()
    }

    pub(crate) fn pids(&self, id: TreeId) -> Vec<u32> {
        let processes = self.sampler.sample().processes.iter();
        let mut pids: Vec<u32> = processes.filter(|p| p.tree == id).map(|p| p.pid).collect();
        pids.sort_unstable();
        pids
    }
}

/// Shell code that uses some tenths of a second of processor time.
pub(crate) const SPIN: &str = "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done";
