//! Jobs of `true` per second and bytes fed per second, beside xargs, GNU parallel and a plain spawn loop, in turns, medians of five.
//!
//! `cargo run --release -p ganger-map --example bench [JOBS]`. The part of `ganger map` that takes time is this crate's: the same loop runs here in
//! a process of its own per run, as it has to become a keeper before any thread exists. What is missing is the start of the `ganger` binary.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench talks to a terminal and stops at what is wrong"
)]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ganger_core::{InstanceId, InstanceKind};
use ganger_keeper::wire::{Env, Plan};
use ganger_map::input::{Cut, Pack, Shape, Source};
use ganger_map::{Input, Many, Options, Resume, Show, Slots};

const RUNS: usize = 5;
const SLOTS: usize = 2;
/// Bytes that are fed in blocks.
const FED: usize = 512 << 20;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("run") => mapped(
            Input::Values {
                sources: vec![(Source::Stdin, false)],
                shape: Shape::default(),
                pack: Pack::Rows(1),
            },
            &["true"],
        ),
        Some("feed") => {
            let cut = Cut { size: 10 << 20, ..Cut::nothing() };
            mapped(Input::Parts(vec![PathBuf::from(&words[1])], cut), &["wc", "-c"]);
        }
        count => bench(count.and_then(|count| count.parse().ok()).unwrap_or(1_000)),
    }
}

fn mapped(input: Input, command: &[&str]) {
    let plan = Plan::new(InstanceId::new("map", 1), InstanceKind::Command, "/", vec!["map".into()]);
    let fd = |fd: std::io::Result<OwnedFd>| File::from(fd.unwrap());
    let options = Options {
        command: command.iter().map(|word| word.as_bytes().to_vec()).collect(),
        mark: b"{}".to_vec(),
        many: Many::Words,
        shell: None,
        input,
        slots: Slots::Count(SLOTS),
        show: Show::Grouped,
        ordered: false,
        tag: None,
        joblog: None,
        resume: Resume::No,
        tries: 1,
        halt: None,
        timeout: None,
        grace: Duration::from_millis(500),
        delay: Duration::ZERO,
        load: None,
        memory_free: None,
        results: None,
        tmp: std::env::temp_dir(),
        dry_run: false,
        count_first: false,
        first_stdin: false,
        plan: Plan { env: std::env::vars().collect::<Env>(), ..plan },
        own: Vec::new(),
        find: |name| Ok(PathBuf::from("/usr/bin").join(name)),
        out: fd(std::io::stdout().as_fd().try_clone_to_owned()),
        err: fd(std::io::stderr().as_fd().try_clone_to_owned()),
    };
    let outcome = ganger_map::run(options, &mut |_| ()).unwrap();
    assert_eq!(outcome.failed, 0);
}

type Peer = (&'static str, Box<dyn Fn() -> Command>);

fn bench(count: u32) {
    let own = std::env::current_exe().unwrap();
    let path = std::env::temp_dir().join("ganger-map-bench");
    std::fs::write(&path, vec![b'x'; FED]).unwrap();
    let run = own.clone();
    let bare = own.clone();
    let unheld = move || {
        let mut command = Command::new(&bare);
        command.arg("run").env("GANGER_NO_CGROUP", "1");
        command
    };
    let peers: Vec<Peer> = vec![
        ("ganger map", Box::new(move || made(&run, &["run"]))),
        ("ganger map, no cgroups", Box::new(unheld)),
        ("xargs -P2 -n1", Box::new(|| made("xargs", &["-P2", "-n1", "true"]))),
        ("parallel -j2", Box::new(|| made("parallel", &["--will-cite", "-j2", "true"]))),
    ];
    println!("{}, {}", version("xargs"), version("parallel"));
    println!("jobs of true per second, {count} jobs, {SLOTS} slots, median of {RUNS}:");
    let values: String = (0..count).map(|n| format!("{n}\n")).collect();
    let mut times = vec![Vec::new(); peers.len()];
    let mut limit = Vec::new();
    for _ in 0..RUNS {
        for ((_, command), times) in peers.iter().zip(&mut times) {
            times.extend(timed(command(), values.as_bytes()));
        }
        let began = Instant::now();
        for _ in 0..count {
            assert!(Command::new("/usr/bin/true").status().unwrap().success());
        }
        limit.push(began.elapsed());
    }
    let rate = |times: &mut Vec<Duration>| {
        median(times).map_or("not installed".into(), |time| {
            format!("{:9.0}", f64::from(count) / time.as_secs_f64())
        })
    };
    for ((name, _), times) in peers.iter().zip(&mut times) {
        println!("  {name:24} {}", rate(times));
    }
    println!("  {:24} {}", "spawn and wait, one by one", rate(&mut limit));
    println!("MB/s of wc -c fed in blocks of 10 MB of a file, {SLOTS} slots, median of {RUNS}:");
    let file = path.to_str().unwrap();
    let mut times = vec![Vec::new(); 2];
    for _ in 0..RUNS {
        times[0].extend(timed(made(&own, &["feed", file]), b""));
        let args = ["--will-cite", "-j2", "--pipepart", "--block", "10M", "-a", file, "wc", "-c"];
        times[1].extend(timed(made("parallel", &args), b""));
    }
    for (name, times) in ["ganger map --pipepart", "parallel --pipepart"].iter().zip(&mut times) {
        let rate = median(times).map(|time| FED as u128 / time.as_micros().max(1));
        println!("  {name:24} {:>9}", rate.map_or("not installed".into(), |rate| rate.to_string()));
    }
    std::fs::remove_file(&path).unwrap();
}

fn made(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// How long it took; `None` where it is not installed.
fn timed(mut command: Command, input: &[u8]) -> Option<Duration> {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().ok()?;
    // One that reads nothing closes it.
    let _ = child.stdin.take()?.write_all(input);
    assert!(child.wait().ok()?.success());
    Some(began.elapsed())
}

fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn version(program: &str) -> String {
    let said = Command::new(program).arg("--version").output();
    let text =
        said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("not installed").to_owned()
}
