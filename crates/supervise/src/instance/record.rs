//! What is said of an instance: its view, its events, and the last lines of a dead child.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ganger_core::{BreakerState, Event, Exit, InstanceId, InstanceKind, InstanceState, Stream};
use ganger_keeper::wire::ExitReport;
use ganger_logs::read::LogReader;
use ganger_process::{Child, ExitAck, Processes};

use super::state::{Machine, State};
use crate::view::{InstanceView, SignsReader, Told};

/// Lines of stderr in an exit event: enough for a short backtrace, few enough for one screen.
const LAST_LINES: usize = 10;
/// How long the last lines may take. The logger moves what is in its pipes within milliseconds; an exit is told without
/// them rather than late.
const LAST_LINES_WAIT: Duration = Duration::from_secs(2);

/// Wall-clock milliseconds since 1970, for records only.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn view(
    id: &InstanceId,
    kind: InstanceKind,
    machine: &Machine,
    child: Option<&Child>,
    now: Instant,
) -> InstanceView {
    let next_try_ms = match machine.state() {
        State::Backoff { until, asked: false, .. } => {
            let left = until.saturating_duration_since(now).as_millis();
            Some(wall_ms().saturating_add(u64::try_from(left).unwrap_or(u64::MAX)))
        }
        _ => None,
    };
    InstanceView {
        id: id.clone(),
        kind,
        state: machine.word(),
        ready: matches!(machine.state(), State::Running { .. }),
        pid: child.map(Child::pid),
        restarts: machine.restarts(),
        failures: machine.failures(),
        crashes: machine.crashes(),
        cause: machine.cause(),
        breaker: machine.breaker(),
        started_at_ms: child.map(Child::started_at_ms),
        reason: machine.reason().to_owned(),
        next_try_ms,
        queued: machine.asks(),
        completed: matches!(machine.state(), State::Stopped { completed: true }),
        stuck: machine.stuck().to_vec(),
        degraded: child.map(|child| child.report().degraded.clone()).unwrap_or_default(),
        signs: SignsReader::default(),
    }
}

fn event(kind: &str, id: &InstanceId, reason: String) -> Event {
    Event {
        seq: 0,
        ts_ms: wall_ms(),
        kind: kind.to_owned(),
        name: id.name.clone(),
        slot: Some(id.slot),
        from: None,
        to: None,
        reason,
        exit: None,
    }
}

/// `instance.state`, with what a later daemon needs where the instance came to rest or left it.
pub(super) fn state_event(before: InstanceState, view: &Arc<InstanceView>) -> Told {
    let mut event = event("instance.state", &view.id, view.reason.clone());
    event.from = Some(before.to_string());
    event.to = Some(view.state.to_string());
    let resume = match view.state {
        InstanceState::Running | InstanceState::Stopping => None,
        // Wanted by a person, or not yet wanted: the verbs' own record says that.
        InstanceState::Stopped if !view.completed => None,
        _ => Some(view.resume()),
    };
    Told { event, ack: None, resume }
}

/// `instance.breaker`: it opened, tries one start, or closed.
pub(super) fn breaker_event(before: BreakerState, view: &InstanceView) -> Told {
    let mut event = event("instance.breaker", &view.id, view.reason.clone());
    event.from = Some(before.to_string());
    event.to = Some(view.breaker.to_string());
    Told { event, ack: None, resume: None }
}

/// `instance.ready`.
pub(super) fn ready_event(id: &InstanceId) -> Told {
    Told { event: event("instance.ready", id, String::new()), ack: None, resume: None }
}

/// `instance.notify_refused`: something it or a stranger said by sd_notify does not count.
pub(super) const NOTIFY_REFUSED: &str = "instance.notify_refused";

/// `instance.channel_refused`: something it said on its channel does not count.
pub(super) const CHANNEL_REFUSED: &str = "instance.channel_refused";

/// Either of them.
pub(super) fn refused_event(id: &InstanceId, kind: &'static str, why: String) -> Told {
    Told { event: event(kind, id, why), ack: None, resume: None }
}

/// How a child ended, as a person would say it.
pub(super) fn how(report: &ExitReport) -> String {
    match report.leftovers {
        0 => report.end.to_string(),
        1 => format!("{}; 1 process it left behind was ended", report.end),
        n => format!("{}; {n} processes it left behind were ended", report.end),
    }
}

/// `instance.exit`. After a failure it waits for the child's last words.
pub(super) async fn exit_event(
    report: ExitReport,
    ack: ExitAck,
    last_words: Option<(Processes, LogReader)>,
) -> Told {
    let mut reason = how(&report);
    if let Some((processes, logs)) = last_words {
        let lines = last_lines(&processes, logs, &report.instance);
        match tokio::time::timeout(LAST_LINES_WAIT, lines).await {
            Ok(lines) if !lines.is_empty() => {
                reason.push_str("; last lines of stderr:\n");
                reason.push_str(&lines.join("\n"));
            }
            _ => {}
        }
    }
    let mut event = event("instance.exit", &report.instance, reason);
    event.ts_ms = report.at_ms;
    let ExitReport { pid, end, usage, .. } = report;
    event.exit = Some(Box::new(Exit { pid, end, usage }));
    Told { event, ack: Some(ack), resume: None }
}

async fn last_lines(processes: &Processes, logs: LogReader, id: &InstanceId) -> Vec<String> {
    if processes.flush_logs().await.is_err() {
        return vec![];
    }
    let id = id.clone();
    let read = move || logs.tail_lines(&id.name, id.slot, Stream::Stderr, LAST_LINES);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(lines)) => lines,
        Ok(Err(error)) => {
            tracing::warn!(%error, "can't read the last lines of an ended child");
            vec![]
        }
        Err(_) => vec![],
    }
}
