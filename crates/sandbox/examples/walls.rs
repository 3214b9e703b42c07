//! What walls cost: `cargo run --release -p ganger-sandbox --example walls -- [ROUNDS]`.
//!
//! Each round starts `/bin/true` once in every way and waits for its end, so that whatever else the machine does is shared by all. Told are
//! milliseconds: the median, the least, the 95th of 100, and how much more than bare the median is.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for the terminal")]

use std::ffi::CString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ganger_sandbox::walls::{Inmate, Missing};
use ganger_sandbox::{Mode, Net, ProfileName, Sandbox, Wall};
use ganger_sys::spawn::Spec;
use rustix::event::{PollFd, PollFlags, poll};

const PROGRAM: &str = "/bin/true";
const ROUNDS: usize = 300;

type Way = (&'static str, Box<dyn Fn() -> Duration>);

fn main() {
    let rounds = std::env::args().nth(1).map_or(ROUNDS, |text| text.parse().unwrap());
    let ways = ways();
    let mut took: Vec<Vec<Duration>> = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for ((_, run), took) in ways.iter().zip(&mut took) {
            took.push(run());
        }
    }
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let mut bare = None;
    println!("{:<28} {:>8} {:>8} {:>8} {:>8}", "ms", "p50", "least", "p95", "+ p50");
    for ((name, _), took) in ways.iter().zip(&mut took) {
        took.sort_unstable();
        let (p50, p95) = (took[took.len() / 2], took[took.len() * 95 / 100]);
        let bare = *bare.get_or_insert(p50);
        let more = millis(p50) - millis(bare);
        println!(
            "{name:<28} {:>8.2} {:>8.2} {:>8.2} {more:>8.2}",
            millis(p50),
            millis(took[0]),
            millis(p95)
        );
    }
}

fn ways() -> Vec<Way> {
    let strict = Sandbox::of(ProfileName::Strict);
    let without = |wall| Sandbox { layers: [(wall, Mode::Off)].into(), ..strict.clone() };
    let mut ways: Vec<Way> = vec![
        ("bare", Box::new(|| spawn(None))),
        ("strict", walled(strict.clone())),
        ("strict, host's network", walled(Sandbox { net: Some(Net::Host), ..strict.clone() })),
        ("strict without mount", walled(without(Wall::Mount))),
        ("strict without pid", walled(without(Wall::Pid))),
        ("strict without seccomp", walled(without(Wall::Seccomp))),
        ("strict without landlock", walled(without(Wall::Landlock))),
        ("build", walled(Sandbox::of(ProfileName::Build))),
        ("standard", walled(Sandbox::of(ProfileName::Standard))),
        ("sh -c", Box::new(|| command("sh", &["-c", PROGRAM]))),
    ];
    if Command::new("bwrap").arg("--version").stdout(Stdio::null()).status().is_ok() {
        let args = [
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
            "--symlink",
            "usr/bin",
            "/bin",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
            PROGRAM,
        ];
        ways.push(("bwrap --unshare-all", Box::new(move || command("bwrap", &args))));
    }
    ways
}

fn walled(sandbox: Sandbox) -> Box<dyn Fn() -> Duration> {
    Box::new(move || spawn(Some(&sandbox)))
}

fn spawn(sandbox: Option<&Sandbox>) -> Duration {
    let began = Instant::now();
    let inmate = Inmate {
        program: Path::new(PROGRAM),
        cwd: Path::new("/var/tmp"),
        identity: None,
        hide: &[],
    };
    let built = sandbox.map(|sandbox| sandbox.build(inmate, &Missing::new()).unwrap());
    let program = CString::new(PROGRAM).unwrap();
    let mut spec = Spec::new(program.clone(), vec![program]);
    spec.walls = built.as_ref().map(|built| &built.walls);
    spec.no_new_privs = built.is_some();
    spec.fast = true;
    let started = spec.spawn().unwrap();
    let mut wait = [PollFd::new(&started.pidfd, PollFlags::IN)];
    poll(&mut wait, None).unwrap();
    ganger_sys::reap::wait(started.pid).unwrap().unwrap();
    began.elapsed()
}

fn command(program: &str, args: &[&str]) -> Duration {
    let began = Instant::now();
    assert!(Command::new(program).args(args).status().unwrap().success());
    began.elapsed()
}
