//! `ganger push`: one task, or one per line of a file; ids come back when they are as safe as the queue promises.

use std::path::PathBuf;
use std::process::ExitCode;

use ganger_api::{Client, NewTask, OnError, StreamResult, TaskRetry, Timestamp};
use ganger_core::{Dur, Priority, TaskState};
use serde::Serialize;

use self::source::Source;
use crate::error::{CliError, Kind};
use crate::link;
use crate::text;
use crate::ui::{Out, Ui};

mod bulk;
mod options;
mod source;

/// `push`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The queue
    queue: String,
    /// What workers tell tasks apart by
    #[arg(short, long)]
    kind: Option<String>,
    /// A word to find the task by; may be given again
    #[arg(long)]
    tag: Vec<String>,
    /// The payload: any JSON, or - for stdin [default: null]
    #[arg(value_name = "PAYLOAD", conflicts_with = "lines")]
    given: Option<String>,
    /// The payload, named
    #[arg(short, long, value_name = "JSON", conflicts_with_all = ["lines", "given"])]
    payload: Option<String>,
    /// One task per line of a file, each line a JSON payload; - for stdin
    #[arg(short, long, value_name = "FILE")]
    lines: Option<PathBuf>,
    /// The lines are text, not JSON: each payload is a string
    #[arg(long, requires = "lines")]
    text: bool,
    /// The lines are tasks, not payloads: {"payload", "kind"?, "priority"?, "delay"?, "at"?, "retry"?, "key"?, "tags"?,
    /// "dedupe"?, "deadline"?, "expires_in"?, "result_ttl"?, "cache"?}
    #[arg(long, requires = "lines", conflicts_with = "text")]
    envelope: bool,
    /// What a bad line does: stop (nothing of its batch of 1,000 is pushed), or skip (it is told and left out)
    #[arg(long, requires = "lines", value_name = "WHAT", value_parser = on_error, default_value = "stop")]
    on_error: OnError,
    /// high, normal, low or 0-255; turns go by weight so that low keeps a floor, unless the queue is `strict`
    #[arg(long)]
    priority: Option<Priority>,
    /// Not before this long from now
    #[arg(long, value_name = "TIME")]
    delay: Option<Dur>,
    /// Not before this moment: 2026-12-24T18:00:00Z, or without zone in this machine's
    #[arg(long, value_name = "TIME", conflicts_with = "delay", value_parser = at)]
    at: Option<Timestamp>,
    /// Retries of its own, by the words of [queue.NAME.retry]: max=3,backoff=1s..1m,curve=linear,crash_limit=1,…
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = retry)]
    retry: Option<TaskRetry>,
    /// Counts against the queue's limits per key under this name [default: as `limits.key` says]
    #[arg(long, value_name = "KEY")]
    concurrency_key: Option<String>,
    /// A key of your own: pushing the same again within a day gives the first task's id. With --lines: of the whole
    /// run; run it again after a crash and only what is missing is pushed
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    options: Box<options::Options>,
    /// Wait for the results and print them; exit 0 if all completed
    #[arg(short, long)]
    wait: bool,
    /// Print JSON, stable for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Id {
    v: u8,
    id: ganger_core::TaskId,
}

fn at(text: &str) -> Result<Timestamp, String> {
    text::time(text).map(Timestamp)
}

/// `max=3,curve=fixed`: numbers where the key wants numbers, else words.
fn retry(text: &str) -> Result<TaskRetry, String> {
    let mut object = serde_json::Map::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("write it like max=3,backoff=1s..1m")?;
        let (key, value) = (key.trim(), value.trim());
        let wants_number = matches!(key, "max" | "factor" | "power" | "crash_limit");
        let number = value.parse::<serde_json::Number>().ok().filter(|_| wants_number);
        let value = number.map_or_else(|| value.into(), serde_json::Value::Number);
        object.insert(key.to_owned(), value);
    }
    serde_json::from_value(object.into()).map_err(|e| e.to_string())
}

fn on_error(text: &str) -> Result<OnError, String> {
    match text {
        "stop" => Ok(OnError::Stop),
        "skip" => Ok(OnError::Skip),
        _ => Err("it is stop or skip".into()),
    }
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    if args.wait && args.lines.is_some() && args.key.is_some() {
        return Err(CliError::new(Kind::Usage, "--key of a file can't be waited for")
            .help("push with --key, then `ganger wait queue:NAME=empty`"));
    }
    let mut source = Source::open(args)?;
    link::session(ui, async |client| {
        if args.wait {
            wait(args, &client, &mut source, ui).await
        } else {
            push(args, &client, &mut source, ui).await
        }
    })
}

async fn push(
    args: &Args,
    client: &Client,
    source: &mut Source,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    if args.lines.is_some() {
        return bulk::run(args, client, source, ui).await;
    }
    let batch = source.batch(args)?;
    let mut out = ui.out();
    for id in client.push(&args.queue, &batch.tasks).await?.ids {
        if args.json { out.json_line(&Id { v: 1, id })? } else { out.line(&id.to_string())? }
    }
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// What the command line says of every task; a line's own words win.
    fn fill(&self, task: &mut NewTask) {
        if task.kind.is_empty() {
            task.kind = self.kind.clone().unwrap_or_default();
        }
        task.priority = task.priority.or(self.priority);
        if task.tags.is_empty() {
            task.tags.clone_from(&self.tag);
        }
        task.retry = task.retry.take().or_else(|| self.retry.clone());
        if task.delay.is_none() && task.at.is_none() {
            (task.delay, task.at) = (self.delay, self.at);
        }
        if task.concurrency_key.is_none() {
            task.concurrency_key.clone_from(&self.concurrency_key);
        }
        self.options.fill(task);
    }
}

/// Tasks go in while results come out, so a file of any length needs no memory.
async fn wait(
    args: &Args,
    client: &Client,
    source: &mut Source,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let (sink, mut results) = client.stream(&args.queue).await?;
    let mut sink = Some(sink);
    let mut next = good(source.batch(args)?, ui);
    let (mut done, mut failed) = (0usize, 0usize);
    let mut out = ui.out();
    loop {
        if next.is_empty() {
            sink = None;
        }
        let feed = async {
            match &sink {
                Some(sink) => sink.push(&next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            fed = feed => {
                fed?;
                next = good(source.batch(args)?, ui);
            }
            result = results.next() => {
                let Some(result) = result? else { break };
                done += 1;
                failed += usize::from(result.state != TaskState::Completed);
                show(&result, args.json, &mut out, ui)?;
                out.flush()?;
            }
        }
    }
    out.done()?;
    finish(done, failed)
}

/// The tasks of a batch; bad lines are told.
fn good(batch: source::Batch, ui: &Ui) -> Vec<NewTask> {
    for (line, why) in &batch.bad {
        ui.talk(&format!("line {line} {}", text::printable(why)));
    }
    batch.tasks
}

fn show(result: &StreamResult, json: bool, out: &mut Out, ui: &Ui) -> Result<(), CliError> {
    if json {
        return out.json_line(result);
    }
    if let Some(value) = &result.result {
        out.line(value.get())?;
    }
    if result.state != TaskState::Completed {
        let why = result.error.as_deref().unwrap_or("no error was given");
        ui.talk(&format!("task {} {}: {}", result.id, result.state, text::printable(why)));
    }
    Ok(())
}

fn finish(done: usize, failed: usize) -> Result<ExitCode, CliError> {
    match failed {
        0 => Ok(ExitCode::SUCCESS),
        _ if failed == done => Err(CliError::new(
            Kind::Failed,
            if done == 1 {
                "the task failed".to_owned()
            } else {
                format!("all {done} tasks failed")
            },
        )
        .help("`ganger task list --state discarded` lists them")),
        _ => Err(CliError::new(Kind::Partial, format!("{failed} of {done} tasks failed"))
            .help("`ganger task list --state discarded` lists them")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_of_waiting() {
        assert!(finish(3, 0).is_ok());
        assert_eq!(finish(3, 3).unwrap_err().code(), 1);
        assert_eq!(finish(3, 1).unwrap_err().code(), 8);
    }
}
