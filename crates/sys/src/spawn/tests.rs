use std::ffi::CString;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

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

fn output_of(spec: Spec<'_>, fast: bool) -> (String, End) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    let child = {
        let mut spec: Spec<'_> = spec;
        spec.fast = fast;
        spec.fds.push((writer.as_fd(), 1));
        spec.spawn().unwrap()
    };
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    (said, end_of(&child))
}

#[test]
fn a_program_runs_and_its_end_is_told() {
    for fast in [false, true] {
        let (said, end) = output_of(shell("echo hello; exit 7"), fast);
        assert_eq!((said.as_str(), end), ("hello\n", End::Exited { code: 7 }));
        let (_, end) = output_of(shell("kill -9 $$"), fast);
        let by = SignalSource::Unknown;
        assert_eq!(end, End::Signalled { signal: 9, core: false, by });
    }
}

#[test]
fn failures_name_step_and_errno() {
    for fast in [false, true] {
        let fails = |change: &dyn Fn(&mut Spec<'_>)| {
            let mut spec = shell("true");
            spec.fast = fast;
            change(&mut spec);
            let error = spec.spawn().unwrap_err();
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
    let (mut r3, w3) = std::io::pipe().unwrap();
    let (mut r4, w4) = std::io::pipe().unwrap();
    let (w3, w4): (OwnedFd, OwnedFd) = (w3.into(), w4.into());
    let (_leak, _leak2) = std::io::pipe().unwrap();
    use std::os::fd::AsRawFd;
    let (n3, n4) = (w3.as_raw_fd(), w4.as_raw_fd());
    // Each lands on the other's number: a naive dup2 chain would lose one.
    let script = format!("echo three >&{n4}; echo four >&{n3}; ls /proc/self/fd | tr '\\n' ' '");
    let mut spec = Spec::new(text("/bin/bash"), vec![text("bash"), text("-c"), text(&script)]);
    spec.env.push(text("PATH=/usr/bin:/bin"));
    spec.fds =
        vec![(w3.as_fd(), u32::try_from(n4).unwrap()), (w4.as_fd(), u32::try_from(n3).unwrap())];
    let (said, end) = output_of(spec, false);
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
    for fast in [false, true] {
        let script = "umask; grep -E '^Sig(Blk|Ign)' /proc/self/status; ps -o sid= -p $$; echo $$";
        let mut spec = shell(script);
        spec.env.push(text("PATH=/usr/bin:/bin"));
        spec.cwd = Some(text("/"));
        let (said, _) = output_of(spec, fast);
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
    let (said, end) = output_of(spec, false);
    assert_eq!(said, "77\nNoNewPrivs:\t1\n");
    assert_eq!(end, End::Exited { code: 0 });
}

#[test]
fn another_user_is_taken_whole() {
    let mut spec = shell("id -u; id -g; id -G");
    spec.env.push(text("PATH=/usr/bin:/bin"));
    spec.identity = Some(Ids { uid: 65534, gid: 65534, groups: vec![65533] });
    spec.fast = true;
    if rustix::process::geteuid().is_root() {
        let (said, _) = output_of(spec, true);
        assert_eq!(said, "65534\n65534\n65534 65533\n");
    } else {
        let error = spec.spawn().unwrap_err();
        assert_eq!((error.step, error.errno), (Step::Setgroups, libc::EPERM));
    }
}
