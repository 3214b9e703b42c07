//! The table a daemon is born with.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::keeper::Keeper;
use crate::logpipes::name;
use crate::wire::{Held, HeldRow, Table, WIRE_VERSION};

/// Everything held, with the descriptors that have to go through exec under their own numbers.
pub(crate) fn table<'a>(keeper: &'a Keeper, fds: &mut Vec<BorrowedFd<'a>>) -> Table {
    let children = keeper.children.values().map(|child| child.row(fds)).collect();
    let mut held = Vec::new();
    let mut hold = |name: String, fd: &'a OwnedFd, what: Held| {
        fds.push(fd.as_fd());
        held.push(HeldRow { name, fd: fd.as_raw_fd(), what });
    };
    for (name, fd) in &keeper.held {
        hold(name.clone(), fd, Held::Named);
    }
    for (key, pipe) in &keeper.logs.by_key {
        let (target, stream) = (pipe.target.clone(), key.2);
        hold(name(key, "r"), &pipe.read, Held::LogRead { target: target.clone(), stream });
        hold(name(key, "w"), &pipe.write, Held::LogWrite { target, stream });
    }
    fds.extend([keeper.lock.as_fd(), keeper.api.as_fd()]);
    let mut degraded = keeper.driver.degraded().to_vec();
    degraded.extend(keeper.degraded.iter().cloned());
    degraded.extend(keeper.upgrading.degraded());
    Table {
        version: WIRE_VERSION,
        state_id: keeper.state,
        state_dir: keeper.dir.to_string_lossy().into_owned(),
        keeper_pid: keeper.pid,
        logger_pid: keeper.logger.pid(),
        children,
        held,
        lock_fd: Some(keeper.lock.as_raw_fd()),
        api_fd: Some(keeper.api.as_raw_fd()),
        crash: keeper.daemon.crashes.told(),
        degraded,
        survivors: keeper.survivors.clone(),
        upgrade: keeper.upgrading.last.clone(),
    }
}
