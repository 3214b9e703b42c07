//! `ganger dead list|show|replay|edit|purge`: tasks that were given up.

use std::process::ExitCode;
use std::time::Duration;

use ganger_api::{DeadEdit, DeadLetter, DeadQuery, Timestamp};
use ganger_core::TaskId;
use serde_json::value::RawValue;

use super::{Json, Page};
use crate::error::{CliError, Kind};
use crate::link;
use crate::table::{Table, Tone, left, right};
use crate::text;
use crate::ui::Ui;

mod run;

/// `dead`
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: DeadVerb,
}

#[derive(Debug, clap::Subcommand)]
enum DeadVerb {
    /// List dead letters: by queue, newest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Show one with its attempts
    #[command(visible_alias = "get")]
    Show {
        /// The task's id
        id: TaskId,
        #[command(flatten)]
        out: Json,
    },
    /// Make them available again, with a fresh budget of attempts
    #[command(visible_alias = "retry")]
    Replay(Replay),
    /// Give one another payload and make it available again
    Edit {
        /// The task's id
        id: TaskId,
        /// The payload: any JSON, or - for stdin [default: opens $EDITOR with the present one]
        #[arg(short, long, value_name = "JSON")]
        payload: Option<String>,
    },
    /// Forget them for ever, with their attempts
    Purge(Purge),
}

/// Which dead letters.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Filter {
    /// Only of this queue (those of memory queues are found by it only)
    #[arg(short, long)]
    queue: Option<String>,
    /// Only of this kind; * stands for any text
    #[arg(short, long)]
    kind: Option<String>,
    /// Only with a last error of this class; * stands for any text
    #[arg(short, long, value_name = "CLASS")]
    class: Option<String>,
    /// Only with this in the last error's message, stack or stderr
    #[arg(short, long, value_name = "TEXT")]
    text: Option<String>,
    /// Only given up for this: attempts, non_retryable, max_age, quarantined, stuck
    #[arg(short, long)]
    reason: Option<String>,
    /// Only died since: 10m, 2h, or a time
    #[arg(long, value_name = "TIME", value_parser = text::moment)]
    since: Option<u64>,
    /// Only died before: 10m, 2h, or a time
    #[arg(long, value_name = "TIME", value_parser = text::moment)]
    until: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    out: Json,
}

/// Those named, or those a filter finds.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The tasks' ids
    #[arg(value_name = "ID")]
    ids: Vec<TaskId>,
    #[command(flatten)]
    filter: Filter,
    /// All dead letters of all durable queues, where no filter is given
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Only say how many, and show the first few
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    out: Json,
}

#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    #[command(flatten)]
    which: Which,
    /// So many a second: 10, or 600/m [default: as fast as can be]
    #[arg(long, value_name = "N", value_parser = run::rate)]
    rate: Option<f64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Purge {
    #[command(flatten)]
    which: Which,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.query() == DeadQuery::default()
    }

    fn query(&self) -> DeadQuery {
        DeadQuery {
            queue: self.queue.clone(),
            kind: self.kind.clone(),
            class: self.class.clone(),
            text: self.text.clone(),
            reason: self.reason.clone(),
            since: self.since.map(Timestamp),
            until: self.until.map(Timestamp),
            limit: None,
            after: None,
        }
    }
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    match &args.verb {
        DeadVerb::List(list) => run_list(list, ui),
        DeadVerb::Show { id, out } => {
            let task = link::session(ui, async |client| Ok(client.task(*id).await?))?;
            super::task::show(&task, out.json, ui)?;
            Ok(ExitCode::SUCCESS)
        }
        DeadVerb::Replay(replay) => run::replay(replay, ui),
        DeadVerb::Edit { id, payload } => edit(*id, payload.as_deref(), ui),
        DeadVerb::Purge(purge) => run::purge(purge, ui),
    }
}

fn run_list(list: &List, ui: &Ui) -> Result<ExitCode, CliError> {
    let mut query = DeadQuery {
        limit: Some(list.page.limit),
        after: list.page.after.clone(),
        ..list.filter.query()
    };
    let page = link::session(ui, async |client| {
        let mut page = client.dead(&query).await?;
        // A page may be thin where few of many match.
        while let Some(next) = page.next.clone()
            && page.letters.len() < list.page.limit as usize
        {
            let room = list.page.limit as usize - page.letters.len();
            (query.after, query.limit) = (Some(next), u32::try_from(room).ok());
            let more = client.dead(&query).await?;
            page.letters.extend(more.letters);
            page.next = more.next;
        }
        Ok(page)
    })?;
    if list.out.json {
        ui.json(&page)?;
        return Ok(ExitCode::SUCCESS);
    }
    if page.letters.is_empty() {
        ui.talk("no such dead letters");
        return Ok(ExitCode::SUCCESS);
    }
    print(&page.letters, ui)?;
    if let Some(next) = &page.next {
        ui.talk(&format!("more: --after {next}"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn print(letters: &[DeadLetter], ui: &Ui) -> Result<(), CliError> {
    let mut out = ui.out();
    out.line(&table(letters, text::now_ms()).render(ui.width(), ui.data_is_coloured()))?;
    out.done()
}

fn table(letters: &[DeadLetter], now_ms: u64) -> Table {
    let mut table = Table::new(&[
        left("ID", 0),
        left("QUEUE", 2),
        left("KIND", 3),
        left("REASON", 1),
        right("ATTEMPTS", 4),
        right("DIED", 2),
        left("ERROR", 0),
    ]);
    for letter in letters {
        let poison = matches!(letter.reason.as_deref(), Some("quarantined" | "stuck"));
        table.row(
            if poison { Tone::Bad } else { Tone::Plain },
            vec![
                letter.id.to_string(),
                letter.queue.clone(),
                letter.kind.clone(),
                letter.reason.clone().unwrap_or_default(),
                letter.attempts.to_string(),
                text::age(Duration::from_millis(now_ms.saturating_sub(letter.died_at.0))),
                letter.error.clone().unwrap_or_default(),
            ],
        );
    }
    table
}

fn edit(id: TaskId, payload: Option<&str>, ui: &Ui) -> Result<ExitCode, CliError> {
    let given = match payload {
        Some("-") => Some(
            std::io::read_to_string(std::io::stdin())
                .map_err(|e| CliError::new(Kind::Failed, format!("can't read stdin: {e}")))?,
        ),
        Some(text) => Some(text.to_owned()),
        None => None,
    };
    let text = match given {
        Some(text) => text,
        None => {
            let task = link::session(ui, async |client| Ok(client.task(id).await?))?;
            run::in_editor(task.payload.get())?
        }
    };
    let payload = RawValue::from_string(text.trim().to_owned())
        .map_err(|e| CliError::new(Kind::Usage, format!("the payload is not JSON: {e}")))?;
    link::session(ui, async |client| Ok(client.dead_edit(id, &DeadEdit { payload }).await?))?;
    ui.talk(&format!("replayed {id} with its new payload"));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use ganger_core::Priority;

    use super::*;

    #[test]
    fn list_at_two_widths() {
        let letter = |raw, reason: Option<&str>, error: &str| DeadLetter {
            id: TaskId::from_raw(raw).unwrap(),
            queue: "mail".into(),
            kind: "send".into(),
            priority: Priority::NORMAL,
            attempts: 3,
            crashes: 0,
            reason: reason.map(str::to_owned),
            class: None,
            error: Some(error.into()),
            created_at: Timestamp(0),
            died_at: Timestamp(1_000),
        };
        let letters = [
            letter(7, Some("attempts"), "SmtpError: 550 no such user"),
            letter(8, Some("quarantined"), "worker mail#1 (pid 7) memory limit reached"),
        ];
        let table = table(&letters, 61_000);
        insta::assert_snapshot!("dead-70", table.render(70, false));
        insta::assert_snapshot!("dead-piped", table.render(usize::MAX, false));
    }
}
