//! Taking over descriptors by number, as they come through exec.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

/// Numbers handed out already: an `OwnedFd` must be the only owner of its number.
static ADOPTED: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes ownership of an inherited descriptor and sets close-on-exec on it.
///
/// For the first moments of a process only, for numbers that its parent told it and that nothing else here owns. Each
/// number is given out once in a process's life.
///
/// # Errors
/// The number is not open, is one of 0-2, or was adopted before.
pub fn adopt_fd(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        let why = format!("descriptor {number} is a standard stream and can't be adopted");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut adopted = ADOPTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // SAFETY: fcntl with F_SETFD takes no pointer; a closed number gives EBADF.
    let set = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if set < 0 {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(
            error.kind(),
            format!("inherited descriptor {number}: {error}"),
        ));
    }
    if !adopted.insert(number) {
        let why = format!("descriptor {number} was adopted before");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    // SAFETY: the number is open (fcntl succeeded) and, by the set above, has no other owner made here.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, IntoRawFd};

    #[test]
    fn a_number_is_adopted_once() {
        let (reader, _writer) = io::pipe().unwrap();
        let number = OwnedFd::from(reader).into_raw_fd();
        let owned = adopt_fd(number).unwrap();
        assert_eq!(owned.as_raw_fd(), number);
        assert!(adopt_fd(number).is_err());
        assert!(adopt_fd(1).is_err());
        assert!(adopt_fd(999_999).is_err());
    }
}
