//! Starting, ending, and what a child gets.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use ganger_core::{End, SignalSource, SpawnId};
use ganger_keeper::wire::{ChannelPlan, Event, Output, Plan, Request, Stdin};

use crate::bench::{Bench, hostile, read_some, shell};

pub(crate) fn runs_and_ends() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let (_, fds) = daemon.spawn(1, &shell("seven", "echo hi; exit 7"));
    assert_eq!(read_some(&fds[1], 3), "hi\n");
    let report = daemon.exit_of(1);
    assert_eq!(report.end, End::Exited { code: 7 });
    assert!(report.usage.peak_rss > 0 && !report.adopted && report.leftovers == 0, "{report:?}");
    daemon.spawn(2, &shell("killed", "exec sleep 1000"));
    daemon.send(&Request::Signal {
        id: SpawnId(2),
        signal: 15,
        scope: ganger_keeper::wire::Scope::Main,
    });
    let by = SignalSource::Ganger;
    assert_eq!(daemon.exit_of(2).end, End::Signalled { signal: 15, core: false, by });
    daemon.spawn(3, &shell("itself", "kill -9 $$"));
    let by = SignalSource::Unknown;
    assert_eq!(daemon.exit_of(3).end, End::Signalled { signal: 9, core: false, by });
    for id in 1..=3 {
        daemon.send(&Request::AckExit { id: SpawnId(id) });
    }
    daemon.nothing_like(|event| matches!(event, Event::Refused { .. } | Event::Exited(_)));
    let pid = bench.keeper_pid();
    assert!(crate::bench::zombies_of(pid).is_empty());
    bench.shut_down(daemon);
}

pub(crate) fn failures() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let good = shell("broken", "true");
    let profile = || {
        let mut profile = good.profile.clone();
        profile.limits.core = Some(1);
        profile
    };
    let cases: [(Plan, &str, i32); 6] = [
        (Plan { program: "/nowhere/at/all".into(), ..good.clone() }, "execve", 2),
        (Plan { program: "/etc/passwd".into(), ..good.clone() }, "execve", 13),
        (Plan { cwd: "/nowhere".into(), ..good.clone() }, "chdir", 2),
        (Plan { program: "sh".into(), ..good.clone() }, "plan", 0),
        (Plan { inherit: vec![("absent".into(), 3)], ..good.clone() }, "plan", 0),
        (Plan { stdin: Stdin::Passed, profile: profile(), ..good.clone() }, "stdio", 0),
    ];
    for (id, (plan, wanted, wanted_errno)) in (1..).zip(cases) {
        daemon.send(&Request::Spawn { id: SpawnId(id), plan: Box::new(plan.clone()) });
        let fits =
            |event: &Event| matches!(event, Event::SpawnFailed { id: told, .. } if told.0 == id);
        let Event::SpawnFailed { step, errno, detail, .. } = daemon.until(fits).0 else {
            unreachable!()
        };
        assert_eq!((step.as_str(), errno), (wanted, wanted_errno), "{detail}");
        assert!(!detail.is_empty());
    }
    bench.shut_down(daemon);
}

pub(crate) fn idempotent() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let plan = shell("once", "exec sleep 1000");
    let (first, _) = daemon.spawn(9, &plan);
    let (second, fds) = daemon.spawn(9, &plan);
    assert_eq!((first, fds.len()), (second, 2));
    daemon.send(&Request::EndTree { id: SpawnId(9) });
    let (ended, _) = daemon.until(|event| matches!(event, Event::TreeEnded { .. }));
    assert_eq!(ended, Event::TreeEnded { id: SpawnId(9), stuck: vec![] });
    let by = SignalSource::Ganger;
    assert_eq!(daemon.exit_of(9).end, End::Signalled { signal: 9, core: false, by });
    daemon.send(&Request::AckExit { id: SpawnId(9) });
    daemon.send(&Request::Spawn { id: SpawnId(9), plan: Box::new(plan) });
    daemon.until(|event| matches!(event, Event::Refused { id: Some(SpawnId(9)), .. }));
    bench.shut_down(daemon);
}

pub(crate) fn hygiene() {
    let mut bench = Bench::new(&[("LISTEN_FDS", "1"), ("NODE_CHANNEL_FD", "3"), ("SECRET", "x")]);
    let mut daemon = bench.daemon();
    let (held, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    daemon.send_with(&Request::Hold { name: "listener".into() }, vec![held.into()]);
    daemon.until(|event| matches!(event, Event::Held { name, .. } if name == "listener"));
    let plan = Plan {
        channel: Some(ChannelPlan::default()),
        inherit: vec![("listener".into(), 3)],
        env: [("LISTEN_FDS", "1"), ("GANGER_SPAWN", "forged")].into_iter().collect(),
        ..hostile("report", &["report"])
    };
    let (pid, fds) = daemon.spawn(1, &plan);
    // pidfd, channel, stdout
    assert_eq!(fds.len(), 3);
    assert_eq!(daemon.exit_of(1).end, End::Exited { code: 0 });
    let mut said = String::new();
    daemon.send(&Request::Release { name: "stdout:1".into() });
    std::fs::File::from(fds.into_iter().next_back().unwrap()).read_to_string(&mut said).unwrap();
    let numbers: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("fd "))
        .map(|rest| rest.split(' ').next().unwrap())
        .collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "4"], "{said}");
    let env: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("env ")).collect();
    let state = daemon.table.state_id;
    let wanted = [
        "LISTEN_FDS=1".to_owned(),
        format!("LISTEN_PID={pid}"),
        format!("GANGER_SPAWN={state}:1"),
        "GANGER_INSTANCE=report#1".into(),
        "GANGER_CHANNEL_FD=4".into(),
        "NODE_CHANNEL_FD=4".into(),
    ];
    for entry in &wanted {
        assert!(env.contains(&entry.as_str()), "{entry} is missing in {env:?}");
    }
    assert_eq!(env.len(), wanted.len(), "{env:?}");
    assert!(said.contains("status SigBlk:\t0000000000000000"), "{said}");
    bench.shut_down(daemon);
}

/// Beside many descriptors, by the low numbers and (with more than those) by a copy of all: the child has what its plan says.
pub(crate) fn crowded() {
    const HELD: u32 = 200;
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    for n in 0..HELD {
        let (held, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        daemon.send_with(&Request::Hold { name: format!("held{n}") }, vec![held.into()]);
    }
    let last = format!("held{}", HELD - 1);
    daemon.until(|event| matches!(event, Event::Held { name, .. } if *name == last));
    for (id, inherited) in [(1, 3), (2, 40)] {
        let given = (0..inherited).map(|n| (format!("held{}", HELD - 1 - n), 3 + n)).collect();
        let plan = Plan { inherit: given, ..hostile("report", &["report"]) };
        let (_, mut fds) = daemon.spawn(id, &plan);
        assert_eq!(daemon.exit_of(id).end, End::Exited { code: 0 });
        daemon.send(&Request::Release { name: format!("stdout:{id}") });
        let mut said = String::new();
        std::fs::File::from(fds.pop().unwrap()).read_to_string(&mut said).unwrap();
        let numbers = said.lines().filter_map(|line| line.strip_prefix("fd "));
        let numbers: Vec<u32> =
            numbers.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(numbers, (0..3 + inherited).collect::<Vec<u32>>(), "{said}");
    }
    bench.shut_down(daemon);
}

pub(crate) fn capture() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let stdout = Output::Capture { cap_bytes: 10 };
    let (_, fds) =
        daemon.spawn(1, &Plan { stdout: stdout.clone(), ..shell("small", "printf 12345") });
    daemon.exit_of(1);
    assert_eq!(whole(&fds[1]), "12345");
    let script = "printf 123456789; printf abc || echo over >&2";
    let (_, fds) = daemon.spawn(2, &Plan { stdout, ..shell("large", script) });
    daemon.exit_of(2);
    let kept = whole(&fds[1]);
    assert!(kept.len() <= 10 && kept.starts_with("123456789"), "{kept:?}");
    bench.shut_down(daemon);
}

fn whole(fd: &OwnedFd) -> String {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::from(fd.try_clone().unwrap());
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn stdin() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let plan = Plan { stdin: Stdin::Pipe, ..shell("cat", "exec cat") };
    let (_, mut fds) = daemon.spawn(1, &plan);
    let mut stdin = std::fs::File::from(fds.remove(1));
    stdin.write_all(b"through").unwrap();
    assert_eq!(read_some(&fds[1], 7), "through");
    drop(stdin);
    daemon.send(&Request::Release { name: "stdin:1".into() });
    assert_eq!(daemon.exit_of(1).end, End::Exited { code: 0 });
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"passed").unwrap();
    drop(writer);
    let plan = Plan { stdin: Stdin::Passed, ..shell("cat", "exec cat") };
    let (_, fds) = daemon.spawn_with(2, &plan, vec![reader.into()]);
    assert_eq!(read_some(&fds[1], 6), "passed");
    assert_eq!(daemon.exit_of(2).end, End::Exited { code: 0 });
    bench.shut_down(daemon);
}

/// A gang of a thousand: started within seconds on any machine, in a few MiB, ended without a trace.
pub(crate) fn thousand() {
    const MANY: u64 = 1000;
    if std::env::var_os("GANGER_TEST_EMULATED").is_some() {
        println!("skipped: starting a thousand processes takes minutes under emulation");
        return;
    }
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let begun = std::time::Instant::now();
    for id in 1..=MANY {
        let sleeper = shell(&format!("s{id}"), "");
        let argv = vec!["sleep".into(), "1000".into()];
        let plan = Plan { program: "/bin/sleep".into(), argv, stdout: Output::Null, ..sleeper };
        daemon.send(&Request::Spawn { id: SpawnId(id), plan: Box::new(plan) });
    }
    for id in 1..=MANY {
        daemon.until(|event| matches!(event, Event::Spawned { id: told, .. } if told.0 == id));
    }
    let took = begun.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", bench.keeper_pid())).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim();
    println!("  {MANY} children in {took:?}, keeper's VmRSS {rss}");
    let kib: u64 = rss.trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 32 << 10, "{rss}");
    assert!(took < std::time::Duration::from_secs(15), "{took:?}");
    let begun = std::time::Instant::now();
    for id in 1..=MANY {
        daemon.send(&Request::EndTree { id: SpawnId(id) });
    }
    for id in 1..=MANY {
        daemon.exit_of(id);
        daemon.send(&Request::AckExit { id: SpawnId(id) });
    }
    println!("  ended in {:?}", begun.elapsed());
    bench.shut_down(daemon);
}

/// Another user: the child is it, and what it may not do is told.
pub(crate) fn identity() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let mut plan = shell("nobody", "id -u; id -g; id -G; umask");
    plan.profile.umask = Some(0o077);
    let who = ganger_sandbox::Identity { uid: 65534, gid: 65534, groups: vec![65533] };
    plan.profile.identity = Some(who);
    if rustix::process::geteuid().is_root() {
        let (_, fds) = daemon.spawn(1, &plan);
        assert_eq!(read_some(&fds[1], 29), "65534\n65534\n65534 65533\n0077\n");
        assert_eq!(daemon.exit_of(1).end, End::Exited { code: 0 });
    } else {
        plan.profile.identity = Some(ganger_sandbox::Identity { uid: 1, gid: 1, groups: vec![] });
        daemon.send(&Request::Spawn { id: SpawnId(1), plan: Box::new(plan) });
        let (event, _) = daemon.until(|event| matches!(event, Event::SpawnFailed { .. }));
        let Event::SpawnFailed { detail, .. } = event else { unreachable!() };
        assert!(detail.contains("start ganger as root"), "{detail}");
    }
    bench.shut_down(daemon);
}

/// The same once more as a user who may do nothing special.
pub(crate) fn unprivileged() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: this user is unprivileged already");
        return;
    }
    let me = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(me);
    let cases = [
        "hostile",
        "leftovers",
        "term_to",
        "keeper",
        "memory",
        "another_user",
        "walls",
        "processes_are",
    ];
    let output = match command.args(cases).output() {
        Ok(output) => output,
        Err(error) => return println!("skipped: setpriv: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let denied = String::from_utf8_lossy(&output.stderr);
    if denied.contains("setpriv: failed to execute") {
        return println!("skipped: the test binary can't be reached by user 65534: {denied}");
    }
    assert!(output.status.success(), "{said}{denied}");
    assert!(said.matches(" ... ok").count() >= 7, "{said}");
}
