//! A listening socket of a primary.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType, acceptfrom_with, getsockname, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Hands;
use crate::node::channel::SharedFd;

#[derive(Debug)]
pub(super) struct Door {
    pub(super) key: String,
    socket: AsyncFd<SharedFd>,
    udp: bool,
    /// Workers accept from it themselves, or too many wait.
    pub(super) closed: bool,
}

impl Door {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's can't"
    )]
    pub(super) fn open(key: &str, socket: OwnedFd, shared: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let udp = sockopt::socket_type(&socket)? != SocketType::STREAM;
        let socket = AsyncFd::with_interest(Arc::new(socket), Interest::READABLE)?;
        Ok(Self { key: key.to_owned(), socket, udp, closed: shared || udp })
    }

    pub(super) const fn is_udp(&self) -> bool {
        self.udp
    }

    /// Where it listens; `None` for a Unix socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        SocketAddr::try_from(getsockname(self.socket.get_ref()).ok()?).ok()
    }

    /// A second owner of the socket, for a worker.
    pub(super) fn shared(&self) -> SharedFd {
        Arc::clone(self.socket.get_ref())
    }

    /// The next connection, noted in `hands`.
    pub(super) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        hands: Option<&Hands>,
    ) -> Poll<io::Result<SharedFd>> {
        loop {
            let mut ready = match self.socket.poll_read_ready(cx)? {
                Poll::Ready(ready) => ready,
                Poll::Pending => return Poll::Pending,
            };
            // Node takes a passed connection as it is: it must not block.
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            hands.inspect(|hands| hands.accepting());
            let accepted = acceptfrom_with(self.socket.get_ref(), flags);
            if let Some(hands) = hands {
                match &accepted {
                    Ok((_, from)) => {
                        hands.held(from.clone().and_then(|from| SocketAddr::try_from(from).ok()));
                    }
                    Err(_) => hands.empty(),
                }
            }
            match accepted {
                Ok((connection, _)) => return Poll::Ready(Ok(Arc::new(connection))),
                Err(Errno::AGAIN) => ready.clear_ready(),
                // The client went away meanwhile.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }
}
