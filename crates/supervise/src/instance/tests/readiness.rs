//! Readiness, and what a child's note brings to the next daemon.

use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use ganger_core::InstanceState;
use ganger_testkit::Act;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::blob::{Blob, Follows, fingerprint};
use super::super::{Begin, InstanceHandle, InstanceNotice, start};
use crate::spec::{InstanceSpec, Ready, ReadyBy, Stop};
use crate::testing::{Rig, spec, with_channel, within};

const SECOND: Duration = Duration::from_secs(1);

fn ready(by: ReadyBy) -> InstanceSpec {
    InstanceSpec { ready: Some(Ready { by, timeout: SECOND * 30 }), ..spec("web") }
}

fn begin(rig: &Rig, spec: InstanceSpec) -> (InstanceHandle, JoinSet<()>) {
    // Nobody listens: notices have no holder in these tests.
    let (notices, _) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    (start(spec, Begin::Up, None, rig.around.clone(), notices, &mut tasks), tasks)
}

async fn until_note(rig: &Rig, wanted: impl Fn(&Blob) -> bool) -> Blob {
    within(async {
        loop {
            let note = Blob::read(&rig.keeper.lives("web", 1).await.blob);
            if wanted(&note) {
                return note;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_tcp_listener_makes_it_ready() {
    let rig = Rig::new(|_, _| Act::runs());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (web, _tasks) = begin(&rig, ready(ReadyBy::Tcp(format!(":{port}"))));
    web.start().await.done().await.unwrap();
    until_note(&rig, |note| note.ready).await;
}

#[tokio::test(start_paused = true)]
async fn no_readiness_in_time_is_a_failure_and_backs_off() {
    let mut rig = Rig::new(|_, _| Act::runs());
    let (web, _tasks) = begin(&rig, ready(ReadyBy::Notify));
    let begun = Instant::now();
    let error = web.start().await.done().await.unwrap_err().to_string();
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert!(error.contains("not ready after 30s"), "{error}");
    let exit = rig.event("instance.exit").await;
    assert_eq!(exit.event.reason, "killed by SIGTERM from ganger");
    let state = rig.event("instance.state").await;
    assert_eq!(state.event.to.as_deref(), Some("backoff"));
    assert_eq!(state.resume.unwrap().state, InstanceState::Backoff);
}

#[tokio::test(start_paused = true)]
async fn a_bad_address_is_said_at_once() {
    let rig = Rig::new(|_, _| Act::runs());
    let (web, _tasks) = begin(&rig, ready(ReadyBy::Tcp("localhost".into())));
    let begun = Instant::now();
    let error = web.start().await.done().await.unwrap_err().to_string();
    assert!(error.contains("`localhost` is no TCP address"), "{error}");
    assert!(begun.elapsed() < SECOND);
}

#[tokio::test]
async fn notify_makes_it_ready_and_the_keeper_holds_the_socket() {
    // This test is the child that speaks.
    let pid = Some(std::process::id());
    let mut rig = Rig::new(move |_, _| Act { pid, ..Act::runs() });
    let (web, _tasks) = begin(&rig, ready(ReadyBy::Notify));
    let up = web.start().await;
    let path = rig.dir.path().join("web.1.notify");
    let name = path.to_string_lossy().into_owned();
    within(async {
        while rig.keeper.lives("web", 1).await.env.get("NOTIFY_SOCKET") != Some(&*name) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(rig.keeper.held().await, ["notify:web#1"]);
    let child = UnixDatagram::unbound().unwrap();
    child.set_nonblocking(true).unwrap();
    child.send_to(b"STATUS=warming up\nREADY=0", &path).unwrap();
    child.send_to(b"MAINPID=1\nREADY=1", &path).unwrap();
    up.done().await.unwrap();
    rig.event("instance.ready").await;
    // More than the socket's queue holds: somebody must read on, or the child would block.
    for n in 0..100 {
        within(async {
            while child.send_to(format!("STATUS={n}").as_bytes(), &path).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    assert_eq!(rig.keeper.lives("web", 1).await.now, 1);
}

#[tokio::test]
async fn ready_on_its_channel_makes_it_ready() {
    let rig = Rig::new(|_, _| Act::runs());
    let (web, _tasks) = begin(&rig, with_channel(ready(ReadyBy::Channel)));
    let up = web.start().await;
    let far = within(async {
        loop {
            if let Some(far) = rig.keeper.channel("web", 1).await {
                return far;
            }
        }
    })
    .await;
    let mut far = UnixStream::from(far);
    far.write_all(b"{\"hello\":1}\n\"rea").unwrap();
    far.write_all(b"dy\"\n").unwrap();
    up.done().await.unwrap();
}

/// The fake process knows nothing of messages: no signal came if it lives on until its time is over.
#[tokio::test]
async fn who_is_asked_to_end_by_a_message_gets_no_signal() {
    let rig = Rig::new(|_, _| Act::runs());
    let mut spec = with_channel(spec("web"));
    spec.stop = Stop { message: true, timeout: Duration::from_secs(100), ..Stop::default() };
    let (web, _tasks) = begin(&rig, spec);
    web.start().await.done().await.unwrap();
    let far = within(async {
        loop {
            if let Some(far) = rig.keeper.channel("web", 1).await {
                return far;
            }
        }
    })
    .await;
    let (stopped, lines) =
        (web.stop("asked").await, std::io::BufReader::new(UnixStream::from(far)));
    let heard = tokio::task::spawn_blocking(move || {
        std::io::BufRead::lines(lines).next().unwrap().unwrap()
    });
    assert_eq!(within(heard).await.unwrap(), "\"shutdown\"");
    assert_eq!(rig.keeper.lives("web", 1).await.now, 1);
    tokio::time::pause();
    stopped.done().await.unwrap();
    assert_eq!(rig.keeper.lives("web", 1).await.now, 0);
}

#[tokio::test(start_paused = true)]
async fn a_holder_may_say_that_it_is_ready() {
    let rig = Rig::new(|_, _| Act::runs());
    let (notices, mut noticed) = mpsc::channel(16);
    let mut tasks = JoinSet::new();
    let mut spec = with_channel(ready(ReadyBy::Channel));
    spec.plan.kind = ganger_core::InstanceKind::Worker;
    let worker = start(spec, Begin::Up, None, rig.around.clone(), notices, &mut tasks);
    let channel = within(async {
        loop {
            if let (_, InstanceNotice::Started { ends, .. }) = noticed.recv().await.unwrap() {
                return ends.channel;
            }
        }
    })
    .await;
    assert!(channel.is_some(), "a worker's channel is its pool's");
    let up = worker.start().await;
    worker.ready().await;
    up.done().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_note_follows_the_life() {
    let rig = Rig::new(|_, _| Act { on_term: ganger_testkit::OnTerm::Ignores, ..Act::runs() });
    let spec = ready(ReadyBy::Notify);
    let mark = fingerprint(&spec);
    let (web, _tasks) = begin(&rig, spec);
    let note = until_note(&rig, |note| !note.spec.is_empty()).await;
    assert_eq!(note, Blob { spec: mark.clone(), ..Blob::default() });
    web.ready().await;
    until_note(&rig, |note| note.ready).await;
    let _stop = web.stop("on request").await;
    let note = until_note(&rig, |note| note.stopping.is_some()).await;
    assert_eq!(note.stopping, Some(Follows::Stop));
}

#[test]
fn fingerprints_differ_where_processes_would() {
    let plain = fingerprint(&spec("web"));
    let mut other = spec("web");
    other.plan.blob = "a note".into();
    other.restart = crate::policy::Restart::Always;
    assert_eq!(fingerprint(&other), plain, "rules are not the process");
    other.plan.env.set("A", "");
    assert_ne!(fingerprint(&other), plain);
    assert_ne!(fingerprint(&ready(ReadyBy::Notify)), plain);
    assert_eq!(Blob::read("not json"), Blob::default());
    assert!(Blob { spec: plain, restarts: u32::MAX, ..Blob::default() }.write().len() < 200);
}
