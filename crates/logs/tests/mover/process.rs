//! A real mover process, driven over its control socket as the keeper drives it.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ganger_core::Stream;
use ganger_core::logwire::{LOG_WIRE_VERSION, LogReply, LogRequest, LogTarget};
use ganger_sys::frame::{FrameReader, FrameWriter, Progress};
use rustix::event::{PollFd, PollFlags, poll};

/// Says to the test binary that it is the mover.
const ROLE: &str = "GANGER_TEST_IS_MOVER";

/// What the `#[ignore]`d test `mover_process` does when it was started as the mover.
pub(crate) fn be_mover() {
    if std::env::var_os(ROLE).is_some() {
        let control = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned().unwrap();
        ganger_logs::mover::run(control).unwrap();
    }
}

#[derive(Debug)]
pub(crate) struct Mover {
    pub(crate) child: Child,
    socket: UnixStream,
    reader: FrameReader,
    writer: FrameWriter,
}

impl Mover {
    /// `wrap`: a command that runs the mover, e.g. in a namespace.
    pub(crate) fn start(dir: &Path, wrap: &[&str]) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let exe = std::env::current_exe().unwrap();
        let mut words: Vec<&std::ffi::OsStr> = wrap.iter().map(AsRef::as_ref).collect();
        words.push(exe.as_os_str());
        let child = Command::new(words[0])
            .args(&words[1..])
            .args(["--exact", "mover_process", "--ignored", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut mover =
            Self { child, socket: ours, reader: FrameReader::new(), writer: FrameWriter::new() };
        let dir = dir.to_str().unwrap().to_owned();
        mover.ask(&LogRequest::Hello { version: LOG_WIRE_VERSION, dir }, Vec::new());
        mover
    }

    pub(crate) fn ask(&mut self, request: &LogRequest, fds: Vec<OwnedFd>) {
        self.writer.push(&serde_json::to_vec(request).unwrap(), fds).unwrap();
        while self.writer.write(&self.socket).unwrap() == Progress::Blocked {
            self.wait(PollFlags::OUT);
        }
    }

    pub(crate) fn add(&mut self, name: &str, slot: u32, max_bytes: u64, pipe: &PipeReader) {
        let target = LogTarget { name: name.into(), slot, max_bytes, max_age_s: 0 };
        let pipe = OwnedFd::from(pipe.try_clone().unwrap());
        self.ask(&LogRequest::Add { target, stream: Stream::Stdout }, vec![pipe]);
    }

    fn wait(&self, flags: PollFlags) {
        poll(&mut [PollFd::new(&self.socket, flags)], None).unwrap();
    }

    /// The next reply; waits for it.
    pub(crate) fn hear(&mut self) -> LogReply {
        loop {
            if let Some(frame) = self.reader.next_frame().unwrap() {
                return serde_json::from_slice(&frame.body).unwrap();
            }
            let mut poll = [rustix::event::PollFd::new(&self.socket, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut poll, None).unwrap();
            let progress = self.reader.read(&self.socket).unwrap();
            assert_ne!(progress, Progress::Eof, "the mover is gone");
        }
    }

    /// Waits until all that is in the pipes now is in files.
    pub(crate) fn flush(&mut self) {
        self.ask(&LogRequest::Flush { tag: 7 }, Vec::new());
        while self.hear() != (LogReply::Flushed { tag: 7 }) {}
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes the socket as a keeper's death does; gives the exit status.
    pub(crate) fn leave(self) -> std::process::ExitStatus {
        let Self { mut child, socket, .. } = self;
        drop(socket);
        child.wait().unwrap()
    }
}
