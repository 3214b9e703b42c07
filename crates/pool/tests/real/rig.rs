//! The test's side: a keeper in a temporary folder, and daemons that come and go.

use std::future::Future;
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use ganger_core::logwire::LogTarget;
use ganger_core::{Backoff, Durability, InstanceId, InstanceKind};
use ganger_keeper::wire::{Output, Plan, Table};
use ganger_logs::read::LogReader;
use ganger_pool::{Parts, PoolParts, PoolSpec, Pools, Tasks};
use ganger_process::{Inherited, Link, Processes};
use ganger_queue::{QueueConfig, RetryRules};
use ganger_store::writer::WriterThread;
use ganger_store::{Readers, SqliteOptions, SqliteStore, Store as _, Writer};
use ganger_supervise::{InstanceSpec, Surroundings, Told};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use ganger_testkit::roles::{
    Handed, SOCKET_ENV, helper, next_relay, numbers, readable_within, wait,
};

/// Longer than anything here takes on a busy machine; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Descriptor numbers from here on are used once.
static FRESH: AtomicI32 = AtomicI32::new(200);

pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    keeper: Option<Child>,
    listener: UnixListener,
}

/// One daemon's life.
pub(crate) struct Daemon {
    runtime: Runtime,
    pub(crate) tasks: Tasks,
    pub(crate) pools: Pools,
    processes: Processes,
    thread: WriterThread,
    told: std::sync::Mutex<mpsc::Receiver<Told>>,
    /// Whoever lives inside.
    _members: JoinSet<()>,
    _relay: UnixStream,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("t.sock")).unwrap();
        let role = helper("keeper");
        let mut command = Command::new(role.program);
        command.arg("role:keeper").arg(dir.path().join("state"));
        command.env(SOCKET_ENV, dir.path().join("t.sock"));
        let keeper = Some(command.spawn().unwrap());
        Self { dir, keeper, listener }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a script and gives its path.
    pub(crate) fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Lines a worker has written to a file so far.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until a file has a line.
    pub(crate) fn wait_for_line(&self, name: &str) {
        self.wait_for_lines(name, 1);
    }

    /// Waits, by inotify, until a file has so many lines.
    pub(crate) fn wait_for_lines(&self, name: &str, n: usize) {
        use rustix::fs::inotify;
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        inotify::add_watch(&watch, self.dir.path(), events).unwrap();
        while self.lines(name).len() < n {
            wait(&watch, PATIENCE, name);
            let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(&watch, &mut buffer);
            reader.next().unwrap();
        }
    }

    /// The stand-in that the keeper starts next: the keeper's socket and what is inherited.
    fn next_daemon(&self) -> (UnixStream, OwnedFd, Table) {
        let Handed { mut table, keeper, fds, relay, .. } = next_relay(&self.listener, PATIENCE);
        for (number, fd) in numbers(&mut table).into_iter().zip(fds) {
            // Each number is adopted once in a process's life; a real daemon has one life only.
            let floor = FRESH.load(Ordering::Relaxed);
            *number = rustix::io::fcntl_dupfd_cloexec(&fd, floor).unwrap().into_raw_fd();
            FRESH.store(*number + 1, Ordering::Relaxed);
        }
        (relay, keeper, table)
    }

    /// A daemon with these pools on it.
    pub(crate) fn daemon(&self, specs: Vec<PoolSpec>) -> Daemon {
        let (relay, keeper, table) = self.next_daemon();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let store = SqliteStore::open(SqliteOptions::new(self.path("state.db"))).unwrap();
        let readers = Readers::new(vec![store.reader().unwrap(), store.reader().unwrap()]);
        let (writer, thread) = Writer::start(store).unwrap();
        let logs = LogReader::new(self.path("state/logs"));
        let run_dir = self.path("state/run");
        let (members, tasks, pools, processes, told) = runtime.block_on(async {
            let mut members = JoinSet::new();
            let link = Link::connect(keeper).unwrap();
            let survivors = table.survivors.clone();
            let inherited = Inherited::take(table).unwrap();
            let startup = Processes::start(link, inherited, writer.epoch());
            let mut notices = startup.notices;
            members.spawn(async move { while notices.recv().await.is_some() {} });
            let (tell, told) = mpsc::channel(10_000);
            let parts = Parts { writer, readers, told: tell.clone(), queues: queues() };
            let started = ganger_pool::start(parts, &mut members).await.unwrap();
            let processes = startup.processes;
            processes.ready().await.unwrap();
            let around = Surroundings {
                processes: processes.clone(),
                told: tell,
                listeners: Default::default(),
                primaries: Default::default(),
                exchange: Default::default(),
                permits: ganger_supervise::Permits::default(),
                execs: ganger_supervise::Execs::default(),
                run_dir,
                logs,
            };
            let parts = PoolParts {
                tasks: started.tasks.clone(),
                claims: started.claims,
                specs,
                adopted: startup.adopted,
                survivors,
                resumed: vec![],
                around,
            };
            let pools = Pools::start(parts, &mut members).await.unwrap();
            (members, started.tasks, pools, processes, told)
        });
        let told = std::sync::Mutex::new(told);
        Daemon { runtime, tasks, pools, processes, thread, told, _members: members, _relay: relay }
    }
}

impl Drop for Rig {
    /// Leaves nothing behind: a keeper's SIGTERM brings all down.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("state/keeper.log")).unwrap_or_default();
            println!("keeper.log:\n{log}");
        }
        let Some(mut keeper) = self.keeper.take() else { return };
        let Ok(pidfd) = ganger_sys::pidfd::open(keeper.id()) else { return };
        // The first asks a daemon that may not be there, a later one is obeyed at once; two at a time would count as one.
        for _ in 0..30 {
            let _ = ganger_sys::pidfd::send_signal(&pidfd, 15);
            if readable_within(&pidfd, Duration::from_millis(500)) {
                break;
            }
        }
        let _ = keeper.wait();
    }
}

impl Daemon {
    /// Runs something inside the daemon, with an end to patience.
    pub(crate) fn run<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, what).await.expect("in time") })
    }

    /// Events told so far, as `type name#slot: reason`.
    pub(crate) fn events(&self) -> Vec<String> {
        let mut told = self.told.lock().unwrap();
        let mut all = Vec::new();
        while let Ok(Told { event, ack, .. }) = told.try_recv() {
            if let Some(ack) = ack {
                self.runtime.block_on(ack.confirm());
            }
            all.push(format!("{} {}: {}", event.kind, event.name, event.reason));
        }
        all
    }

    /// Ends in order, with its workers and its keeper.
    pub(crate) fn end(self) {
        self.run(async {
            self.pools.shutdown().await.unwrap();
            self.processes.shutdown().await.unwrap();
        });
    }

    /// Goes in order, as for an upgrade: what it knows is written, its workers live on.
    pub(crate) fn retire(self) {
        let Self { runtime, tasks, pools, processes, thread, told, mut _members, _relay } = self;
        drop((tasks, pools, processes, told));
        runtime.block_on(async {
            let all = async { while _members.join_next().await.is_some() {} };
            // Some wait for what lives as long as the runtime.
            let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
        });
        runtime.shutdown_timeout(PATIENCE);
        drop(_members);
        thread.join();
        drop(_relay);
    }

    /// Dies as by SIGKILL: nothing in it says goodbye. What it had given to the store's thread is written or not.
    pub(crate) fn kill(self) {
        let Self { runtime, tasks, pools, processes, thread, told, _members, _relay } = self;
        drop((tasks, pools, processes, told));
        runtime.shutdown_timeout(PATIENCE);
        drop(_members);
        thread.join();
        drop(_relay);
    }
}

fn queues() -> Vec<(String, QueueConfig)> {
    let retry = RetryRules {
        max: 3,
        backoff: Backoff {
            base: Duration::from_millis(10),
            factor: 1.0,
            max: Duration::from_millis(10),
            jitter: false,
        }
        .into(),
        ..RetryRules::default()
    };
    let disk = QueueConfig { retry: retry.clone(), ..QueueConfig::default() };
    let quick = QueueConfig { timeout: Duration::from_millis(300), ..disk.clone() };
    // Long enough for an interpreter to start on a busy machine.
    let patient = QueueConfig { timeout: Duration::from_secs(5), ..disk.clone() };
    let once = QueueConfig { retry: RetryRules { max: 1, ..retry.clone() }, ..disk.clone() };
    let many = QueueConfig { retry: RetryRules { max: 10, ..retry }, ..disk.clone() };
    let mem = QueueConfig { durability: Durability::Memory, ..disk.clone() };
    [
        ("q", disk),
        ("quick", quick),
        ("once", once),
        ("many", many),
        ("patient", patient),
        ("mem", mem),
    ]
    .map(|(name, config)| (name.to_owned(), config))
    .into()
}

/// The absolute path of a program, or `None` where it is not installed.
pub(crate) fn which(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path: &PathBuf| Path::is_file(path))
        .and_then(|path| path.to_str().map(str::to_owned))
}

/// A pool `w` of one worker on every queue.
pub(crate) fn pool(argv: &[&str]) -> PoolSpec {
    let log = |name: &str| {
        Output::Log(LogTarget { name: name.to_owned(), slot: 1, max_bytes: 1 << 20, max_age_s: 0 })
    };
    let plan = Plan {
        env: [("PATH", std::env::var("PATH").unwrap_or_default())].into_iter().collect(),
        stdout: log("w"),
        stderr: log("w"),
        ..Plan::new(
            InstanceId::new("w", 1),
            InstanceKind::Worker,
            which(argv[0]).unwrap_or_else(|| argv[0].to_owned()),
            argv.iter().map(|a| (*a).to_owned()).collect(),
        )
    };
    let instance = InstanceSpec {
        backoff: Backoff { base: Duration::ZERO, ..Backoff::SERVICE },
        start_limit: None,
        ..InstanceSpec::new(plan)
    };
    let queues = ["q", "quick", "once", "many", "mem"].map(str::to_owned).into();
    PoolSpec { queues, cancel_grace: Duration::from_millis(200), ..PoolSpec::new("w", instance) }
}
