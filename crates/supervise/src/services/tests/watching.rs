//! Services that watch files: real files, a fake keeper, paused time.

use std::fs;
use std::path::Path;

use ganger_core::Event;

use super::*;
use crate::watch::{DEBOUNCE, Watch};

fn watched(name: &str, base: &Path) -> ServiceSpec {
    let (paths, ignore) = (vec![".".to_owned()], vec![]);
    let watch = Watch { base: base.to_owned(), paths, ignore, debounce: DEBOUNCE };
    ServiceSpec { watch: Some(Arc::new(watch)), ..service(name) }
}

/// The next word of a watch: where to, and why.
async fn told(rig: &mut Rig) -> (String, String) {
    let Event { to, reason, .. } = rig.event("service.watch").await.event;
    (to.unwrap_or_default(), reason)
}

fn text(to: &str, reason: &str) -> (String, String) {
    (to.to_owned(), reason.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_change_restarts_once_and_a_stopped_service_stays_so() {
    let files = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(|_, _| Act::runs());
    let Startup { services, mut snapshot, .. } = begin(&rig);
    services.apply(vec![watched("a", files.path()), service("b")], vec![]).await.unwrap();
    assert_eq!(told(&mut rig).await, text("watching", "1 folder"));
    seen(&mut snapshot, |s| s.instances.iter().filter(|view| view.ready).count() == 2).await;

    for name in ["x", "y", "x"] {
        fs::write(files.path().join(name), "1").unwrap();
    }
    assert_eq!(told(&mut rig).await, text("restart", "x changed and 1 more"));
    seen(&mut snapshot, |s| view(s, "a").restarts == 1 && view(s, "a").ready).await;
    fs::write(files.path().join("z"), "1").unwrap();
    assert_eq!(told(&mut rig).await, text("restart", "z changed"));
    seen(&mut snapshot, |s| view(s, "a").restarts == 2 && view(s, "a").ready).await;

    within(services.stop("a", None).await.unwrap().done()).await.unwrap();
    fs::write(files.path().join("x"), "2").unwrap();
    tokio::time::sleep(SECOND).await;
    within(services.start("a", None).await.unwrap().done()).await.unwrap();
    fs::write(files.path().join("y"), "2").unwrap();
    assert_eq!(told(&mut rig).await, text("restart", "y changed"));
    seen(&mut snapshot, |s| view(s, "a").restarts == 3 && view(s, "a").ready).await;
    for (name, started) in [("a", 5), ("b", 1)] {
        assert_eq!(rig.keeper.lives(name, 1).await.started, started, "{name}");
    }
    // Without `watch` in its spec it is watched no more.
    services.apply(vec![service("a"), service("b")], vec![]).await.unwrap();
    fs::write(files.path().join("x"), "3").unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(rig.keeper.lives("a", 1).await.started, 5);
}

#[tokio::test(start_paused = true)]
async fn a_change_during_a_restart_leads_to_one_more_and_a_failed_service_starts() {
    let files = tempfile::tempdir().unwrap();
    let spec = watched("a", files.path());
    let mut rig = Rig::new(|_, life| match life {
        1 => Act { on_term: OnTerm::Exits(2 * SECOND, 0), ..Act::runs() },
        _ => Act::runs(),
    });
    let Startup { services, mut snapshot, .. } = begin(&rig);
    services.apply(vec![spec], vec![]).await.unwrap();
    assert_eq!(told(&mut rig).await.0, "watching");
    seen(&mut snapshot, |s| s.instances.iter().any(|view| view.ready)).await;
    fs::write(files.path().join("x"), "1").unwrap();
    assert_eq!(told(&mut rig).await, text("restart", "x changed"));
    for name in ["y", "z"] {
        fs::write(files.path().join(name), "1").unwrap();
        tokio::time::sleep(SECOND / 2).await;
    }
    assert_eq!(told(&mut rig).await, text("restart", "y changed and 1 more"));
    seen(&mut snapshot, |s| view(s, "a").restarts == 2 && view(s, "a").ready).await;
    assert_eq!(rig.keeper.lives("a", 1).await.started, 3);
}
