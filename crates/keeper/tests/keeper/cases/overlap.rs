//! Several children on their way to their programs at once.

use std::collections::BTreeMap;

use ganger_core::{End, SpawnId};
use ganger_keeper::wire::{Event, Plan, Request, Scope, Stdin, UpgradeNews};
use ganger_sandbox::{ProfileName, Sandbox};

use super::walls::{start, walled};
use crate::bench::{Bench, Daemon, processes_with, zombies_of};

const LAST: u64 = 40;

fn strict(name: &str, script: &str) -> Plan {
    walled(name, script, Sandbox::of(ProfileName::Strict))
}

/// What is asked about the child of a number, all in one go.
fn ask(daemon: &mut Daemon, id: u64) {
    let spawn = |plan: Plan| Request::Spawn { id: SpawnId(id), plan: Box::new(plan) };
    match id % 4 {
        // Often over before anybody has looked whether it runs.
        0 => daemon.send(&spawn(strict("quick", "exit 3"))),
        // Ended as soon as it is asked for.
        1 => {
            daemon.send(&spawn(Plan { stdin: Stdin::Pipe, ..strict("ended", "read x") }));
            daemon.send(&Request::Signal { id: SpawnId(id), signal: 9, scope: Scope::Main });
        }
        2 => daemon.send(&spawn(Plan { program: "/nowhere/at/all".into(), ..strict("not", "") })),
        // Asked for twice.
        _ => {
            let plan = strict("twice", "exit 4");
            daemon.send(&spawn(plan.clone()));
            daemon.send(&spawn(plan));
        }
    }
}

/// Everything that is told of each child, in order, until all have ended.
fn told(daemon: &mut Daemon, ids: std::ops::Range<u64>) -> BTreeMap<u64, Vec<Event>> {
    let of = |event: &Event| match event {
        Event::Spawned { id, .. } | Event::SpawnFailed { id, .. } => Some(id.0),
        Event::Exited(report) => Some(report.id.0),
        _ => None,
    };
    let mut all: BTreeMap<u64, Vec<Event>> = BTreeMap::new();
    let over = |events: &Vec<Event>| {
        events.iter().any(|event| matches!(event, Event::Exited(_) | Event::SpawnFailed { .. }))
    };
    while ids.clone().any(|id| !all.get(&id).is_some_and(over)) {
        let (event, _) = daemon.until(|event| of(event).is_some_and(|id| ids.contains(&id)));
        all.entry(of(&event).unwrap()).or_default().push(event);
    }
    all
}

pub(crate) fn in_order() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    if start(&mut daemon, 1, &strict("first", "exit 0")).is_none() {
        return bench.shut_down(daemon);
    }
    (4..LAST).for_each(|id| ask(&mut daemon, id));
    for (id, events) in told(&mut daemon, 4..LAST) {
        let first = events.first().unwrap();
        if id % 4 == 2 {
            assert!(matches!(first, Event::SpawnFailed { .. }), "{events:?}");
            assert_eq!(events.len(), 1, "{events:?}");
            continue;
        }
        assert!(matches!(first, Event::Spawned { .. }), "{events:?}");
        let ends: Vec<&End> = events
            .iter()
            .filter_map(|event| match event {
                Event::Exited(report) => Some(&report.end),
                _ => None,
            })
            .collect();
        match (id % 4, ends.as_slice()) {
            (0, [End::Exited { code: 3 }])
            | (3, [End::Exited { code: 4 }])
            | (1, [End::Signalled { signal: 9, .. }]) => {}
            other => panic!("{other:?}: {events:?}"),
        }
    }
    let keeper = bench.keeper_pid();
    assert_eq!(zombies_of(keeper), [""; 0]);
    bench.shut_down(daemon);
}

/// A held descriptor that is let go right behind the spawn that names it is still the child's.
pub(crate) fn given() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, b"word\n").unwrap();
    daemon.send_with(&Request::Hold { name: "words".into() }, vec![reader.into()]);
    let mut plan = strict("given", "read x <&3; echo $x");
    plan.inherit = vec![("words".into(), 3)];
    daemon.send(&Request::Spawn { id: SpawnId(1), plan: Box::new(plan) });
    daemon.send(&Request::Release { name: "words".into() });
    let answer = |event: &Event| matches!(event, Event::Spawned { .. } | Event::SpawnFailed { .. });
    match daemon.until(answer) {
        (Event::Spawned { .. }, fds) => {
            assert_eq!(crate::bench::read_some(&fds[1], 5), "word\n");
            assert_eq!(daemon.exit_of(1).end, End::Exited { code: 0 });
        }
        (other, _) => println!("skipped: {other:?}"),
    }
    bench.shut_down(daemon);
}

/// A keeper that is replaced while children are on their way loses none and starts none twice.
pub(crate) fn upgraded() {
    let mut bench = Bench::new(&[]);
    let next = bench.copy("next");
    let mut daemon = bench.daemon();
    if start(&mut daemon, 1, &strict("first", "exit 0")).is_none() {
        return bench.shut_down(daemon);
    }
    let news = |event: &Event| matches!(event, Event::Upgrade { .. });
    daemon.send(&Request::Examine { path: next.to_str().unwrap().into() });
    let (offered, _) = daemon.until(news);
    let is = |event: &Event, wanted: fn(&UpgradeNews) -> bool| match event {
        Event::Upgrade { news } => wanted(news),
        _ => false,
    };
    assert!(is(&offered, |news| matches!(news, UpgradeNews::Offered { .. })), "{offered:?}");
    (4..12).for_each(|id| ask(&mut daemon, id));
    daemon.send(&Request::Upgrade);
    let all = told(&mut daemon, 4..12);
    let (done, _) = daemon.until(news);
    assert!(is(&done, |news| matches!(news, UpgradeNews::Done { .. })), "{done:?}");
    for (id, events) in all {
        let ends = events.iter().filter(|event| matches!(event, Event::Exited(_))).count();
        assert_eq!(ends, usize::from(id % 4 != 2), "{events:?}");
    }
    let state = daemon.table.state_id;
    // The old daemon is to end, so that the next one is the new binary's.
    daemon.kill();
    let daemon = bench.daemon();
    assert_eq!(processes_with(&format!("GANGER_SPAWN={state}:5\0")), [0; 0]);
    bench.shut_down(daemon);
}

/// One network is used by one child after the other of the same name and principal, never by two at once, nor by another of either.
pub(crate) fn networks() {
    if !rustix::process::geteuid().is_root() {
        // Only root lends any, and nobody else may look which one a child behind walls is in.
        println!("skipped: whose network a child has is for root to see");
        return;
    }
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let waits = |name: &str, whose: Option<&str>| Plan {
        stdin: Stdin::Pipe,
        whose: whose.map(str::to_owned),
        ..strict(name, "read x")
    };
    let (mine, yours) = (Some("uid:7"), Some("uid:8"));
    if start(&mut daemon, 1, &strict("first", "exit 0")).is_none() {
        return bench.shut_down(daemon);
    }
    let network = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    // Killed, so that there is no way in which it would have tidied up.
    let end = |daemon: &mut Daemon, id| {
        daemon.send(&Request::Signal { id: SpawnId(id), signal: 9, scope: Scope::Main });
        daemon.exit_of(id);
    };
    let a = network(daemon.spawn(2, &waits("a", mine)).0);
    let beside = network(daemon.spawn(3, &waits("a", mine)).0);
    end(&mut daemon, 2);
    let other = network(daemon.spawn(4, &waits("b", mine)).0);
    let theirs = network(daemon.spawn(6, &waits("a", yours)).0);
    let nobodys = network(daemon.spawn(7, &waits("a", None)).0);
    let again = network(daemon.spawn(5, &waits("a", mine)).0);
    let own = network(bench.keeper_pid());
    let all = [&a, &beside, &other, &theirs, &nobodys, &own];
    assert!((1..6).all(|at| !all[..at].contains(&all[at])), "{all:?}");
    assert_eq!(again, a);
    (3..=7).for_each(|id| end(&mut daemon, id));
    bench.shut_down(daemon);
}
