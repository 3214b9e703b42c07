//! `ganger daemon`: the foreground form. This process becomes the keeper.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use ganger_api::client::lock_is_held;

use super::validate;
use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::ui::Ui;
use crate::{start, voice};

/// `daemon`
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Run in the foreground, for systemd and containers.\n\nThe process itself becomes the keeper: it may be pid 1. \
SIGTERM stops everything in order. What children say goes to stdout. For systemd: Type=notify, NotifyAccess=all, \
KillMode=mixed, Delegate=yes."
)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let place = Place::find(ui.globals())?;
    if place.config.is_some() {
        validate::load(&place, ui)?;
    }
    if lock_is_held(&place.state_dir) {
        return Err(CliError::new(
            Kind::Conflict,
            format!("another ganger runs on {}", place.state_dir.display()),
        )
        .help("`ganger down` ends it; --state-dir chooses another folder"));
    }
    start::make_state_dir(&place.state_dir)?;
    let (socket, name) = start::notify_socket_std()?;
    voice::spawn(&place, socket)?;
    // execve keeps the pid and gives the keeper a fresh, small process; NOTIFY_SOCKET has to change on the way, and a
    // running process can't change its environment safely.
    let error = Command::new("/proc/self/exe")
        .arg0("ganger")
        .arg("__keeper")
        .arg("--state-dir")
        .arg(&place.state_dir)
        .arg("--foreground")
        .env("NOTIFY_SOCKET", name)
        .stdin(Stdio::null())
        .exec();
    Err(CliError::new(Kind::Failed, format!("the keeper can't be started: {error}")))
}
