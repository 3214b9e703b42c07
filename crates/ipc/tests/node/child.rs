//! A real Node process with its channel in our hands.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ganger_ipc::node::{Event, NodeChannel, Refused};
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::process::{Child, Command};

pub(crate) type Shared = Arc<OwnedFd>;

/// Longer than any machine needs, emulated ones included: it only turns a hang into a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// One descriptor at a time is inheritable: another test of this process must not start its child in between.
static SPAWN: Mutex<()> = Mutex::new(());

/// False, and told why, where there is no Node.
pub(crate) fn have_node() -> bool {
    let there = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join("node").is_file())
    });
    if !there {
        eprintln!("skipped: node is not along PATH");
    }
    there
}

pub(crate) struct Node {
    pub(crate) child: Child,
    pub(crate) channel: NodeChannel,
}

impl Node {
    /// Starts a program of ours, as worker `id` of a cluster if there is one.
    pub(crate) fn start(program: &str, args: &[&str], id: Option<u32>) -> Self {
        let (command, ours, theirs) = Self::prepare(program, args, id);
        let child = Self::spawn(command, theirs);
        Self { child, channel: NodeChannel::from_socket(ours.into()).unwrap() }
    }

    /// As [`Self::start`], with the bare socket.
    pub(crate) fn start_raw(program: &str, args: &[&str], id: Option<u32>) -> (Child, UnixStream) {
        let (command, ours, theirs) = Self::prepare(program, args, id);
        (Self::spawn(command, theirs), ours)
    }

    fn prepare(program: &str, args: &[&str], id: Option<u32>) -> (Command, UnixStream, OwnedFd) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // High enough to be nobody's standard stream.
        let theirs = rustix::io::fcntl_dupfd_cloexec(&theirs, 10).unwrap();
        let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/node/programs");
        let mut command = Command::new("node");
        command.arg(place.join(program)).args(args);
        let number = std::os::fd::AsRawFd::as_raw_fd(&theirs);
        command.env("NODE_CHANNEL_FD", number.to_string()).env_remove("NODE_OPTIONS");
        if let Some(id) = id {
            command.env("NODE_UNIQUE_ID", id.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        (command, ours, theirs)
    }

    fn spawn(mut command: Command, theirs: OwnedFd) -> Child {
        let _only_one = SPAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        fcntl_setfd(&theirs, FdFlags::empty()).unwrap();
        let child = command.spawn().unwrap();
        drop(theirs);
        child
    }

    /// What happens next on the channel; `None` is its end.
    pub(crate) async fn next(&mut self) -> Option<Result<Event<Shared>, Refused>> {
        in_time(self.channel.next()).await.unwrap()
    }

    /// The next message, without what else happens.
    pub(crate) async fn message(&mut self) -> (String, Option<Shared>) {
        loop {
            match self.next().await.expect("the channel goes on") {
                Ok(Event::Message { body, handle, .. }) => {
                    return (String::from_utf8(body).unwrap(), handle.map(|handle| handle.fd));
                }
                Ok(_) => {}
                Err(refused) => panic!("{refused}"),
            }
        }
    }

    pub(crate) fn send(&mut self, body: &str) {
        self.channel.send(body.as_bytes().to_vec()).unwrap();
    }
}

pub(crate) async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("something should have happened")
}

/// A connection: our side to talk through, and the one to be given away.
pub(crate) async fn connection() -> io::Result<(tokio::net::TcpStream, Shared)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let client = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
    let (accepted, _) = listener.accept()?;
    Ok((client, Arc::new(accepted.into())))
}
