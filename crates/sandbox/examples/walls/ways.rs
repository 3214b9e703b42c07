//! The ways in which a program is started.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use ganger_sandbox::walls::{Built, Inmate, Missing};
use ganger_sandbox::{Mode, Net, ProfileName, Sandbox, Wall};
use ganger_sys::spawn::Spec;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

const PROGRAM: &str = "/bin/true";

/// One way.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    argv: Vec<CString>,
    sandbox: Option<Sandbox>,
    /// Without a folder for what is the same each time.
    anew: bool,
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
        Way { anew: true, ..walled("strict, root made anew", strict.clone()) },
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

    /// Starts it, as the keeper does it, and waits for its end. What holds `keeper` starts nothing else meanwhile: that is all but
    /// waiting, for which the keeper has its poller.
    pub(crate) fn run(&self, keeper: Option<&Mutex<()>>) -> Took {
        let cpu = || {
            let time = clock_gettime(ClockId::ThreadCPUTime);
            Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
        };
        let (began, here) = (Instant::now(), cpu());
        // Each program that is a sandbox itself is started at once by each client.
        let one = || keeper.filter(|_| self.sandbox.is_some()).map(|keeper| keeper.lock().unwrap());
        let started = match &self.sandbox {
            None => self.spec(None).spawn().unwrap(),
            Some(sandbox) => {
                let only = one();
                let built = sandbox.build(inmate(self.anew), &Missing::new()).unwrap();
                let pending = self.spec(Some(&built)).begin().unwrap();
                drop(only);
                wait_for(&pending);
                let _only = one();
                // What was looked at is held until the child runs.
                pending.wait().inspect(|_| drop(built)).unwrap()
            }
        };
        wait_for(&started.pidfd);
        let _only = one();
        let (status, used) = ganger_sys::reap::wait(started.pid).unwrap().unwrap();
        let (wall, here) = (began.elapsed(), cpu() - here);
        assert_eq!(status.0, 0, "{}", self.name);
        let there = Duration::from_micros(used.user_us + used.system_us);
        Took { wall, here, there }
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

fn wait_for(fd: impl AsFd) {
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
}
