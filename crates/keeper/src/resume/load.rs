//! The new program goes on from what the old one wrote down.

use std::os::fd::OwnedFd;
use std::time::Instant;

use ganger_core::logwire::LOG_WIRE_VERSION;
use ganger_sandbox::Degraded;
use ganger_sandbox::cgroup::Tree;
use ganger_sys::frame::{FrameReader, FrameWriter};
use ganger_sys::signal::SignalFd;

use super::image::{self, Bytes, HelperRow, Image, Inner, SocketRow};
use super::save::now_us;
use super::trial::{Trial, is_half};
use super::{Stage, Upgrading};
use crate::child::Child;
use crate::helper::{Connection, Kept, Phase, Running};
use crate::keeper::{Keeper, say};
use crate::leave::Leaving;
use crate::life::Life;
use crate::logpipes::LogPipes;
use crate::notify::Notify;
use crate::ping::Ping;
use crate::poller::{Poller, Source};
use crate::start::{become_subreaper, cgroups, low_numbers};
use crate::watchdog::Watch;
use crate::wire::{ChildRow, Event, Held, UpgradeNews};
use crate::{KeeperError, KeeperOptions, reap, starting, takeover};

/// Goes on. Signals are blocked since before exec.
pub(crate) fn run(state: OwnedFd, options: KeeperOptions) -> Result<(), KeeperError> {
    let image = image::decode(&takeover::body(state)?)?;
    // What `ps` shows: exec by descriptor has named the process after its number.
    let _ = rustix::thread::set_name(c"ganger");
    let paused_us = image.paused_us;
    let mut keeper = resumed(image, options)?;
    let gap = now_us().saturating_sub(paused_us);
    if let Some(upgrade) = &mut keeper.upgrading.last {
        upgrade.keeper_gap_us = gap;
        let upgrade = upgrade.clone();
        say(&format!("ganger {} went on as {} after {gap} us", upgrade.from, upgrade.to));
        keeper.tell(&Event::Upgrade { news: UpgradeNews::Done { upgrade } }, Vec::new());
    }
    // A signal may have come while nobody listened: it is pending, and so are bodies.
    keeper.reap()?;
    keeper.low = low_numbers();
    keeper.run()
}

fn resumed(image: Image, options: KeeperOptions) -> Result<Keeper, KeeperError> {
    let own = |what: &str, number: Option<i32>| {
        let missing = || KeeperError::Resume { why: format!("{what} is missing") };
        takeover::fd(what, number)?.ok_or_else(missing)
    };
    let table = image.table;
    let signals = SignalFd::block(&reap::SIGNALS).map_err(KeeperError::kernel("signalfd"))?;
    become_subreaper()?;
    let mut driver = cgroups(table.state_id);
    driver.resume_idle(image.idle);
    let poller = Poller::new().map_err(KeeperError::kernel("epoll_create"))?;
    poller.add(&signals, Source::Signals).map_err(KeeperError::kernel("epoll_ctl"))?;
    let now = Instant::now();
    let logger = helper(image.logger, Source::Logger, &poller, now)?;
    let daemon = helper(image.daemon, Source::Daemon, &poller, now)?;
    let trial = Trial::begin(own("the daemon's binary", Some(image.previous))?, now);
    let of_program = |one: &Degraded| driver.degraded().contains(one) || is_half(one);
    let degraded = table.degraded.into_iter().filter(|one| !of_program(one)).collect();
    let mut keeper = Keeper {
        pid: std::process::id(),
        dir: table.state_dir.into(),
        state: table.state_id,
        lock: own("the lock", table.lock_fd)?,
        api: own("the API socket", table.api_fd)?,
        foreground: image.foreground,
        files: image.files,
        low: None,
        poller,
        signals,
        sweep: false,
        driver,
        children: Default::default(),
        networks: Default::default(),
        by_pid: Default::default(),
        starting: Default::default(),
        starting_most: starting::most(),
        clearing: Default::default(),
        watched: Default::default(),
        settling: Vec::new(),
        past: image.past.into_iter().collect(),
        held: Default::default(),
        logs: LogPipes::default(),
        flushes: image.flushes.into(),
        logger,
        logger_command: options.logger,
        daemon,
        daemon_command: options.daemon,
        own_command: options.keeper,
        // The running daemon's word counts for it, not for the one that follows.
        served: true,
        ping: Ping::new(now),
        leaving: Leaving::No,
        notify: Notify::resumed(image.notified),
        degraded,
        survivors: table.survivors,
        upgrading: Upgrading {
            stage: Stage::Idle,
            last: table.upgrade,
            trial: Some(trial),
            daemons: None,
        },
    };
    keeper.resume_held(table.held, &image.retiring)?;
    let mut inner = image.inner.into_iter();
    for row in table.children {
        // Both are in the order of their ids.
        let inner = inner.find(|inner| inner.id == row.id).ok_or_else(|| KeeperError::Resume {
            why: format!("nothing is said of spawn {}", row.id),
        })?;
        keeper.resume_child(row, inner, now)?;
    }
    if image.log_wire != LOG_WIRE_VERSION {
        let version = image.log_wire;
        keeper.end_logger(&format!("it speaks version {version}, I {LOG_WIRE_VERSION}"));
    }
    if keeper.logger.running().is_some_and(|running| running.socket.is_none()) {
        // On its way out, and whoever watched over that is no more.
        keeper.end_logger("the next one is due");
    }
    if keeper.daemon.running().is_some_and(|running| running.socket.is_none()) {
        keeper.ping.expect_end(now);
    }
    Ok(keeper)
}

impl Keeper {
    fn resume_held(
        &mut self,
        rows: Vec<crate::wire::HeldRow>,
        retiring: &[crate::logpipes::Key],
    ) -> Result<(), KeeperError> {
        let mut pipes = Vec::new();
        for row in rows {
            let Some(fd) = takeover::fd(&row.name, Some(row.fd))? else { continue };
            match row.what {
                Held::Named => drop(self.held.insert(row.name, fd)),
                what => pipes.push((what, fd)),
            }
        }
        self.logs.inherit(pipes);
        for key in retiring {
            if let Some(pipe) = self.logs.by_key.get_mut(key) {
                pipe.retiring = true;
            }
        }
        Ok(())
    }

    fn resume_child(
        &mut self,
        row: ChildRow,
        inner: Inner,
        now: Instant,
    ) -> Result<(), KeeperError> {
        let Inner { id, sent, ended, life, tree } = inner;
        let adopted = row.adopted;
        // Without its tree: that is known better here than by its name.
        let plain = takeover::child(ChildRow { tree: None, ..row }, &mut self.driver)?;
        let tree = tree.map(|tree| self.driver.resume(tree));
        let event = tree.as_ref().and_then(Tree::oom_event);
        let watch = Watch::of(&plain.report.held, event, now);
        let child =
            Child { watch, adopted, sent, ended, life: Life::resumed(life, now), tree, ..plain };
        if let Some(pidfd) = &child.pidfd {
            if adopted {
                // Fires at once for one that has ended meanwhile.
                let added = self.poller.add(pidfd, Source::Adopted(id));
                added.map_err(KeeperError::kernel("epoll_ctl"))?;
            }
            self.by_pid.insert(child.pid, id);
        }
        if child.life.due().is_some() {
            self.clearing.insert(id);
        }
        self.children.insert(id, child);
        self.watch_over(id).map_err(KeeperError::kernel("epoll_ctl"))
    }
}

fn helper(
    row: Option<HelperRow>,
    source: Source,
    poller: &Poller,
    now: Instant,
) -> Result<Kept, KeeperError> {
    let mut kept = Kept::new(now);
    if let Some(HelperRow { pid, pidfd, socket }) = row {
        let pidfd = fds(vec![pidfd])?.remove(0);
        let socket = socket.map(|row| connection(row, source, poller)).transpose()?;
        kept.phase = Phase::Running(Running { pid, pidfd, since: now, socket });
    }
    Ok(kept)
}

fn connection(row: SocketRow, source: Source, poller: &Poller) -> Result<Connection, KeeperError> {
    let socket = fds(vec![row.fd])?.remove(0);
    let reader = FrameReader::resumed(row.read.bytes, fds(row.read.fds)?);
    let unsent: Result<Vec<_>, KeeperError> =
        row.unsent.into_iter().map(|Bytes { bytes, fds: with }| Ok((bytes, fds(with)?))).collect();
    let writer = FrameWriter::resumed(unsent?);
    let resumed = Connection::resumed(socket, source, reader, writer, poller);
    resumed.map_err(KeeperError::kernel("epoll_ctl"))
}

fn fds(numbers: Vec<i32>) -> Result<Vec<OwnedFd>, KeeperError> {
    let adopt = |number| {
        ganger_sys::adopt_fd(number).map_err(|error| KeeperError::Resume { why: error.to_string() })
    };
    numbers.into_iter().map(adopt).collect()
}
