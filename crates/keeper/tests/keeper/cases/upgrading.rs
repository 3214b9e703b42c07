//! The keeper replaced in place by another binary.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use ganger_core::logwire::LogReply;
use ganger_core::{End, SpawnId};
use ganger_keeper::wire::{Event, ExitReport, Plan, Request, Stdin, Upgrade, UpgradeNews};

use super::holding::{logged, renumbered};
use crate::bench::{Bench, Daemon, hostile, shell};

/// Upgrades in a row and children that go through all of them; fewer where everything takes ten times as long.
fn scale() -> (u64, u64) {
    if std::env::var_os("GANGER_TEST_EMULATED").is_some() { (4, 10) } else { (20, 50) }
}

/// Lines of the flood: enough for all rounds, and it is cut short when they are over.
const LINES: &str = "100000000";

fn news(daemon: &mut Daemon) -> UpgradeNews {
    match daemon.until(|event| matches!(event, Event::Upgrade { .. })).0 {
        Event::Upgrade { news } => news,
        other => unreachable!("{other:?}"),
    }
}

fn examined(daemon: &mut Daemon, path: &Path) -> UpgradeNews {
    daemon.send(&Request::Examine { path: path.to_str().unwrap().into() });
    news(daemon)
}

/// Replaces the keeper; `meanwhile` happens between the request and the answer.
fn upgraded(daemon: &mut Daemon, path: &Path, meanwhile: impl FnOnce()) -> Upgrade {
    let offered = examined(daemon, path);
    assert!(matches!(offered, UpgradeNews::Offered { .. }), "{offered:?}");
    daemon.send(&Request::Upgrade);
    meanwhile();
    match news(daemon) {
        UpgradeNews::Done { upgrade } => upgrade,
        other => panic!("{other:?}"),
    }
}

/// The keeper's, when nothing is on its way to the logger: what is being sent is open here until it is.
fn descriptors(bench: &Bench, daemon: &mut Daemon) -> usize {
    const TAG: u64 = 77;
    daemon.send(&Request::FlushLogs { tag: TAG });
    daemon.until(|event| *event == Event::Log(LogReply::Flushed { tag: TAG }));
    std::fs::read_dir(format!("/proc/{}/fd", bench.keeper_pid())).unwrap().count()
}

fn logger_runs(daemon: &mut Daemon) {
    if daemon.table.logger_pid.is_none() {
        daemon.until(|event| matches!(event, Event::LoggerStarted { .. }));
    }
}

fn program(pid: u32) -> std::path::PathBuf {
    std::fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

/// A child that ends with a code when the writer is dropped.
fn ends(daemon: &mut Daemon, id: u64, code: u64) -> OwnedFd {
    let (reader, writer) = std::io::pipe().unwrap();
    let script = format!("read x; exit {code}");
    let plan = Plan { stdin: Stdin::Passed, ..shell("ends", &script) };
    daemon.spawn_with(id, &plan, vec![reader.into()]);
    writer.into()
}

/// The one report of a child, from the table or as an event, acknowledged.
fn exit_once(daemon: &mut Daemon, id: u64) -> ExitReport {
    let row = daemon.table.children.iter().find(|row| row.id.0 == id);
    let report = row.and_then(|row| row.exit.clone()).unwrap_or_else(|| daemon.exit_of(id));
    daemon.send(&Request::AckExit { id: SpawnId(id) });
    report
}

pub(crate) fn twenty_times() {
    let (rounds, children) = scale();
    let mut bench = Bench::new(&[]);
    let next = bench.copy("next");
    let mut daemon = bench.daemon();
    let mut pids = BTreeMap::new();
    let flood = logged(hostile("flood", &["counter", "200", LINES]));
    pids.insert(1, daemon.spawn(1, &flood).0);
    for id in 2..=children {
        pids.insert(id, daemon.spawn(id, &shell("stays", "exec sleep 1000")).0);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    daemon.send_with(&Request::Hold { name: "listen:x".into() }, vec![listener.into()]);
    daemon.until(|event| matches!(event, Event::Held { name, .. } if name == "listen:x"));
    let waiting: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
    let keeper = bench.keeper_pid();
    logger_runs(&mut daemon);
    let mut before = 0;
    for round in 1..=rounds {
        let id = 1000 + round;
        let dies = ends(&mut daemon, id, round);
        let upgrade = upgraded(&mut daemon, &next, || drop(dies));
        // The one that dies may have done so before the exec, or not.
        assert!([0, 1].contains(&(u64::from(upgrade.children) - children)), "{upgrade:?}");
        // The daemon that asked goes on hearing: one exit and no second.
        let heard = daemon.exit_of(id);
        assert_eq!(heard.end, End::Exited { code: i32::try_from(round).unwrap() });
        assert!(heard.usage.peak_rss > 0 && !heard.adopted, "{heard:?}");
        daemon.nothing_like(|event| matches!(event, Event::Exited(_)));
        drop(daemon);
        daemon = bench.daemon();
        assert!(daemon.table.upgrade.as_ref().unwrap().on_trial);
        assert_eq!(exit_once(&mut daemon, id), heard);
        // It serves now, and the logger is replaced.
        daemon.until(|event| matches!(event, Event::LoggerStarted { .. }));
        daemon.nothing_like(|event| matches!(event, Event::Exited(_)));
        let rows = daemon.table.children.iter().filter(|row| row.exit.is_none());
        let found: BTreeMap<u64, u32> =
            rows.filter(|row| row.id.0 <= children).map(|row| (row.id.0, row.pid)).collect();
        assert_eq!(found, pids);
        assert_eq!((bench.keeper_pid(), program(keeper)), (keeper, next.clone()));
        if round == 1 {
            before = descriptors(&bench, &mut daemon);
        }
        assert_eq!(descriptors(&bench, &mut daemon), before, "after {round} upgrades");
    }
    let table = renumbered(&mut daemon);
    let held = table.held.iter().find(|row| row.name == "listen:x").unwrap();
    let held = daemon.inherited.iter().find(|fd| fd.as_raw_fd() == held.fd).unwrap();
    let held = TcpListener::from(held.try_clone().unwrap());
    for _ in &waiting {
        held.accept().unwrap();
    }
    whole_log(&bench, &mut daemon);
    bench.shut_down(daemon);
}

/// Ends the flood: its lines are all there, each once and in order.
fn whole_log(bench: &Bench, daemon: &mut Daemon) {
    use ganger_keeper::wire::Scope;
    daemon.send(&Request::Signal { id: SpawnId(1), signal: 15, scope: Scope::Main });
    daemon.exit_of(1);
    daemon.send(&Request::FlushLogs { tag: 5 });
    daemon.until(|event| *event == Event::Log(LogReply::Flushed { tag: 5 }));
    let path = bench.state_dir().join("logs/flood.1.stdout");
    let text = std::fs::read_to_string(path).unwrap();
    // The last line may be cut by the signal.
    let whole = &text[..text.rfind('\n').unwrap()];
    let mut lines = 0;
    for (at, line) in whole.lines().enumerate() {
        assert_eq!(line, at.to_string());
        lines += 1;
    }
    assert!(lines > 0);
}

pub(crate) fn refused() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let (pid, _) = daemon.spawn(1, &shell("stays", "exec sleep 1000"));
    logger_runs(&mut daemon);
    let before = descriptors(&bench, &mut daemon);
    let mut why = |path: &str| match examined(&mut daemon, Path::new(path)) {
        UpgradeNews::Refused { why } => why,
        other => panic!("{path}: {other:?}"),
    };
    assert!(why("/nowhere/ganger").contains("No such file"));
    // Both may be one program that goes by its name, which is not theirs here.
    assert!(why("/bin/false").contains("/bin/false can't go on from here (exited with code"));
    assert!(why("/bin/true").contains("/bin/true "));
    // None of them counts as examined.
    daemon.send(&Request::Upgrade);
    assert!(matches!(news(&mut daemon), UpgradeNews::Refused { why } if why.contains("examined")));
    daemon.nothing_like(|event| matches!(event, Event::Exited(_)));
    assert_eq!(descriptors(&bench, &mut daemon), before);
    assert_eq!(program(bench.keeper_pid()), std::env::current_exe().unwrap());
    daemon.kill();
    let daemon = bench.daemon();
    assert_eq!((daemon.table.children[0].pid, &daemon.table.upgrade), (pid, &None));
    bench.shut_down(daemon);
}

pub(crate) fn rolled_back() {
    let mut bench = Bench::new(&[]);
    let next = bench.copy("next");
    let mut daemon = bench.daemon();
    let (pid, _) = daemon.spawn(1, &shell("stays", "exec sleep 1000"));
    upgraded(&mut daemon, &next, || ());
    drop(daemon);
    let new = bench.relay();
    assert_eq!((program(new.pid), new.table.children[0].pid), (next.clone(), pid));
    // It ends before it has said that it serves.
    drop(new);
    let mut daemon = bench.daemon();
    let told = daemon.table.upgrade.clone().unwrap();
    assert!(told.failed.is_some_and(|why| why.contains("before it served")) && !told.on_trial);
    assert_eq!(program(daemon.pid), std::env::current_exe().unwrap());
    let half = |daemon: &Daemon| daemon.table.degraded.iter().any(|d| d.what.contains("upgrade"));
    assert!(half(&daemon));
    assert_eq!((program(bench.keeper_pid()), daemon.table.children[0].pid), (next.clone(), pid));
    // The old one is what later daemons run too, until an upgrade works.
    daemon.kill();
    daemon = bench.daemon();
    assert_eq!(program(daemon.pid), std::env::current_exe().unwrap());
    upgraded(&mut daemon, &next, || ());
    drop(daemon);
    let daemon = bench.daemon();
    assert_eq!((program(daemon.pid), daemon.table.children[0].pid), (next, pid));
    assert!(!half(&daemon));
    bench.shut_down(daemon);
}

pub(crate) fn asked_to_end() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    daemon.spawn(1, &shell("stays", "exec sleep 1000"));
    let offered = examined(&mut daemon, &bench.copy("next"));
    assert!(matches!(offered, UpgradeNews::Offered { .. }), "{offered:?}");
    let keeper = ganger_sys::pidfd::open(bench.keeper_pid()).unwrap();
    daemon.send(&Request::Upgrade);
    ganger_sys::pidfd::send_signal(&keeper, 15).unwrap();
    // Whichever it hears first: the signal is not lost, and ends nobody who does not listen yet.
    daemon.until(|event| matches!(event, Event::ShutdownAsked { .. }));
    bench.shut_down(daemon);
}
