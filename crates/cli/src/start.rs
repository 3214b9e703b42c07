//! Starting a keeper for a state folder, and knowing soon whether it came up.
//!
//! ```text
//! up ── spawns ──▶ ganger __keeper          (own session, stdio in keeper.log)
//!  ◀── READY=1 ── keeper ◀── daemon serves   sd_notify(3) over a datagram socket of this call
//!  ◀── pidfd ──── keeper ended: keeper.log says why
//! ```
//!
//! Nothing is polled: one wait on both, and on Ctrl-C, under one deadline.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ganger_api::client::lock_is_held;
use tokio::net::UnixDatagram;

use crate::error::{CliError, Kind};
use crate::gone::Keeper;
use crate::place::Place;

/// A daemon opens its store and adopts children in far less; a crash loop gets to its API-only daemon within it.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// What is shown of keeper.log after a failure.
const LOG_TAIL: usize = 2_000;
/// An sd_notify message is a few short lines.
const NOTIFY_MAX: usize = 4_096;

/// Starts a keeper unless one lives. `Some(keeper)` if this call started it.
pub(crate) async fn ensure(place: &Place) -> Result<Option<Keeper>, CliError> {
    if lock_is_held(&place.state_dir) {
        return Ok(None);
    }
    let mut log = KeeperLog::open(&place.state_dir)?;
    let (socket, name) = notify_socket()?;
    let mut child = spawn(place, &log, &name)?;
    let keeper = Keeper::with_pid(Some(child.id()));
    let outcome = wait_ready(&keeper, &socket).await;
    match outcome {
        Outcome::Ready => Ok(Some(keeper)),
        Outcome::Ended => {
            let status = child.wait().map_or_else(|error| error.to_string(), |s| s.to_string());
            if lock_is_held(&place.state_dir) {
                // Another call was faster: its keeper has the lock and ours went away.
                return Ok(None);
            }
            Err(log.why(format!("the keeper could not start ({status})")))
        }
        Outcome::Interrupted => {
            end(&keeper);
            Err(CliError::new(Kind::Failed, "interrupted before the daemon was up"))
        }
        Outcome::Late => {
            end(&keeper);
            Err(log
                .why(format!("no daemon came up within {START_TIMEOUT:?}"))
                .help("`ganger logs ganger` shows what the daemon said"))
        }
    }
}

enum Outcome {
    Ready,
    Ended,
    Interrupted,
    Late,
}

async fn wait_ready(keeper: &Keeper, socket: &UnixDatagram) -> Outcome {
    tokio::select! {
        () = ready(socket) => Outcome::Ready,
        () = keeper.gone() => Outcome::Ended,
        _ = tokio::signal::ctrl_c() => Outcome::Interrupted,
        () = tokio::time::sleep(START_TIMEOUT) => Outcome::Late,
    }
}

/// Returns when a message with the line `READY=1` came.
pub(crate) async fn ready(socket: &UnixDatagram) {
    let mut buffer = [0; NOTIFY_MAX];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(n) if buffer[..n].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") => {
                return;
            }
            Ok(_) => {}
            Err(_) => std::future::pending().await,
        }
    }
}

/// A datagram socket in the abstract namespace: no file to clean up, and no limit of path length in deep folders.
pub(crate) fn notify_socket() -> Result<(UnixDatagram, String), CliError> {
    let (socket, name) = notify_socket_std()?;
    socket.set_nonblocking(true)?;
    Ok((UnixDatagram::from_std(socket)?, name))
}

/// The same for a process without a runtime.
pub(crate) fn notify_socket_std() -> Result<(StdDatagram, String), CliError> {
    let name = format!("ganger-{:032x}", fastrand::u128(..));
    let address = SocketAddr::from_abstract_name(name.as_bytes())?;
    Ok((StdDatagram::bind_addr(&address)?, format!("@{name}")))
}

fn spawn(place: &Place, log: &KeeperLog, notify: &str) -> Result<std::process::Child, CliError> {
    let failed = |error: io::Error| {
        CliError::new(Kind::Failed, format!("the keeper could not be started: {error}"))
            .help("the process limit may be reached; look at `ulimit -u`")
    };
    Command::new("/proc/self/exe")
        .arg0("ganger")
        .arg("__keeper")
        .arg("--state-dir")
        .arg(&place.state_dir)
        .env("NOTIFY_SOCKET", notify)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.file.try_clone().map_err(failed)?)
        .stderr(log.file.try_clone().map_err(failed)?)
        .spawn()
        .map_err(failed)
}

fn end(keeper: &Keeper) {
    if let Some(pidfd) = keeper.pidfd() {
        let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::TERM);
        let _ = keeper.wait_gone();
    }
}

/// The keeper's log, and where it ended before this start.
struct KeeperLog {
    path: PathBuf,
    file: File,
    before: u64,
}

impl KeeperLog {
    /// Makes the state folder (0700) and opens its log: an unwritable folder is found here, with its name.
    fn open(state_dir: &Path) -> Result<Self, CliError> {
        make_state_dir(state_dir)?;
        let path = state_dir.join("keeper.log");
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| unwritable("write in the state folder", &path, &error))?;
        let before = file.seek(SeekFrom::End(0))?;
        Ok(Self { path, file, before })
    }

    /// The failure with what the keeper said about it.
    fn why(&mut self, message: String) -> CliError {
        let mut said = Vec::new();
        let _ = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.before))?;
            file.read_to_end(&mut said)
        });
        let said = String::from_utf8_lossy(&said);
        let said = said.trim_end();
        let from = said.ceil_char_boundary(said.len().saturating_sub(LOG_TAIL));
        let error = match &said[from..] {
            "" => CliError::new(Kind::Failed, message),
            tail => CliError::new(Kind::Failed, format!("{message}:\n{tail}")),
        };
        error.help(format!("its log is {}", self.path.display()))
    }
}

/// Makes the state folder, for its owner only.
pub(crate) fn make_state_dir(state_dir: &Path) -> Result<(), CliError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(|error| unwritable("make the state folder", state_dir, &error))
}

/// A state folder that can't be used: which path, why, and the way out.
fn unwritable(what: &str, path: &Path, error: &io::Error) -> CliError {
    let (kind, help) = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            (Kind::Denied, "make it writable for this user, or choose another with --state-dir")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            (Kind::Denied, "it is on a read-only filesystem; choose another with --state-dir")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (Kind::Failed, "the disk is full; make room, or choose another with --state-dir")
        }
        _ => (Kind::Failed, "choose another state folder with --state-dir"),
    };
    CliError::new(kind, format!("can't {what} {}: {error}", path.display())).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readiness_is_a_line_of_a_datagram() {
        let (socket, name) = notify_socket().unwrap();
        let sender = StdDatagram::unbound().unwrap();
        let address = SocketAddr::from_abstract_name(name.trim_start_matches('@')).unwrap();
        sender.send_to_addr(b"STATUS=opening the store", &address).unwrap();
        sender.send_to_addr(b"STATUS=up\nREADY=1\n", &address).unwrap();
        ready(&socket).await;
    }

    #[test]
    fn what_the_keeper_said_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("keeper.log"), "old\n").unwrap();
        let mut log = KeeperLog::open(dir.path()).unwrap();
        io::Write::write_all(&mut log.file, b"disk full at /x\n").unwrap();
        let error = log.why("the keeper could not start".into()).to_string();
        assert_eq!(error, "the keeper could not start:\ndisk full at /x");
    }

    #[test]
    fn a_state_folder_that_is_a_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        std::fs::write(&file, "").unwrap();
        let Err(error) = KeeperLog::open(&file) else { panic!("must fail") };
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}
