//! Telling the service manager that started this keeper (sd_notify(3)).

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::keeper::say;

#[derive(Debug)]
pub(crate) struct Notify {
    address: Option<OsString>,
    told: bool,
}

impl Notify {
    pub(crate) fn from_env() -> Self {
        Self { address: std::env::var_os("NOTIFY_SOCKET"), told: false }
    }

    /// In another program of the same keeper: `told` was told already.
    pub(crate) fn resumed(told: bool) -> Self {
        Self { told, ..Self::from_env() }
    }

    pub(crate) const fn told(&self) -> bool {
        self.told
    }

    /// Once, however many daemons become ready.
    pub(crate) fn ready(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.send("READY=1\n");
        }
    }

    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    fn send(&self, text: &str) {
        let Some(address) = &self.address else { return };
        let bytes = address.as_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(address),
        };
        let sent = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.send_to_addr(text.as_bytes(), &address)
        });
        if let Err(error) = sent {
            say(&format!("NOTIFY_SOCKET {}: {error}", String::from_utf8_lossy(bytes)));
        }
    }
}
