//! The voice of `ganger daemon`: a child of the keeper in the foreground form.
//!
//! `ganger daemon` becomes the keeper by execve, so that its pid is the one systemd or the container watches. Somebody
//! must still apply the config once the daemon serves, tell systemd, and put the children's words on stdout, where
//! `docker logs` and the journal look for them. That is this process: it holds nothing, and its death harms nobody.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use ganger_api::Client;
use rustix::process::{PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal};
use tokio::net::UnixDatagram;

use crate::apply::Ask;
use crate::error::{CliError, Kind};
use crate::gone::Keeper;
use crate::grammar::Globals;
use crate::place::Place;
use crate::ui::Ui;
use crate::verbs::load_config;
use crate::{apply, link, start, tail};

/// The hidden verb.
pub(crate) const VERB: &str = "__voice";

/// Starts the voice; `socket` is where the keeper will say `READY=1`.
pub(crate) fn spawn(place: &Place, socket: StdDatagram) -> Result<(), CliError> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(VERB).arg(&place.state_dir);
    if let Some(config) = &place.config {
        command.arg(config);
    }
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)));
    command.spawn().map(drop).map_err(|error| {
        CliError::new(Kind::Failed, format!("a helper process could not be started: {error}"))
    })
}

/// `__voice STATE_DIR [CONFIG]`, stdin is the datagram socket.
pub(crate) fn run(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(state_dir), config) = (words.next(), words.next()) else {
        return ExitCode::FAILURE;
    };
    let place = Place { config: config.map(PathBuf::from), state_dir: PathBuf::from(state_dir) };
    let ui = Ui::new(Globals::default());
    match speak(&place, &ui) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = error.show(&ui);
            // Nobody would ever see a foreground ganger that runs nothing: end it, and with it this failure is seen.
            if let Some(keeper) =
                getppid().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
            {
                let _ = pidfd_send_signal(keeper, Signal::TERM);
            }
            ExitCode::from(error.code())
        }
    }
}

fn speak(place: &Place, ui: &Ui) -> Result<(), CliError> {
    let keeper = Keeper::with_pid(getppid().and_then(|pid| u32::try_from(pid.as_raw_pid()).ok()));
    let socket = StdDatagram::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    link::runtime()?.block_on(async {
        let socket = UnixDatagram::from_std(socket)?;
        tokio::select! {
            () = start::ready(&socket) => {}
            () = keeper.gone() => return Ok(()),
        }
        let tail = tail::Tail::start(place, ui)?;
        if place.config.is_some() {
            let config = load_config(place, ui)?;
            let client = Client::new(&place.state_dir);
            let applied = apply::apply(&client, &config, ui, Ask::default()).await?;
            for warning in &applied.warnings {
                ui.talk(&format!("warning: {warning}"));
            }
        }
        tell_systemd();
        keeper.gone().await;
        tail.finish();
        Ok(())
    })
}

/// Passes READY=1 on to the service manager of `ganger daemon`, if it has one.
fn tell_systemd() {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name),
        None => SocketAddr::from_pathname(OsStr::from_bytes(name.as_bytes())),
    };
    let keeper = getppid().map_or(0, |pid| pid.as_raw_pid());
    let message = format!("MAINPID={keeper}\nREADY=1");
    let sent = address
        .and_then(|address| StdDatagram::unbound()?.send_to_addr(message.as_bytes(), &address));
    if let Err(error) = sent {
        let _ = writeln!(std::io::stderr(), "ganger: NOTIFY_SOCKET can't be reached: {error}");
    }
}
