//! Limits of whole trees where no controller holds them.

use ganger_core::{End, SpawnId};
use ganger_keeper::wire::{Event, Plan, Request};
use ganger_sandbox::{Bound, Held, Holder, ProfileName, Sandbox};

use crate::bench::{Bench, Daemon, hostile, processes_with, read_some, shell};

const NONE: &[(&str, &str)] = &[("GANGER_NO_CGROUP", "1")];

/// Who holds its limits.
fn spawn(daemon: &mut Daemon, id: u64, plan: &Plan) -> Option<Vec<Held>> {
    daemon.send(&Request::Spawn { id: SpawnId(id), plan: Box::new(plan.clone()) });
    let answer = |event: &Event| matches!(event, Event::Spawned { .. } | Event::SpawnFailed { .. });
    match daemon.until(answer).0 {
        Event::Spawned { report, .. } => {
            let watched = report.held.iter().filter(|one| one.by == Holder::Watchdog).count();
            let told = report.degraded.iter().filter(|one| one.why.contains("watchdog")).count();
            assert_eq!(watched, told, "{report:?}");
            Some(report.held)
        }
        other => {
            println!("skipped: {other:?}");
            None
        }
    }
}

fn ended(daemon: &mut Daemon, id: u64, limit: &str) -> u64 {
    match daemon.exit_of(id).end {
        End::LimitHit { limit: hit, peak } if hit == limit => peak,
        other => panic!("{limit}: {other:?}"),
    }
}

/// Memory, processes and CPU time of a tree, its members in sessions of their own.
pub(crate) fn watched() {
    let mut bench = Bench::new(NONE);
    let mut daemon = bench.daemon();
    let by = Holder::Watchdog;
    let mut hungry = hostile("hungry", &["eater", "4096"]);
    const LIMIT: u64 = 64 << 20;
    hungry.profile.limits.memory = Some(LIMIT);
    let held = spawn(&mut daemon, 1, &hungry).unwrap();
    assert_eq!(held, [Held { limit: Bound::Memory, by, most: LIMIT }]);
    assert!(ended(&mut daemon, 1, "memory") > LIMIT);

    let mut many =
        shell("many", "exec 3<&0; for n in 1 2 3 4 5 6; do setsid sh -c 'read x' <&3 & done; wait");
    many.stdin = ganger_keeper::wire::Stdin::Pipe;
    many.profile.limits.pids = Some(4);
    spawn(&mut daemon, 2, &many).unwrap();
    assert!(ended(&mut daemon, 2, "pids") > 4);

    // None of them has used it up alone.
    let script = "(setsid sh -c 'while :; do :; done' &); while :; do :; done";
    let mut busy = shell("busy", script);
    busy.profile.limits.tree_cpu_ms = Some(300);
    spawn(&mut daemon, 3, &busy).unwrap();
    assert!(ended(&mut daemon, 3, "cpu_time") >= 300);
    for id in 1..=3 {
        let mark = format!("GANGER_SPAWN={}:{id}\0", daemon.table.state_id);
        assert_eq!(processes_with(&mark), [0; 0]);
    }
    bench.shut_down(daemon);
}

/// Within its limits nobody is ended, and a tree's CPU time is what it has had in this life.
pub(crate) fn kept() {
    for env in [&[][..], NONE] {
        let mut bench = Bench::new(env);
        let mut daemon = bench.daemon();
        let mut plan = shell("calm", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; exit 5");
        plan.profile.limits.memory = Some(1 << 30);
        plan.profile.limits.pids = Some(8);
        plan.profile.limits.tree_cpu_ms = Some(60_000);
        for id in 1..=2 {
            spawn(&mut daemon, id, &plan).unwrap();
            assert_eq!(daemon.exit_of(id).end, End::Exited { code: 5 });
            daemon.send(&Request::AckExit { id: SpawnId(id) });
        }
        // In the folder that the others have used.
        plan = shell("calm", "while :; do :; done");
        plan.profile.limits.tree_cpu_ms = Some(200);
        let held = spawn(&mut daemon, 3, &plan).unwrap();
        assert_eq!((held.len(), held[0].limit), (1, Bound::CpuTime));
        assert!(env.is_empty() || held[0].by == Holder::Watchdog);
        let used = ended(&mut daemon, 3, "cpu_time");
        assert!(used >= 200, "{used}");
        bench.shut_down(daemon);
    }
}

/// In a user namespace of its own the kernel counts the processes; what root has there it does not.
pub(crate) fn counted_by_the_kernel() {
    let mut bench = Bench::new(NONE);
    let mut daemon = bench.daemon();
    // The shell and two more; the third is one too many.
    let script = "exec 3<&0; read a <&3 & read b <&3 & echo two; read c <&3 & echo three; wait";
    let mut plan = shell("few", script);
    plan.stdin = ganger_keeper::wire::Stdin::Pipe;
    plan.profile.limits.pids = Some(3);
    plan.profile.sandbox = Some(Box::new(Sandbox::of(ProfileName::Build)));
    plan.cwd = bench.dir.path().to_str().unwrap().into();
    let send = Request::Spawn { id: SpawnId(1), plan: Box::new(plan) };
    daemon.send(&send);
    let answer = |event: &Event| matches!(event, Event::Spawned { .. } | Event::SpawnFailed { .. });
    let (event, fds) = daemon.until(answer);
    let Event::Spawned { report, .. } = event else {
        println!("skipped: {event:?}");
        return bench.shut_down(daemon);
    };
    let root = rustix::process::geteuid().is_root();
    let by = if root { Holder::Watchdog } else { Holder::Rlimit };
    assert_eq!(report.held, [Held { limit: Bound::Pids, by, most: 3 }]);
    assert_eq!(read_some(&fds[2], 4), "two\n");
    if root {
        assert!(ended(&mut daemon, 1, "pids") > 3);
    } else {
        // dash ends with 2 where it can't fork.
        assert_eq!(daemon.exit_of(1).end, End::Exited { code: 2 });
    }
    bench.shut_down(daemon);
}
