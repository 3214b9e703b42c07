use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Mutex, OnceLock};

use ganger_core::{End, SignalSource};

use super::*;

fn text(s: &str) -> CString {
    CString::new(s).unwrap()
}

fn shell(script: &str) -> Spec<'static> {
    Spec::new(text("/bin/sh"), vec![text("sh"), text("-c"), text(script)])
}

/// Waits on the pidfd, so no test needs time to pass.
fn end_of(child: &Started) -> End {
    let mut wait = [rustix::event::PollFd::new(&child.pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut wait, None).unwrap();
    let (status, _) = crate::reap::wait(child.pid).unwrap().unwrap();
    status.end(SignalSource::Unknown)
}

/// How a child is started: in the parent's memory, with the low part of its descriptors.
type Way = (bool, bool);
const WAYS: [Way; 4] = [(false, false), (true, false), (false, true), (true, true)];

/// One for all tests, as numbers below 64 are few. `None` on a kernel that can't: then only copies are tested.
fn low() -> std::sync::MutexGuard<'static, Option<LowNumbers>> {
    static LOW: OnceLock<Mutex<Option<LowNumbers>>> = OnceLock::new();
    let reserve = || LowNumbers::reserve().inspect_err(|error| println!("skipped: {error}")).ok();
    let low = LOW.get_or_init(|| Mutex::new(reserve()));
    low.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn spawn(spec: &mut Spec<'_>, (fast, by_low): Way) -> Result<Started, SpawnError> {
    spec.fast = fast;
    match low().as_mut().filter(|_| by_low) {
        Some(low) => spec.spawn_low(low),
        None => spec.spawn(),
    }
}

fn output_of(spec: Spec<'_>, way: Way) -> (String, End) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    let child = {
        let mut spec: Spec<'_> = spec;
        spec.fds.push((writer.as_fd(), 1));
        spawn(&mut spec, way).unwrap()
    };
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    (said, end_of(&child))
}

#[test]
fn a_program_runs_and_its_end_is_told() {
    for way in WAYS {
        let (said, end) = output_of(shell("echo hello; exit 7"), way);
        assert_eq!((said.as_str(), end), ("hello\n", End::Exited { code: 7 }));
        let (_, end) = output_of(shell("kill -9 $$"), way);
        let by = SignalSource::Unknown;
        assert_eq!(end, End::Signalled { signal: 9, core: false, by });
    }
}

#[test]
fn failures_name_step_and_errno() {
    for way in WAYS {
        let fails = |change: &dyn Fn(&mut Spec<'_>)| {
            let mut spec = shell("true");
            change(&mut spec);
            let error = spawn(&mut spec, way).unwrap_err();
            (error.step, error.errno)
        };
        let missing = fails(&|s| s.program = text("/nowhere/at/all"));
        assert_eq!(missing, (Step::Execve, libc::ENOENT));
        assert_eq!(fails(&|s| s.program = text("/etc/passwd")), (Step::Execve, libc::EACCES));
        assert_eq!(fails(&|s| s.cwd = Some(text("/nowhere"))), (Step::Chdir, libc::ENOENT));
        let more = Rlimit { resource: Resource::Core, soft: 2, hard: 1 };
        assert_eq!(fails(&|s| s.rlimits.push(more)), (Step::Setrlimit, libc::EINVAL));
    }
}

#[test]
fn crossed_descriptors_reach_their_numbers_and_nothing_else_does() {
    for way in WAYS {
        crossed(way);
    }
}

fn crossed(way: Way) {
    let (mut r3, w3) = std::io::pipe().unwrap();
    let (mut r4, w4) = std::io::pipe().unwrap();
    let (w3, w4): (OwnedFd, OwnedFd) = (w3.into(), w4.into());
    let (_leak, _leak2) = std::io::pipe().unwrap();
    let (n3, n4) = (w3.as_raw_fd(), w4.as_raw_fd());
    // Each lands on the other's number: a naive dup2 chain would lose one.
    let script = format!("echo three >&{n4}; echo four >&{n3}; ls /proc/self/fd | tr '\\n' ' '");
    let mut spec = Spec::new(text("/bin/bash"), vec![text("bash"), text("-c"), text(&script)]);
    spec.env.push(text("PATH=/usr/bin:/bin"));
    spec.fds =
        vec![(w3.as_fd(), u32::try_from(n4).unwrap()), (w4.as_fd(), u32::try_from(n3).unwrap())];
    let (said, end) = output_of(spec, way);
    drop((w3, w4));
    assert_eq!(end, End::Exited { code: 0 });
    let (mut three, mut four) = (String::new(), String::new());
    r3.read_to_string(&mut three).unwrap();
    r4.read_to_string(&mut four).unwrap();
    assert_eq!((three.as_str(), four.as_str()), ("three\n", "four\n"));
    let seen: Vec<i32> = said.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let mut wanted = vec![0, 1, 2, n3, n4];
    wanted.sort_unstable();
    // ls has one more for the folder it reads.
    let extra = seen.iter().filter(|n| !wanted.contains(n)).count();
    assert!(wanted.iter().all(|n| seen.contains(n)) && extra <= 1, "{seen:?} against {wanted:?}");
}

#[test]
fn session_signals_mask_and_umask_are_fresh() {
    for way in WAYS {
        let script = "umask; grep -E '^Sig(Blk|Ign)' /proc/self/status; ps -o sid= -p $$; echo $$";
        let mut spec = shell(script);
        spec.env.push(text("PATH=/usr/bin:/bin"));
        spec.cwd = Some(text("/"));
        let (said, _) = output_of(spec, way);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "0022", "{said}");
        assert!(said.contains("SigBlk:\t0000000000000000"), "{said}");
        assert!(said.contains("SigIgn:\t0000000000000000"), "{said}");
        if lines.len() == 5 {
            assert_eq!(lines[3].trim(), lines[4].trim(), "{said}");
        }
    }
}

#[test]
fn limits_and_no_new_privs_hold_and_pid_variables_are_its_own() {
    let mut spec =
        shell("ulimit -n; grep NoNewPrivs /proc/self/status; test $LISTEN_PID$WATCHDOG_PID = $$$$");
    spec.env.push(text("PATH=/usr/bin:/bin"));
    spec.rlimits.push(Rlimit { resource: Resource::Files, soft: 77, hard: 77 });
    spec.no_new_privs = true;
    (spec.listen_pid, spec.watchdog_pid) = (true, true);
    let (said, end) = output_of(spec, (false, true));
    assert_eq!(said, "77\nNoNewPrivs:\t1\n");
    assert_eq!(end, End::Exited { code: 0 });
}

#[test]
fn another_user_is_taken_whole() {
    for way in WAYS {
        let mut spec = shell("id -u; id -g; id -G");
        spec.env.push(text("PATH=/usr/bin:/bin"));
        spec.identity = Some(Ids { uid: 65534, gid: 65534, groups: vec![65533] });
        if rustix::process::geteuid().is_root() {
            let (said, _) = output_of(spec, way);
            assert_eq!(said, "65534\n65534\n65534 65533\n");
        } else {
            let error = spawn(&mut spec, way).unwrap_err();
            assert_eq!((error.step, error.errno), (Step::Setgroups, libc::EPERM));
        }
    }
}

/// Open descriptors of this process among `numbers`.
fn open_among(numbers: &[i32]) -> usize {
    // SAFETY: plain numbers; a closed one gives EBADF.
    numbers.iter().filter(|number| unsafe { libc::fcntl(**number, libc::F_GETFD) } >= 0).count()
}

/// However a child ends on its way, the parent's descriptors stay as they are and the child has none of them.
#[test]
fn three_thousand_descriptors_stay_the_parents() {
    let null = std::fs::File::open("/dev/null").unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // The emulated kernel gives few to a user.
    let many = limit.current.map_or(3_000, |most| 3_000.min(most / 2));
    // High ones: other tests need low ones.
    let dup = |_| rustix::io::fcntl_dupfd_cloexec(&null, 100).unwrap();
    let held: Vec<OwnedFd> = (0..many).map(dup).collect();
    let numbers: Vec<i32> = held.iter().map(AsRawFd::as_raw_fd).collect();
    let source = held.last().unwrap();
    for way in WAYS {
        let mut spec = shell("for n in /proc/self/fd/*; do echo ${n##*/}; done");
        spec.fds.push((source.as_fd(), 7));
        let (said, end) = output_of(spec, way);
        assert_eq!(end, End::Exited { code: 0 });
        // The pattern is expanded before the loop: the folder itself is a number more.
        let seen: Vec<&str> = said.lines().filter(|number| *number != "3").collect();
        assert_eq!(seen, ["0", "1", "2", "7"], "{way:?}");
        let failing = || {
            let mut spec: Spec<'_> = shell("true");
            spec.fds = vec![(source.as_fd(), 0), (source.as_fd(), 130)];
            spec
        };
        let (mut program, mut cwd, mut join) = (failing(), failing(), failing());
        program.program = text("/nowhere/at/all");
        cwd.cwd = Some(text("/nowhere"));
        // Open for reading only; the step before the child has a table of its own.
        join.join.push(null.as_fd());
        let failed = [program, cwd, join].map(|mut spec| spawn(&mut spec, way).unwrap_err().step);
        assert_eq!(failed, [Step::Execve, Step::Chdir, Step::JoinCgroup]);
        assert_eq!(open_among(&numbers), numbers.len(), "{way:?}");
    }
}

/// What was lent is free again: nothing keeps the pipe open.
#[test]
fn lent_numbers_keep_nothing_open() {
    for way in WAYS {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let writer = rustix::io::fcntl_dupfd_cloexec(OwnedFd::from(writer), 100).unwrap();
        let mut spec = shell("echo once");
        spec.fds.push((writer.as_fd(), 1));
        let child = spawn(&mut spec, way).unwrap();
        spec.program = text("/nowhere/at/all");
        spawn(&mut spec, way).unwrap_err();
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), end_of(&child)), ("once\n", End::Exited { code: 0 }));
    }
}

/// More than there are low numbers, and numbers to keep: both by a copy of the whole table.
#[test]
fn what_can_not_be_lent_is_copied() {
    let null = std::fs::File::open("/dev/null").unwrap();
    let high = rustix::io::fcntl_dupfd_cloexec(&null, 100).unwrap();
    let keep = high.as_raw_fd().to_string();
    for fast in [false, true] {
        let mut spec = shell(&format!("test -e /proc/self/fd/60 && test -e /proc/self/fd/{keep}"));
        spec.fds = (30..=60).map(|number| (high.as_fd(), number)).collect();
        spec.keep.push(high.as_fd());
        let (_, end) = output_of(spec, (fast, true));
        assert_eq!(end, End::Exited { code: 0 });
    }
}

#[test]
fn several_are_on_their_way_at_once() {
    let missing = Spec::new(text("/nowhere/at/all"), vec![text("x")]).begin().unwrap();
    let gone = missing.pid();
    let runs = {
        let spec = shell("exit 7");
        spec.begin().unwrap()
    };
    assert_ne!(gone, runs.pid());
    let runs = runs.wait().unwrap();
    assert_eq!(end_of(&runs), End::Exited { code: 7 });
    let failed = missing.wait().unwrap_err();
    assert_eq!((failed.step, failed.errno), (Step::Execve, libc::ENOENT));
    assert!(crate::reap::wait(gone).is_err(), "what failed has been reaped");
}
