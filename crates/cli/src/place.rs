//! Where this call works: which config file, which state folder.

use std::path::{Path, PathBuf};

use crate::error::{CliError, Kind};
use crate::grammar::Globals;

/// Looked for in this order when `-f` is not given.
pub(crate) const CONFIG_NAMES: [&str; 2] = ["ganger.toml", "Procfile"];
/// The state folder's name beside the config.
pub(crate) const STATE_DIR_NAME: &str = ".ganger";

/// The folder pair of a call. Paths are absolute: the keeper changes its working folder to `/`.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The config file, if there is one.
    pub(crate) config: Option<PathBuf>,
    /// The state folder; it may not exist yet.
    pub(crate) state_dir: PathBuf,
}

impl Place {
    /// Finds both from the flags and the working folder.
    pub(crate) fn find(globals: &Globals) -> Result<Self, CliError> {
        let here = std::env::current_dir().map_err(|error| {
            CliError::new(Kind::Failed, format!("the working folder can't be read: {error}"))
        })?;
        let config = match &globals.file {
            Some(given) => Some(given_config(&here, given)?),
            None => config_in(&here),
        };
        let state_dir = match (&globals.state_dir, &config) {
            (Some(given), _) => here.join(given),
            (None, Some(file)) => file.parent().unwrap_or(&here).join(STATE_DIR_NAME),
            (None, None) => here.join(STATE_DIR_NAME),
        };
        Ok(Self { config, state_dir: tidy(&state_dir) })
    }

    /// The config file, or the error that says where it was looked for.
    pub(crate) fn need_config(&self) -> Result<&Path, CliError> {
        self.config.as_deref().ok_or_else(|| {
            let here = std::env::current_dir().unwrap_or_default();
            CliError::new(
                Kind::Config,
                format!("no {} in {}", CONFIG_NAMES.join(" or "), here.display()),
            )
            .help("`ganger init` writes one; `-f FILE` names one elsewhere")
        })
    }
}

fn given_config(here: &Path, given: &Path) -> Result<PathBuf, CliError> {
    let path = tidy(&here.join(given));
    let found =
        if path.is_dir() { config_in(&path) } else { path.exists().then_some(path.clone()) };
    found.ok_or_else(|| {
        let what = if path.is_dir() {
            format!("no {} in {}", CONFIG_NAMES.join(" or "), path.display())
        } else {
            format!("config file {} does not exist", path.display())
        };
        CliError::new(Kind::Config, what).help("`ganger init` writes one")
    })
}

fn config_in(folder: &Path) -> Option<PathBuf> {
    CONFIG_NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// Absolute without `.` parts; symbolic links stay (the user's spelling is what errors should show).
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect()
}
