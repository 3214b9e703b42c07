//! Liveness: checks by HTTP and program, watchdogs, strangers on the notify socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use ganger_core::{FailureCause, InstanceState};
use ganger_testkit::Act;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::{Begin, InstanceHandle, InstanceNotice, start};
use crate::checks::exec;
use crate::spec::{ExecCheck, HttpCheck, InstanceSpec, Live, LiveBy, Ready, ReadyBy};
use crate::testing::{Rig, spec, within};
use crate::view::{InstanceView, Signs};

const SECOND: Duration = Duration::from_secs(1);

struct Web {
    handle: InstanceHandle,
    notices: mpsc::Receiver<(ganger_core::InstanceId, InstanceNotice)>,
    tasks: JoinSet<()>,
}

impl Web {
    fn begin(rig: &Rig, spec: InstanceSpec) -> Self {
        let (tell, notices) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        let handle = start(spec, Begin::Up, None, rig.around.clone(), tell, &mut tasks);
        Self { handle, notices, tasks }
    }

    /// The next view of which this is true.
    async fn until(&mut self, wanted: impl Fn(&InstanceView) -> bool) -> Arc<InstanceView> {
        within(async {
            loop {
                match self.notices.recv().await.expect("the instance lives").1 {
                    InstanceNotice::State(view) if wanted(&view) => return view,
                    _ => {}
                }
            }
        })
        .await
    }
}

fn live(by: LiveBy, every: Duration, failures: u32) -> InstanceSpec {
    let live = Some(Live { by, every, timeout: SECOND * 2, failures });
    InstanceSpec { live, ..spec("web") }
}

fn exec_check() -> ExecCheck {
    ExecCheck { program: "/bin/check".into(), argv: vec!["check".into(), "-q".into()] }
}

/// Has the checks of a rig run by its fake keeper.
fn with_execs(rig: &mut Rig) {
    let (execs, runner) = exec::start(rig.around.processes.clone(), vec![]);
    rig.around.execs = execs;
    tokio::spawn(runner);
}

/// Answers every request with the status of the moment, until the test ends.
fn http_server(status: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            assert_eq!(first, "GET /health?deep HTTP/1.1");
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let status = status.load(Ordering::Relaxed);
            // Who asks may have closed: nobody is hurt.
            let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 3\r\n\r\nhey");
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_answers_badly_is_replaced_and_the_last_answer_told() {
    let status = Arc::new(AtomicU16::new(503));
    let port = http_server(Arc::clone(&status));
    let check = HttpCheck { address: format!("127.0.0.1:{port}"), path: "/health?deep".into() };
    let ready = Some(Ready { by: ReadyBy::Http(check.clone()), timeout: SECOND * 300 });
    let every = Duration::from_millis(20);
    let rig = Rig::new(|_, _| Act::runs());
    let mut web = Web::begin(&rig, InstanceSpec { ready, ..live(LiveBy::Http(check), every, 3) });
    let view = web.until(|view| view.state == InstanceState::Starting && view.pid.is_some()).await;
    // Not ready while it says 503; a redirect is answer enough.
    let bad = within(async {
        loop {
            let signs = view.signs.read();
            if signs.probes[0].failures >= 2 {
                return signs;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(bad.probes[0].said, format!("HTTP 503 from :{port}/health?deep"));
    assert_eq!((bad.probes[0].ok, bad.probes[1].ok), (Some(false), None));
    status.store(302, Ordering::Relaxed);
    let view = web.until(|view| view.ready).await;
    let signs = view.signs.read();
    assert_eq!((signs.probes[0].ok, signs.probes[0].failures), (Some(true), 0));

    status.store(500, Ordering::Relaxed);
    let view = web.until(|view| view.state == InstanceState::Stopping).await;
    let wanted = format!("HTTP 500 from :{port}/health?deep, 3 times in ");
    assert!(view.reason.starts_with(&wanted), "{}", view.reason);
    let view = web.until(|view| view.state == InstanceState::Backoff).await;
    assert_eq!(view.cause, Some(FailureCause::Health));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_says_no_is_believed_at_the_third_time() {
    let mut rig = Rig::new(|plan, _| match plan.instance.name.as_str() {
        "web" => Act::runs(),
        _ => Act::exits(SECOND, 3),
    });
    with_execs(&mut rig);
    let begun = Instant::now();
    let mut web = Web::begin(&rig, live(LiveBy::Exec(exec_check()), SECOND * 5, 3));
    let view = web.until(|view| view.state == InstanceState::Stopping).await;
    assert!(view.reason.starts_with("its check exited with code 3"), "{}", view.reason);
    assert!(view.reason.contains(", 3 times in 1"), "{}", view.reason);
    let took = begun.elapsed();
    assert!(took >= SECOND * 10 && took <= SECOND * 18, "{took:?}");
    let checks = rig.keeper.lives("web:check", 1).await;
    assert_eq!((checks.started, checks.most_at_once), (3, 1));
    assert!(checks.env.get("MAINPID").is_some() && checks.env.get("PATH") == Some("/bin"));
    assert_eq!(rig.keeper.unacked().await.len(), 1, "only the instance's own exit is a record");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_is_ended_with_its_tree_and_never_doubled() {
    let mut rig = Rig::new(|plan, n| match plan.instance.name.as_str() {
        "web" => Act::runs(),
        // The first can't even be killed at once.
        _ => Act { stuck_for: (n == 1).then_some(SECOND * 3), ..Act::ignores_term() },
    });
    with_execs(&mut rig);
    let mut web = Web::begin(&rig, live(LiveBy::Exec(exec_check()), SECOND * 5, 2));
    let view = web.until(|view| view.state == InstanceState::Stopping).await;
    assert!(
        view.reason.starts_with("its check took longer than 2s, 2 times in "),
        "{}",
        view.reason
    );
    let checks = rig.keeper.lives("web:check", 1).await;
    assert_eq!((checks.started, checks.most_at_once), (2, 1));
    let seen = rig.keeper.seen().await;
    assert_eq!(seen.iter().filter(|s| s.contains("web:check") && s.contains("end")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_check_under_way() {
    let mut rig = Rig::new(|_, _| Act::runs());
    with_execs(&mut rig);
    let ready = Some(Ready { by: ReadyBy::Exec(exec_check()), timeout: SECOND * 30 });
    let web = Web::begin(&rig, InstanceSpec { ready, ..spec("web") });
    within(async {
        while rig.keeper.lives("web:check", 1).await.now == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    web.handle.stop("on request").await.done().await.unwrap();
    within(async {
        while rig.keeper.lives("web:check", 1).await.now == 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(rig.keeper.lives("web:check", 1).await.started, 1);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_can_not_be_carried_out_condemns_nobody() {
    let mut rig = Rig::new(|plan, _| match plan.instance.name.as_str() {
        "web" => Act::runs(),
        _ => Act::fails("fork", 11, "no more processes"),
    });
    with_execs(&mut rig);
    let mut web = Web::begin(&rig, live(LiveBy::Exec(exec_check()), SECOND, 1));
    let view = web.until(|view| view.ready).await;
    tokio::time::sleep(SECOND * 60).await;
    let signs = view.signs.read();
    assert!(signs.probes[0].checks > 30, "{signs:?}");
    assert!(signs.probes[0].said.contains("no more processes"), "{signs:?}");
    assert_eq!(rig.keeper.lives("web", 1).await.started, 1);
}

#[tokio::test(start_paused = true)]
async fn uptime_and_a_start_up_in_their_order() {
    let rig = Rig::new(|_, _| Act::runs());
    let by = |seconds| Some(Ready { by: ReadyBy::Uptime(SECOND * seconds), timeout: SECOND * 30 });
    let begun = Instant::now();
    let mut web = Web::begin(&rig, InstanceSpec { startup: by(4), ready: by(6), ..spec("web") });
    let view = web.until(|view| view.ready).await;
    // A process's age is the wall clock's, which stands still here: each waits for its whole time.
    assert!(begun.elapsed() >= SECOND * 9, "{:?}", begun.elapsed());
    let probes = view.signs.read().probes;
    assert_eq!(probes.iter().map(|p| p.ok).collect::<Vec<_>>(), [Some(true); 2]);
}

/// A notify socket's far side.
struct Talker(UnixDatagram, std::path::PathBuf);

impl Talker {
    fn new(rig: &Rig) -> Self {
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket, rig.dir.path().join("web.1.notify"))
    }

    fn say(&self, text: &str) {
        assert_eq!(self.0.send_to(text.as_bytes(), &self.1).unwrap(), text.len());
    }
}

#[tokio::test]
async fn a_barrier_is_let_go_once_what_came_before_is_done() {
    let pid = Some(std::process::id());
    let rig = Rig::new(move |_, _| Act { pid, ..Act::runs() });
    let ready = Some(Ready { by: ReadyBy::Notify, timeout: SECOND * 3_000 });
    let mut web = Web::begin(&rig, InstanceSpec { ready, ..spec("web") });
    web.until(|view| view.pid.is_some()).await;
    let child = Talker::new(&rig);
    child.0.connect(&child.1).unwrap();
    child.say("STATUS=before");
    let (mut waits, barrier) = std::io::pipe().unwrap();
    let fds = [barrier.as_fd(), barrier.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let text = [std::io::IoSlice::new(b"BARRIER=1")];
    sendmsg(&child.0, &text, &mut control, SendFlags::empty()).unwrap();
    drop(barrier);
    child.say("READY=1");
    let view = web.until(|view| view.ready).await;
    assert_eq!(view.signs.read().status.as_deref(), Some("before"));
    // Every copy is closed.
    assert_eq!(waits.read(&mut [0]).unwrap(), 0);
}

async fn until_signs(view: &InstanceView, wanted: impl Fn(&Signs) -> bool) -> Signs {
    within(async {
        loop {
            let signs = view.signs.read();
            if wanted(&signs) {
                return signs;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_silent_watchdog_gets_sigabrt_and_one_that_speaks_does_not() {
    let pid = Some(std::process::id());
    let rig = Rig::new(move |_, _| Act { pid, ..Act::runs() });
    let mut web = Web::begin(&rig, live(LiveBy::Watchdog, SECOND * 3_000, 1));
    let view = web.until(|view| view.ready).await;
    let env = rig.keeper.lives("web", 1).await.env;
    assert_eq!(env.get("WATCHDOG_USEC"), Some("3000000000"));
    let child = Talker::new(&rig);
    child.say("WATCHDOG=1\nSTATUS=serving 12 users\nRELOADING=1");
    let signs = until_signs(&view, |signs| signs.status.is_some()).await;
    assert_eq!(signs.status.as_deref(), Some("serving 12 users"));
    assert_eq!(signs.doing, Some(crate::view::Doing::Reloading));
    assert_eq!((signs.probes[0].ok, signs.probes[0].checks), (Some(true), 1));
    child.say("READY=1\nWATCHDOG_USEC=50000");
    let view = web.until(|view| view.state == InstanceState::Stopping).await;
    assert_eq!(view.reason, "no WATCHDOG=1 for 50ms");
    let seen = rig.keeper.seen().await;
    assert!(seen.contains(&"signal web#1 6 main".to_owned()), "{seen:?}");
    drop(web.tasks);
}

#[tokio::test]
async fn a_process_may_pull_its_own_trigger() {
    let pid = Some(std::process::id());
    let rig = Rig::new(move |_, _| Act { pid, ..Act::runs() });
    let mut web = Web::begin(&rig, live(LiveBy::Watchdog, SECOND * 3_000, 3));
    web.until(|view| view.ready).await;
    Talker::new(&rig).say("WATCHDOG=trigger");
    let view = web.until(|view| view.state == InstanceState::Stopping).await;
    assert!(view.reason.contains("WATCHDOG=trigger"), "{}", view.reason);
}

#[tokio::test]
async fn strangers_and_monsters_are_refused_by_name_and_change_nothing() {
    let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = Some(other.id());
    // This test is no process of the tree that `cat` is the main process of.
    let mut rig = Rig::new(move |_, _| Act { pid, ..Act::runs() });
    let ready = Some(Ready { by: ReadyBy::Notify, timeout: SECOND * 3_000 });
    let mut web = Web::begin(&rig, InstanceSpec { ready, ..spec("web") });
    let view = web.until(|view| view.pid.is_some()).await;
    let stranger = Talker::new(&rig);
    stranger.say("READY=1\nSTATUS=it was me");
    let refused = rig.event("instance.notify_refused").await.event;
    let wanted = format!("sd_notify message of pid {} (", std::process::id());
    assert!(refused.reason.starts_with(&wanted), "{}", refused.reason);
    assert!(refused.reason.ends_with("which is not of its tree"), "{}", refused.reason);
    assert_eq!(view.signs.read().status, None);
    assert!(!view.ready);
    drop(other.stdin.take());
    other.wait().unwrap();
}

#[tokio::test]
async fn a_main_process_of_a_stranger_and_a_monster_do_not_count() {
    let pid = Some(std::process::id());
    let mut rig = Rig::new(move |_, _| Act { pid, ..Act::runs() });
    let ready = Some(Ready { by: ReadyBy::Notify, timeout: SECOND * 3_000 });
    let mut web = Web::begin(&rig, InstanceSpec { ready, ..spec("web") });
    web.until(|view| view.pid.is_some()).await;
    let child = Talker::new(&rig);
    child.say(&format!("READY=1\nSTATUS={}", "x".repeat(65 << 10)));
    let refused = rig.event("instance.notify_refused").await.event;
    assert!(refused.reason.contains("of more than 65536 bytes"), "{}", refused.reason);
    child.say("MAINPID=1\nSTATUS=up");
    child.say("READY=1");
    let view = web.until(|view| view.ready).await;
    let signs = view.signs.read();
    assert_eq!((signs.main_pid, signs.status.as_deref()), (None, Some("up")));
}
