//! `ganger why`: every cause that keeps a task from running, or a service from being as configured, one sentence each; and why
//! a command was denied or failed.

mod run;
mod service;

use std::process::ExitCode;
use std::time::Duration;

use ganger_api::{Cause, Holder, Seconds, Timestamp, Why};
use ganger_audit::RunId;
use ganger_core::{TaskId, TaskState};

use crate::error::CliError;
use crate::link;
use crate::text;
use crate::ui::Ui;

/// `why`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A task's id, the name of a service or pool, or the id of a run of `ganger exec`
    #[arg(value_name = "TASK|NAME|RUN")]
    subject: Subject,
    #[command(flatten)]
    at: super::audit::Where,
    /// Print JSON, stable for scripts
    #[arg(long)]
    json: bool,
}

/// Ids of runs are longer than those of tasks, so that one can't be taken for the other.
#[derive(Debug, Clone)]
enum Subject {
    Task(TaskId),
    Run(RunId),
    /// Of a service or pool, which the daemon may know.
    Name(String),
}

impl std::str::FromStr for Subject {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let run = text.parse().map(Self::Run);
        let task = || text.parse().map(Self::Task);
        Ok(run.or_else(|_| task()).unwrap_or_else(|_| Self::Name(text.to_owned())))
    }
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let task = match &args.subject {
        Subject::Run(id) => return run::run(*id, &args.at, args.json, ui),
        Subject::Name(name) => return service::run(name, args.json, ui),
        Subject::Task(task) => *task,
    };
    let why = link::session(ui, async |client| Ok(client.why(task).await?))?;
    if args.json {
        ui.json(&why)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = ui.out();
    for line in lines(&why) {
        out.line(&text::printable(&line))?;
    }
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

fn lines(why: &Why) -> Vec<String> {
    if why.causes.is_empty() {
        return vec![format!("nothing holds it: it is next in queue {}", why.queue)];
    }
    let mut lines: Vec<String> =
        why.causes.iter().map(|cause| sentence(cause, &why.queue)).collect();
    let several = why.causes.len() > 1;
    if let Some(eta) = why.eta_s.filter(|eta| several && eta.0 > 0.0) {
        lines.push(format!("all in all it may begin in about {}", span(eta)));
    }
    lines
}

fn sentence(cause: &Cause, queue: &str) -> String {
    match cause {
        Cause::Finished { state, at, error } => finished(*state, *at, error.as_deref()),
        Cause::Running { worker, since, timeout_s, stopping, progress } => {
            let stop = if *stopping { "; it was asked to stop" } else { "" };
            let far = progress.as_ref().map(|far| format!(" (at {})", super::task_log::shown(far)));
            let far = far.unwrap_or_default();
            match since {
                Some(since) => format!(
                    "it runs on {worker} since {}, and may take {}{far}{stop}",
                    text::clock(since.0),
                    span(*timeout_s)
                ),
                None => format!("it waits in the buffer of {worker} and is its next{stop}"),
            }
        }
        Cause::Scheduled { until } => format!("it is not to run before {until}"),
        Cause::Retry { until, attempt, max, error } => {
            let error = error.as_deref().unwrap_or("no error was given");
            format!("attempt {attempt} of {max} failed ({error}); the next is at {until}")
        }
        Cause::Follows { leader, state, worker, since, eta_s } => {
            let where_ = match (worker, since) {
                (Some(worker), Some(since)) => {
                    format!("runs on {worker} since {}{}", text::clock(since.0), about(*eta_s))
                }
                (Some(worker), None) => format!("waits in the buffer of {worker}"),
                (None, _) => format!("is {state} (`ganger why {leader}` says what holds that one)"),
            };
            format!(
                "it waits for the result of task {leader}, which has the same input and {where_}; it completes \
                 with that result, and if there comes none, the oldest that waits for it runs"
            )
        }
        Cause::Paused { since, by } => {
            let since = since.map(|at| format!(" since {at}")).unwrap_or_default();
            match by.as_str() {
                "config" => format!("queue {queue} is paused{since} by ganger.toml"),
                _ => format!(
                    "queue {queue} is paused{since}; `ganger queue resume {queue}` opens it"
                ),
            }
        }
        Cause::Limit { of, name, max, held_by, eta_s } => format!(
            "{} may run {max} at once{}{}",
            whose(of, name.as_deref(), queue),
            held(", held by ", held_by),
            about(*eta_s)
        ),
        Cause::Rate { of, name, eta_s } => format!(
            "{} has reached its rate; the next may begin in {}",
            whose(of, name.as_deref(), queue),
            span(*eta_s)
        ),
        Cause::StoreHeld { error, eta_s } => {
            format!("nothing can be stored ({error}); it is tried again in {}", span(*eta_s))
        }
        Cause::Ahead { tasks, at_least, eta_s } => format!(
            "it is behind {}{tasks} task{} of queue {queue}{}",
            if *at_least { "at least " } else { "" },
            if *tasks == 1 { "" } else { "s" },
            about(*eta_s)
        ),
        other => of_workers(other, queue),
    }
}

fn of_workers(cause: &Cause, queue: &str) -> String {
    match cause {
        Cause::NoPool {} => {
            format!("no pool takes from queue {queue}; add it to `queues` of a [pool.NAME]")
        }
        Cause::PoolStopped { pool } => {
            format!("pool {pool} is stopped; `ganger start {pool}` starts it")
        }
        Cause::NoWorkers { pool } => {
            format!("pool {pool} has no workers; `ganger scale {pool}=1` gives it one")
        }
        Cause::WorkerDown { worker, state, reason, next_try_s } => {
            let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            let next = next_try_s.map(|s| format!(", next try in {}", span(s))).unwrap_or_default();
            format!("worker {worker} is {state}{reason}{next}")
        }
        Cause::Stuck { worker, pids } => {
            let pids: Vec<_> = pids.iter().map(u32::to_string).collect();
            format!(
                "it ran on {worker} when ganger died, and pid {} of that time may still run it; \
                 it goes on once that has ended (`kill -9 {}`)",
                pids.join(", "),
                pids.join(" ")
            )
        }
        Cause::WorkerStuck { worker, reason } => {
            format!("worker {worker} can't be proven dead ({reason})")
        }
        Cause::Busy { workers, tasks, eta_s } => format!(
            "{} busy{}{}",
            if *workers == 1 { "its only worker is" } else { "all its workers are" },
            held(" with ", tasks),
            about(*eta_s)
        ),
        _ => "ganger is going down and hands out nothing".to_owned(),
    }
}

fn finished(state: TaskState, at: Option<Timestamp>, error: Option<&str>) -> String {
    let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
    let error = error.map(|error| format!(": {error}")).unwrap_or_default();
    match state {
        TaskState::Completed => format!("it is completed{at}"),
        _ => format!("it is {state}{at}{error}"),
    }
}

fn whose(of: &str, name: Option<&str>, queue: &str) -> String {
    match name {
        Some(name) => format!("{of} {name} of queue {queue}"),
        None => format!("queue {queue}"),
    }
}

fn held(intro: &str, holders: &[Holder]) -> String {
    let one = |holder: &Holder| match holder.since {
        Some(since) => {
            format!("{} on {} since {}", holder.task, holder.worker, text::clock(since.0))
        }
        None => format!("{} in the buffer of {}", holder.task, holder.worker),
    };
    let all: Vec<String> = holders.iter().map(one).collect();
    if all.is_empty() { String::new() } else { format!("{intro}{}", all.join(", ")) }
}

fn about(eta: Option<Seconds>) -> String {
    eta.map(|eta| format!(" (about {})", span(eta))).unwrap_or_default()
}

fn span(seconds: Seconds) -> String {
    text::age(Duration::from_secs_f64(seconds.0.clamp(0.0, 1e9)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_one_sentence() {
        let id = TaskId::from_raw(7).unwrap();
        let holder = Holder { task: id, worker: "images#2".into(), since: None };
        let causes = vec![
            Cause::Scheduled { until: Timestamp(1_795_341_600_000) },
            Cause::Retry {
                until: Timestamp(1_795_341_600_000),
                attempt: 2,
                max: 5,
                error: Some("no route to host".into()),
            },
            Cause::Follows {
                leader: id,
                state: TaskState::Running,
                worker: Some("images#1".into()),
                since: Some(Timestamp(1_795_341_600_000)),
                eta_s: Some(Seconds(3.0)),
            },
            Cause::Follows {
                leader: id,
                state: TaskState::Retryable,
                worker: None,
                since: None,
                eta_s: None,
            },
            Cause::Paused { since: None, by: "person".into() },
            Cause::Paused { since: None, by: "config".into() },
            Cause::Limit {
                of: "key".into(),
                name: Some("acme".into()),
                max: 1,
                held_by: vec![holder.clone()],
                eta_s: Some(Seconds(12.0)),
            },
            Cause::Rate { of: "queue".into(), name: None, eta_s: Seconds(0.5) },
            Cause::StoreHeld { error: "the disk is full".into(), eta_s: Seconds(1.0) },
            Cause::Ahead { tasks: 1, at_least: false, eta_s: None },
            Cause::Ahead { tasks: 900, at_least: true, eta_s: Some(Seconds(90.0)) },
            Cause::NoPool {},
            Cause::PoolStopped { pool: "images".into() },
            Cause::NoWorkers { pool: "images".into() },
            Cause::WorkerDown {
                worker: "images#1".into(),
                state: "backoff".into(),
                reason: "exit code 1".into(),
                next_try_s: Some(Seconds(3.0)),
            },
            Cause::WorkerStuck { worker: "images#1".into(), reason: "pid 7".into() },
            Cause::Stuck { worker: "images#1".into(), pids: vec![7, 8] },
            Cause::Busy { workers: 2, tasks: vec![holder], eta_s: None },
            Cause::Running {
                worker: "images#1".into(),
                since: None,
                timeout_s: Seconds(600.0),
                stopping: true,
                progress: None,
            },
            Cause::Finished {
                state: TaskState::Discarded,
                at: Some(Timestamp(1_795_341_600_000)),
                error: Some("no".into()),
            },
            Cause::GoingDown {},
        ];
        let all: Vec<_> = causes.iter().map(|cause| sentence(cause, "images")).collect();
        insta::assert_snapshot!("why", all.join("\n"));
    }
}
