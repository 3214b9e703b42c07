//! What survives whom.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};

use ganger_core::logwire::{LogReply, LogTarget};
use ganger_core::{End, SpawnId};
use ganger_keeper::wire::{Event, Held, Output, Plan, Request, Table, encode};

use crate::bench::{Bench, Daemon, hostile, processes_with, read_some, shell, wait};
use ganger_testkit::roles;

pub(super) fn logged(plan: Plan) -> Plan {
    let name = plan.instance.name.clone();
    let target = LogTarget { name, slot: 1, max_bytes: 1 << 20, max_age_s: 0 };
    Plan { stdout: Output::Log(target), ..plan }
}

pub(crate) fn daemon_replaced() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let (pid, fds) = daemon.spawn(1, &shell("stays", "echo up; read x; echo $x; exec sleep 1000"));
    assert_eq!(read_some(&fds[1], 3), "up\n");
    // Ends while no daemon is there: told by the table of the next one, until acknowledged.
    let (reader, writer) = std::io::pipe().unwrap();
    let plan =
        Plan { stdin: ganger_keeper::wire::Stdin::Passed, ..shell("ends", "read x; exit 4") };
    daemon.spawn_with(2, &plan, vec![reader.into()]);
    daemon.send(&Request::SetBlob { id: SpawnId(1), blob: "note".into() });
    daemon.nothing_like(|event| matches!(event, Event::Exited(_)));
    let dead = daemon.pid;
    daemon.kill();
    drop(writer);
    let next = bench.daemon();
    assert_ne!(next.pid, dead);
    let row = next.table.children.iter().find(|row| row.id.0 == 1).unwrap();
    assert_eq!((row.pid, row.blob.as_str(), row.adopted), (pid, "note", false));
    let mut next = next;
    let told = exit_now_or_in_table(&mut next, 2);
    assert_eq!(told, End::Exited { code: 4 });
    next.kill();
    // Not acknowledged: told again.
    let mut third = bench.daemon();
    assert_eq!(exit_now_or_in_table(&mut third, 2), End::Exited { code: 4 });
    third.send(&Request::AckExit { id: SpawnId(2) });
    third.nothing_like(|event| matches!(event, Event::Refused { .. }));
    third.kill();
    let fourth = bench.daemon();
    let ids: Vec<u64> = fourth.table.children.iter().map(|row| row.id.0).collect();
    assert_eq!(ids, [1]);
    assert_eq!(fourth.table.crash, None);
    bench.shut_down(fourth);
}

fn exit_now_or_in_table(daemon: &mut Daemon, id: u64) -> End {
    let row = daemon.table.children.iter().find(|row| row.id.0 == id).unwrap();
    match row.exit.clone() {
        Some(report) => report.end,
        None => daemon.exit_of(id).end,
    }
}

pub(crate) fn logger_replaced() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let (started, _) = match daemon.table.logger_pid {
        Some(pid) => (Event::LoggerStarted { pid, previous: None }, Vec::new()),
        None => daemon.until(|event| matches!(event, Event::LoggerStarted { .. })),
    };
    let Event::LoggerStarted { pid, .. } = started else { unreachable!() };
    daemon.spawn(1, &logged(hostile("count", &["counter", "100", "2000"])));
    let pidfd = ganger_sys::pidfd::open(pid).unwrap();
    ganger_sys::pidfd::send_signal(&pidfd, 9).unwrap();
    let (event, _) = daemon.until(|event| matches!(event, Event::LoggerStarted { .. }));
    assert!(matches!(
        event,
        Event::LoggerStarted { previous: Some(End::Signalled { signal: 9, .. }), .. }
    ));
    assert_eq!(daemon.exit_of(1).end, End::Exited { code: 0 });
    daemon.send(&Request::FlushLogs { tag: 5 });
    daemon.until(|event| *event == Event::Log(LogReply::Flushed { tag: 5 }));
    let text = std::fs::read_to_string(bench.state_dir().join("logs/count.1.stdout")).unwrap();
    // This test's logger reads and writes, so a kill may cost what it held; the pipe itself loses nothing after that.
    assert!(text.ends_with("1998\n1999\n"), "{}", text.len());
    daemon.send(&Request::RetireLog { name: "count".into(), slot: 1 });
    for _ in 0..2 {
        daemon.until(|event| matches!(event, Event::Log(LogReply::Retired { .. })));
    }
    bench.shut_down(daemon);
}

/// As a daemon does it: a table of everything it has, and a keeper that takes it over.
fn revive(bench: &mut Bench, daemon: &Daemon, fds: Vec<(Table, Vec<OwnedFd>)>) {
    let (mut table, fds) = fds.into_iter().next().unwrap();
    let memfd = rustix::fs::memfd_create("table", rustix::fs::MemfdFlags::empty()).unwrap();
    std::io::Write::write_all(
        &mut std::fs::File::from(memfd.try_clone().unwrap()),
        &encode(&table),
    )
    .unwrap();
    for fd in &fds {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).unwrap();
    }
    assert_eq!(roles::numbers(&mut table).len(), fds.len());
    let _ = daemon;
    bench.start(&[], &[memfd.as_raw_fd().to_string()]);
}

pub(crate) fn keeper_replaced() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let (reader, writer) = std::io::pipe().unwrap();
    let plan =
        Plan { stdin: ganger_keeper::wire::Stdin::Passed, ..shell("ends", "read x; exit 9") };
    let (ends, mut fds) = daemon.spawn_with(1, &plan, vec![reader.into()]);
    let (_, more) = daemon.spawn(2, &hostile("bad", &["reforker"]));
    assert_eq!(read_some(&more[1], 7), "forked\n");
    fds.extend(more);
    daemon.kill();
    let mut daemon = bench.daemon();
    bench.kill_keeper();
    let table = renumbered(&mut daemon);
    let fds = std::mem::take(&mut daemon.inherited);
    revive(&mut bench, &daemon, vec![(table, fds)]);
    let mut next = bench.daemon();
    drop(daemon);
    let row = next.table.children.iter().find(|row| row.id.0 == 1).unwrap();
    assert_eq!((row.pid, row.adopted), (ends, true));
    assert!(next.table.degraded.iter().any(|d| d.what.contains("exit codes")));
    drop(writer);
    let report = next.exit_of(1);
    let known = End::Exited { code: 9 };
    // Before Linux 6.15 a quick init wins the code; then it is lost, and never another.
    let lost = !ganger_sys::pidfd::exit_info_supported() && report.end == End::Lost;
    assert!(report.adopted && (lost || report.end == known), "{report:?}");
    let mark = format!("GANGER_SPAWN={}:2\0", next.table.state_id);
    next.send(&Request::EndTree { id: SpawnId(2) });
    next.until(|event| matches!(event, Event::TreeEnded { stuck, .. } if stuck.is_empty()));
    next.exit_of(2);
    assert_eq!(processes_with(&mark), [0; 0]);
    next.spawn(3, &shell("new", "exit 0"));
    assert!(!next.exit_of(3).adopted);
    bench.shut_down(next);
}

/// The daemon's table with the numbers its descriptors have in this process.
pub(super) fn renumbered(daemon: &mut Daemon) -> Table {
    let mut table = daemon.table.clone();
    let mut numbers = daemon.inherited.iter().map(AsRawFd::as_raw_fd);
    for row in &mut table.children {
        for slot in
            [&mut row.pidfd, &mut row.channel, &mut row.stdin, &mut row.stdout, &mut row.stderr]
        {
            if slot.is_some() {
                *slot = numbers.next();
            }
        }
    }
    for row in &mut table.held {
        row.fd = numbers.next().unwrap();
    }
    table.lock_fd = numbers.next();
    table.api_fd = numbers.next();
    table
}

pub(crate) fn both_killed() {
    for env in [&[][..], &[("GANGER_NO_CGROUP", "1")]] {
        let mut bench = Bench::new(env);
        let mut daemon = bench.daemon();
        daemon.spawn(1, &logged(shell("one", "exec sleep 1000")));
        let (_, fds) = daemon.spawn(2, &hostile("bad", &["reforker", "stay"]));
        assert_eq!(read_some(&fds[1], 7), "forked\n");
        let mark = format!("GANGER_SPAWN={}", daemon.table.state_id);
        assert!(processes_with(&mark).len() >= 2);
        let relay = ganger_sys::pidfd::open(daemon.pid).unwrap();
        bench.kill_keeper();
        daemon.kill();
        drop(fds);
        wait(&relay, "the daemon's end");
        bench.start(env, &[]);
        let next = bench.daemon();
        assert_eq!(processes_with(&mark), [0; 0]);
        assert!(next.table.children.is_empty());
        bench.shut_down(next);
    }
}

pub(crate) fn crash_loop() {
    let bench = Bench::new(&[("TEST_DAEMON", "/bin/false")]);
    drop(bench);
    let mut bench = Bench::new(&[]);
    let mut crashes = BTreeSet::new();
    for n in 0..6 {
        let daemon = bench.daemon();
        if let Some(crash) = &daemon.table.crash {
            crashes.insert(crash.quick_failures);
            assert_eq!(crash.api_only, crash.quick_failures >= 5);
            assert_eq!(crash.last, End::Exited { code: 0 });
        }
        if n == 5 {
            assert_eq!(crashes.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
            return bench.shut_down(daemon);
        }
        // Hanging up ends the relay with code 0 soon after its start.
        drop(daemon);
    }
}

pub(crate) fn orderly_end() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let script = "echo last words; echo up >&2; exec sleep 1000";
    let plan = Plan { stderr: Output::Pipe, ..logged(shell("one", script)) };
    let (_, fds) = daemon.spawn(1, &plan);
    assert_eq!(read_some(&fds[1], 3), "up\n");
    let keeper = ganger_sys::pidfd::open(bench.keeper_pid()).unwrap();
    ganger_sys::pidfd::send_signal(&keeper, 15).unwrap();
    let (asked, _) = daemon.until(|event| matches!(event, Event::ShutdownAsked { .. }));
    assert_eq!(asked, Event::ShutdownAsked { why: "SIGTERM".into() });
    let mark = format!("GANGER_SPAWN={}", daemon.table.state_id);
    let logs = bench.state_dir().join("logs/one.1.stdout");
    let socket = bench.state_dir().join("ganger.sock");
    assert!(socket.exists());
    bench.shut_down(daemon);
    assert_eq!(processes_with(&mark), [0; 0]);
    assert_eq!(std::fs::read_to_string(logs).unwrap(), "last words\n");
    assert!(!socket.exists());
}

pub(crate) fn locked() {
    let mut bench = Bench::new(&[]);
    let daemon = bench.daemon();
    assert!(daemon.table.held.iter().any(|row| matches!(row.what, Held::LogRead { .. })));
    let output = bench.command(&[], &[]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("in use by another ganger"), "{said}");
    bench.shut_down(daemon);
}
