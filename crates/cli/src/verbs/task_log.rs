//! `ganger task logs`, and how progress and attempts look.

use std::process::ExitCode;
use std::time::Duration;

use ganger_api::{Progress, Task, TaskLogQuery, TaskWord};
use ganger_core::TaskId;

use super::Json;
use crate::error::CliError;
use crate::link;
use crate::table::{Table, Tone, left, right};
use crate::text;
use crate::ui::Ui;

/// Cells of a progress bar.
const BAR: usize = 20;

/// `task logs`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The task's id
    id: TaskId,
    /// Go on until the task has ended; progress goes to stderr
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines
    #[arg(short = 'n', long = "lines", value_name = "N")]
    lines: Option<u32>,
    /// Only this attempt
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Show the time of each line
    #[arg(short, long)]
    timestamps: bool,
    #[command(flatten)]
    out: Json,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let query = TaskLogQuery { follow: args.follow, attempt: args.attempt, tail: args.lines };
    link::session(ui, async |client| {
        let mut stream = client.task_log(args.id, &query).await?;
        let mut out = ui.out();
        let mut told = (0, args.lines.map_or(0, |_| u64::MAX));
        while let Some(word) = stream.next().await? {
            if args.out.json {
                out.json_line(&word)?;
            } else {
                for line in lines(&word, &mut told, args) {
                    out.line(&line)?;
                }
                if let Some(progress) = word.progress.filter(|_| args.follow) {
                    ui.talk(&shown(&progress));
                }
            }
            if args.follow {
                out.flush()?;
            }
        }
        out.done()?;
        Ok(ExitCode::SUCCESS)
    })
}

/// A line, with what is to be known before it. `told`: the last attempt and line shown.
fn lines(word: &TaskWord, told: &mut (u32, u64), args: &Args) -> Vec<String> {
    let Some(line) = &word.line else { return Vec::new() };
    let mut shown = Vec::new();
    let (last_attempt, last) = *told;
    let first_of_all = last_attempt == 0;
    if last_attempt != word.attempt
        && !(first_of_all && word.attempt == 1)
        && args.attempt.is_none()
    {
        shown.push(format!("-- attempt {} --", word.attempt));
    }
    let before = if last_attempt == word.attempt || first_of_all { last } else { 0 };
    if let Some(n) = word.n
        && n > before.saturating_add(1)
    {
        shown.push(format!(
            "… {} not kept …",
            text::count(usize::try_from(n - before - 1).unwrap_or(0), "line")
        ));
    }
    *told = (word.attempt, word.n.unwrap_or(0));
    let line = text::printable(line);
    shown.push(match args.timestamps {
        true => format!("{}  {line}", text::clock(word.ts.0)),
        false => line,
    });
    shown
}

/// `42 %  resizing`, or the worker's own words.
pub(super) fn shown(progress: &Progress) -> String {
    let value = match progress.percent {
        Some(percent) => percent_text(percent),
        None => progress.value.to_string(),
    };
    match &progress.message {
        Some(message) => text::printable(&format!("{value}  {message}")),
        None => text::printable(&value),
    }
}

/// With a bar before it, where it is a number.
pub(super) fn with_bar(progress: &Progress) -> String {
    let Some(percent) = progress.percent else { return shown(progress) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
    let full = (percent / 100.0 * BAR as f64).round() as usize;
    format!("[{}{}] {}", "#".repeat(full), "-".repeat(BAR - full.min(BAR)), shown(progress))
}

/// One column of a list: short.
pub(super) fn cell(progress: Option<&Progress>) -> String {
    let percent = progress.and_then(|progress| progress.percent);
    percent.map_or_else(|| progress.map(shown).unwrap_or_default(), percent_text)
}

fn percent_text(percent: f64) -> String {
    // 42 % and 42.5 %, never 42.49999 %.
    format!("{} %", (percent * 10.0).round() / 10.0)
}

/// The last lines under a task, and where the rest is.
pub(super) fn last_lines(task: &Task) -> Vec<String> {
    let Some(last) = task.log.last() else { return Vec::new() };
    let mut lines = vec![format!("last lines of attempt {}:", last.attempt)];
    let line = |word: &TaskWord| {
        format!("  {}", text::printable(word.line.as_deref().unwrap_or_default()))
    };
    lines.extend(task.log.iter().map(line));
    let attempt = task.attempts.iter().find(|attempt| attempt.n == last.attempt);
    let all = attempt.and_then(|attempt| attempt.log_lines).unwrap_or_default();
    if all > task.log.len() as u64 {
        let dropped = attempt.and_then(|attempt| attempt.log_dropped);
        let dropped = dropped.map(|n| format!(", {n} of them not kept")).unwrap_or_default();
        lines.push(format!("  ({all} lines in all{dropped}: `ganger task logs {}`)", task.id));
    }
    lines
}

pub(super) fn attempts(task: &Task) -> Table {
    let mut table = Table::new(&[
        right("ATTEMPT", 0),
        left("OUTCOME", 0),
        left("WORKER", 1),
        right("PID", 4),
        left("STARTED", 3),
        right("TOOK", 2),
        left("ERROR", 0),
    ]);
    for attempt in &task.attempts {
        let took = attempt
            .started_at
            .zip(attempt.ended_at)
            .map(|(from, to)| text::age(Duration::from_millis(to.0.saturating_sub(from.0))));
        let outcome = attempt.outcome.clone().unwrap_or_else(|| "running".to_owned());
        let tone = if attempt.error.is_some() { Tone::Warn } else { Tone::Plain };
        table.row(
            tone,
            vec![
                attempt.n.to_string(),
                outcome,
                attempt.worker.clone().unwrap_or_default(),
                attempt.pid.map(|pid| pid.to_string()).unwrap_or_default(),
                attempt.started_at.map(|at| text::clock(at.0)).unwrap_or_default(),
                took.unwrap_or_default(),
                attempt.error.clone().unwrap_or_default(),
            ],
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use ganger_api::{Timestamp, V1};
    use serde_json::json;

    use super::*;

    fn progress(value: serde_json::Value, message: Option<&str>) -> Progress {
        let percent = value.as_f64().filter(|n| (0.0..=100.0).contains(n));
        Progress { value, percent, message: message.map(str::to_owned), at: Timestamp(1) }
    }

    #[test]
    fn progress_for_people() {
        assert_eq!(
            with_bar(&progress(json!(42.49999), Some("resizing"))),
            "[########------------] 42.5 %  resizing"
        );
        assert_eq!(with_bar(&progress(json!(100), None)), "[####################] 100 %");
        assert_eq!(with_bar(&progress(json!({"done": 3}), None)), r#"{"done":3}"#);
        assert_eq!(
            (cell(Some(&progress(json!(7), Some("x")))), cell(None)),
            ("7 %".into(), String::new())
        );
    }

    #[test]
    fn gaps_and_attempts_are_told() {
        let args = Args {
            id: TaskId::from_raw(1).unwrap(),
            follow: false,
            lines: None,
            attempt: None,
            timestamps: false,
            out: Json { json: false },
        };
        let word = |attempt, n, line: &str| TaskWord {
            v: V1,
            attempt,
            n,
            ts: Timestamp(1),
            line: Some(line.into()),
            progress: None,
        };
        let mut told = (0, 0);
        let mut all = Vec::new();
        for word in [
            word(1, Some(3), "c"),
            word(1, Some(4), "d"),
            word(2, Some(1), "a"),
            word(2, None, "x"),
        ] {
            all.extend(lines(&word, &mut told, &args));
        }
        assert_eq!(all, ["… 2 lines not kept …", "c", "d", "-- attempt 2 --", "a", "x"]);
    }
}
