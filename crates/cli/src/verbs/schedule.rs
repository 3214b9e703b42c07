//! `ganger schedule list|show|run|pause|resume|next`.

use std::process::ExitCode;

use ganger_api::{FireTime, NextFires, Schedule, Timestamp, V1};
use ganger_queue::schedule::{CronError, Plan, PlanError, local_zone};

use super::Json;
use super::control::all_or_part;
use crate::error::{CliError, Kind};
use crate::link;
use crate::table::{Table, Tone, left, right};
use crate::text;
use crate::ui::Ui;

/// `schedule`
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: ScheduleVerb,
}

#[derive(Debug, clap::Subcommand)]
enum ScheduleVerb {
    /// List schedules with their next and last fire
    #[command(visible_alias = "ls")]
    List(Json),
    /// Show one schedule with its newest fires, and why fires were left out
    #[command(visible_alias = "get")]
    Show {
        /// The schedule
        schedule: String,
        #[command(flatten)]
        out: Json,
    },
    /// Fire now, also while paused
    Run {
        /// The schedule
        schedule: String,
        #[command(flatten)]
        out: Json,
    },
    /// Fire no more; what waits goes on
    Pause(Names),
    /// Fire again; what fell into the pause is not made up for
    Resume(Names),
    /// Show the next fires of a schedule, or of an expression (no daemon needed)
    Next(Next),
}

#[derive(Debug, clap::Args)]
struct Names {
    /// The schedules
    #[arg(required = true, value_name = "SCHEDULE")]
    schedules: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Next {
    /// A schedule, or a quoted expression: '30 2 * * mon-fri', '@every 10s'
    #[arg(value_name = "SCHEDULE|CRON")]
    what: String,
    /// How many
    #[arg(short, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    n: u32,
    /// Zone of the expression: an IANA name, or "local" [default: UTC]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    #[command(flatten)]
    out: Json,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    match &args.verb {
        ScheduleVerb::List(out) => {
            let all = link::session(ui, async |client| Ok(client.schedules().await?))?;
            if out.json {
                ui.json(&all)?
            } else {
                list(&all.schedules, ui)?
            }
            Ok(ExitCode::SUCCESS)
        }
        ScheduleVerb::Show { schedule, out } => {
            let one = link::session(ui, async |client| Ok(client.schedule(schedule).await?))?;
            if out.json {
                ui.json(&one)?
            } else {
                show(&one, ui)?
            }
            Ok(ExitCode::SUCCESS)
        }
        ScheduleVerb::Run { schedule, out } => by_hand(schedule, *out, ui),
        ScheduleVerb::Pause(names) => switch(names, true, ui),
        ScheduleVerb::Resume(names) => switch(names, false, ui),
        ScheduleVerb::Next(next) => preview(next, ui),
    }
}

fn by_hand(schedule: &str, out: Json, ui: &Ui) -> Result<ExitCode, CliError> {
    let made = link::session(ui, async |client| Ok(client.run_schedule(schedule).await?))?;
    if out.json {
        ui.json(&made)?;
        return Ok(ExitCode::SUCCESS);
    }
    match made.task {
        Some(task) => {
            let mut out = ui.out();
            out.line(&task.to_string())?;
            out.done()?;
        }
        None => ui.talk(&format!("{schedule} waits: the task of the fire before is unfinished")),
    }
    Ok(ExitCode::SUCCESS)
}

fn switch(names: &Names, pause: bool, ui: &Ui) -> Result<ExitCode, CliError> {
    link::session(ui, async |client| {
        let mut failed = Vec::new();
        for name in &names.schedules {
            let answer = match pause {
                true => client.pause_schedule(name).await,
                false => client.resume_schedule(name).await,
            };
            match answer {
                Ok(_) => ui.talk(&format!("{name} {}", if pause { "paused" } else { "resumed" })),
                Err(error) => failed.push(CliError::from(error)),
            }
        }
        all_or_part(failed, names.schedules.len(), ui)
    })
}

/// An expression has blanks or begins with `@`; a name has and does neither.
fn is_expression(what: &str) -> bool {
    what.contains(char::is_whitespace) || what.starts_with('@')
}

fn preview(next: &Next, ui: &Ui) -> Result<ExitCode, CliError> {
    let found = if is_expression(&next.what) {
        of_expression(next)?
    } else if next.timezone.is_some() {
        return Err(CliError::new(Kind::Usage, "--timezone goes with an expression")
            .help(format!("the zone of `{}` is in its configuration", next.what)));
    } else {
        link::session(ui, async |client| Ok(client.next_fires(&next.what, next.n).await?))?
    };
    if next.out.json {
        ui.json(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    if found.next.is_empty() {
        ui.talk("no further fire comes");
    }
    let now = text::now_ms();
    let mut table = Table::new(&[left("FIRE", 0), left("UTC", 1), right("IN", 2)]);
    for FireTime { at, local } in &found.next {
        let wait = std::time::Duration::from_millis(at.0.saturating_sub(now));
        table.row(Tone::Plain, vec![local.clone(), at.to_string(), text::age(wait)]);
    }
    let mut out = ui.out();
    out.line(&table.render(ui.width(), ui.data_is_coloured()))?;
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

fn of_expression(next: &Next) -> Result<NextFires, CliError> {
    let zone = match next.timezone.as_deref() {
        Some("local") => local_zone().ok_or_else(|| {
            CliError::new(Kind::Usage, "this machine's time zone has no name")
                .help("name it: --timezone Europe/Berlin")
        })?,
        other => other.unwrap_or("UTC").to_owned(),
    };
    let plan = Plan::cron(&next.what, &zone).map_err(|error| match error {
        PlanError::Cron(error) => caret(&next.what, error),
        other => CliError::new(Kind::Usage, other.to_string()),
    })?;
    let mut at = text::now_ms();
    let fires = std::iter::from_fn(|| {
        at = plan.after(at)?;
        Some(FireTime { at: Timestamp(at), local: plan.local(at) })
    });
    let fires = fires.take(next.n as usize).collect();
    Ok(NextFires { v: V1, when: next.what.clone(), timezone: zone, next: fires })
}

/// The expression with a caret below what is wrong.
fn caret(text: &str, error: CronError) -> CliError {
    let before = text.get(..error.span.start).unwrap_or("").chars().count();
    let marked = text.get(error.span.clone()).unwrap_or("").chars().count().max(1);
    let line =
        format!("{}\n  {text}\n  {}{}", error.message, " ".repeat(before), "^".repeat(marked));
    error.help.into_iter().fold(CliError::new(Kind::Usage, line), CliError::help)
}

fn list(schedules: &[Schedule], ui: &Ui) -> Result<(), CliError> {
    if schedules.is_empty() {
        ui.talk("no schedules are configured; add [schedule.NAME] to ganger.toml");
        return Ok(());
    }
    let mut out = ui.out();
    out.line(&table(schedules, text::now_ms()).render(ui.width(), ui.data_is_coloured()))?;
    out.done()
}

fn table(schedules: &[Schedule], now: u64) -> Table {
    let mut table = Table::new(&[
        left("NAME", 0),
        left("WHEN", 0),
        left("ZONE", 3),
        left("QUEUE", 2),
        left("NEXT", 0),
        right("LAST", 1),
        right("WAITING", 4),
        right("FIRED", 2),
        right("SKIPPED", 3),
        left("OVERLAP", 5),
        left("MISSED", 5),
    ]);
    let age = |ms: u64| text::age(std::time::Duration::from_millis(ms));
    for one in schedules {
        let next = match &one.next_fire {
            _ if one.paused => "paused".to_owned(),
            Some(fire) => format!("in {}", age(fire.at.0.saturating_sub(now))),
            None => "never".to_owned(),
        };
        let last = one.last_fire.map(|at| format!("{} ago", age(now.saturating_sub(at.0))));
        let some = |n: u64| if n == 0 { String::new() } else { n.to_string() };
        table.row(
            if one.paused { Tone::Warn } else { Tone::Plain },
            vec![
                one.name.clone(),
                one.when.clone(),
                one.timezone.clone(),
                one.queue.clone(),
                next,
                last.unwrap_or_default(),
                some(one.waiting),
                one.fired.to_string(),
                some(one.skipped),
                one.overlap.clone(),
                one.missed.clone(),
            ],
        );
    }
    table
}

fn show(one: &Schedule, ui: &Ui) -> Result<(), CliError> {
    let mut out = ui.out();
    out.line(
        &table(std::slice::from_ref(one), text::now_ms()).render(ui.width(), ui.data_is_coloured()),
    )?;
    if let Some(next) = &one.next_fire {
        out.line(&format!("\nnext fire  {}", next.local))?;
    }
    if !one.fires.is_empty() {
        let mut fires = Table::new(&[
            left("FIRE", 0),
            left("OUTCOME", 0),
            right("LATE", 1),
            left("TASK OR REASON", 0),
        ]);
        for fire in &one.fires {
            let late = fire.made_at.0.saturating_sub(fire.at.0);
            let what = match (&fire.task, &fire.reason) {
                (Some(task), _) => task.to_string(),
                (None, reason) => reason.clone().unwrap_or_default(),
            };
            let tone = if fire.outcome == "fired" { Tone::Plain } else { Tone::Warn };
            table_row(&mut fires, tone, fire.at, &fire.outcome, late, what);
        }
        out.line("")?;
        out.line(&fires.render(ui.width(), ui.data_is_coloured()))?;
    }
    out.done()
}

fn table_row(table: &mut Table, tone: Tone, at: Timestamp, outcome: &str, late: u64, what: String) {
    let late = if late < 1_000 {
        format!("{late}ms")
    } else {
        text::age(std::time::Duration::from_millis(late))
    };
    table.row(tone, vec![at.to_string(), outcome.to_owned(), late, what]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(what: &str) -> Next {
        Next { what: what.into(), n: 3, timezone: None, out: Json { json: false } }
    }

    #[test]
    fn expressions_and_names_are_told_apart() {
        assert!(is_expression("* * * * *") && is_expression("@hourly"));
        assert!(!is_expression("nightly") && !is_expression("night-1.b"));
        assert_eq!(of_expression(&next("@every 1h")).unwrap().next.len(), 3);
    }

    #[test]
    fn the_caret_is_below_the_mistake() {
        let error = of_expression(&next("*/5 25 * * *")).unwrap_err();
        insta::assert_snapshot!(format!("{error:?}"));
    }
}
