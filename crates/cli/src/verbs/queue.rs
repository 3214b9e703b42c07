//! `ganger queue list|get|pause|drain|resume`.

use std::process::ExitCode;
use std::time::Duration;

use ganger_api::client::ClientOptions;
use ganger_api::{ApiError, Client, Queue, VerbAnswer, WaitCondition, WaitRequest};
use ganger_core::Dur;

use super::Json;
use super::control::all_or_part;
use super::wait::{FOREVER, GRACE};
use crate::error::CliError;
use crate::link;
use crate::table::{Table, Tone, left, right};
use crate::text;
use crate::ui::Ui;

/// `queue`
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: QueueVerb,
}

#[derive(Debug, clap::Subcommand)]
enum QueueVerb {
    /// List queues with their counts
    #[command(visible_alias = "ls")]
    List(Json),
    /// Show one queue
    #[command(visible_alias = "show")]
    Get {
        /// The queue
        queue: String,
        #[command(flatten)]
        out: Json,
    },
    /// Hand out no more tasks; pushes still work
    Pause(Names),
    /// Take no more tasks; those there are finished
    Drain(Drain),
    /// Take and hand out tasks again
    Resume(Names),
}

#[derive(Debug, clap::Args)]
struct Drain {
    #[command(flatten)]
    names: Names,
    /// Wait until nothing is left in them
    #[arg(short, long)]
    wait: bool,
    /// Give up waiting after this long, with exit code 7 [default: never]
    #[arg(long, value_name = "TIME", requires = "wait")]
    timeout: Option<Dur>,
}

#[derive(Debug, clap::Args)]
struct Names {
    /// The queues
    #[arg(required = true, value_name = "QUEUE")]
    queues: Vec<String>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    match &args.verb {
        QueueVerb::List(out) => {
            let all = link::session(ui, async |client| Ok(client.queues().await?))?;
            if out.json {
                ui.json(&all)?
            } else {
                show(&all.queues, ui)?
            }
            Ok(ExitCode::SUCCESS)
        }
        QueueVerb::Get { queue, out } => {
            let one = link::session(ui, async |client| Ok(client.queue(queue).await?))?;
            if out.json {
                ui.json(&one)?
            } else {
                show_one(&one, ui)?
            }
            Ok(ExitCode::SUCCESS)
        }
        QueueVerb::Pause(names) => {
            switch(names, "paused", ui, async |client, queue| client.pause(queue).await)
        }
        QueueVerb::Drain(drain) => run_drain(drain, ui),
        QueueVerb::Resume(names) => {
            switch(names, "resumed", ui, async |client, queue| client.resume(queue).await)
        }
    }
}

fn switch(
    names: &Names,
    past: &str,
    ui: &Ui,
    each: impl AsyncFn(&Client, &str) -> Result<VerbAnswer, ApiError>,
) -> Result<ExitCode, CliError> {
    link::session(ui, async |client| {
        let mut failed = Vec::new();
        for queue in &names.queues {
            match each(&client, queue).await {
                Ok(_) => ui.talk(&format!("{queue} {past}")),
                Err(error) => failed.push(CliError::from(error)),
            }
        }
        all_or_part(failed, names.queues.len(), ui)
    })
}

fn run_drain(drain: &Drain, ui: &Ui) -> Result<ExitCode, CliError> {
    let code =
        switch(&drain.names, "draining", ui, async |client, queue| client.drain(queue).await)?;
    if !drain.wait {
        return Ok(code);
    }
    let conditions = drain.names.queues.iter().cloned().map(WaitCondition::QueueEmpty);
    let request = WaitRequest {
        conditions: conditions.collect(),
        timeout_s: drain.timeout.map(|timeout| timeout.0.into()),
    };
    let patience = drain.timeout.map_or(FOREVER, |timeout| timeout.0 + GRACE);
    link::session(ui, async |client| {
        let options = ClientOptions { verb_timeout: patience, ..ClientOptions::default() };
        Ok(client.with_options(options).wait(&request).await?)
    })?;
    for queue in &drain.names.queues {
        ui.talk(&format!("{queue} drained"));
    }
    Ok(code)
}

fn show(queues: &[Queue], ui: &Ui) -> Result<(), CliError> {
    if queues.is_empty() {
        ui.talk("no queues are configured; add [queue.NAME] to ganger.toml");
        return Ok(());
    }
    let mut out = ui.out();
    out.line(&table(queues).render(ui.width(), ui.data_is_coloured()))?;
    out.done()
}

fn show_one(queue: &Queue, ui: &Ui) -> Result<(), CliError> {
    show(std::slice::from_ref(queue), ui)?;
    if let Some(cache) = &queue.cache {
        let mut out = ui.out();
        out.line(&format!(
            "cache: {} in {}, {} hits, {} misses, {} evicted",
            text::count(usize::try_from(cache.entries).unwrap_or(usize::MAX), "result"),
            ganger_core::Size(cache.bytes),
            cache.hits,
            cache.misses,
            cache.evicted
        ))?;
        out.done()?;
    }
    Ok(())
}

fn table(queues: &[Queue]) -> Table {
    let mut table = Table::new(&[
        left("NAME", 0),
        right("AVAILABLE", 0),
        right("RUNNING", 0),
        right("RETRYABLE", 1),
        right("SCHEDULED", 2),
        right("COMPLETED", 2),
        right("DISCARDED", 1),
        right("CANCELLED", 4),
        right("OLDEST", 3),
        left("DURABILITY", 5),
        left("GATE", 1),
    ]);
    for queue in queues {
        let counts = queue.counts;
        let oldest =
            queue.oldest_age_s.map(|age| text::age(Duration::from_secs_f64(age.0.clamp(0.0, 1e9))));
        table.row(
            if queue.paused || queue.draining { Tone::Warn } else { Tone::Plain },
            vec![
                queue.name.clone(),
                counts.available.to_string(),
                counts.running.to_string(),
                counts.retryable.to_string(),
                counts.scheduled.to_string(),
                counts.completed.to_string(),
                counts.discarded.to_string(),
                counts.cancelled.to_string(),
                oldest.unwrap_or_default(),
                queue.durability.to_string(),
                match (queue.paused, queue.draining) {
                    (true, true) => "paused, draining",
                    (true, false) => "paused",
                    (false, true) => "draining",
                    (false, false) => "",
                }
                .to_owned(),
            ],
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use ganger_api::{QueueCounts, Seconds, V1};
    use ganger_core::Durability;

    use super::*;

    #[test]
    fn table_at_two_widths() {
        let counts =
            QueueCounts { available: 12, running: 4, completed: 20_000, ..QueueCounts::default() };
        let queue = |name: &str, paused| Queue {
            v: V1,
            name: name.to_owned(),
            paused,
            draining: false,
            counts,
            oldest_age_s: Some(Seconds(83.0)),
            durability: Durability::Fsync,
            cache: None,
        };
        let table = table(&[queue("images", false), queue("mail", true)]);
        insta::assert_snapshot!("queues-60", table.render(60, false));
        insta::assert_snapshot!("queues-piped", table.render(usize::MAX, false));
    }
}
