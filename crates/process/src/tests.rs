//! The routing task against the fake keeper, and the pump over a real socket pair.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ganger_core::logwire::LogTarget;
use ganger_core::{End, InstanceId, InstanceKind, SpawnId, StateId, Stream, Usage};
use ganger_keeper::wire::{
    ChannelPlan, ChildRow, Event, ExitReport, Held, HeldRow, Plan, Request, Scope, Table,
    WIRE_VERSION, decode, encode,
};
use ganger_sys::frame::{FrameReader, FrameWriter};
use ganger_testkit::{Act, FakeKeeper};
use tokio::sync::mpsc;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn plan(name: &str) -> Plan {
    Plan {
        blob: "note".into(),
        ..Plan::new(
            InstanceId::new(name, 1),
            InstanceKind::Service,
            "/bin/true",
            vec!["true".into()],
        )
    }
}

fn start(script: impl FnMut(&Plan, u32) -> Act + Send + 'static) -> (FakeKeeper, Startup) {
    let (keeper, link) = FakeKeeper::start(script);
    let link = Link::new(link.requests, link.events);
    (keeper, Processes::start(link, Inherited::nothing(), 9))
}

async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(SECOND * 600, wait).await.expect("it happens within ten minutes")
}

fn report(id: SpawnId, code: i32) -> ExitReport {
    ExitReport {
        id,
        instance: InstanceId::new("old", 1),
        pid: 77,
        end: End::Exited { code },
        usage: Usage::default(),
        at_ms: 5,
        leftovers: 0,
        stuck: vec![],
        adopted: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_lives_and_its_exit_is_told_until_it_is_acknowledged() {
    let (keeper, started) = start(|_, _| Act::exits(SECOND, 3));
    let mut child = started.processes.spawn(plan("web"), vec![]).await.unwrap();
    assert_eq!((child.id(), child.blob()), (SpawnId::new(9, 1), "note"));
    // A dropped wait loses nothing.
    assert!(tokio::time::timeout(SECOND / 2, child.exit()).await.is_err());
    let exit = within(child.exit()).await.unwrap();
    assert_eq!(exit.end, End::Exited { code: 3 });
    assert_eq!(child.exit().await.unwrap(), exit);
    assert_eq!(keeper.unacked().await, [child.id()]);
    child.ack().confirm().await;
    within(async { while !keeper.unacked().await.is_empty() {} }).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_names_program_step_and_errno() {
    let (_keeper, started) = start(|_, _| Act::fails("chdir", 2, "/no/such"));
    let error = started.processes.spawn(plan("web"), vec![]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "web#1: can't start /bin/true: chdir: No such file or directory: /no/such"
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_nobody_waits_for_leaves_nothing_running() {
    let (keeper, started) = start(|_, _| Act { answers_after: SECOND, ..Act::runs() });
    let wait = started.processes.spawn(plan("web"), vec![]);
    assert!(tokio::time::timeout(SECOND / 2, wait).await.is_err());
    tokio::time::sleep(SECOND).await;
    within(async {
        loop {
            let lives = keeper.lives("web", 1).await;
            if lives.started == 1 && lives.now == 0 && keeper.unacked().await.is_empty() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn signals_and_forced_ends_reach_the_child() {
    let (keeper, started) = start(|_, _| Act::ignores_term());
    let mut child = started.processes.spawn(plan("web"), vec![]).await.unwrap();
    child.signal(15, Scope::Tree).await.unwrap();
    child.set_blob("other".into()).await.unwrap();
    let ended = child.end_tree().await.unwrap();
    assert_eq!(within(ended.stuck()).await.unwrap(), Vec::<u32>::new());
    within(child.exit()).await.unwrap();
    assert_eq!(
        keeper.seen().await,
        ["spawn web#1", "signal web#1 15 tree", "end web#1"].map(str::to_owned)
    );
    assert_eq!(keeper.lives("web", 1).await.blob, "other");
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_and_the_rest_is_passed_on() {
    let (keeper, mut started) = start(|_, _| Act::runs());
    assert!(matches!(
        within(started.notices.recv()).await,
        Some(Notice::Welcome { version: WIRE_VERSION, keeper_pid: 1 })
    ));
    keeper.say(Event::Ping { n: 4 }).await;
    keeper.say(Event::ShutdownAsked { why: "SIGTERM".into() }).await;
    assert!(matches!(
        within(started.notices.recv()).await,
        Some(Notice::ShutdownAsked { why }) if why == "SIGTERM"
    ));
    within(async { while !keeper.seen().await.contains(&"pong 4".to_owned()) {} }).await;
    within(started.processes.flush_logs()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_keeper_leaves_all_it_held_for_the_next() {
    let (keeper, mut started) = start(|_, _| Act::runs());
    let mut plan = plan("web");
    plan.channel = Some(ChannelPlan::default());
    let mut child = started.processes.spawn(plan, vec![]).await.unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    started.processes.hold("thing".into(), reader.into()).await.unwrap();
    started.processes.flush_logs().await.unwrap();
    keeper.lose().await;
    assert_eq!(within(child.exit()).await, Err(KeeperGone));
    let lost = within(async {
        loop {
            let notice = started.notices.recv().await;
            if let Notice::KeeperLost(lost) = notice.expect("the last notice is the loss") {
                return lost;
            }
        }
    })
    .await;
    assert!(started.notices.recv().await.is_none());
    let table = lost.table();
    let row = &table.children[0];
    assert_eq!((row.id, row.pid, row.adopted), (child.id(), child.pid(), true));
    assert!(row.pidfd.is_some() && row.channel.is_some() && row.stdin.is_none());
    assert_eq!(row.blob, "note");
    assert_eq!(table.held.len(), 1);
    assert!(matches!(
        started.processes.spawn(self::plan("late"), vec![]).await,
        Err(SpawnError::KeeperGone(_))
    ));
}

/// A table as a keeper would give it, with descriptors of this process.
fn table(held: Vec<HeldRow>, children: Vec<ChildRow>) -> Table {
    Table {
        version: WIRE_VERSION,
        state_id: StateId([1; 16]),
        state_dir: "/tmp".into(),
        keeper_pid: 5,
        logger_pid: None,
        children,
        held,
        lock_fd: None,
        api_fd: None,
        crash: None,
        degraded: vec![],
        survivors: vec![],
        upgrade: None,
    }
}

fn row(id: SpawnId, channel: Option<i32>, exit: Option<ExitReport>) -> ChildRow {
    ChildRow {
        id,
        instance: InstanceId::new("old", 1),
        kind: InstanceKind::Worker,
        pid: 77,
        started_at_ms: 3,
        pidfd: None,
        outcome: None,
        channel,
        stdin: None,
        stdout: None,
        stderr: None,
        tree: None,
        report: ganger_sandbox::Report::default(),
        blob: "from before".into(),
        exit,
        adopted: false,
        keep_leftovers: false,
    }
}

#[tokio::test(start_paused = true)]
async fn children_and_descriptors_of_a_former_daemon_are_taken_over() {
    use std::os::fd::IntoRawFd;
    let (near, mut far) = UnixStream::pair().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (log, _log_writer) = std::io::pipe().unwrap();
    let target = LogTarget { name: "old".into(), slot: 1, max_bytes: 1, max_age_s: 0 };
    let held = vec![
        HeldRow {
            name: "thing".into(),
            fd: OwnedFd::from(reader).into_raw_fd(),
            what: Held::Named,
        },
        HeldRow {
            name: "log".into(),
            fd: OwnedFd::from(log).into_raw_fd(),
            what: Held::LogRead { target, stream: Stream::Stdout },
        },
    ];
    let (alive, over) = (SpawnId::new(8, 1), SpawnId::new(8, 2));
    let channel = OwnedFd::from(near).into_raw_fd();
    let children = vec![row(alive, Some(channel), None), row(over, None, Some(report(over, 4)))];
    let inherited = Inherited::take(table(held, children)).unwrap();
    let (requests, mut asked) = mpsc::channel(16);
    let (tell, events) = mpsc::channel(16);
    let mut started = Processes::start(Link::new(requests, events), inherited, 9);
    assert!(matches!(asked.recv().await, Some((Request::Hello { .. }, _))));

    let [mut first, mut second] = <[Child; 2]>::try_from(started.adopted).unwrap();
    assert_eq!((first.id(), first.blob(), first.adopted()), (alive, "from before", true));
    assert_eq!(first.kind(), InstanceKind::Worker);
    assert_eq!(within(second.exit()).await.unwrap().end, End::Exited { code: 4 });
    far.write_all(b"hi").unwrap();
    let mut text = [0; 2];
    let channel = UnixStream::from(first.ends.channel.take().unwrap());
    channel.set_nonblocking(false).unwrap();
    (&channel).read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hi");
    writer.write_all(b"held").unwrap();
    let mut text = [0; 4];
    let thing = started.held.remove("thing").unwrap();
    std::io::PipeReader::from(thing).read_exact(&mut text).unwrap();
    assert_eq!(started.held.len(), 0, "log pipes are not the daemon's");
    // The keeper tells an exit after the table was made.
    tell.send((Event::Exited(report(alive, 0)), vec![])).await.unwrap();
    assert!(within(first.exit()).await.unwrap().end.is_success());
    // The slot's one log pipe: retiring it waits for the one answer.
    let retired = started.processes.retire_log(first.instance());
    let answer = async {
        assert!(matches!(asked.recv().await, Some((Request::RetireLog { slot: 1, .. }, _))));
        let (name, stream) = ("old".to_owned(), Stream::Stdout);
        let reply = ganger_core::logwire::LogReply::Retired { name, slot: 1, stream };
        tell.send((Event::Log(reply), vec![])).await.unwrap();
    };
    let (retired, ()) = within(async { tokio::join!(retired, answer) }).await;
    retired.unwrap();
}

#[tokio::test]
async fn the_pump_moves_frames_both_ways_however_large() {
    let (near, far) = UnixStream::pair().unwrap();
    let mut link = Link::connect(near.into()).unwrap();
    far.set_nonblocking(true).unwrap();
    let keeper = tokio::net::UnixStream::from_std(far).unwrap();
    let big = "x".repeat(3 << 20);
    let sent = 5_u32;
    let (mut writer, mut reader) = (FrameWriter::new(), FrameReader::new());
    for n in 0..sent {
        let why = format!("{n}{big}");
        writer.push(&encode(&Event::ShutdownAsked { why }), vec![]).unwrap();
        link.requests
            .send((Request::SetBlob { id: SpawnId(n.into()), blob: big.clone() }, vec![]))
            .await
            .unwrap();
    }
    let mut asked = 0;
    let mut heard = 0;
    within(async {
        while asked < sent || heard < sent {
            tokio::select! {
                ready = keeper.readable(), if asked < sent => {
                    ready.unwrap();
                    let read = || match reader.read(&keeper)? {
                        ganger_sys::frame::Progress::Idle => {
                            Err(std::io::ErrorKind::WouldBlock.into())
                        }
                        _ => Ok(()),
                    };
                    let _idle = keeper.try_io(tokio::io::Interest::READABLE, read);
                    while let Some(frame) = reader.next_frame().unwrap() {
                        let request: Request = decode("a request", &frame.body).unwrap();
                        let id = SpawnId(asked.into());
                        assert_eq!(request, Request::SetBlob { id, blob: big.clone() });
                        asked += 1;
                    }
                }
                ready = keeper.writable(), if writer.pending() > 0 => {
                    ready.unwrap();
                    let write = || match writer.write(&keeper)? {
                        ganger_sys::frame::Progress::Blocked => {
                            Err(std::io::ErrorKind::WouldBlock.into())
                        }
                        _ => Ok(()),
                    };
                    let _full = keeper.try_io(tokio::io::Interest::WRITABLE, write);
                }
                event = link.events.recv() => {
                    let (event, _) = event.unwrap();
                    let why = format!("{heard}{big}");
                    assert_eq!(event, Event::ShutdownAsked { why });
                    heard += 1;
                }
            }
        }
    })
    .await;
    writer.push(&encode(&Event::Ping { n: 1 }), vec![]).unwrap();
    writer.write(&keeper).unwrap();
    drop(keeper);
    assert!(matches!(within(link.events.recv()).await, Some((Event::Ping { n: 1 }, _))));
    assert!(within(link.events.recv()).await.is_none(), "the end is told after the last word");
}

#[test]
fn a_daemon_started_by_hand_is_told_so() {
    let error = Inherited::from_env().unwrap_err();
    assert!(error.to_string().contains("GANGER_KEEPER_FD is not set"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn one_asks_for_an_upgrade_at_a_time_and_every_end_is_told() {
    let (keeper, mut started) = start(|_, _| Act::exits(SECOND, 3));
    let processes = started.processes.clone();
    let examine = |path: &str| processes.examine(path.to_owned());
    let refused = within(examine("/bin/true")).await.unwrap_err();
    assert!(refused.to_string().contains("no ganger"), "{refused}");
    let (one, two) = tokio::join!(examine("/new/ganger"), examine("/other/ganger"));
    assert_eq!((one.unwrap().version.as_str(), two.unwrap_err()), ("9.9.9", UpgradeError::Busy));
    assert_eq!(within(processes.upgrade()).await.unwrap().children, 3);
    let upgraded = |notice: &Notice| matches!(notice, Notice::Upgraded(u) if u.to == "9.9.9");
    within(async { while !upgraded(&started.notices.recv().await.unwrap()) {} }).await;
    assert_eq!(keeper.seen().await, ["examine /bin/true", "examine /new/ganger", "upgrade"]);
}
