//! What the monitor is told: who is there, and what happened to them.
//!
//! One task. Lists of instances change in bursts (a thousand starts are some thousand changes), so the newest is taken at most every
//! [`PACE`]; what is missed in between is younger than a look of the sampler's anyway, and its end still tells what it cost.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ganger_core::{End, Event, SignalSource};
use ganger_keeper::wire::INSTANCE_ENV;
use ganger_monitor::{Monitor, Settings, Watched};
use ganger_series::{Mark, What};
use ganger_supervise::{InstanceView, Snapshot};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

/// Between two lists: well within a second, in which the sampler looks once.
const PACE: Duration = Duration::from_millis(200);
/// The folder of series in the state folder.
const FOLDER: &str = "series";

/// What the task is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) monitor: Monitor,
    pub(crate) services: watch::Receiver<Arc<Snapshot>>,
    pub(crate) workers: watch::Receiver<Arc<Snapshot>>,
    pub(crate) events: broadcast::Receiver<Arc<Event>>,
    pub(crate) ending: watch::Receiver<Option<Duration>>,
}

/// Starts the monitor of a state folder. Without one everything else works.
pub(crate) fn start(state_dir: &Path) -> Option<(Monitor, JoinHandle<()>)> {
    let keeper = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    let sampler = ganger_sampler::Options { reaper: keeper, ..Default::default() };
    let series = ganger_series::Options::new(state_dir.join(FOLDER));
    Monitor::start(Settings { sampler, series })
        .inspect_err(|error| tracing::error!(%error, "nothing watches what processes cost"))
        .ok()
}

/// Tells until the daemon ends.
pub(crate) async fn tell(parts: Parts) {
    let Parts { monitor, mut services, mut workers, mut events, mut ending } = parts;
    let mut due = Some(Instant::now());
    let mut told = Instant::now();
    loop {
        tokio::select! {
            () = until(due), if due.is_some() => {
                (due, told) = (None, Instant::now());
                let (services, workers) = (services.borrow_and_update(), workers.borrow_and_update());
                let views = services.instances.iter().chain(&workers.instances);
                monitor.watch(views.map(|view| watched(view)).collect());
            }
            changed = services.changed(), if due.is_none() => match changed {
                Ok(()) => due = Some(told + PACE),
                Err(_) => return,
            },
            changed = workers.changed(), if due.is_none() => match changed {
                Ok(()) => due = Some(told + PACE),
                Err(_) => return,
            },
            event = events.recv() => match event {
                Ok(event) => heard(&monitor, &event),
                // Marks that are missed are missed; the events are in the store.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = ending.wait_for(Option::is_some) => return,
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn watched(view: &InstanceView) -> Watched {
    Watched {
        name: view.id.name.clone(),
        slot: view.id.slot,
        pid: view.pid,
        started_ms: view.started_at_ms.unwrap_or(0),
        cgroup: None,
        mark: Some(format!("{INSTANCE_ENV}={}", view.id)),
    }
}

fn heard(monitor: &Monitor, event: &Event) {
    if let (Some(exit), Some(slot)) = (&event.exit, event.slot) {
        let told = monitor.ended(&event.name, slot, exit.pid, exit.usage);
        if let Err(error) = told {
            tracing::warn!(%error, name = event.name, slot, "an exit is not counted");
        }
    }
    let started = event.exit.as_ref().zip(event.slot);
    let started = started.and_then(|(exit, slot)| monitor.started_ms(&event.name, slot, exit.pid));
    for what in marks(event, started) {
        let at_ms = i64::try_from(event.ts_ms).unwrap_or(i64::MAX);
        let mark = Mark { at_ms, name: event.name.clone(), slot: event.slot, what };
        if let Err(error) = monitor.mark(mark) {
            tracing::warn!(%error, name = event.name, "a mark is lost");
        }
    }
}

/// What an event is on the time axis.
fn marks(event: &Event, started_ms: Option<u64>) -> Vec<What> {
    if let Some(exit) = &event.exit {
        let (end, cost) = (exit.end.clone(), exit.usage);
        let ran_ms = started_ms.map(|started| event.ts_ms.saturating_sub(started));
        let oom = matches!(end, End::Signalled { by: SignalSource::OomKiller, .. })
            .then_some(What::Oom { peak: Some(cost.peak_rss).filter(|peak| *peak > 0) });
        return oom.into_iter().chain([What::Exit { end, ran_ms, cost }]).collect();
    }
    let is = |word: &str| event.to.as_deref() == Some(word);
    let reason = event.reason.clone();
    match &*event.kind {
        "service.reload" if is("done") => vec![What::Deploy { reason }],
        "instance.state" if is("starting") && event.from.as_deref() == Some("backoff") => {
            vec![What::Restart { reason }]
        }
        "pool.scaled" => {
            let number = |text: &Option<String>| text.as_deref()?.parse().ok();
            let scale = number(&event.from).zip(number(&event.to));
            scale.map(|(from, to)| What::Scale { from, to }).into_iter().collect()
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use ganger_core::{Exit, Usage};

    use super::*;

    fn event(kind: &str, from: &str, to: &str) -> Event {
        Event {
            seq: 1,
            ts_ms: 7,
            kind: kind.into(),
            name: "web".into(),
            slot: Some(1),
            from: Some(from.into()),
            to: Some(to.into()),
            reason: "why".into(),
            exit: None,
        }
    }

    #[test]
    fn what_matters_later_is_marked_and_nothing_else() {
        let restart = marks(&event("instance.state", "backoff", "starting"), None);
        assert_eq!(restart, [What::Restart { reason: "why".into() }]);
        assert_eq!(marks(&event("instance.state", "stopped", "starting"), None), []);
        assert_eq!(marks(&event("pool.scaled", "1", "4"), None), [What::Scale { from: 1, to: 4 }]);
        assert_eq!(marks(&event("service.reload", "", "begins"), None), []);
        let mut oom = event("instance.exit", "", "");
        let end = End::Signalled { signal: 9, core: false, by: SignalSource::OomKiller };
        let usage = Usage { peak_rss: 1 << 20, ..Usage::default() };
        oom.exit = Some(Box::new(Exit { pid: 9, end: end.clone(), usage }));
        let marked = marks(&oom, Some(2));
        assert_eq!(marked[0], What::Oom { peak: Some(1 << 20) });
        assert_eq!(marked[1], What::Exit { end, ran_ms: Some(5), cost: usage });
    }
}
