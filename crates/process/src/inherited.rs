//! What a daemon is born with: the keeper's socket and its table.

use std::io::Read;
use std::os::fd::OwnedFd;

use ganger_core::StateId;
use ganger_keeper::wire::{
    ChildRow, Crash, HeldRow, KEEPER_FD_ENV, TABLE_FD_ENV, Table, WIRE_VERSION, decode,
};
use ganger_sys::fd::adopt_fd;

use crate::error::InheritError;
use crate::mirror::{Mirror, RowFds};

/// A keeper's table with its descriptors taken over.
#[derive(Debug)]
pub struct Inherited {
    /// What the table says, its descriptor numbers no longer of use.
    pub table: Table,
    pub(crate) mirror: Mirror,
}

impl Inherited {
    /// Takes over what the environment names: the socket to the keeper and everything in its table. Once per process, at
    /// its very beginning.
    ///
    /// # Errors
    /// Not started by a keeper, or by one that says other things than it gives.
    pub fn from_env() -> Result<(OwnedFd, Self), InheritError> {
        let keeper = adopt("the keeper's socket", number(KEEPER_FD_ENV)?)?;
        let fd = number(TABLE_FD_ENV)?;
        let mut file = std::fs::File::from(adopt("the keeper's table", fd)?);
        let mut body = Vec::new();
        let read = std::io::Seek::rewind(&mut file).and_then(|()| file.read_to_end(&mut body));
        read.map_err(|source| InheritError::Descriptor {
            what: "the keeper's table".into(),
            fd,
            source,
        })?;
        Ok((keeper, Self::take(decode("the keeper's table", &body)?)?))
    }

    /// Nothing inherited: a scripted keeper, or a fresh one in a test.
    #[must_use]
    pub fn nothing() -> Self {
        let table = Table {
            version: WIRE_VERSION,
            state_id: StateId([0; 16]),
            state_dir: String::new(),
            keeper_pid: 0,
            logger_pid: None,
            children: vec![],
            held: vec![],
            lock_fd: None,
            api_fd: None,
            crash: None,
            degraded: vec![],
            survivors: vec![],
            upgrade: None,
        };
        Self { mirror: Mirror::new(&table), table }
    }

    /// Takes over the descriptors a table names.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn take(table: Table) -> Result<Self, InheritError> {
        let mut mirror = Mirror::new(&table);
        for row in &table.children {
            mirror.add_child(row.clone(), take_row(row)?);
        }
        for HeldRow { name, fd, what } in &table.held {
            mirror.add_held(name.clone(), what.clone(), adopt(name, *fd)?);
        }
        mirror.lock = table.lock_fd.map(|fd| adopt("the state folder's lock", fd)).transpose()?;
        mirror.api = table.api_fd.map(|fd| adopt("the API socket", fd)).transpose()?;
        Ok(Self { table, mirror })
    }

    /// Set when daemons before this one died quickly.
    #[must_use]
    pub const fn crash(&self) -> Option<&Crash> {
        self.table.crash.as_ref()
    }
}

fn take_row(row: &ChildRow) -> Result<RowFds, InheritError> {
    let take = |what: &str, fd: Option<i32>| {
        fd.map(|fd| adopt(&format!("{what} of {}", row.instance), fd)).transpose()
    };
    Ok(RowFds {
        pidfd: take("the pidfd", row.pidfd)?,
        channel: take("the channel", row.channel)?,
        stdin: take("stdin", row.stdin)?,
        stdout: take("stdout", row.stdout)?,
        stderr: take("stderr", row.stderr)?,
    })
}

fn adopt(what: &str, fd: i32) -> Result<OwnedFd, InheritError> {
    adopt_fd(fd).map_err(|source| InheritError::Descriptor { what: what.to_owned(), fd, source })
}

fn number(name: &'static str) -> Result<i32, InheritError> {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(InheritError::NoVariable { name })
}
