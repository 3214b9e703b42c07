//! Who belongs to a tree.

use ganger_sampler::{By, Options, Pick, SamplerError, State, Watch};

use crate::stage::{Program, Stage, wait_for};

fn sorted(mut pids: Vec<u32>) -> Vec<u32> {
    pids.sort_unstable();
    pids
}

#[test]
fn a_tree_grows_and_shrinks() {
    let mut program = Program::start(
        "echo up; read x; sleep 1000 & echo $!; read x; kill $!; wait; echo down; read x",
    );
    assert_eq!(program.line(), "up");
    let mut stage = Stage::new();
    let id = stage.watch("web", program.pid());
    let tree = stage.tree(id);
    assert_eq!((tree.processes, tree.alive, tree.root), (1, true, program.pid()));
    assert!(tree.threads == 1 && tree.resident > 0 && tree.descriptors >= 3);
    program.tell("more");
    let child = program.number();
    assert_eq!(stage.tree(id).processes, 2);
    assert_eq!(stage.pids(id), sorted(vec![program.pid(), child]));
    let listed = stage.sampler.sample().cost.listed;
    assert!(listed, "something was started");
    program.tell("less");
    assert_eq!(program.line(), "down");
    assert_eq!((stage.tree(id).processes, stage.pids(id)), (1, vec![program.pid()]));
    drop(program);
    let tree = stage.tree(id);
    assert_eq!((tree.processes, tree.alive, tree.resident), (0, false, 0));
}

#[test]
fn what_ran_before_it_was_watched_is_found_with_its_grandchildren() {
    let mut program = Program::start("sh -c 'sleep 1000 & echo $!; echo $$; wait' & wait");
    let (grandchild, child) = (program.number(), program.number());
    let mut stage = Stage::new();
    // Seen as a stranger first.
    stage.tick();
    let id = stage.watch("web", program.pid());
    stage.tick();
    assert_eq!(stage.pids(id), sorted(vec![program.pid(), child, grandchild]));
}

#[test]
fn orphans_are_known_by_their_session_and_by_their_mark() {
    let mark = ("GANGER_TEST_MARK", "orphans-1");
    let script = "(sh -c 'sleep 1000 & echo $!' &) ; read x; (setsid sh -c 'sleep 1000 & echo $!' &) ; read x";
    let mut program = Program::with(script, &[mark]);
    let by_session = program.number();
    let parent = ganger_sys::proc::stat(by_session).unwrap().parent;
    let mut stage = Stage::with(Options { reaper: Some(parent), ..Options::default() });
    let id = stage.watch_marked("web", program.pid(), Some("GANGER_TEST_MARK=orphans-1"));
    stage.tick();
    assert!(stage.pids(id).contains(&by_session));
    program.tell("more");
    let by_mark = program.number();
    // Its shell may be about to end still: then it is its child, and so of the tree all the same.
    stage.tick();
    assert!(stage.pids(id).contains(&by_mark));
    for pid in [by_session, by_mark] {
        let pidfd = ganger_sys::pidfd::open(pid).unwrap();
        ganger_sys::pidfd::send_signal(&pidfd, 9).unwrap();
        wait_for(&pidfd);
    }
}

#[test]
fn a_zombie_counts_and_uses_no_memory() {
    let mut program = Program::start("sleep 1000 & echo $!; exec sleep 1000");
    let child = program.number();
    let mut stage = Stage::new();
    let id = stage.watch("web", program.pid());
    stage.tick();
    let pidfd = ganger_sys::pidfd::open(child).unwrap();
    ganger_sys::pidfd::send_signal(&pidfd, 9).unwrap();
    wait_for(&pidfd);
    stage.tick();
    let zombie = stage.sampler.sample().processes.iter().find(|p| p.pid == child).unwrap();
    assert_eq!((zombie.state, zombie.resident, zombie.descriptors), (State::Zombie, 0, Some(0)));
    assert_eq!(stage.pids(id).len(), 2);
}

#[test]
fn a_restart_goes_on_with_the_counters_of_its_name_and_slot() {
    let first = Program::start("read x");
    let mut stage = Stage::new();
    let id = stage.watch("web", first.pid());
    let before = stage.tree(id).total;
    let usage = first.ended();
    stage.tick();
    let second = Program::start("read x");
    assert_eq!(stage.watch("web", second.pid()), id);
    let after = stage.tree(id);
    assert!(after.total.cpu_ns >= before.cpu_ns && before.cpu_ns > 0);
    assert!(usage.user_us + usage.system_us > 0);
    assert_eq!((after.root, after.alive, after.processes), (second.pid(), true, 1));
}

#[test]
fn a_child_that_is_watched_by_itself_belongs_to_itself() {
    let mut program = Program::start("sh -c 'sleep 1000 & echo $!; echo $$; wait' & wait");
    let (grandchild, child) = (program.number(), program.number());
    let mut stage = Stage::new();
    let whole = stage.watch("whole", program.pid());
    stage.tick();
    let part = stage.watch("part", child);
    stage.tick();
    assert_eq!(stage.pids(whole), [program.pid()]);
    assert_eq!(stage.pids(part), sorted(vec![child, grandchild]));
    stage.sampler.unwatch(part);
    stage.tick();
    assert_eq!(stage.sampler.find("part", 0), None);
    let all = stage.pids(whole);
    assert_eq!(all, sorted(vec![program.pid(), child, grandchild]), "it is its parent's again");
}

#[test]
fn strangers_are_picked_by_what_they_become() {
    let mut program = Program::start("echo up; read x; exec sleep 76543.21");
    program.line();
    let mut stage = Stage::new();
    let by = By::CommandLine("sleep 76543.21".into());
    stage.sampler.set_picks(vec![
        Pick { name: "sleeper".into(), by },
        Pick { name: "other".into(), by: By::Pid(std::process::id()) },
    ]);
    stage.tick();
    assert_eq!(stage.sampler.find("sleeper", 0), None);
    let own = stage.sampler.find("other", 0).unwrap();
    assert!(stage.pids(own).contains(&std::process::id()));
    stage.sampler.set_picks(vec![Pick {
        name: "sleeper".into(),
        by: By::CommandLine("sleep 76543.21".into()),
    }]);
    assert_eq!(stage.sampler.find("other", 0), None, "a pick that goes takes its trees along");
    stage.tick();
    program.tell("become");
    // The exec is done when the name has changed.
    while ganger_sys::proc::name(program.pid()).as_deref() != Some("sleep") {
        std::thread::yield_now();
    }
    stage.pass(10);
    let id = stage.sampler.find("sleeper", 0).unwrap();
    assert_eq!(stage.pids(id), [program.pid()]);
    assert!(stage.tree(id).alive);
}

#[test]
fn bounds_hold_and_are_counted() {
    let mut program = Program::start("sleep 1000 & echo up; wait");
    program.line();
    let mut stage =
        Stage::with(Options { processes: 1, trees: 1, descriptors: 1, ..Options::default() });
    let id = stage.watch("web", program.pid());
    let sample = stage.tick();
    assert_eq!((sample.processes.len(), sample.cost.dropped), (1, 1));
    assert!(sample.cost.descriptors <= 1);
    assert_eq!(stage.pids(id), [program.pid()]);
    let watch = |name: &str, pid| Watch {
        name: name.into(),
        slot: 0,
        pid,
        pidfd: None,
        cgroup: None,
        mark: None,
        descendants: true,
    };
    let full = stage.sampler.watch(watch("other", program.pid()));
    assert!(matches!(full, Err(SamplerError::Full { what: "trees", most: 1 })), "{full:?}");
    let missing = stage.sampler.watch(watch("web", (1 << 22) + 1));
    assert!(matches!(missing, Err(SamplerError::NoProcess { .. })), "{missing:?}");
}

/// The kernel gives the next number after `ns_last_pid`, so a number can be had again by whoever may set that: root.
#[test]
fn a_number_that_is_used_again_is_another_process() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for _ in 0..200 {
        let mut program =
            Program::start("sleep 1000 & echo $!; read x; kill $!; wait; echo gone; read x");
        let child = program.number();
        let mut stage = Stage::new();
        let id = stage.watch("web", program.pid());
        stage.tick();
        assert!(stage.pids(id).contains(&child));
        program.tell("end");
        program.line();
        if std::fs::write("/proc/sys/kernel/ns_last_pid", (child - 1).to_string()).is_err() {
            return;
        }
        let stranger = Program::start("read x");
        if stranger.pid() != child {
            continue;
        }
        stage.tick();
        stage.tick();
        assert_eq!(stage.pids(id), [program.pid()], "the number is a stranger's now");
        return;
    }
    panic!("200 times somebody else got the number");
}
