//! `ganger events`: what happened, and with `-f` what happens.

use std::process::ExitCode;

use ganger_api::client::{EventQuery, Sse, SseError};
use ganger_api::{ErrorKind, EventLine};

use super::Json;
use crate::error::CliError;
use crate::link;
use crate::text;
use crate::ui::Ui;

/// `events`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Only the last N of those there are
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u32>,
    /// Only those after this sequence number
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    #[command(flatten)]
    out: Json,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    link::session(ui, async |client| {
        let mut query = EventQuery { follow: args.follow, after: args.after, limit: args.limit };
        let mut stream = client.events(&query).await?;
        let mut out = ui.out();
        loop {
            while let Some(event) = heard(&mut stream, args.follow).await? {
                if args.out.json {
                    out.json_line(&event)?;
                } else {
                    out.line(&line(&event))?;
                }
                if args.follow {
                    out.flush()?;
                }
                query.after = Some(event.seq).filter(|seq| *seq > 0).or(query.after);
            }
            if !args.follow {
                break;
            }
            // That daemon ended. The next one goes on after what was seen; without one all is over.
            stream = match client.events(&query).await {
                Ok(stream) => stream,
                Err(error) if error.kind == ErrorKind::NoDaemon => break,
                Err(error) => return Err(error.into()),
            };
        }
        out.done()?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The next event; `None` at the stream's end, which for one that follows may be a daemon's death.
async fn heard(stream: &mut Sse<EventLine>, follow: bool) -> Result<Option<EventLine>, SseError> {
    match stream.next().await {
        Err(SseError::Broken(_)) if follow => Ok(None),
        next => next,
    }
}

/// One event as a person reads it.
pub(super) fn line(event: &EventLine) -> String {
    let mut text = text::clock(event.ts.0);
    let subject = match (event.name.as_str(), event.slot) {
        ("", _) => "ganger".to_owned(),
        (name, None) => name.to_owned(),
        (name, Some(slot)) => format!("{name}#{slot}"),
    };
    text.push_str(&format!("  {subject}  {}", event.kind));
    match (&event.from, &event.to) {
        (Some(from), Some(to)) => text.push_str(&format!("  {from} → {to}")),
        (None, Some(to)) => text.push_str(&format!("  → {to}")),
        _ => {}
    }
    if !event.reason.is_empty() {
        text.push_str(&format!("  {}", text::printable(&event.reason)));
    }
    text
}
