//! `ganger push`: one task, or one per line of a file; ids come back when they are as safe as the queue promises.

use std::path::PathBuf;
use std::process::ExitCode;

use ganger_api::{Client, StreamResult};
use ganger_core::{Dur, Priority, TaskState};
use serde::Serialize;

use self::source::Source;
use crate::error::{CliError, Kind};
use crate::link;
use crate::text;
use crate::ui::{Out, Ui};

mod source;

/// `push`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The queue
    queue: String,
    /// What workers tell tasks apart by
    #[arg(short, long)]
    kind: Option<String>,
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
    /// high, normal, low or 0-255
    #[arg(long)]
    priority: Option<Priority>,
    /// Not before this long from now
    #[arg(long, value_name = "TIME")]
    delay: Option<Dur>,
    /// A key of your own: pushing the same again gives the first task's id
    #[arg(long, conflicts_with = "lines")]
    key: Option<String>,
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

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
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
    let mut out = ui.out();
    let mut pushed = 0;
    loop {
        let batch = source.batch(args).map_err(|error| so_far(error, pushed))?;
        if batch.is_empty() {
            break;
        }
        let answer = client.push(&args.queue, &batch).await;
        let answer = answer.map_err(|error| so_far(error.into(), pushed))?;
        pushed += answer.ids.len();
        for id in answer.ids {
            if args.json { out.json_line(&Id { v: 1, id })? } else { out.line(&id.to_string())? }
        }
        out.flush()?;
    }
    if source.is_many() && !args.json {
        ui.talk(&format!("pushed {} on {}", text::count(pushed, "task"), args.queue));
    }
    Ok(ExitCode::SUCCESS)
}

/// A failure in the middle says what is already safe.
fn so_far(error: CliError, pushed: usize) -> CliError {
    if pushed == 0 {
        return error;
    }
    error.help(format!(
        "{} before it are pushed; their ids are on stdout",
        text::count(pushed, "task")
    ))
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
    let mut next = source.batch(args)?;
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
                next = source.batch(args)?;
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
