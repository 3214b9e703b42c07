//! `ganger start`, `stop`, `restart`: the same words for services and pools.

use std::process::ExitCode;

use crate::error::{CliError, Kind};
use crate::link;
use crate::target::Target;
use crate::ui::Ui;

/// `start`, `stop`, `restart`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services or pools: NAME, or NAME#SLOT for one instance
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Target>,
}

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Start.
    Start,
    /// Stop.
    Stop,
    /// Stop and start.
    Restart,
}

pub(crate) fn run(what: What, args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let past = match what {
        What::Start => "started",
        What::Stop => "stopped",
        What::Restart => "restarted",
    };
    link::session(ui, async |client| {
        let mut failed = Vec::new();
        for target in &args.names {
            let name = target.to_string();
            let answer = match what {
                What::Start => client.start(&name).await,
                What::Stop => client.stop(&name).await,
                What::Restart => client.restart(&name).await,
            };
            match answer {
                Ok(answer) => {
                    ui.talk(&match answer.done.as_slice() {
                        [] => format!("{name}: nothing to do"),
                        done => format!("{past} {}", done.join(", ")),
                    });
                    for note in answer.notes {
                        ui.talk(&format!("warning: {note}"));
                    }
                }
                Err(error) => failed.push(CliError::from(error)),
            }
        }
        all_or_part(failed, args.names.len(), ui)
    })
}

/// One failure of one is that failure; some of many is `partial`, each told.
pub(super) fn all_or_part(
    mut failed: Vec<CliError>,
    asked: usize,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let Some(last) = failed.pop() else { return Ok(ExitCode::SUCCESS) };
    let all = failed.len() + 1 == asked;
    let same_code = failed.iter().all(|error| error.code() == last.code());
    for error in &failed {
        let _ = error.show(ui);
    }
    if all && same_code {
        return Err(last);
    }
    let _ = last.show(ui);
    Err(CliError::new(Kind::Partial, format!("{} of {asked} failed", failed.len() + 1)))
}
