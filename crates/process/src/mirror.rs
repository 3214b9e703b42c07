//! A copy of what the keeper holds: rows and descriptors, so that a dead keeper can be followed by a new one.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};

use ganger_core::SpawnId;
use ganger_keeper::wire::{ChildRow, Held, Table};

use crate::child::Ends;

/// The descriptors of one child.
#[derive(Debug, Default)]
pub(crate) struct RowFds {
    pub(crate) pidfd: Option<OwnedFd>,
    pub(crate) channel: Option<OwnedFd>,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

impl RowFds {
    /// Copies for the owner.
    pub(crate) fn ends(&self) -> Ends {
        Ends {
            channel: copy(self.channel.as_ref()),
            stdin: copy(self.stdin.as_ref()),
            stdout: copy(self.stdout.as_ref()),
            stderr: copy(self.stderr.as_ref()),
        }
    }
}

/// A second descriptor of the same thing. Without one (RLIMIT_NOFILE) the child stays usable by whoever has the first.
pub(crate) fn copy(fd: Option<&OwnedFd>) -> Option<OwnedFd> {
    let fd = fd?;
    match fd.as_fd().try_clone_to_owned() {
        Ok(copy) => Some(copy),
        Err(error) => {
            tracing::error!(%error, "can't duplicate a descriptor; is RLIMIT_NOFILE reached?");
            None
        }
    }
}

#[derive(Debug)]
pub(crate) struct Mirror {
    /// Everything of the table but children and held descriptors.
    pub(crate) head: Table,
    pub(crate) children: HashMap<SpawnId, (ChildRow, RowFds)>,
    pub(crate) held: BTreeMap<String, (Held, OwnedFd)>,
    pub(crate) lock: Option<OwnedFd>,
    pub(crate) api: Option<OwnedFd>,
}

impl Mirror {
    pub(crate) fn new(table: &Table) -> Self {
        let head = Table {
            children: vec![],
            held: vec![],
            lock_fd: None,
            api_fd: None,
            crash: None,
            ..table.clone()
        };
        Self { head, children: HashMap::new(), held: BTreeMap::new(), lock: None, api: None }
    }

    pub(crate) fn add_child(&mut self, row: ChildRow, fds: RowFds) {
        let row =
            ChildRow { pidfd: None, channel: None, stdin: None, stdout: None, stderr: None, ..row };
        self.children.insert(row.id, (row, fds));
    }

    pub(crate) fn add_held(&mut self, name: String, what: Held, fd: OwnedFd) {
        match what {
            Held::Lock => self.lock = Some(fd),
            Held::Api => self.api = Some(fd),
            what => {
                self.held.insert(name, (what, fd));
            }
        }
    }

    /// Closes what is held under a name, or a child's end (`chan:ID`, `stdin:ID`, `stdout:ID`, `stderr:ID`).
    pub(crate) fn release(&mut self, name: &str) {
        let end = name.split_once(':').and_then(|(end, id)| Some((end, SpawnId(id.parse().ok()?))));
        if let Some((end, id)) = end
            && let Some((_, fds)) = self.children.get_mut(&id)
        {
            match end {
                "chan" => fds.channel = None,
                "stdin" => fds.stdin = None,
                "stdout" => fds.stdout = None,
                "stderr" => fds.stderr = None,
                _ => {}
            }
        }
        self.held.remove(name);
    }

    /// Forgets the log pipes of one stream.
    pub(crate) fn drop_log(&mut self, name: &str, slot: u32, which: ganger_core::Stream) {
        self.held.retain(|_, (what, _)| match what {
            Held::LogRead { target, stream } | Held::LogWrite { target, stream } => {
                !(target.name == name && target.slot == slot && *stream == which)
            }
            _ => true,
        });
    }
}
