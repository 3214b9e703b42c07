//! `ganger publish TOPIC` and `ganger subscribe TOPIC…`.

use std::process::ExitCode;

use ganger_api::{PublishRequest, SubscribeQuery, TopicLine};

use super::{Json, call};
use crate::error::CliError;
use crate::link;
use crate::text;
use crate::ui::Ui;

/// `publish`
#[derive(Debug, clap::Args)]
pub(crate) struct Publish {
    /// To whom it may concern
    topic: String,
    /// Any JSON [default: null]
    #[arg(short, long, value_name = "JSON")]
    payload: Option<String>,
    #[command(flatten)]
    out: Json,
}

/// `subscribe`
#[derive(Debug, clap::Args)]
pub(crate) struct Subscribe {
    /// Topics; a trailing * is for all that begin so
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// End after N messages
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    out: Json,
}

pub(crate) fn publish(args: &Publish, ui: &Ui) -> Result<ExitCode, CliError> {
    let payload = args.payload.as_deref().map(call::json).transpose()?;
    let request = PublishRequest { topic: args.topic.clone(), payload };
    let reached = link::session(ui, async |client| Ok(client.publish(&request).await?))?;
    if args.out.json {
        ui.json(&reached)?;
    } else {
        ui.talk(&format!("subscriptions reached: {}", reached.reached));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn subscribe(args: &Subscribe, ui: &Ui) -> Result<ExitCode, CliError> {
    let query = SubscribeQuery { topics: args.topics.join(",") };
    link::session(ui, async |client| {
        let mut stream = client.subscribe(&query).await?;
        ui.talk("listening; Ctrl-C ends it");
        let mut out = ui.out();
        let mut seen = 0;
        while args.limit.is_none_or(|limit| seen < limit)
            && let Some(said) = stream.next().await?
        {
            seen += u64::from(said.missed.is_none());
            if args.out.json {
                out.json_line(&said)?;
            } else {
                out.line(&line(&said))?;
            }
            out.flush()?;
        }
        out.done()?;
        Ok(ExitCode::SUCCESS)
    })
}

fn line(said: &TopicLine) -> String {
    let topic = text::printable(&said.topic);
    match (said.missed, &said.payload) {
        (Some(missed), _) => format!("{topic}  {missed} missed: this listener was too slow"),
        (None, payload) => {
            let payload = payload.as_ref().map_or("null", |payload| payload.get());
            let from = said.from.as_deref().unwrap_or_default();
            format!("{topic}  {from}  {}", text::printable(payload))
        }
    }
}
