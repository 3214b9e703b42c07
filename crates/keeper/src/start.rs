//! From options to a running keeper.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use ganger_core::StateId;
use ganger_sandbox::cgroup::Driver;
use ganger_sys::signal::SignalFd;
use ganger_sys::spawn::LowNumbers;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::helper::Kept;
use crate::keeper::{Keeper, say};
use crate::leave::Leaving;
use crate::logpipes::LogPipes;
use crate::notify::Notify;
use crate::ping::Ping;
use crate::poller::{Poller, Source};
use crate::wire::Table;
use crate::{KeeperError, KeeperOptions, leftovers, reap, resume, starting, state_dir, takeover};

/// `keeper.log` starts anew above this; the one before is kept as `keeper.log.1`.
const MAX_OWN_LOG: u64 = 1 << 20;

/// Runs a keeper until everything is brought down. Call it before any thread exists; it owns signals, session (unless
/// in the foreground) and the descriptors of `options.adopt` from here on.
///
/// # Errors
/// It could not start; nothing is left running then. Once it runs only a broken kernel interface ends it.
pub fn run(mut options: KeeperOptions) -> Result<(), KeeperError> {
    if let Some(state) = options.resume.take() {
        return resume::run(state, options);
    }
    let dir = state_dir::make(&options.state_dir)?;
    let table = options.adopt.map(takeover::read).transpose()?;
    let (lock, api) = inherited(table.as_ref())?;
    let lock = match lock {
        Some(lock) => lock,
        None => state_dir::lock(&dir)?,
    };
    if !options.foreground {
        detach(&dir)?;
    }
    let pid = std::process::id();
    let state = state_dir::state_id(&dir)?;
    let signals = SignalFd::block(&reap::SIGNALS).map_err(KeeperError::kernel("signalfd"))?;
    become_subreaper()?;
    let files = raise_files();
    let driver = cgroups(state);
    let adopting = table.is_some();
    let left = if adopting { Vec::new() } else { leftovers::end(state, &driver, pid) };
    let api = match api {
        Some(api) => api,
        None => state_dir::listen(&dir)?,
    };
    let poller = Poller::new().map_err(KeeperError::kernel("epoll_create"))?;
    poller.add(&signals, Source::Signals).map_err(KeeperError::kernel("epoll_ctl"))?;
    let now = Instant::now();
    let mut keeper = Keeper {
        pid,
        dir,
        state,
        lock,
        api,
        foreground: options.foreground,
        files,
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
        past: Default::default(),
        held: Default::default(),
        logs: LogPipes::default(),
        flushes: Default::default(),
        logger: Kept::new(now),
        logger_command: options.logger,
        daemon: Kept::new(now),
        daemon_command: options.daemon,
        own_command: options.keeper,
        served: false,
        ping: Ping::new(now),
        leaving: Leaving::No,
        notify: Notify::from_env(),
        degraded: leftovers::degraded(&left).into_iter().collect(),
        survivors: left,
        upgrading: Default::default(),
    };
    if let Some(table) = table {
        say(&format!("taking over from keeper {}", table.keeper_pid));
        keeper.take_over(table)?;
    }
    keeper.low = low_numbers();
    keeper.run()
}

/// A keeper that can't have them starts children as well, only slower beside thousands.
pub(crate) fn low_numbers() -> Option<LowNumbers> {
    let reserved = LowNumbers::reserve();
    reserved.map_err(|error| say(&format!("children get a copy of all descriptors: {error}"))).ok()
}

type Inherited = (Option<OwnedFd>, Option<OwnedFd>);

fn inherited(table: Option<&Table>) -> Result<Inherited, KeeperError> {
    let Some(table) = table else { return Ok((None, None)) };
    Ok((takeover::fd("the lock", table.lock_fd)?, takeover::fd("the API socket", table.api_fd)?))
}

/// Leaves the caller's session, folder and stdio.
fn detach(dir: &Path) -> Result<(), KeeperError> {
    // Refused for a group leader, which the caller's detached spawn has made a session leader already.
    let _ = rustix::process::setsid();
    let path = dir.join("keeper.log");
    let fail = |source| KeeperError::State { path: path.clone(), source };
    if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > MAX_OWN_LOG) {
        std::fs::rename(&path, dir.join("keeper.log.1")).map_err(fail)?;
    }
    let log = File::options().create(true).append(true).open(&path).map_err(fail)?;
    let null = File::open("/dev/null").map_err(KeeperError::kernel("/dev/null"))?;
    let dup = |errno: rustix::io::Errno| KeeperError::kernel("dup2")(errno.into());
    rustix::stdio::dup2_stdin(&null).map_err(dup)?;
    rustix::stdio::dup2_stdout(&log).map_err(dup)?;
    rustix::stdio::dup2_stderr(&log).map_err(dup)?;
    let root = |errno: rustix::io::Errno| KeeperError::kernel("chdir /")(errno.into());
    rustix::process::chdir("/").map_err(root)
}

/// This machine's cgroups, unless the user wants none.
pub(crate) fn cgroups(state: StateId) -> Driver {
    match std::env::var_os("GANGER_NO_CGROUP") {
        Some(_) => Driver::none(),
        None => Driver::detect(state),
    }
}

/// Orphans of every child become children of the keeper, so that none is out of sight and none stays a zombie.
pub(crate) fn become_subreaper() -> Result<(), KeeperError> {
    let own = rustix::process::getpid();
    let set = rustix::process::set_child_subreaper(Some(own));
    set.map_err(|errno| KeeperError::kernel("PR_SET_CHILD_SUBREAPER")(errno.into()))
}

/// Raises the keeper's descriptor limit to the hard one; returns what it was.
fn raise_files() -> (u64, u64) {
    let was = getrlimit(Resource::Nofile);
    let most = Rlimit { current: was.maximum, maximum: was.maximum };
    if let Err(errno) = setrlimit(Resource::Nofile, most) {
        say(&format!("RLIMIT_NOFILE stays at {:?}: {errno}", was.current));
    }
    pair(was)
}

/// This process's descriptor limit, soft and hard.
pub(crate) fn files() -> (u64, u64) {
    pair(getrlimit(Resource::Nofile))
}

fn pair(limit: Rlimit) -> (u64, u64) {
    let none = u64::MAX;
    (limit.current.unwrap_or(none), limit.maximum.unwrap_or(none))
}
