//! The owner task with the fake keeper, in paused time.

use std::time::Duration;

use ganger_core::{Backoff, End, InstanceId, InstanceState, SignalSource};
use ganger_keeper::wire::Scope;
use ganger_testkit::{Act, OnTerm};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::{Begin, InstanceHandle, InstanceNotice, TicketError, start};
use crate::spec::InstanceSpec;
use crate::testing::{Rig, spec, within};

const SECOND: Duration = Duration::from_secs(1);

type Notices = mpsc::Receiver<(InstanceId, InstanceNotice)>;

/// Starts one instance and its tasks' set, which must outlive it.
fn begin(rig: &Rig, spec: InstanceSpec) -> (InstanceHandle, Notices, JoinSet<()>) {
    let (notices, noticed) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    let around = rig.around.clone();
    let handle = start(spec, Begin::AtRest(String::new()), None, around, notices, &mut tasks);
    (handle, noticed, tasks)
}

async fn state(notices: &mut Notices, wanted: InstanceState) -> String {
    within(async {
        loop {
            let (_, notice) = notices.recv().await.expect("the instance still speaks");
            if let InstanceNotice::State(view) = notice
                && view.state == wanted
            {
                return view.reason.clone();
            }
        }
    })
    .await
}

fn killed() -> End {
    End::Signalled { signal: 9, core: false, by: SignalSource::Unknown }
}

fn at_once() -> Backoff {
    Backoff { base: Duration::ZERO, ..Backoff::SERVICE }
}

#[tokio::test(start_paused = true)]
async fn start_stop_and_both_twice() {
    let mut rig = Rig::new(|_, _| Act::runs());
    let (web, _notices, _tasks) = begin(&rig, spec("web"));
    web.start().await.done().await.unwrap();
    web.start().await.done().await.unwrap();
    assert_eq!(rig.keeper.lives("web", 1).await.now, 1);
    web.stop("on request").await.done().await.unwrap();
    web.stop("on request").await.done().await.unwrap();
    let lives = rig.keeper.lives("web", 1).await;
    assert_eq!((lives.started, lives.now, lives.most_at_once), (1, 0, 1));
    let exit = rig.event("instance.exit").await;
    assert_eq!(exit.event.reason, "killed by SIGTERM from ganger");
    assert_eq!(rig.keeper.unacked().await.len(), 1, "told is not recorded");
    exit.ack.unwrap().confirm().await;
    within(async { while !rig.keeper.unacked().await.is_empty() {} }).await;
    let end = rig.event("instance.state").await;
    assert_eq!(end.event.to.as_deref(), Some("stopped"));
    assert_eq!(end.event.reason, "on request: killed by SIGTERM from ganger");
}

#[tokio::test(start_paused = true)]
async fn a_replacement_is_asked_for_at_the_moment_of_the_exit() {
    let rig = Rig::new(|_, _| Act::runs());
    let (web, mut notices, _tasks) =
        begin(&rig, InstanceSpec { backoff: at_once(), ..spec("web") });
    web.start().await.done().await.unwrap();
    let before = Instant::now();
    rig.keeper.kill("web", 1, killed()).await.unwrap();
    within(async {
        loop {
            if let (_, InstanceNotice::Started { pid: 1_002, .. }) = notices.recv().await.unwrap() {
                return;
            }
        }
    })
    .await;
    let lives = rig.keeper.lives("web", 1).await;
    assert_eq!(lives.asked_at[1] - before, Duration::ZERO);
    assert_eq!(lives.most_at_once, 1);
}

#[tokio::test(start_paused = true)]
async fn who_ignores_the_signal_is_ended_by_force() {
    let mut rig = Rig::new(|_, _| Act::ignores_term());
    let (web, _notices, _tasks) = begin(&rig, spec("web"));
    web.start().await.done().await.unwrap();
    let before = Instant::now();
    web.stop("on request").await.done().await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 10);
    assert_eq!(
        rig.keeper.seen().await[1..],
        ["signal web#1 15 tree".to_owned(), "end web#1".to_owned()]
    );
    let exit = rig.event("instance.exit").await;
    assert_eq!(exit.event.reason, "killed by SIGKILL from ganger");
}

#[tokio::test(start_paused = true)]
async fn kill_main_goes_to_the_main_process_only() {
    let rig = Rig::new(|_, _| Act::runs());
    let mut spec = spec("web");
    (spec.stop.signal, spec.stop.scope) = (2, Scope::Main);
    let (web, _notices, _tasks) = begin(&rig, spec);
    web.start().await.done().await.unwrap();
    web.stop("on request").await.done().await.unwrap();
    assert!(rig.keeper.seen().await.contains(&"signal web#1 2 main".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn stuck_is_said_and_asked_again() {
    let rig = Rig::new(|_, _| Act { stuck_for: Some(SECOND * 45), ..Act::ignores_term() });
    let (web, mut notices, _tasks) = begin(&rig, spec("web"));
    web.start().await.done().await.unwrap();
    let stop = web.stop("on request").await;
    within(async {
        while !state(&mut notices, InstanceState::Stopping).await.contains("pid 1001") {}
    })
    .await;
    let before = Instant::now();
    stop.done().await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 45);
    let ends = rig.keeper.seen().await.iter().filter(|seen| *seen == "end web#1").count();
    assert_eq!(ends, 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_slow_start_undoes_it() {
    let rig = Rig::new(|_, _| Act { answers_after: SECOND, ..Act::runs() });
    let (web, _notices, _tasks) = begin(&rig, spec("web"));
    let up = web.start().await;
    web.stop("changed my mind").await.done().await.unwrap();
    assert!(matches!(up.done().await, Err(TicketError::NotUp { .. })));
    let lives = rig.keeper.lives("web", 1).await;
    assert_eq!((lives.started, lives.now), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn stop_wins_over_a_restart_under_way() {
    let slow = OnTerm::Exits(SECOND, 0);
    let rig = Rig::new(move |_, _| Act { on_term: slow.clone(), ..Act::runs() });
    let (web, _notices, _tasks) = begin(&rig, spec("web"));
    web.start().await.done().await.unwrap();
    let restart = web.restart().await;
    let stop = web.stop("on request").await;
    let late = web.restart().await;
    stop.done().await.unwrap();
    restart.done().await.unwrap_err();
    late.done().await.unwrap_err();
    tokio::time::sleep(SECOND * 3_600).await;
    let lives = rig.keeper.lives("web", 1).await;
    assert_eq!((lives.started, lives.now), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_restart_replaces_and_a_new_spec_is_used() {
    let rig = Rig::new(|_, _| Act::runs());
    let (web, mut notices, _tasks) = begin(&rig, spec("web"));
    web.start().await.done().await.unwrap();
    let mut newer = spec("web");
    newer.plan.env.set("NEW", "1");
    web.replace(newer, false).await;
    web.restart().await.done().await.unwrap();
    let lives = rig.keeper.lives("web", 1).await;
    assert_eq!((lives.started, lives.now, lives.most_at_once), (2, 1, 1));
    assert!(lives.env.get("NEW") == Some("1"));
    while let Ok((_, notice)) = notices.try_recv() {
        if let InstanceNotice::State(view) = notice {
            assert!(view.restarts <= 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_is_renewed_and_not_the_one_after_it() {
    let rig = Rig::new(|_, nth| if nth == 1 { Act::exits(SECOND, 3) } else { Act::runs() });
    let (web, mut notices, _tasks) =
        begin(&rig, InstanceSpec { backoff: at_once(), ..spec("web") });
    web.start().await.done().await.unwrap();
    let first = pid(&mut notices).await;
    // It ends by itself, and another takes its place, before somebody asks for its end.
    let second = pid(&mut notices).await;
    web.renew(first).await.done().await.unwrap();
    let lives = rig.keeper.lives("web", 1).await;
    assert_eq!((lives.started, lives.now), (2, 1));
    web.renew(second).await.done().await.unwrap();
    let lives = rig.keeper.lives("web", 1).await;
    assert_eq!((lives.started, lives.now, lives.most_at_once), (3, 1, 1));
}

/// Of the next process that starts.
async fn pid(notices: &mut Notices) -> u32 {
    loop {
        if let (_, InstanceNotice::Started { pid, .. }) = notices.recv().await.unwrap() {
            return pid;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_program_is_a_failure_that_names_it() {
    let rig = Rig::new(|_, nth| match nth {
        1..=3 => Act::fails("execve", 2, ""),
        _ => Act::runs(),
    });
    let (web, mut notices, _tasks) = begin(&rig, spec("web"));
    let error = web.start().await.done().await.unwrap_err().to_string();
    assert!(error.contains("can't start /bin/sleep: execve: No such file or directory"), "{error}");
    let reason = state(&mut notices, InstanceState::Backoff).await;
    assert!(reason.contains("/bin/sleep"), "{reason}");
    state(&mut notices, InstanceState::Running).await;
    assert_eq!(rig.keeper.lives("web", 1).await.asked_at.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn never_two_copies_in_a_crash_loop_and_the_breaker_slows_it() {
    let mut rig = Rig::new(|_, _| Act::exits(SECOND / 10, 3));
    let (web, mut notices, _tasks) =
        begin(&rig, InstanceSpec { backoff: at_once(), ..spec("web") });
    let begun = Instant::now();
    web.start().await.done().await.unwrap();
    let reason = state(&mut notices, InstanceState::Backoff).await;
    assert_eq!(reason, "breaker open after 10 restarts in 1m; last: exited with code 3");
    assert!(begun.elapsed() < SECOND * 2);
    let lives = rig.keeper.lives("web", 1).await;
    assert_eq!((lives.started, lives.most_at_once), (11, 1));
    let opened = Instant::now();
    state(&mut notices, InstanceState::Running).await;
    assert_eq!(opened.elapsed().as_secs(), 60);
    assert!(rig.event("instance.exit").await.event.reason.starts_with("exited with code 3"));
}

#[tokio::test(start_paused = true)]
async fn policies_say_what_an_end_means() {
    use crate::policy::Restart::{Always, Never, OnFailure};
    for (restart, code, wanted) in [
        (OnFailure, 0, InstanceState::Stopped),
        (OnFailure, 1, InstanceState::Backoff),
        (Always, 0, InstanceState::Backoff),
        (Never, 0, InstanceState::Stopped),
        (Never, 1, InstanceState::Failed),
    ] {
        let rig = Rig::new(move |_, _| Act::exits(SECOND, code));
        let (job, mut notices, _tasks) = begin(&rig, InstanceSpec { restart, ..spec("job") });
        job.start().await.done().await.unwrap();
        state(&mut notices, InstanceState::Running).await;
        let reason = within(async {
            loop {
                if let (_, InstanceNotice::State(view)) = notices.recv().await.unwrap()
                    && view.pid.is_none()
                {
                    assert_eq!(view.state, wanted, "{restart:?} {code}");
                    return view.reason.clone();
                }
            }
        })
        .await;
        assert_eq!(reason, format!("exited with code {code}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_keeper_ends_the_task_and_concludes_nothing() {
    let Rig { keeper, around, mut told, notices: mut said, .. } = Rig::new(|_, _| Act::runs());
    let (notices, mut noticed) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    let web = start(spec("web"), Begin::Up, None, around, notices, &mut tasks);
    state(&mut noticed, InstanceState::Running).await;
    keeper.lose().await;
    within(tasks.join_next()).await.unwrap().unwrap();
    assert!(matches!(web.start().await.done().await, Err(TicketError::Gone { .. })));
    assert!(noticed.try_recv().is_err(), "its state is still what it was");
    while let Ok(event) = told.try_recv() {
        assert_ne!(event.event.kind, "instance.exit");
    }
    let lost = within(async {
        loop {
            if let Some(ganger_process::Notice::KeeperLost(lost)) = said.recv().await {
                return lost;
            }
        }
    })
    .await;
    assert_eq!(lost.children(), 1);
}
