//! Children behind walls: what they can't do there and can do without, how they end, and that nothing of them stays.
//!
//! The programs are `sh` with what it has built in: nothing else is in the root of the profile "strict".

use std::fmt::Write as _;

use ganger_core::{End, SpawnId};
use ganger_keeper::wire::{Event, Plan, Request, Scope};
use ganger_sandbox::{Access, Mode, ProfileName, Sandbox, Shown, Wall};

use crate::bench::{Bench, Daemon, processes_with, read_some, shell};

pub(super) fn walled(name: &str, script: &str, sandbox: Sandbox) -> Plan {
    let mut plan = shell(name, script);
    plan.profile.sandbox = Some(Box::new(sandbox));
    plan
}

/// Starts it, or says why this machine has no such walls.
pub(super) fn start(daemon: &mut Daemon, id: u64, plan: &Plan) -> Option<std::os::fd::OwnedFd> {
    daemon.send(&Request::Spawn { id: SpawnId(id), plan: Box::new(plan.clone()) });
    let answer = |event: &Event| matches!(event, Event::Spawned { .. } | Event::SpawnFailed { .. });
    match daemon.until(answer) {
        (Event::SpawnFailed { step, detail, .. }, _) => {
            assert_eq!(step, "sandbox", "{detail}");
            assert!(detail.contains("layer `"), "{detail}");
            println!("skipped: {detail}");
            None
        }
        (_, mut fds) => Some(fds.remove(1)),
    }
}

/// Each attack prints `got NAME` where it succeeds.
fn attacks(keeper: u32, secret: &str) -> String {
    let tries = [
        ("file", format!("read x < {secret}")),
        ("process", format!("kill -0 {keeper}")),
        ("environ", format!("read x < /proc/{keeper}/stat")),
        ("write", format!("echo x > {secret}")),
        // Of the folders that every machine has, and a root of its own does not.
        ("machine", "cd /sys/kernel".to_owned()),
        ("core", "ulimit -c 1".to_owned()),
    ];
    let mut script = String::new();
    for (name, attempt) in &tries {
        writeln!(script, "if ( {attempt} ) 2>/dev/null; then echo got {name}; fi").unwrap();
    }
    script + "kill -9 1 2>/dev/null; echo \"$$ over\"; exit 7"
}

pub(crate) fn attacked() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let secret = bench.state_dir().join("secret");
    std::fs::write(&secret, "x\n").unwrap();
    let script = attacks(bench.keeper_pid(), secret.to_str().unwrap());
    let sandbox = Sandbox::of(ProfileName::Strict);
    let Some(said) = start(&mut daemon, 1, &walled("walled", &script, sandbox.clone())) else {
        return bench.shut_down(daemon);
    };
    assert_eq!(read_some(&said, 7), "2 over\n");
    assert_eq!(daemon.exit_of(1).end, End::Exited { code: 7 });
    // The control: the same without walls succeeds, or the attacks above were none.
    let script = script.replace("kill -9 1 2>/dev/null;", "");
    let said = start(&mut daemon, 2, &shell("open", &script)).unwrap();
    let all = "got file\ngot process\ngot environ\ngot write\ngot machine\n";
    assert_eq!(read_some(&said, all.len()), all);
    daemon.exit_of(2);
    // What is shown is seen, and only so.
    let shown =
        Shown { path: secret.to_str().unwrap().into(), beneath: None, access: Access::Read };
    let script = format!(
        "read x < {0}; echo \"$x\"; (echo y > {0}) 2>/dev/null || echo ro",
        secret.display()
    );
    let sandbox = Sandbox { paths: vec![shown.clone()], ..sandbox };
    let said = start(&mut daemon, 3, &walled("shown", &script, sandbox.clone())).unwrap();
    assert_eq!(read_some(&said, 5), "x\nro\n");
    daemon.exit_of(3);
    // A path that was asked for does not lead out of its folder by a link.
    let link = secret.with_file_name("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    let folder = Some(bench.state_dir().to_str().unwrap().to_owned());
    let path = link.join("hosts").to_str().unwrap().to_owned();
    let sandbox = Sandbox { paths: vec![Shown { path, beneath: folder, ..shown }], ..sandbox };
    let plan = Box::new(walled("link", "exit 0", sandbox));
    daemon.send(&Request::Spawn { id: SpawnId(4), plan });
    let (event, _) = daemon.until(|event| matches!(event, Event::SpawnFailed { .. }));
    let Event::SpawnFailed { detail, .. } = event else { unreachable!() };
    assert!(detail.contains("symbolic link"), "{detail}");
    bench.shut_down(daemon);
}

/// Whose tests talk to themselves find a loopback interface that is up; where there is no network at all it is not.
pub(crate) fn own_interface() {
    let mut bench = Bench::new(&[]);
    let mut daemon = bench.daemon();
    let script = "lo=down; while read -r line; do case $line in *127.0.0.1*) lo=up;; esac; done \
                  < /proc/net/fib_trie; echo $lo.";
    for (id, profile, said) in
        [(1, ProfileName::Build, "up.\n"), (2, ProfileName::Strict, "down.\n")]
    {
        let mut plan = walled("lo", script, Sandbox::of(profile));
        plan.cwd = bench.dir.path().to_str().unwrap().into();
        let Some(out) = start(&mut daemon, id, &plan) else { continue };
        assert_eq!(read_some(&out, said.len()), said, "{profile:?}");
        assert_eq!(daemon.exit_of(id).end, End::Exited { code: 0 });
    }
    bench.shut_down(daemon);
}

/// The program's own end is told, signals reach it, and what it leaves behind ends with it.
pub(crate) fn ended() {
    let mut bench = Bench::new(&[("GANGER_NO_CGROUP", "1")]);
    let mut daemon = bench.daemon();
    let build = || Sandbox {
        profile: ProfileName::Strict,
        layers: [(Wall::Landlock, Mode::Prefer)].into(),
        ..Sandbox::default()
    };
    let Some(_said) = start(&mut daemon, 1, &walled("segv", "kill -SEGV $$", build())) else {
        return bench.shut_down(daemon);
    };
    let report = daemon.exit_of(1);
    assert!(matches!(report.end, End::Signalled { signal: 11, .. }), "{report:?}");
    assert!(report.usage.peak_rss > 0, "{report:?}");
    // Two that trap TERM, told once each; the one left behind ignores it and goes with the first process.
    let script = "(trap '' TERM; while :; do :; done) & \
                  (trap 'echo inner; exit' TERM; echo up; while :; do :; done) & \
                  inner=$!; trap 'wait $inner; echo outer; exit 5' TERM; echo up; while :; do wait $inner; done";
    let said = start(&mut daemon, 2, &walled("two", script, build())).unwrap();
    assert_eq!(read_some(&said, 6), "up\nup\n");
    let mark = format!("GANGER_SPAWN={}:2\0", daemon.table.state_id);
    daemon.send(&Request::Signal { id: SpawnId(2), signal: 15, scope: Scope::Tree });
    assert_eq!(read_some(&said, 12), "inner\nouter\n");
    assert_eq!(daemon.exit_of(2).end, End::Exited { code: 5 });
    assert_eq!(processes_with(&mark), [0; 0]);
    // One that is killed from outside is told as killed.
    let said =
        start(&mut daemon, 3, &walled("killed", "echo up; while :; do :; done", build())).unwrap();
    assert_eq!(read_some(&said, 3), "up\n");
    daemon.send(&Request::EndTree { id: SpawnId(3) });
    let end = daemon.exit_of(3).end;
    assert!(matches!(end, End::Signalled { signal: 9, .. }), "{end:?}");
    bench.shut_down(daemon);
}

/// A layer that is not to be had refuses or is told, and never passed over.
pub(crate) fn without_a_layer() {
    let mut bench = Bench::new(&[("GANGER_NO_LAYERS", "landlock")]);
    let mut daemon = bench.daemon();
    let strict = Sandbox::of(ProfileName::Strict);
    let plan = Box::new(walled("refused", "exit 0", strict.clone()));
    daemon.send(&Request::Spawn { id: SpawnId(1), plan });
    let (event, _) = daemon.until(|event| matches!(event, Event::SpawnFailed { .. }));
    let Event::SpawnFailed { step, detail, .. } = event else { unreachable!() };
    assert_eq!(step, "sandbox");
    if detail.contains("`landlock`") {
        let layers = [(Wall::Landlock, Mode::Prefer)].into();
        let plan = walled("told", "exit 3", Sandbox { layers, ..strict });
        daemon.send(&Request::Spawn { id: SpawnId(2), plan: Box::new(plan) });
        let (event, _) = daemon
            .until(|event| matches!(event, Event::Spawned { .. } | Event::SpawnFailed { .. }));
        match event {
            Event::Spawned { report, .. } => {
                assert!(
                    report.degraded.iter().any(|one| one.what == "layer landlock"),
                    "{report:?}"
                );
                assert!(
                    report.walls.contains(&Wall::Seccomp)
                        && !report.walls.contains(&Wall::Landlock)
                );
                assert_eq!(daemon.exit_of(2).end, End::Exited { code: 3 });
            }
            other => println!("skipped: {other:?}"),
        }
    } else {
        println!("skipped: {detail}");
    }
    bench.shut_down(daemon);
}
