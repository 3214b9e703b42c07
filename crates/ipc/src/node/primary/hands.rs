//! The connection that a primary has in its hands, noted where the next primary finds it.
//!
//! ```text
//! accepting() ──► accept4 ──► held(peer) ──► sendmsg to a worker ──► empty()     killed in between: the next one reads what was there
//! ```
//!
//! A few stores into memory for a connection, and no system call; the descriptor of that memory is somebody's who outlives the daemon.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use ganger_sys::shared::Shared;

/// Where it is noted.
#[derive(Debug)]
pub struct Hands(Shared);

/// A connection that went with a primary which was killed; or, killed within a system call that took or gave it, perhaps did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Its client; none for a Unix socket, or killed before that was known.
    pub from: Option<SocketAddr>,
}

/// The first word: nothing, a connection of nobody with an address, one from the address in the words behind.
const EMPTY: u64 = 0;
const UNKNOWN: u64 = 1;
const FROM: u64 = 2;

impl Hands {
    /// On memory of [`ganger_sys::shared::create`].
    ///
    /// # Errors
    /// It is something else, or can't be mapped.
    pub fn open(fd: impl AsFd) -> io::Result<Self> {
        Shared::open(fd).map(Self)
    }

    /// What a former primary had when it ended; asked once.
    #[must_use]
    pub fn take(&self) -> Option<Lost> {
        let [what, port, high, low, ..] = self.0.words();
        let get = |word: &AtomicU64| word.load(Ordering::Acquire);
        let from = match what.swap(EMPTY, Ordering::AcqRel) {
            EMPTY => return None,
            FROM => {
                let bits = (u128::from(get(high)) << 64) | u128::from(get(low));
                let port = u16::try_from(get(port)).unwrap_or(0);
                let ip = Ipv6Addr::from_bits(bits);
                let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
                Some(SocketAddr::new(ip, port))
            }
            _ => None,
        };
        Some(Lost { from })
    }

    /// One is about to be accepted: the kernel may have given it when this process is killed.
    pub(super) fn accepting(&self) {
        self.0.words()[0].store(UNKNOWN, Ordering::Release);
    }

    /// One was accepted.
    pub(super) fn held(&self, from: Option<SocketAddr>) {
        let [what, port, high, low, ..] = self.0.words();
        let Some(from) = from else { return what.store(UNKNOWN, Ordering::Release) };
        let bits = match from.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        }
        .to_bits();
        port.store(from.port().into(), Ordering::Relaxed);
        high.store((bits >> 64) as u64, Ordering::Relaxed);
        low.store(bits as u64, Ordering::Relaxed);
        what.store(FROM, Ordering::Release);
    }

    /// It is a worker's, or closed; or there was none.
    pub(super) fn empty(&self) {
        self.0.words()[0].store(EMPTY, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_finds_what_was_held() {
        let fd = ganger_sys::shared::create("hands").unwrap();
        let first = Hands::open(&fd).unwrap();
        assert_eq!(first.take(), None);
        for from in ["127.0.0.1:80", "[fe80::1:2]:65535"] {
            let from = from.parse().ok();
            first.held(from);
            assert_eq!(Hands::open(&fd).unwrap().take(), Some(Lost { from }));
        }
        first.held(None);
        assert_eq!(Hands::open(&fd).unwrap().take(), Some(Lost { from: None }));
        first.accepting();
        assert_eq!(Hands::open(&fd).unwrap().take(), Some(Lost { from: None }));
        first.held("127.0.0.1:80".parse().ok());
        first.empty();
        assert_eq!(Hands::open(&fd).unwrap().take(), None);
    }
}
