//! What trees cost, counted once.

use ganger_sampler::Tree;

use crate::stage::{Program, SPIN, Stage, wait_for};

/// `waited` is told in hundredths of a second, user and system each, and what is missed with a process is at most as much again.
const ROUNDING_NS: u64 = 60_000_000;

fn near(tree: &Tree, truth_us: u64) {
    let truth = truth_us * 1_000;
    let told = tree.total.cpu_ns;
    assert!(told <= truth + ROUNDING_NS && told + ROUNDING_NS >= truth, "{told} of {truth}");
}

#[test]
fn the_clock_is_told_to_the_nanosecond() {
    let mut program = Program::start(&format!("{SPIN}; echo done; read x"));
    let mut stage = Stage::new();
    let id = stage.watch("web", program.pid());
    stage.tick();
    program.line();
    // It says its line and then waits: its clock stands still once it does.
    let tree = loop {
        let tree = stage.tree(id);
        if tree.total.cpu_ns > 0 && tree.cpu_delta_ns == 0 {
            break tree;
        }
    };
    assert_eq!(Some(tree.total.cpu_ns), ganger_sys::cputime::process(program.pid()));
    let cost = stage.sampler.sample().cost;
    assert_eq!(cost.read, 0, "nothing was read of a process that stood still");
    stage.pass(10);
    assert_eq!(stage.sampler.sample().cost.read, 1, "but after ten seconds");
    let process = stage.sampler.sample().processes[0];
    assert!(process.switches.is_some() && process.descriptor_limit.is_some());
    assert!(process.swap.is_some() && process.proportional.is_some_and(|p| p.bytes > 0));
    assert!(process.descriptor_ratio().unwrap() < 1.0);
}

#[test]
fn a_child_that_is_waited_for_is_counted_once() {
    let mut program = Program::start(&format!("({SPIN}; echo done; read x); echo waited; read x"));
    let mut stage = Stage::new();
    let id = stage.watch("web", program.pid());
    stage.tick();
    program.line();
    let seen = stage.tree(id).total.cpu_ns;
    program.tell("end");
    program.line();
    let after = stage.tree(id);
    assert!(after.total.cpu_ns >= seen && seen > ROUNDING_NS, "{seen}");
    let pid = program.pid();
    let usage = program.ended();
    stage.sampler.ended(id, pid, &usage);
    let tree = stage.tree(id);
    near(&tree, usage.user_us + usage.system_us);
    assert!(tree.total.cpu_ns >= (usage.user_us + usage.system_us) * 1_000);
}

#[test]
fn a_child_that_nobody_waits_for_is_not_lost() {
    // With SIGCHLD ignored the kernel reaps it and gives its time to nobody.
    let mut program = Program::start(&format!(
        "trap '' CHLD; ({SPIN}; echo done; exec sleep 1000) & echo $!; read x"
    ));
    let child = program.number();
    let ignores = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let mask = ignores.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    let ignored = u64::from_str_radix(mask, 16).unwrap() & 1 << 16 != 0;
    let mut stage = Stage::new();
    let id = stage.watch("web", program.pid());
    stage.tick();
    program.line();
    stage.tick();
    let seen = stage.sampler.sample().processes.iter().find(|p| p.pid == child).unwrap().own;
    assert!(seen.cpu_ns > ROUNDING_NS);
    let pidfd = ganger_sys::pidfd::open(child).unwrap();
    ganger_sys::pidfd::send_signal(&pidfd, 9).unwrap();
    wait_for(&pidfd);
    // A shell that does not let itself be told to ignore it reaps the child when it is asked something.
    if ignored {
        while std::path::Path::new(&format!("/proc/{child}")).exists() {
            std::thread::yield_now();
        }
    }
    let after = stage.tree(id);
    assert!(after.total.cpu_ns >= seen.cpu_ns);
    if ignored {
        assert_eq!(after.processes, 1);
        let usage = program.ended();
        let own = (usage.user_us + usage.system_us) * 1_000;
        assert!(after.total.cpu_ns <= seen.cpu_ns + own + ROUNDING_NS, "counted twice");
        assert!(own < seen.cpu_ns, "wait4 does not know of it: {own}");
    }
}

#[test]
fn what_wait4_tells_is_taken_before_and_after_it_is_missed() {
    for before in [true, false] {
        let mut program = Program::start(&format!("echo up; read x; {SPIN}"));
        program.line();
        let mut stage = Stage::new();
        let id = stage.watch("web", program.pid());
        stage.tick();
        let pid = program.pid();
        program.tell("go");
        let usage = program.ended();
        if !before {
            stage.tick();
        }
        stage.sampler.ended(id, pid, &usage);
        let tree = stage.tree(id);
        assert_eq!((tree.processes, tree.alive), (0, false));
        assert_eq!(tree.total.cpu_ns, (usage.user_us + usage.system_us) * 1_000, "{before}");
        stage.sampler.ended(id, pid, &usage);
        let twice = stage.tree(id);
        assert_eq!(twice.total.cpu_ns, tree.total.cpu_ns, "told twice it counts once");
    }
}
