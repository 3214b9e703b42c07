//! Who is at the other end of a connection, as the kernel tells it (SO_PEERCRED).

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use ganger_audit as audit;
use ganger_exec::Caller;
use ganger_policy::Principal;
use tokio::net::UnixStream;

/// The other end, as it was when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) pid: Option<u32>,
    /// Counted by this daemon.
    pub(crate) connection: u64,
}

impl Peer {
    /// Of a fresh connection. One that can't be asked about is nobody's.
    pub(crate) fn of(stream: &UnixStream) -> Option<Self> {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
        let who = stream.peer_cred().ok()?;
        Some(Self {
            uid: who.uid(),
            gid: who.gid(),
            // 0: in a pid namespace that can't be seen from here.
            pid: who.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
            connection: CONNECTIONS.fetch_add(1, Ordering::Relaxed) + 1,
        })
    }

    /// The daemon's own user, or root, who could become it.
    pub(crate) fn is_owner(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw() || self.uid == 0
    }

    /// As policies and the audit log know it. Reads the files of users and groups.
    pub(crate) fn caller(&self) -> Caller {
        let user = crate::convert::look_up_user(self.uid);
        let mut gids = vec![self.gid];
        let (name, groups) = user.unwrap_or_else(|| (format!("uid:{}", self.uid), Vec::new()));
        gids.extend(groups.into_iter().filter(|gid| *gid != self.gid));
        let exe = self.pid.and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
        Caller {
            principal: Principal { owner: self.is_owner(), uid: Some(self.uid), gids, token: None },
            record: audit::Principal {
                name,
                uid: self.uid,
                gid: self.gid,
                pid: self.pid.unwrap_or(0),
                exe: exe.map(|path| audit::Text::from(path.as_path())),
                connection: Some(self.connection),
            },
        }
    }

    /// Returns when the process that connected has ended; never where that can't be seen.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let pid = self.pid;
        async move {
            match pid {
                Some(pid) => ganger_process::survivor::end_of(pid).await,
                None => std::future::pending().await,
            }
        }
    }
}
