//! `ganger down`: everything ends, then ganger itself.

use std::process::ExitCode;

use ganger_api::client::lock_is_held;

use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::ui::Ui;
use crate::{gone, link, text};

/// `down`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let place = Place::find(ui.globals())?;
    if !lock_is_held(&place.state_dir) {
        ui.talk(&format!("nothing runs for {}", place.state_dir.display()));
        return Ok(ExitCode::SUCCESS);
    }
    stop_all(&place, ui)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks for `down`, says what ended, and returns when the keeper is gone too.
pub(super) fn stop_all(place: &Place, ui: &Ui) -> Result<(), CliError> {
    let keeper = gone::Keeper::of(place)?;
    let (stopped, answer) = link::session_at(place, async |client| {
        let before = client.instances().await?.instances;
        let stopped: Vec<String> = before
            .iter()
            .filter(|instance| instance.pid.is_some())
            .map(|instance| format!("{}#{}", instance.name, instance.slot))
            .collect();
        Ok((stopped, client.down().await?))
    })?;
    ui.talk(&match stopped.len() {
        0 => "nothing was running".to_owned(),
        n => format!("stopped {}: {}", text::count(n, "instance"), shorten(&stopped)),
    });
    for note in &answer.notes {
        ui.talk(&format!("warning: {note}"));
    }
    if keeper.wait_gone() {
        Ok(())
    } else {
        Err(CliError::new(
            Kind::Timeout,
            format!("the children ended, but the keeper of {} did not", place.state_dir.display()),
        )
        .help(format!("its log is {}", place.state_dir.join("keeper.log").display())))
    }
}

/// Names for a person: a few, then how many more.
fn shorten(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
