//! Ending trees, whatever is in them.

use std::time::Instant;

use ganger_core::{End, SpawnId};
use ganger_keeper::wire::{Event, Plan, Request, Scope};
use ganger_sandbox::Layer;

use crate::bench::{Bench, hostile, processes_with, read_some, shell, zombies_of};

pub(crate) fn by_cgroup() {
    let mut bench = Bench::new(&[]);
    let daemon = bench.daemon();
    if !daemon.table.degraded.is_empty() {
        println!("skipped: no cgroup2 tree here: {:?}", daemon.table.degraded);
        return bench.shut_down(daemon);
    }
    end_hostile(&mut bench, daemon);
}

pub(crate) fn by_marker() {
    let mut bench = Bench::new(&[("GANGER_NO_CGROUP", "1")]);
    let daemon = bench.daemon();
    assert!(!daemon.table.degraded.is_empty());
    end_hostile(&mut bench, daemon);
}

fn end_hostile(bench: &mut Bench, mut daemon: crate::bench::Daemon) {
    let (_, fds) = daemon.spawn(1, &hostile("bad", &["reforker"]));
    assert_eq!(read_some(&fds[1], 7), "forked\n");
    let mark = format!("GANGER_SPAWN={}:1\0", daemon.table.state_id);
    assert!(!processes_with(&mark).is_empty());
    daemon.send(&Request::Signal { id: SpawnId(1), signal: 15, scope: Scope::Tree });
    daemon.nothing_like(|event| matches!(event, Event::Exited(_)));
    let begun = Instant::now();
    daemon.send(&Request::EndTree { id: SpawnId(1) });
    let (ended, _) = daemon.until(|event| matches!(event, Event::TreeEnded { .. }));
    assert_eq!(ended, Event::TreeEnded { id: SpawnId(1), stuck: vec![] });
    daemon.exit_of(1);
    println!("  ended in {:?}", begun.elapsed());
    assert_eq!(processes_with(&mark), [0; 0]);
    // Whoever was killed last may be a zombie until the keeper hears of it: the end of a later child is told by a sweep that takes all.
    daemon.spawn(2, &shell("later", "exit 0"));
    daemon.exit_of(2);
    assert_eq!(zombies_of(bench.keeper_pid()), [""; 0]);
    bench.shut_down(daemon);
}

pub(crate) fn leftovers() {
    for env in [&[][..], &[("GANGER_NO_CGROUP", "1")]] {
        let mut bench = Bench::new(env);
        let mut daemon = bench.daemon();
        daemon.spawn(1, &hostile("bad", &["reforker", "fail"]));
        let report = daemon.exit_of(1);
        assert_eq!(report.end, End::Exited { code: 3 });
        assert!(report.leftovers >= 1 && report.stuck.is_empty(), "{report:?}");
        let mark = format!("GANGER_SPAWN={}:1\0", daemon.table.state_id);
        assert_eq!(processes_with(&mark), [0; 0]);
        let kept = Plan { keep_leftovers: true, ..hostile("kept", &["holder"]) };
        let (_, fds) = daemon.spawn(2, &kept);
        let said = read_some(&fds[1], 13);
        assert!(said.contains("left\n") && said.contains("holding\n"), "{said}");
        assert_eq!(daemon.exit_of(2).leftovers, 0);
        let mark = format!("GANGER_SPAWN={}:2\0", daemon.table.state_id);
        assert_eq!(processes_with(&mark).len(), 1);
        daemon.send(&Request::EndTree { id: SpawnId(2) });
        daemon.until(|event| matches!(event, Event::TreeEnded { .. }));
        assert_eq!(processes_with(&mark), [0; 0]);
        bench.shut_down(daemon);
    }
}

pub(crate) fn term_tree() {
    for env in [&[][..], &[("GANGER_NO_CGROUP", "1")]] {
        let mut bench = Bench::new(env);
        let mut daemon = bench.daemon();
        let script = "setsid sh -c 'trap \"echo inner; exit\" TERM; echo up; while :; do sleep 0.01; done' & \
                      trap 'wait; exit 5' TERM; wait; exit 6";
        let (_, fds) = daemon.spawn(1, &shell("two", script));
        assert_eq!(read_some(&fds[1], 3), "up\n");
        daemon.send(&Request::Signal { id: SpawnId(1), signal: 15, scope: Scope::Tree });
        assert_eq!(read_some(&fds[1], 6), "inner\n");
        let end = daemon.exit_of(1).end;
        assert_eq!(end, End::Exited { code: 5 });
        bench.shut_down(daemon);
    }
}

pub(crate) fn memory() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let mut plan = hostile("hungry", &["eater", "256"]);
    const LIMIT: u64 = 32 << 20;
    plan.profile.limits.memory = Some(LIMIT);
    daemon.send(&Request::Spawn { id: SpawnId(1), plan: Box::new(plan.clone()) });
    let (event, _) = daemon.until(|event| matches!(event, Event::Spawned { .. }));
    let Event::Spawned { report, .. } = event else { unreachable!() };
    if !report.enforced.contains(&Layer::Memory) {
        println!("skipped: no memory limit here: {:?}", report.degraded);
        assert!(report.degraded.iter().any(|d| d.what.contains("memory") && !d.fix.is_empty()));
        return bench.shut_down(daemon);
    }
    for id in 1..=2 {
        if id == 2 {
            daemon.spawn(2, &plan);
        }
        match daemon.exit_of(id).end {
            End::LimitHit { limit, peak } => {
                assert_eq!(limit, "memory");
                assert!((LIMIT / 2..=LIMIT).contains(&peak), "{peak}");
            }
            other => panic!("{other:?}"),
        }
    }
    // Not the main process has had too much: it would live on.
    let program = std::env::current_exe().unwrap();
    let script = format!("{} role:hostile eater 256 & read never <&3", program.display());
    let mut parent = shell("hungry", &format!("exec 3<&0; {script}"));
    parent.stdin = ganger_keeper::wire::Stdin::Pipe;
    parent.profile.limits.memory = Some(LIMIT);
    let (_, fds) = daemon.spawn(4, &parent);
    let end = daemon.exit_of(4).end;
    assert!(matches!(&end, End::LimitHit { limit, .. } if limit == "memory"), "{end:?}");
    drop(fds);
    // The same folder, a larger limit: old counts explain nothing new.
    plan.profile.limits.memory = Some(LIMIT * 16);
    let (_, fds) = daemon.spawn(3, &plan);
    assert_eq!(read_some(&fds[1], 8), "ate 256\n");
    daemon.send(&Request::EndTree { id: SpawnId(3) });
    assert!(matches!(daemon.exit_of(3).end, End::Signalled { signal: 9, .. }));
    bench.shut_down(daemon);
}
