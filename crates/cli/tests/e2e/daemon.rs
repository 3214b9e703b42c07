//! `ganger daemon`: the foreground form.

use ganger_testkit::daemon::Process;

use crate::{SOON, TWO, folder};

#[test]
fn it_keeps_its_pid_speaks_on_stdout_and_ends_in_order() {
    let it = folder();
    it.write("ganger.toml", TWO);
    let mut session = it.follow(&["daemon"]);
    session.until("a service's line", SOON, |line| line.starts_with("counter#1"));
    assert_eq!(it.pid_of("keeper"), session.pid());
    let children: Vec<_> = it.children().into_iter().filter_map(Process::open).collect();
    assert!(children.len() >= 2);
    let keeper = Process::open(session.pid()).unwrap();
    keeper.signal(rustix::process::Signal::TERM);
    assert!(keeper.ended_within(SOON));
    assert_eq!(session.wait(), Some(0));
    assert!(children.iter().all(|child| child.ended_within(SOON)));
}

#[test]
fn a_broken_config_ends_it_at_once() {
    let it = folder();
    it.write("ganger.toml", "version = 1\n[service.x]\n");
    let said = it.ganger(&["daemon"]).with_code(3);
    assert!(said.err.contains("ganger.toml:2"), "{}", said.err);
    assert!(!it.state_dir().exists());
}
