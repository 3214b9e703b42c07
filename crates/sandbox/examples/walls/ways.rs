//! The ways in which a program is started.

use std::ffi::CString;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use ganger_core::Usage;
use ganger_sandbox::walls::{Built, Inmate, LentNetwork, Missing, Networks};
use ganger_sandbox::{Mode, Net, ProfileName, Sandbox, Wall};
use ganger_sys::spawn::{Pending, Spec, Started};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

const PROGRAM: &str = "/bin/true";

/// One way.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    argv: Vec<CString>,
    sandbox: Option<Sandbox>,
    /// Without what is the same each time: a folder, a network.
    anew: bool,
}

/// As the keeper's.
static NETWORKS: Mutex<Option<Networks>> = Mutex::new(None);

fn networks<T>(what: impl FnOnce(&mut Networks) -> T) -> T {
    what(NETWORKS.lock().unwrap().get_or_insert_default())
}

/// As the state folder of a keeper; left behind in the temporary folder.
static ROOTS: OnceLock<TempDir> = OnceLock::new();

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    /// Processor time of the thread that starts it: the kernel makes namespaces and copies memory in its time.
    pub(crate) here: Duration,
    /// Of what was started.
    pub(crate) there: Duration,
}

/// Those whose name contains one of these words; what bare is always first.
pub(crate) fn all(words: &[String]) -> Vec<Way> {
    let strict = Sandbox::of(ProfileName::Strict);
    let host = Sandbox { net: Some(Net::Host), ..strict.clone() };
    let without = |wall| Sandbox { layers: [(wall, Mode::Off)].into(), ..strict.clone() };
    let walled = |name, sandbox| Way::of(name, &[PROGRAM], Some(sandbox));
    let mut ways = vec![
        Way::of("bare", &[PROGRAM], None),
        walled("strict", strict.clone()),
        Way { anew: true, ..walled("strict, all made anew", strict.clone()) },
        walled("strict, host's network", host),
        walled("strict without mount", without(Wall::Mount)),
        walled("strict without pid", without(Wall::Pid)),
        walled("strict without seccomp", without(Wall::Seccomp)),
        walled("strict without landlock", without(Wall::Landlock)),
        walled("build", Sandbox::of(ProfileName::Build)),
        walled("standard", Sandbox::of(ProfileName::Standard)),
        Way::of("sh -c", &["/bin/sh", "-c", PROGRAM], None),
    ];
    if Path::new(BWRAP[0]).exists() {
        ways.push(Way::of("bwrap --unshare-all", &BWRAP, None));
    }
    if let Some(nsjail) = NSJAILS.into_iter().find(|path| Path::new(path).exists()) {
        let argv: Vec<&str> = [nsjail].into_iter().chain(NSJAIL).collect();
        ways.push(Way::of("nsjail -Mo", &argv, None));
    }
    let wanted = |way: &Way| {
        words.is_empty() || way.name == "bare" || words.iter().any(|word| way.name.contains(word))
    };
    ways.into_iter().filter(wanted).collect()
}

const BWRAP: [&str; 18] = [
    "/usr/bin/bwrap",
    "--unshare-all",
    "--ro-bind",
    "/usr",
    "/usr",
    "--symlink",
    "usr/lib",
    "/lib",
    "--symlink",
    "usr/lib64",
    "/lib64",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--tmpfs",
    "/tmp",
    "/usr/bin/true",
];
const NSJAILS: [&str; 2] = ["/usr/bin/nsjail", "/usr/local/bin/nsjail"];
/// Once, silent, all namespaces, the machine's programs and libraries read-only.
const NSJAIL: [&str; 12] = [
    "-Mo",
    "-Q",
    "-R",
    "/usr",
    "-s",
    "/usr/lib:/lib",
    "-s",
    "/usr/lib64:/lib64",
    "-T",
    "/tmp",
    "--",
    "/usr/bin/true",
];

impl Way {
    fn of(name: &'static str, argv: &[&str], sandbox: Option<Sandbox>) -> Self {
        let argv = argv.iter().map(|arg| CString::new(*arg).unwrap()).collect();
        Self { name, argv, sandbox, anew: false }
    }

    /// Starts it, as the keeper does it, and waits for its end.
    pub(crate) fn run(&self) -> Took {
        let cpu = || {
            let time = clock_gettime(ClockId::ThreadCPUTime);
            Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
        };
        let (began, here) = (Instant::now(), cpu());
        let mut one = self.begin();
        let used = loop {
            poll(&mut [one.poll()], None).unwrap();
            match self.go_on(one) {
                Ok(next) => one = next,
                Err(used) => break used,
            }
        };
        let (wall, here) = (began.elapsed(), cpu() - here);
        let there = Duration::from_micros(used.user_us + used.system_us);
        Took { wall, here, there }
    }

    /// As the keeper does it among clients, of whom each waits for its own: one thread, so many at once. How many have ended.
    pub(crate) fn runs(&self, clients: usize, time: Duration) -> u64 {
        let (began, mut ended) = (Instant::now(), 0);
        let mut all: Vec<One> = (0..clients).map(|_| self.begin()).collect();
        while !all.is_empty() {
            let mut wait: Vec<PollFd<'_>> = all.iter().map(One::poll).collect();
            poll(&mut wait, None).unwrap();
            let ready: Vec<bool> = wait.iter().map(|one| !one.revents().is_empty()).collect();
            for (one, ready) in std::mem::take(&mut all).into_iter().zip(ready) {
                match if ready { self.go_on(one) } else { Ok(one) } {
                    Ok(one) => all.push(one),
                    Err(_) => {
                        ended += 1;
                        all.extend((began.elapsed() < time).then(|| self.begin()));
                    }
                }
            }
        }
        ended
    }

    /// It stands behind walls of ours.
    pub(crate) const fn is_walled(&self) -> bool {
        self.sandbox.is_some()
    }

    fn begin(&self) -> One {
        match &self.sandbox {
            None => One::Runs(self.spec(None).spawn().unwrap(), None),
            Some(sandbox) => {
                let mut built = sandbox.build(inmate(self.anew), &Missing::new()).unwrap();
                if !self.anew {
                    networks(|networks| {
                        networks.lend((self.name.to_owned(), String::new()), sandbox, &mut built)
                    });
                }
                One::OnItsWay(self.spec(Some(&built)).begin().unwrap(), Box::new(built))
            }
        }
    }

    /// Without waiting, where its descriptor is ready; what it used when it has ended.
    fn go_on(&self, one: One) -> Result<One, Usage> {
        match one {
            One::OnItsWay(pending, mut built) => {
                Ok(One::Runs(pending.wait().unwrap(), built.network.take()))
            }
            One::Runs(started, network) => {
                let (status, used) = ganger_sys::reap::wait(started.pid).unwrap().unwrap();
                if let Some(network) = network {
                    networks(|networks| networks.give_back(network, Instant::now()));
                }
                assert_eq!(status.0, 0, "{}", self.name);
                Err(used)
            }
        }
    }

    fn spec<'a>(&self, built: Option<&'a Built>) -> Spec<'a> {
        let mut spec = Spec::new(self.argv[0].clone(), self.argv.clone());
        spec.walls = built.map(|built| &built.walls);
        spec.no_new_privs = built.is_some();
        spec.fast = true;
        spec
    }
}

fn inmate(anew: bool) -> Inmate<'static> {
    let roots = ROOTS.get_or_init(|| tempfile::tempdir().unwrap());
    let (program, cwd) = (Path::new(PROGRAM), Path::new("/var/tmp"));
    Inmate { program, cwd, identity: None, hide: &[], roots: Some(roots.path()).filter(|_| !anew) }
}

/// One child.
enum One {
    /// What was looked at is held until it runs.
    OnItsWay(Pending, Box<Built>),
    Runs(Started, Option<LentNetwork>),
}

impl One {
    fn poll(&self) -> PollFd<'_> {
        match self {
            Self::OnItsWay(pending, _) => PollFd::new(pending, PollFlags::IN),
            Self::Runs(started, _) => PollFd::new(&started.pidfd, PollFlags::IN),
        }
    }
}
