//! Taking over from a dead keeper: descriptors out of its daemon's table.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Instant;

use ganger_core::{End, Usage};
use ganger_sandbox::cgroup::Driver;
use ganger_sandbox::{Bound, Degraded};
use ganger_sys::adopt_fd;
use ganger_sys::spawn::LowNumbers;

use crate::KeeperError;
use crate::child::{Child, Ends};
use crate::keeper::{Keeper, now_ms};
use crate::life::Life;
use crate::poller::Source;
use crate::resume::is_half;
use crate::stdio::inherited_output;
use crate::watchdog::Watch;
use crate::wire::{ChildRow, Held, Table, Upgrade, decode};

/// Reads the table of the keeper before this one.
pub(crate) fn read(memfd: OwnedFd) -> Result<Table, KeeperError> {
    let body = body(memfd)?;
    decode("the table", &body).map_err(|error| KeeperError::Adopt { why: error.to_string() })
}

/// Everything in a memfd.
pub(crate) fn body(memfd: OwnedFd) -> Result<Vec<u8>, KeeperError> {
    let mut file = std::fs::File::from(memfd);
    let mut body = Vec::new();
    let read = std::io::Seek::rewind(&mut file).and_then(|()| file.read_to_end(&mut body));
    read.map_err(|error| KeeperError::Adopt { why: error.to_string() })?;
    Ok(body)
}

pub(crate) fn fd(what: &str, number: Option<i32>) -> Result<Option<OwnedFd>, KeeperError> {
    let adopt = |number| {
        // Low numbers are for children to come.
        let adopted = adopt_fd(number).map(LowNumbers::leave);
        adopted.map_err(|error| KeeperError::Adopt { why: format!("{what}: {error}") })
    };
    number.map(adopt).transpose()
}

/// A child from its row. One whose keeper is dead and whose pidfd nobody kept can't be watched: it is lost.
pub(crate) fn child(row: ChildRow, driver: &mut Driver) -> Result<Child, KeeperError> {
    let what = format!("a descriptor of {}", row.instance);
    let over = row.exit.is_some();
    let pidfd = fd(&what, row.pidfd)?;
    // What its cgroup had counted before its process began nobody knows any more.
    let held = row.report.held.iter().filter(|held| held.limit != Bound::CpuTime);
    let watch = Watch::of(held, None, Instant::now());
    Ok(Child {
        id: row.id,
        instance: row.instance,
        kind: row.kind,
        pid: row.pid,
        started_at_ms: row.started_at_ms,
        pidfd: pidfd.filter(|_| !over),
        outcome: fd(&what, row.outcome)?,
        network: None,
        ends: Ends {
            channel: fd(&what, row.channel)?,
            stdin: fd(&what, row.stdin)?,
            stdout: fd(&what, row.stdout)?.map(inherited_output),
            stderr: fd(&what, row.stderr)?.map(inherited_output),
        },
        tree: row.tree.filter(|_| !over).map(|name| driver.adopt(&name)),
        report: row.report,
        blob: row.blob,
        keep_leftovers: row.keep_leftovers,
        adopted: true,
        watch,
        life: if over { Life::over() } else { Life::new(row.keep_leftovers) },
        sent: 0,
        ended: None,
        exit: row.exit,
    })
}

impl Keeper {
    /// Takes everything of the table but lock and API socket, which are this keeper's already.
    pub(crate) fn take_over(&mut self, table: Table) -> Result<(), KeeperError> {
        let mut pipes = Vec::new();
        for row in table.held {
            let Some(fd) = fd(&row.name, Some(row.fd))? else { continue };
            match row.what {
                Held::Named => drop(self.held.insert(row.name, fd)),
                Held::Lock | Held::Api => drop(fd),
                what => pipes.push((what, fd)),
            }
        }
        self.logs.inherit(pipes);
        for row in table.children {
            let child = child(row, &mut self.driver)?;
            self.watch(child)?;
        }
        let known = self.driver.degraded();
        let degraded = table.degraded.into_iter().filter(|d| !known.contains(d) && !is_half(d));
        self.degraded.extend(degraded);
        self.survivors.extend(table.survivors);
        self.upgrading.last = table.upgrade.map(|last| Upgrade { on_trial: false, ..last });
        let told = ganger_sys::pidfd::exit_info_supported();
        let what = "exit codes of children started before the keeper was killed";
        if !self.degraded.iter().any(|known| known.what == what) {
            self.degraded.push(Degraded {
                what: what.into(),
                why: if told {
                    "their parent is gone; the kernel tells the code, but not what they used".into()
                } else {
                    "their parent is gone, and this kernel (before 6.15) keeps no exit status"
                        .into()
                },
                fix: "restart them when it suits: new processes are whole again".into(),
            });
        }
        Ok(())
    }

    fn watch(&mut self, child: Child) -> Result<(), KeeperError> {
        let (id, over) = (child.id, child.exit.is_some());
        if child.watch.is_some() {
            self.watched.insert(id);
        }
        match &child.pidfd {
            Some(pidfd) => {
                let added = self.poller.add(pidfd, Source::Adopted(id));
                added.map_err(KeeperError::kernel("epoll_ctl"))?;
                self.by_pid.insert(child.pid, id);
                self.children.insert(id, child);
            }
            None if over => drop(self.children.insert(id, child)),
            None => {
                let mut child = child;
                child.ended = Some((End::Lost, Usage::default(), now_ms()));
                let tell = child.life.on_main_ended(Instant::now());
                self.children.insert(id, child);
                self.clearing.insert(id);
                self.act(id, tell);
            }
        }
        Ok(())
    }
}
