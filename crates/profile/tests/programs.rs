//! Real programs under the real kernel: are their functions found and named?
//!
//! A test waits for samples, never for time. Where perf is refused (a container's seccomp filter, `perf_event_paranoid` 3), or a
//! tool is missing, it says that it is skipped.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the whole program is a test, and says what it skips"
)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ganger_profile::{FrameKind, Method, Profile, Progress, Wish, record};

/// Three parts of the work in `hot`, one in `warm`; a thread that starts later does `late`; ends when its input does.
const SPIN_C: &str = r#"
#include <pthread.h>
#include <unistd.h>
static volatile unsigned long sink;
#define PART __attribute__((noinline))
PART void hot(void)  { for (int i = 0; i < 3000000; i++) sink += i; }
PART void warm(void) { for (int i = 0; i < 1000000; i++) sink ^= i; }
PART void late(void) { for (int i = 0; i < 1000000; i++) sink |= i; }
PART void work(void) { hot(); warm(); sink++; }
static void *run(void *unused) { for (;;) late(); return unused; }
static void *input(void *unused) { char c; while (read(0, &c, 1) > 0) {} _exit(0); return unused; }
int main(void) {
  pthread_t a, b;
  pthread_create(&a, 0, input, 0);
  for (int i = 0; ; i++) { work(); if (i == 20) pthread_create(&b, 0, run, 0); }
}
"#;

/// Samples of a test; at 500 Hz less than a second where nothing else runs.
const ENOUGH: u64 = 300;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn start(command: &mut Command) -> Option<Running> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok().map(Running)
}

/// The program, compiled with `flags`; `None`, and a word, without a compiler.
fn compiled(folder: &Path, source: &str, flags: &[&str]) -> Option<PathBuf> {
    let (text, program) = (folder.join("spin.c"), folder.join("spin"));
    std::fs::write(&text, source).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.args(flags).arg("-pthread").arg("-o").arg(&program).arg(&text);
    match gcc.output() {
        Ok(out) if out.status.success() => Some(program),
        Ok(out) => panic!("gcc: {}", String::from_utf8_lossy(&out.stderr)),
        Err(_) => {
            println!("skipped: gcc is not installed");
            None
        }
    }
}

/// A profile with enough samples; `None`, and a word, where perf is refused.
fn profiled(pid: u32, enough: u64) -> Option<Profile> {
    let wish = Wish { pids: vec![pid], time: Duration::from_secs(120), hertz: 500 };
    let profile = record(&wish, |told: Progress| {
        if told.samples >= enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    if profile.meta.method == Method::States {
        println!("skipped: no perf here: {:?}", profile.meta.notes);
        return None;
    }
    assert!(profile.meta.samples >= enough, "{:?}", profile.meta);
    Some(profile)
}

fn named(profile: &Profile) -> f64 {
    profile.meta.named as f64 / profile.meta.samples as f64
}

/// Own share by function.
fn shares(profile: &Profile) -> BTreeMap<String, f64> {
    let all = profile.meta.samples as f64;
    let top = profile.top(usize::MAX);
    top.into_iter().map(|f| (f.frame.name, f.own as f64 / all)).collect()
}

/// Samples whose stack has all of `names`, outermost first.
fn through(profile: &Profile, names: &[&str]) -> u64 {
    let has = |stack: &[&ganger_profile::Frame]| {
        let mut stack = stack.iter();
        names.iter().all(|name| stack.any(|frame| frame.name == *name))
    };
    profile.stacks().iter().filter(|(stack, _)| has(stack)).map(|(_, count)| count).sum()
}

#[test]
fn c_with_frame_pointers_has_names_shares_and_callers() {
    let folder = tempfile::tempdir().unwrap();
    // Optimised, GCC gives a leaf function no frame even so, and its caller is missing, as it is for perf(1).
    let flags = ["-O0", "-fno-omit-frame-pointer"];
    let Some(program) = compiled(folder.path(), SPIN_C, &flags) else { return };
    let child = start(&mut Command::new(&program)).unwrap();
    let Some(profile) = profiled(child.0.id(), ENOUGH) else { return };
    assert!(named(&profile) >= 0.95, "{:?}", profile.top(20));
    let shares = shares(&profile);
    let (hot, warm) = (shares["hot"], shares.get("warm").copied().unwrap_or(0.0));
    assert!(hot > warm, "{shares:?}");
    // Nearly all of what hot was seen in has its whole way from main on.
    let (all, whole) =
        (through(&profile, &["hot"]), through(&profile, &["spin", "main", "work", "hot"]));
    assert!(whole * 100 >= all * 95, "{whole} of {all}: {:?}", profile.stacks());
    // The thread that started while it was sampled, or before, is in it.
    assert!(shares.contains_key("late"), "{shares:?}");
}

#[test]
fn c_without_frame_pointers_has_its_leaf_functions_named() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = compiled(folder.path(), SPIN_C, &["-O1", "-fomit-frame-pointer"]) else {
        return;
    };
    let child = start(&mut Command::new(&program)).unwrap();
    let Some(profile) = profiled(child.0.id(), ENOUGH) else { return };
    assert!(named(&profile) >= 0.95, "{:?}", profile.top(20));
    assert!(shares(&profile).contains_key("hot"));
}

/// This test's own functions are the Rust example.
#[test]
fn rust_names_are_demangled() {
    #[inline(never)]
    fn burn_in_rust(n: u64) -> u64 {
        // Nothing that an unoptimised build makes a call of.
        let (mut sum, mut i) = (0, 0);
        while i < n {
            sum ^= i;
            i += 1;
        }
        sum
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    let profile = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::hint::black_box(burn_in_rust(100_000));
            }
        });
        let profile = profiled(std::process::id(), ENOUGH);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        profile
    });
    let Some(profile) = profile else { return };
    assert!(named(&profile) >= 0.95, "{:?}", profile.top(20));
    let all: Vec<String> = profile.top(usize::MAX).into_iter().map(|f| f.frame.name).collect();
    assert!(all.iter().any(|name| name.contains("burn_in_rust")), "{all:?}");
    assert!(!all.iter().any(|name| name.starts_with("_ZN") || name.starts_with("_RN")), "{all:?}");
}

#[test]
fn processes_that_start_meanwhile_are_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = compiled(folder.path(), SPIN_C, &["-O1", "-fno-omit-frame-pointer"]) else {
        return;
    };
    // The shell waits for a word before it starts the program: nothing of it was there when the profile began.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("read word; \"$0\" <&0; true").arg(&program);
    let mut child = start(&mut shell).unwrap();
    let mut input = child.0.stdin.take();
    let wish = Wish { pids: vec![child.0.id()], time: Duration::from_secs(120), hertz: 500 };
    let profile = record(&wish, |told: Progress| {
        if let Some(mut open) = input.take() {
            std::io::Write::write_all(&mut open, b"go\n").unwrap();
            std::mem::drop(KEPT.lock().unwrap().replace(open));
        }
        if told.samples >= ENOUGH { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    std::mem::drop(KEPT.lock().unwrap().take());
    if profile.meta.method == Method::States {
        println!("skipped: no perf here: {:?}", profile.meta.notes);
        return;
    }
    assert_eq!(profile.meta.processes, 2, "{:?}", profile.meta);
    assert!(through(&profile, &["spin", "hot"]) > 0, "{:?}", profile.top(20));
}

/// Keeps the program's input open while it is sampled.
static KEPT: std::sync::Mutex<Option<std::process::ChildStdin>> = std::sync::Mutex::new(None);

#[test]
fn a_program_that_ends_ends_its_profile() {
    let mut child = start(&mut Command::new("cat")).unwrap();
    let wish = Wish { pids: vec![child.0.id()], time: Duration::from_secs(600), hertz: 99 };
    let profile = record(&wish, |_| {
        drop(child.0.stdin.take());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(profile.meta.seconds < 600.0);
    child.0.wait().unwrap();
    let gone = record(&wish, |_| ControlFlow::Continue(())).unwrap_err();
    assert!(gone.to_string().contains("no process"), "{gone}");
    let wrong = Wish { hertz: 0, ..wish };
    assert!(record(&wrong, |_| ControlFlow::Continue(())).is_err());
}

#[test]
fn node_functions_are_named_by_its_perf_map() {
    let script = "function hotInner(n) { let s = 0; for (let i = 0; i < n; i++) s = (s * 31 + i) | 0; return s; }\n\
                  process.stdin.on('end', () => process.exit()); process.stdin.resume();\n\
                  function turn() { let s = hotInner(200000); setImmediate(turn); return s; } turn();";
    let folder = tempfile::tempdir().unwrap();
    let mut node = Command::new("node");
    // It leaves a log where it stands.
    node.args(["--perf-basic-prof", "--interpreted-frames-native-stack", "-e", script])
        .current_dir(folder.path());
    let Some(child) = start(&mut node) else {
        println!("skipped: node is not installed");
        return;
    };
    // Its start is in it too: more samples, so that it is the lesser part.
    let profile = profiled(child.0.id(), 3 * ENOUGH);
    let map = format!("/tmp/perf-{}.map", child.0.id());
    drop(child);
    let _removed = std::fs::remove_file(map);
    let Some(profile) = profile else { return };
    let mine: u64 = profile
        .top(usize::MAX)
        .iter()
        .filter(|f| f.frame.kind == FrameKind::Compiled && f.frame.name.contains("hotInner"))
        .map(|f| f.own)
        .sum();
    assert!(named(&profile) >= 0.95, "{:?}", profile.top(20));
    assert!(mine * 4 > profile.meta.samples, "{mine} of {:?}", profile.top(20));
}
