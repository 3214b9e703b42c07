//! The socket of others: a second listener, only where the configuration asks for it, which serves commands under policies and nothing else.
//!
//! ```text
//! [server] exec_socket ─ bind PATH.new ─ group and mode ─ rename to PATH ─ accept ─ who is it (SO_PEERCRED)? ─ room for it? ─ POST /exec
//!        │ another, or none                                                              nobody can be asked ┘ no ─ closed
//!        └───────────────────▶ the name is removed, open connections go on
//! ```
//!
//! File permissions say who may connect, policies (`who`) say who may run what; each denial of theirs is recorded like anybody's. A daemon
//! that is killed leaves the name behind; the next one takes its place, and clients try again meanwhile.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use ganger_api::ApiError;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::peer::Peer;
use super::serve::{ACCEPT_PAUSE, Closing, END_TIMEOUT, OTHERS_IDLE, connection, told};
use crate::config::ExecSocket;
use crate::recorder::Events;

/// Connections of all others together. Each holds a request in memory, of a megabyte at most.
const CONNECTIONS_MAX: usize = 256;
/// Connections of one user: none can keep the others out alone.
const CONNECTIONS_OF_ONE_MAX: usize = 64;

/// What the socket is made of.
pub(crate) struct Outer {
    /// What is served.
    pub(crate) router: Router,
    pub(crate) events: Events,
    /// What the configuration asks for.
    pub(crate) wanted: watch::Receiver<Option<ExecSocket>>,
}

/// Open connections by user.
type Counts = Arc<Mutex<HashMap<u32, usize>>>;

impl Outer {
    /// Serves until the end is told.
    pub(crate) async fn serve(mut self, mut end: Closing) {
        let mut connections = JoinSet::new();
        let counts = Counts::default();
        loop {
            let socket = self.wanted.borrow_and_update().clone();
            let bound = match &socket {
                Some(socket) => self.bind(socket).await,
                None => None,
            };
            loop {
                while connections.try_join_next().is_some() {}
                let accepted = tokio::select! {
                    biased;
                    () = told(&mut end) => {
                        remove(bound.as_ref());
                        let patience = end.borrow().unwrap_or(END_TIMEOUT);
                        let all = async { while connections.join_next().await.is_some() {} };
                        if tokio::time::timeout(patience, all).await.is_err() {
                            // What they run ends with their connections.
                            connections.shutdown().await;
                        }
                        return;
                    }
                    changed = self.wanted.changed() => {
                        if changed.is_err() {
                            // Nobody is left who could want another; the end is told next.
                            told(&mut end).await;
                        }
                        break;
                    }
                    accepted = accept(bound.as_ref()) => accepted,
                };
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "can't accept a connection of others");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let Some(peer) = Peer::of(&stream) else { continue };
                if connections.len() >= CONNECTIONS_MAX {
                    tracing::warn!(
                        uid = peer.uid,
                        "{CONNECTIONS_MAX} connections of others are open: closed"
                    );
                    continue;
                }
                let Some(place) = Place::take(&counts, peer.uid) else {
                    tracing::warn!(
                        uid = peer.uid,
                        "{CONNECTIONS_OF_ONE_MAX} connections of it are open: closed"
                    );
                    continue;
                };
                let (router, end) = (self.router.clone(), end.clone());
                connections.spawn(async move {
                    connection(stream, router, Some(peer), end, Some(OTHERS_IDLE)).await;
                    drop(place);
                });
            }
            remove(bound.as_ref());
        }
    }

    async fn bind(&self, socket: &ExecSocket) -> Option<Bound> {
        let name = socket.path.display().to_string();
        match bind(socket) {
            Ok(bound) => {
                self.events.tell("daemon.exec_socket", &name, "others may ask for commands").await;
                Some(bound)
            }
            Err(error) => {
                let error = ApiError::from_error(ganger_api::ErrorKind::Config, &error);
                tracing::error!(error = %error.message, "nobody else can ask for commands");
                self.events.tell("daemon.exec_socket_failed", &name, error.message).await;
                None
            }
        }
    }
}

/// A listener and the name under which it is found.
struct Bound {
    listener: UnixListener,
    path: std::path::PathBuf,
    /// Of the name: another daemon may have taken it since.
    inode: u64,
}

/// Why there is no socket for others.
#[derive(Debug, thiserror::Error)]
enum BindError {
    /// Others could put their own in its place.
    #[error(
        "{0}, on the way to the socket for others, may be changed by others than root and ganger's own user: chmod go-w, chown root"
    )]
    Open(String),
    /// Something else is there.
    #[error("{0} is there and no socket: remove it, or choose another `exec_socket.path`")]
    Taken(String),
    /// A living daemon has it.
    #[error("another daemon listens on {0}: choose another `exec_socket.path` for one of them")]
    Served(String),
    /// No such group.
    #[error("the socket for others: {0}")]
    Group(#[from] crate::convert::IdentityError),
    /// The system's.
    #[error("the socket for others: {step} {path}: {error}")]
    System {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: String,
        /// Why not.
        error: io::Error,
    },
}

fn bind(socket: &ExecSocket) -> Result<Bound, BindError> {
    let path = &socket.path;
    let text = || path.display().to_string();
    let fail =
        |step| move |error| BindError::System { step, path: path.display().to_string(), error };
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        // Only the last part: whoever wants more of it than that makes it.
        fs::create_dir(folder).map_err(fail("can't make the folder of"))?;
        fs::set_permissions(folder, PermissionsExt::from_mode(0o755))
            .map_err(fail("can't open the folder of"))?;
    }
    if let Some(open) = writable_by_others(folder).map_err(fail("can't look at the folder of"))? {
        return Err(BindError::Open(open));
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => return Err(BindError::Taken(text())),
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(BindError::Served(text()));
        }
        // Left behind, or not there.
        _ => {}
    }
    let gid = socket.group.as_deref().map(crate::convert::look_up_group).transpose()?;
    let mut new = path.clone().into_os_string();
    new.push(".new");
    let new = std::path::PathBuf::from(new);
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(fail("can't remove what is left beside")(error));
    }
    let listener = UnixListener::bind(&new).map_err(fail("can't listen on"))?;
    chown(&new, None, gid).map_err(fail("can't give its group to"))?;
    let mode = if gid.is_some() { 0o660 } else { 0o666 };
    fs::set_permissions(&new, PermissionsExt::from_mode(mode))
        .map_err(fail("can't set the mode of"))?;
    let inode = fs::symlink_metadata(&new).map_err(fail("can't look at"))?.ino();
    fs::rename(&new, path).map_err(fail("can't put in its place"))?;
    Ok(Bound { listener, path: path.clone(), inode })
}

/// The first folder on the way down to this one in which others could exchange something.
fn writable_by_others(folder: &Path) -> io::Result<Option<String>> {
    let own = rustix::process::geteuid().as_raw();
    let folder = fs::canonicalize(folder)?;
    for part in folder.ancestors() {
        let meta = fs::metadata(part)?;
        if meta.mode() & 0o022 != 0 || (meta.uid() != 0 && meta.uid() != own) {
            return Ok(Some(part.display().to_string()));
        }
    }
    Ok(None)
}

async fn accept(
    bound: Option<&Bound>,
) -> io::Result<(tokio::net::UnixStream, tokio::net::unix::SocketAddr)> {
    match bound {
        Some(bound) => bound.listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Removes the name, if it is still this socket's.
fn remove(bound: Option<&Bound>) {
    let Some(bound) = bound else { return };
    if fs::symlink_metadata(&bound.path).is_ok_and(|meta| meta.ino() == bound.inode)
        && let Err(error) = fs::remove_file(&bound.path)
    {
        tracing::warn!(%error, path = %bound.path.display(), "the socket for others is left behind");
    }
}

/// One connection of a user; given back when dropped.
#[derive(Debug)]
struct Place {
    counts: Counts,
    uid: u32,
}

impl Place {
    fn take(counts: &Counts, uid: u32) -> Option<Self> {
        let mut all = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(uid).or_default();
        if *count >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        *count += 1;
        Some(Self { counts: Arc::clone(counts), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_does_not_keep_the_others_out() {
        let counts = Counts::default();
        let mut places: Vec<_> =
            (0..CONNECTIONS_OF_ONE_MAX).map(|_| Place::take(&counts, 7).unwrap()).collect();
        assert!(Place::take(&counts, 7).is_none());
        assert!(Place::take(&counts, 8).is_some());
        places.pop();
        assert!(Place::take(&counts, 7).is_some());
        drop(places);
        assert!(counts.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_folder_of_everybodys_holds_no_socket() {
        // Below a checkout of root's, not below /tmp.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let folder = dir.path().join("run");
        let socket = ExecSocket { path: folder.join("exec.sock"), group: None };
        let sound = writable_by_others(dir.path()).unwrap();
        if let Some(open) = &sound {
            println!("skipped: {open} above this checkout can be written by others");
            return;
        }
        let bound = bind(&socket).unwrap();
        let mode = fs::metadata(&socket.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        assert!(matches!(bind(&socket), Err(BindError::Served(_))));
        // Left by one that was killed.
        let Bound { listener, .. } = bound;
        drop(listener);
        let again = bind(&socket).unwrap();
        remove(Some(&again));
        assert!(!socket.path.exists());
        let own = rustix::process::getegid().as_raw().to_string();
        let closed = bind(&ExecSocket { group: Some(own), ..socket.clone() }).unwrap();
        let mode = fs::metadata(&socket.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        remove(Some(&closed));
        fs::write(&socket.path, "x").unwrap();
        assert!(matches!(bind(&socket), Err(BindError::Taken(_))));
        fs::remove_file(&socket.path).unwrap();
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(matches!(bind(&socket), Err(BindError::Open(_))));
        let nobody = ExecSocket { group: Some("no-such-group".into()), ..socket };
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(matches!(bind(&nobody), Err(BindError::Group(_))));
    }
}
