//! A plan turned into a running child.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ganger_core::{SpawnId, StateId};
use ganger_sandbox::cgroup::{Driver, Tree};
use ganger_sandbox::walls::{LentNetwork, Networks};
use ganger_sandbox::{Layers, Limits, Mode, Report, Wall};
use ganger_sys::spawn::{LowNumbers, Session, SpawnError, Spec, Started, Walls};

use crate::child::Ends;
use crate::pinned;
use crate::stdio::Stdio;
use crate::walled::{Asked, Walled};
use crate::watchdog::Watch;
use crate::wire::{INSTANCE_ENV, MAX_BLOB, Plan, SPAWN_MARK_ENV};

/// Why a child was not started, in the words of `SpawnFailed`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: &'static str,
    pub(crate) errno: i32,
    pub(crate) detail: String,
}

impl Failure {
    pub(crate) fn plan(detail: impl Into<String>) -> Self {
        Self { step: "plan", errno: 0, detail: detail.into() }
    }

    pub(crate) fn io(step: &'static str, what: &str, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(0);
        Self { step, errno, detail: format!("{what}: {error}") }
    }
}

/// Of the state folder: see [`ganger_sandbox::walls::Inmate::roots`].
pub(crate) const ROOTS: &str = "roots";

/// A child that runs.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) plan: Box<Plan>,
    pub(crate) started: Started,
    pub(crate) ends: Ends,
    pub(crate) tree: Option<Tree>,
    pub(crate) report: Report,
    pub(crate) watch: Option<Box<Watch>>,
    /// The network it has for as long as it lives, where that can be used again.
    pub(crate) network: Option<LentNetwork>,
}

/// What the keeper lends to a launch.
pub(crate) struct Lent<'a> {
    pub(crate) state: StateId,
    pub(crate) driver: &'a mut Driver,
    pub(crate) networks: &'a mut Networks,
    /// RLIMIT_NOFILE that the keeper was started with.
    pub(crate) files: (u64, u64),
    /// So that a start costs the same with many descriptors open.
    pub(crate) low: Option<&'a mut LowNumbers>,
    /// Folders of ganger's own, which nobody behind walls may look into.
    pub(crate) own: &'a [PathBuf],
    /// The state folder, where what is the same at each start behind walls is kept; `ganger run` has none.
    pub(crate) dir: Option<&'a Path>,
    /// Held descriptors that the plan names, with the number in the child.
    pub(crate) inherit: Vec<(BorrowedFd<'a>, u32)>,
    /// Arguments instead of the plan's, the zeroth included: these need not be UTF-8.
    pub(crate) argv: Option<Vec<CString>>,
}

/// Refuses what can't work before anything is made.
pub(crate) fn check(plan: &Plan) -> Result<(), Failure> {
    if !plan.program.starts_with('/') {
        return Err(Failure::plan(format!("program {:?} is not an absolute path", plan.program)));
    }
    if plan.argv.is_empty() {
        return Err(Failure::plan("argv is empty"));
    }
    if plan.blob.len() > MAX_BLOB {
        let size = plan.blob.len();
        return Err(Failure::plan(format!("blob of {size} bytes; the most is {MAX_BLOB}")));
    }
    if let Some(sandbox) = &plan.profile.sandbox
        && sandbox.mode(Wall::Pid) != Mode::Off
        && plan.keep_leftovers
    {
        return Err(Failure::plan(
            "what it leaves behind can't live on in a sandbox whose processes end with it: leave out `pid`",
        ));
    }
    if plan.pin.is_some() && (plan.channel.is_some() || !plan.inherit.is_empty()) {
        return Err(Failure::plan(
            "a pinned program has neither a channel nor inherited descriptors",
        ));
    }
    let mut numbers: Vec<u32> = plan.inherit.iter().map(|(_, number)| *number).collect();
    numbers.extend(plan.channel.as_ref().and_then(|channel| channel.fd));
    numbers.sort_unstable();
    if numbers.windows(2).any(|two| two[0] == two[1]) || numbers.first().is_some_and(|n| *n < 3) {
        return Err(Failure::plan(format!("descriptor numbers {numbers:?} collide")));
    }
    Ok(())
}

/// Where a start stands.
#[derive(Debug)]
pub(crate) enum Begun {
    Runs(Box<Launched>),
    /// Behind walls it is on its way by itself.
    OnItsWay(Box<Walled>),
}

/// Starts the child and waits until it runs. On failure nothing of it is left.
pub(crate) fn launch(
    id: SpawnId,
    plan: Box<Plan>,
    stdio: Stdio,
    mut lent: Lent<'_>,
) -> Result<Launched, Failure> {
    let mut begun = begin(id, plan, stdio, &mut lent)?;
    loop {
        match begun {
            Begun::Runs(launched) => return Ok(*launched),
            Begun::OnItsWay(walled) => begun = walled.go_on(lent.driver, lent.networks)?,
        }
    }
}

/// Starts the child; one with walls is not waited for. On failure nothing of it is left.
pub(crate) fn begin(
    id: SpawnId,
    plan: Box<Plan>,
    stdio: Stdio,
    lent: &mut Lent<'_>,
) -> Result<Begun, Failure> {
    let layers = ganger_sandbox::resolve(&plan.profile, lent.files)
        .map_err(|error| Failure::plan(error.to_string()))?;
    let limits = counted(&plan);
    let name = plan.tree.clone().unwrap_or_else(|| plan.instance.to_string());
    let (tree, mut report) = match lent.driver.prepare(&name, id.0, &limits, plan.profile.need) {
        Ok(made) => made,
        Err(error) => {
            return Err(Failure { step: "cgroup", errno: 0, detail: error.to_string() });
        }
    };
    report.enforced.extend(&layers.enforced);
    let processes = limits.pids.and_then(|_| rlimit_pids(&plan, &limits, &report));
    let environment = environment(&plan, id, lent.state, stdio.channel);
    let argv = lent.argv.take();
    let begun = Start { plan, argv, stdio, limits, tree, report, processes };
    let Some(sandbox) = begun.plan.profile.sandbox.as_deref().filter(|it| !it.is_nothing()) else {
        let with = (&layers, environment.as_slice(), None);
        let inherit = lent.inherit.iter().copied();
        let started = begun.spec(with, inherit, |spec, pinned| match lent.low.as_deref_mut() {
            // Its number must still mean the same file in the child.
            Some(low) if !pinned => spec.spawn_low(low),
            _ => spec.spawn(),
        });
        return match started {
            Ok(started) => Ok(Begun::Runs(Box::new(begun.runs(started, None, lent.driver)))),
            Err(stop) => Err(begun.failed(stop, lent.driver)),
        };
    };
    let mut sandbox = sandbox.clone();
    sandbox.program = begun.plan.pin.as_ref().map(pinned::identified).or(sandbox.program);
    let roots = lent.dir.map(|dir| dir.join(ROOTS));
    let asked = Asked { sandbox, layers, environment, own: lent.own.to_vec(), roots };
    Walled::begin(begun, asked, &lent.inherit, lent.driver, lent.networks).map(Begun::OnItsWay)
}

/// One start, up to its program: what stays the same in all tries.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) plan: Box<Plan>,
    /// See [`Lent::argv`].
    argv: Option<Vec<CString>>,
    stdio: Stdio,
    /// As they are counted.
    limits: Limits,
    tree: Tree,
    pub(crate) report: Report,
    /// RLIMIT_NPROC, where the kernel counts for a user namespace alone and no cgroup does.
    pub(crate) processes: Option<u64>,
}

impl Start {
    /// The child runs.
    pub(crate) fn runs(
        self,
        started: Started,
        network: Option<LentNetwork>,
        driver: &mut Driver,
    ) -> Launched {
        let Self { plan, stdio, limits, tree, mut report, processes, .. } = self;
        let counted = tree.cpu_used().is_some();
        ganger_sandbox::hold(&mut report, &plan.profile.limits, counted, processes.is_some());
        let tree = if tree.holds() || limits.want_cgroup() {
            Some(tree)
        } else {
            driver.release(tree);
            None
        };
        let event = tree.as_ref().and_then(Tree::oom_event);
        let watch = Watch::of(&report.held, event, Instant::now());
        Launched { plan, started, ends: stdio.ends, tree, report, watch, network }
    }

    /// It came to nothing.
    pub(crate) fn failed(self, stop: Stop, driver: &mut Driver) -> Failure {
        driver.release(self.tree);
        stop.told(&self.plan)
    }

    /// Makes the spec of a try and lets it be started; the second says that the program goes by a pinned file's number.
    pub(crate) fn spec<'a, T>(
        &'a self,
        (layers, environment, walls): With<'a>,
        inherit: impl Iterator<Item = (BorrowedFd<'a>, u32)>,
        start: impl FnOnce(&Spec<'_>, bool) -> Result<T, SpawnError>,
    ) -> Result<T, Stop> {
        let Self { plan, tree, stdio, .. } = self;
        let cgroup = |error: io::Error| Failure::io("cgroup", tree.name(), &error);
        let birth = tree.birth().map_err(cgroup)?;
        let join = tree.join().map_err(cgroup)?;
        let own_tty: Option<OwnedFd> = plan.foreground.then(terminal).flatten();
        let pinned = plan.pin.as_ref().map(|pin| pinned::open(&plan.program, pin)).transpose()?;
        // Behind walls its descriptor is of a tree of mounts that is not there any more: its own path is, of the same file.
        let by_file = pinned.as_ref().filter(|_| walls.is_none());
        let program = by_file.map_or_else(|| plan.program.clone(), pinned::path);
        let argv = self.argv.clone().map_or_else(|| texts("an argument", &plan.argv), Ok)?;
        let mut spec = Spec::new(text("program", &program)?, argv);
        spec.env = texts("the environment", environment)?;
        spec.listen_pid = plan.env.get("LISTEN_FDS").is_some();
        spec.watchdog_pid = plan.env.get("WATCHDOG_USEC").is_some();
        spec.cwd = Some(text("cwd", &plan.cwd)?);
        let given = stdio.given.iter().map(|(fd, number)| (fd.as_fd(), *number));
        spec.fds = given.chain(inherit).collect();
        spec.session = match &own_tty {
            Some(tty) => Session::Foreground(tty.as_fd()),
            None if plan.setsid => Session::New,
            None => Session::Keep,
        };
        spec.umask = layers.umask;
        spec.rlimits.clone_from(&layers.rlimits);
        spec.identity.clone_from(&layers.identity);
        spec.no_new_privs = layers.no_new_privs;
        spec.cgroup = birth.as_ref().map(AsFd::as_fd);
        spec.join = join.iter().map(AsFd::as_fd).collect();
        spec.walls = walls;
        spec.fast = walls.is_none()
            && plan.profile.identity.is_none()
            && local(&plan.program)
            && local(&plan.cwd);
        start(&spec, pinned.is_some()).map_err(Stop::Spawn)
    }
}

/// What differs between the tries of one start.
pub(crate) type With<'a> = (&'a Layers, &'a [String], Option<&'a Walls>);

/// Why a try came to nothing.
pub(crate) enum Stop {
    Failure(Failure),
    Spawn(SpawnError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Stop {
    pub(crate) fn told(self, plan: &Plan) -> Failure {
        match self {
            Self::Failure(failure) => failure,
            Self::Spawn(error) => Failure {
                step: error.step.as_str(),
                errno: error.errno,
                detail: detail(plan, &error),
            },
        }
    }
}

/// The limits as they are counted: the first process of a pid namespace is ganger's, not the program's.
fn counted(plan: &Plan) -> Limits {
    let mut limits = plan.profile.limits.clone();
    let first =
        plan.profile.sandbox.as_ref().is_some_and(|walls| walls.mode(Wall::Pid) != Mode::Off);
    limits.pids = limits.pids.map(|pids| pids.saturating_add(u64::from(first)));
    limits
}

/// What RLIMIT_NPROC has to be in its user namespace, if that is to hold the limit of processes.
fn rlimit_pids(plan: &Plan, counted: &Limits, report: &Report) -> Option<u64> {
    let own = || rustix::process::geteuid().as_raw();
    let outside = plan.profile.identity.as_ref().map_or_else(own, |who| who.uid);
    let release = rustix::system::uname();
    let most = ganger_sandbox::rlimit_pids(
        counted,
        report,
        outside,
        &release.release().to_string_lossy(),
    )?;
    // Nobody can give more than he has; that holds as well.
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nproc).maximum;
    Some(hard.map_or(most, |hard| most.min(hard)))
}

fn detail(plan: &Plan, error: &ganger_sys::spawn::SpawnError) -> String {
    use ganger_sys::spawn::Step;
    match error.step {
        Step::Execve => refused(plan, io::Error::from_raw_os_error(error.errno).kind()),
        Step::Chdir => plan.cwd.clone(),
        Step::Setuid | Step::Setgid | Step::Setgroups => {
            plan.profile.identity.as_ref().map_or(String::new(), |who| format!("uid {}", who.uid))
        }
        _ => error.to_string(),
    }
}

/// Why a program could not be executed; whoever reads it has its path already.
fn refused(plan: &Plan, kind: io::ErrorKind) -> String {
    let there = Path::new(&plan.program).exists();
    match (kind, plan.argv.first().filter(|name| !name.contains('/'))) {
        (io::ErrorKind::NotFound, _) if there => {
            "it is there, but its interpreter (named in its first line) or its loader is not".into()
        }
        (io::ErrorKind::NotFound, Some(name)) => format!("no `{name}` on PATH"),
        (io::ErrorKind::NotFound, None) => "check the path, or install it".into(),
        (io::ErrorKind::PermissionDenied, _) => {
            "make it executable for this user with chmod, or move it off a noexec mount".into()
        }
        _ => "is it a program of this machine, or a script with `#!` in its first line?".into(),
    }
}

/// What the plan says, less what would be misread, plus the keeper's own.
fn environment(plan: &Plan, id: SpawnId, state: StateId, channel: Option<u32>) -> Vec<String> {
    let own = [
        SPAWN_MARK_ENV,
        INSTANCE_ENV,
        "GANGER_CHANNEL_FD",
        "NODE_CHANNEL_FD",
        "LISTEN_PID",
        "WATCHDOG_PID",
    ];
    let theirs = plan.env.iter().filter(|(name, _)| !own.contains(name));
    let mut all: Vec<String> = theirs.map(|(name, value)| format!("{name}={value}")).collect();
    all.push(format!("{SPAWN_MARK_ENV}={}", mark(state, id)));
    all.push(format!("{INSTANCE_ENV}={}", plan.instance));
    if let Some(number) = channel {
        all.push(format!("GANGER_CHANNEL_FD={number}"));
        all.push(format!("NODE_CHANNEL_FD={number}"));
    }
    all
}

/// The marker's value.
pub(crate) fn mark(state: StateId, id: SpawnId) -> String {
    format!("{state}:{id}")
}

fn text(what: &str, text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure::plan(format!("{what} has a NUL byte: {text:?}")))
}

fn texts(what: &str, all: &[String]) -> Result<Vec<CString>, Failure> {
    all.iter().map(|one| text(what, one)).collect()
}

/// The controlling terminal, where there is one.
fn terminal() -> Option<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// On a filesystem where exec can't hang: sharing memory until exec stops the keeper for as long as that takes.
fn local(path: &str) -> bool {
    // statfs(2): ext2-4, xfs, btrfs, tmpfs, ramfs, overlay, f2fs, squashfs, erofs, zfs.
    const LOCAL: [i64; 10] = [
        0xEF53,
        0x5846_5342,
        0x9123_683E,
        0x0102_1994,
        0x8584_58F6,
        0x794C_7630,
        0xF2F5_2010,
        0x7371_7368,
        0xE0F5_E1E2,
        0x2FC1_2FC1,
    ];
    #[expect(clippy::unnecessary_cast, reason = "f_type's width differs between architectures")]
    rustix::fs::statfs(path).is_ok_and(|fs| LOCAL.contains(&(fs.f_type as i64)))
}
