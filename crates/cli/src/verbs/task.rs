//! `ganger task list|get|logs|retry|cancel|wait`.

use std::process::ExitCode;
use std::time::Duration;

use ganger_api::client::ClientOptions;
use ganger_api::{
    Client, PriorityRequest, Task, TaskPage, TaskQuery, TaskSummary, Timestamp, WaitCondition,
    WaitRequest,
};
use ganger_core::{Dur, Priority, TaskId, TaskState};

use super::control::all_or_part;
use super::wait::{FOREVER, GRACE};
use super::{Json, Page, task_log};
use crate::error::{CliError, Kind};
use crate::link;
use crate::table::{Table, Tone, left, right};
use crate::text;
use crate::ui::Ui;

/// Tasks of one request of an export: the most a page has.
const EXPORT_PAGE: u32 = 1_000;

/// `task`
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: TaskVerb,
}

#[derive(Debug, clap::Subcommand)]
enum TaskVerb {
    /// List tasks, newest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Show one task with its attempts
    #[command(visible_alias = "show")]
    Get {
        /// The task's id
        id: TaskId,
        #[command(flatten)]
        out: Json,
    },
    /// Show what its attempts logged: the lines of its workers, or the stderr of its commands
    Logs(task_log::Args),
    /// Write tasks as lines of JSON, whole and in any number; each line says where to go on
    Export(Export),
    /// Make ended tasks available again
    Retry(Ids),
    /// Cancel tasks that have not ended
    Cancel(Ids),
    /// Change the priority of tasks that wait, by id, or all of a queue's
    Priority(Reprioritise),
    /// Wait until a task has ended; exit 0 if it completed, 1 if not
    Wait {
        /// The task's id
        id: TaskId,
        /// Give up after this long, with exit code 7 [default: never]
        #[arg(long, value_name = "TIME")]
        timeout: Option<Dur>,
        #[command(flatten)]
        out: Json,
    },
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    out: Json,
}

#[derive(Debug, clap::Args)]
struct Export {
    #[command(flatten)]
    only: Only,
    /// Go on behind a line of an earlier export: its `cursor`
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

/// Which tasks.
#[derive(Debug, Clone, clap::Args)]
struct Only {
    /// Only tasks of this queue
    #[arg(short, long)]
    queue: Option<String>,
    /// Only tasks in this state
    #[arg(short, long, value_parser = state)]
    state: Option<TaskState>,
    /// Only tasks of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only tasks with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only tasks pushed since: 10m, 2h, or a time
    #[arg(long, value_name = "TIME", value_parser = text::moment)]
    since: Option<u64>,
    /// Only tasks pushed before: 10m, 2h, or a time
    #[arg(long, value_name = "TIME", value_parser = text::moment)]
    until: Option<u64>,
    /// Only tasks with all these words in kind, tags, payload, result or error
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
}

impl Only {
    fn query(&self) -> TaskQuery {
        TaskQuery {
            queue: self.queue.clone(),
            state: self.state,
            kind: self.kind.clone(),
            tag: self.tag.clone(),
            since: self.since.map(Timestamp),
            until: self.until.map(Timestamp),
            text: self.text.clone(),
            limit: None,
            after: None,
        }
    }
}

#[derive(Debug, clap::Args)]
struct Reprioritise {
    /// Tasks' ids, and the new priority (high, normal, low or 0-255) last
    #[arg(required = true, value_name = "ID... PRIORITY")]
    words: Vec<String>,
    /// Instead of ids: every waiting task of this queue
    #[arg(short, long)]
    queue: Option<String>,
    /// Of these, only tasks of this kind
    #[arg(short, long, requires = "queue")]
    kind: Option<String>,
    /// Of these, only tasks in this state: available, scheduled or retryable
    #[arg(short, long, requires = "queue", value_parser = state)]
    state: Option<TaskState>,
}

#[derive(Debug, clap::Args)]
struct Ids {
    /// The tasks' ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<TaskId>,
}

fn state(text: &str) -> Result<TaskState, String> {
    text.parse().map_err(|error: ganger_core::words::UnknownWord| error.to_string())
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    match &args.verb {
        TaskVerb::List(list) => run_list(list, ui),
        TaskVerb::Get { id, out } => {
            let task = link::session(ui, async |client| Ok(client.task(*id).await?))?;
            show(&task, out.json, ui)?;
            Ok(ExitCode::SUCCESS)
        }
        TaskVerb::Logs(args) => task_log::run(args, ui),
        TaskVerb::Export(export) => run_export(export, ui),
        TaskVerb::Retry(ids) => on_each(ids, ui, "retried", async |client, id| {
            client.retry(id).await.map(drop).map_err(Into::into)
        }),
        TaskVerb::Cancel(ids) => on_each(ids, ui, "cancelled", async |client, id| {
            client.cancel(id).await.map(drop).map_err(Into::into)
        }),
        TaskVerb::Priority(what) => run_priority(what, ui),
        TaskVerb::Wait { id, timeout, out } => run_wait(*id, *timeout, out.json, ui),
    }
}

fn run_priority(what: &Reprioritise, ui: &Ui) -> Result<ExitCode, CliError> {
    let usage = |why: String| CliError::new(Kind::Usage, why);
    let (last, ids) = what.words.split_last().ok_or_else(|| usage("no priority".into()))?;
    let priority: Priority = last
        .parse()
        .map_err(|error| usage(format!("{error}")).help("ganger task priority ID... high"))?;
    let Some(queue) = &what.queue else {
        if ids.is_empty() {
            return Err(usage("no task is named".into()).help("ganger task priority ID... high"));
        }
        let ids: Result<Vec<TaskId>, _> = ids.iter().map(|id| id.parse()).collect();
        let ids = ids.map_err(|error: ganger_core::ids::IdError| usage(error.to_string()))?;
        let past = format!("priority {priority}:");
        return on_each(&Ids { ids }, ui, &past, async |client, id| {
            client.set_priority(id, priority).await.map(drop).map_err(Into::into)
        });
    };
    if !ids.is_empty() {
        return Err(usage("either ids or --queue".into()));
    }
    let request = PriorityRequest { priority, kind: what.kind.clone(), state: what.state };
    let done =
        link::session(ui, async |client| Ok(client.set_priorities(queue, &request).await?))?;
    for note in &done.notes {
        ui.talk(note);
    }
    Ok(ExitCode::SUCCESS)
}

fn on_each(
    ids: &Ids,
    ui: &Ui,
    past: &str,
    each: impl AsyncFn(&Client, TaskId) -> Result<(), CliError>,
) -> Result<ExitCode, CliError> {
    link::session(ui, async |client| {
        let mut failed = Vec::new();
        for id in &ids.ids {
            match each(&client, *id).await {
                Ok(()) => ui.talk(&format!("{past} {id}")),
                Err(error) => failed.push(error),
            }
        }
        all_or_part(failed, ids.ids.len(), ui)
    })
}

/// A daemon looks through a bounded number of tasks per request, so what is asked for may take several.
async fn whole_page(client: &Client, mut query: TaskQuery) -> Result<TaskPage, CliError> {
    let mut page = client.tasks(&query).await?;
    let limit = query.limit.unwrap_or_default() as usize;
    while page.tasks.len() < limit && page.next.is_some() {
        query.limit = u32::try_from(limit - page.tasks.len()).ok();
        query.after = page.next;
        let more = client.tasks(&query).await?;
        page.tasks.extend(more.tasks);
        page.next = more.next;
    }
    Ok(page)
}

fn run_list(list: &List, ui: &Ui) -> Result<ExitCode, CliError> {
    let query = TaskQuery {
        limit: Some(list.page.limit),
        after: list.page.after.clone(),
        ..list.only.query()
    };
    let page = link::session(ui, async |client| whole_page(&client, query).await)?;
    if list.out.json {
        ui.json(&page)?;
        return Ok(ExitCode::SUCCESS);
    }
    if page.tasks.is_empty() {
        ui.talk("no such tasks");
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = ui.out();
    out.line(&table(&page.tasks, text::now_ms()).render(ui.width(), ui.data_is_coloured()))?;
    out.done()?;
    if let Some(next) = &page.next {
        ui.talk(&format!("more: --after {next}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Pages of 1,000 until there are no more. Tasks that end meanwhile may come twice, first unfinished, then finished.
fn run_export(export: &Export, ui: &Ui) -> Result<ExitCode, CliError> {
    let mut query =
        TaskQuery { limit: Some(EXPORT_PAGE), after: export.after.clone(), ..export.only.query() };
    link::session(ui, async |client| {
        let mut out = ui.out();
        loop {
            let page = client.export(&query).await.map_err(|error| {
                let error = CliError::from(error);
                match &query.after {
                    Some(after) => error.help(format!("go on with --after {after}")),
                    None => error,
                }
            })?;
            for task in &page.tasks {
                out.json_line(task)?;
            }
            out.flush()?;
            if page.next.is_none() {
                return Ok(ExitCode::SUCCESS);
            }
            query.after = page.next;
        }
    })
}

fn table(tasks: &[TaskSummary], now_ms: u64) -> Table {
    // Only where one of them says how far it is.
    let any = tasks.iter().any(|task| task.progress.is_some());
    let progress = any.then(|| right("PROGRESS", 0));
    let mut columns = vec![left("ID", 0), left("QUEUE", 3), left("KIND", 4), left("STATE", 0)];
    columns.extend(progress);
    columns.extend([left("PRIORITY", 5), right("ATTEMPTS", 4), right("AGE", 2), left("ERROR", 1)]);
    let mut table = Table::new(&columns);
    for task in tasks {
        let mut cells = vec![
            task.id.to_string(),
            task.queue.clone(),
            task.kind.clone(),
            task.state.to_string(),
        ];
        cells.extend(any.then(|| task_log::cell(task.progress.as_ref())));
        cells.extend([
            task.priority.to_string(),
            task.attempts.to_string(),
            text::age(Duration::from_millis(now_ms.saturating_sub(task.created_at.0))),
            task.error.clone().unwrap_or_default(),
        ]);
        table.row(tone(task.state), cells);
    }
    table
}

const fn tone(state: TaskState) -> Tone {
    match state {
        TaskState::Discarded => Tone::Bad,
        TaskState::Retryable => Tone::Warn,
        TaskState::Cancelled | TaskState::Scheduled => Tone::Dim,
        TaskState::Available | TaskState::Running | TaskState::Completed => Tone::Plain,
    }
}

fn run_wait(id: TaskId, timeout: Option<Dur>, json: bool, ui: &Ui) -> Result<ExitCode, CliError> {
    let request = WaitRequest {
        conditions: vec![WaitCondition::TaskDone(id)],
        timeout_s: timeout.map(|timeout| timeout.0.into()),
    };
    let patience = timeout.map_or(FOREVER, |timeout| timeout.0 + GRACE);
    let task = link::session(ui, async |client| {
        let options = ClientOptions { verb_timeout: patience, ..ClientOptions::default() };
        client.clone().with_options(options).wait(&request).await?;
        Ok(client.task(id).await?)
    })?;
    if json {
        ui.json(&task)?;
    } else if let Some(result) = &task.result {
        let mut out = ui.out();
        out.line(result.get())?;
        out.done()?;
    }
    if task.state == TaskState::Completed {
        return Ok(ExitCode::SUCCESS);
    }
    Err(ended_badly(&task))
}

fn ended_badly(task: &Task) -> CliError {
    let why = task.error.as_deref().unwrap_or("no error was given");
    let attempts = text::count(task.attempts.len(), "attempt");
    CliError::new(
        Kind::Failed,
        format!("task {} {} after {attempts}: {}", task.id, task.state, text::printable(why)),
    )
    .help(format!("`ganger task get {0}` shows them; `ganger task retry {0}` tries again", task.id))
}

pub(super) fn show(task: &Task, json: bool, ui: &Ui) -> Result<(), CliError> {
    if json {
        return ui.json(task);
    }
    let mut out = ui.out();
    for (key, value) in facts(task) {
        out.line(&format!("{key:<9} {}", text::printable(&value)))?;
    }
    if !task.attempts.is_empty() {
        out.line("")?;
        out.line(&task_log::attempts(task).render(ui.width(), ui.data_is_coloured()))?;
    }
    if !task.log.is_empty() {
        out.line("")?;
        task_log::last_lines(task).iter().try_for_each(|line| out.line(line))?;
    }
    out.done()
}

fn facts(task: &Task) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("task", task.id.to_string()),
        ("queue", task.queue.clone()),
        ("kind", task.kind.clone()),
        ("tags", task.tags.join(" ")),
        ("state", task.state.to_string()),
        ("progress", task.progress.as_ref().map(task_log::with_bar).unwrap_or_default()),
        ("priority", task.priority.to_string()),
        ("pushed", task.created_at.map(|at| at.to_string()).unwrap_or_default()),
        ("due", task.due_at.map(|at| at.to_string()).unwrap_or_default()),
        ("payload", task.payload.get().to_owned()),
        ("result", result(task)),
        ("error", task.error.clone().unwrap_or_default()),
        ("reason", task.reason.clone().unwrap_or_default()),
        ("crashes", task.crashes.map(|n| n.to_string()).unwrap_or_default()),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

fn result(task: &Task) -> String {
    match &task.result {
        _ if task.result_expired => "gone: it was kept for its time only".to_owned(),
        Some(json) if task.cached => format!("{} (cached)", json.get()),
        Some(json) => json.get().to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use ganger_api::{Timestamp, V1};

    use super::*;

    #[test]
    fn list_at_two_widths() {
        let summary = |raw, state, error: Option<&str>| TaskSummary {
            id: TaskId::from_raw(raw).unwrap(),
            queue: "images".into(),
            kind: "resize".into(),
            state,
            priority: Priority::NORMAL,
            attempts: 2,
            error: error.map(str::to_owned),
            created_at: Timestamp(1_000),
            progress: None,
        };
        let table = table(
            &[
                summary(7, TaskState::Completed, None),
                summary(8, TaskState::Discarded, Some("TypeError: to is null (mail.js:12)")),
            ],
            61_000,
        );
        insta::assert_snapshot!("tasks-70", table.render(70, false));
        insta::assert_snapshot!("tasks-piped", table.render(usize::MAX, false));
    }

    #[test]
    fn a_failed_task_says_what_to_do() {
        let task: Task = serde_json::from_value(serde_json::json!({
            "v": V1, "id": "0000000000007", "queue": "mail", "kind": "", "state": "discarded", "priority": "high",
            "payload": null, "result": null, "error": "killed by SIGKILL",
            "attempts": [{"n": 1, "worker": "mail#1", "pid": 7, "started_at": null, "ended_at": null,
                          "outcome": "crashed", "error": "killed by SIGKILL"}],
        }))
        .unwrap();
        assert_eq!(
            ended_badly(&task).to_string(),
            "task 0000000000007 discarded after 1 attempt: killed by SIGKILL"
        );
        assert!(!facts(&task).iter().any(|(key, _)| *key == "kind"));
    }
}
