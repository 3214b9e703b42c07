//! The way to the daemon: a runtime for the length of one verb, and errors turned into this program's own.

use ganger_api::client::SseError;
use ganger_api::{ApiError, Client, ErrorKind};

use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::ui::Ui;

/// Connects and does `work`. The runtime has one thread: a client waits, it does not compute.
pub(crate) fn session<T>(
    ui: &Ui,
    work: impl AsyncFnOnce(Client) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let place = Place::find(ui.globals())?;
    session_at(&place, work)
}

/// The same for a state folder that is already known.
pub(crate) fn session_at<T>(
    place: &Place,
    work: impl AsyncFnOnce(Client) -> Result<T, CliError>,
) -> Result<T, CliError> {
    runtime()?.block_on(work(Client::new(&place.state_dir)))
}

/// A runtime of one thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        CliError::new(Kind::Failed, format!("can't start the client's event loop: {error}"))
            .help("often too many open files; look at `ulimit -n`")
    })
}

impl From<ApiError> for CliError {
    fn from(error: ApiError) -> Self {
        let kind = match error.kind {
            ErrorKind::Failed => Kind::Failed,
            ErrorKind::Usage => Kind::Usage,
            ErrorKind::Config => Kind::Config,
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::NoDaemon => Kind::NoDaemon,
            ErrorKind::Denied => Kind::Denied,
            ErrorKind::Timeout => Kind::Timeout,
            ErrorKind::Partial => Kind::Partial,
            ErrorKind::Conflict => Kind::Conflict,
            ErrorKind::Full => Kind::Full,
        };
        let mut message = error.message;
        for cause in error.chain {
            message.push_str(": ");
            message.push_str(&cause);
        }
        let later = error.retry_after_s.map(|s| format!("try again in {s} s"));
        error.hints.into_iter().chain(later).fold(Self::new(kind, message), Self::help)
    }
}

impl From<SseError> for CliError {
    fn from(error: SseError) -> Self {
        match error {
            SseError::Api(error) => error.into(),
            SseError::Broken(_) => Self::new(Kind::NoDaemon, error.to_string())
                .help("the daemon went away; `ganger status` says how it is"),
            SseError::Shape(_) | SseError::TooLong => Self::new(Kind::Failed, error.to_string())
                .help("command and daemon may be of different versions: `ganger version`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_errors_keep_their_exit_code() {
        for kind in [
            ErrorKind::Failed,
            ErrorKind::Usage,
            ErrorKind::Config,
            ErrorKind::NotFound,
            ErrorKind::NoDaemon,
            ErrorKind::Denied,
            ErrorKind::Timeout,
            ErrorKind::Partial,
            ErrorKind::Conflict,
        ] {
            assert_eq!(CliError::from(ApiError::new(kind, "x")).code(), kind.exit_code());
        }
    }

    #[test]
    fn chain_and_hints_are_shown() {
        let error =
            ApiError::new(ErrorKind::Failed, "push failed").cause("disk full").hint("make room");
        let CliError::Told { message, hints, .. } = CliError::from(error) else {
            panic!("told");
        };
        assert_eq!((message.as_str(), hints.len()), ("push failed: disk full", 1));
    }
}
