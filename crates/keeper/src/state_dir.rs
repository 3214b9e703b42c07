//! The state folder: its lock, its id, its socket.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use ganger_core::StateId;
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::KeeperError;

/// Longest path in a Unix socket address, without its NUL (unix(7)).
const SOCKET_PATH: usize = 107;
/// The API's socket in the state folder.
const SOCKET: &str = "ganger.sock";

/// Makes the folder (0700) where it is missing and returns its absolute path.
pub(crate) fn make(path: &Path) -> Result<PathBuf, KeeperError> {
    let fail = |source| KeeperError::State { path: path.into(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)?;
    for inner in ["logs", "run", crate::launch::ROOTS] {
        let inner = path.join(inner);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&inner);
        made.map_err(|source| KeeperError::State { path: inner, source })?;
    }
    fs::canonicalize(path).map_err(fail)
}

/// Takes the folder's lock, which lives as long as any copy of the descriptor. No keeper starts while it is held.
///
/// # Errors
/// [`KeeperError::Locked`] when a keeper or daemon lives; [`KeeperError::State`] when the folder can't be used.
pub fn lock(dir: &Path) -> Result<OwnedFd, KeeperError> {
    let path = dir.join("lock");
    let fail = |source| KeeperError::State { path: path.clone(), source };
    let file = File::options().create(true).append(true).open(&path).map_err(fail)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file.into()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(KeeperError::Locked { path: dir.into() }),
        Err(errno) => Err(fail(errno.into())),
    }
}

/// Reads the folder's id or makes one. Only with the lock held.
pub(crate) fn state_id(dir: &Path) -> Result<StateId, KeeperError> {
    let path = dir.join("state-id");
    let fail = |source| KeeperError::State { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(id) => Ok(id),
            Err(_) => Err(KeeperError::StateId { path, text: text.chars().take(80).collect() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut id = [0; 16];
            let flags = rustix::rand::GetRandomFlags::empty();
            rustix::rand::getrandom(&mut id, flags).map_err(|errno| fail(errno.into()))?;
            write_whole(dir, "state-id", &StateId(id).to_string()).map_err(fail)?;
            Ok(StateId(id))
        }
        Err(error) => Err(fail(error)),
    }
}

/// Writes beside and renames, so that no reader ever sees half of it.
fn write_whole(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let beside = dir.join(format!("{name}.new"));
    fs::write(&beside, text)?;
    File::open(&beside)?.sync_all()?;
    fs::rename(&beside, dir.join(name))
}

/// The API's listening socket, 0600. A socket file of a dead daemon is replaced: the lock is ours.
pub(crate) fn listen(dir: &Path) -> Result<OwnedFd, KeeperError> {
    let path = dir.join(SOCKET);
    let fail = |source| KeeperError::State { path: path.clone(), source };
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(dir, flags, Mode::empty()).map_err(|errno| fail(errno.into()))?;
    let short = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
    let address = if path.as_os_str().len() > SOCKET_PATH { &short } else { &path };
    let listener = UnixListener::bind(address).map_err(fail)?;
    // The folder is 0700 as well, so nobody else got in between bind and chmod.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(fail)?;
    Ok(listener.into())
}

/// Removes the API's socket at the end.
pub(crate) fn unlink_socket(dir: &Path) {
    // A file that is gone already is what is wanted.
    let _ = fs::remove_file(dir.join(SOCKET));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lock_one_id_and_a_socket_in_a_deep_folder() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("x".repeat(60)).join("y".repeat(60));
        let dir = make(&deep).unwrap();
        let lock_held = lock(&dir).unwrap();
        assert!(matches!(lock(&dir), Err(KeeperError::Locked { .. })));
        let id = state_id(&dir).unwrap();
        assert_eq!(state_id(&dir).unwrap(), id);
        let first = listen(&dir).unwrap();
        drop(first);
        let _second = listen(&dir).unwrap();
        let mode = fs::metadata(dir.join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(lock_held);
        lock(&dir).unwrap();
        fs::write(dir.join("state-id"), "rubbish").unwrap();
        assert!(state_id(&dir).unwrap_err().to_string().contains("rubbish"));
    }
}
