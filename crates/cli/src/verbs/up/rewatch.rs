//! `up --watch`: the config is applied again whenever one of its files changes.
//!
//! Folders are watched, not files: editors replace files by rename.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ganger_api::{Change, ChangeAction, Client};
use ganger_daemon::config::{self, Config};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::super::validate;
use super::Args;
use crate::apply;
use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::text;
use crate::ui::Ui;

/// Quiet time after which a save counts as complete.
const QUIET: Duration = Duration::from_millis(300);
/// Bytes of events taken per read.
const BUFFER: usize = 4 << 10;
/// Changes shown by name; more are counted.
const SHOWN: usize = 8;

/// The config file, its files of variables, and what was applied last.
pub(super) struct Again<'a> {
    place: &'a Place,
    args: &'a Args,
    fd: AsyncFd<OwnedFd>,
    folders: BTreeMap<i32, PathBuf>,
    files: BTreeSet<PathBuf>,
    /// A change has settled then.
    due: Option<Instant>,
    last: Config,
}

impl<'a> Again<'a> {
    /// Watches the files that a config was made from.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's can't"
    )]
    pub(super) fn new(place: &'a Place, args: &'a Args, config: &Config) -> Result<Self, CliError> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let inotify = inotify.map_err(|error| cannot_watch(place, error.into()))?;
        let fd = AsyncFd::with_interest(inotify, Interest::READABLE)
            .map_err(|error| cannot_watch(place, error))?;
        let (folders, files, last) = (BTreeMap::new(), BTreeSet::new(), config.clone());
        let mut again = Self { place, args, fd, folders, files, due: None, last };
        again.follow(config)?;
        // What changed between the reading and here.
        if config.sources.iter().any(|source| !source.is_unchanged()) {
            again.due = Some(Instant::now());
        }
        Ok(again)
    }

    /// Watches the folders of what a config was made from as well.
    fn follow(&mut self, config: &Config) -> Result<(), CliError> {
        let own = self.place.need_config()?.to_owned();
        let own = std::path::absolute(&own).unwrap_or(own);
        self.files.insert(own);
        self.files.extend(config.sources.iter().map(|source| source.path.clone()));
        let dirs: BTreeSet<&Path> = self.files.iter().filter_map(|file| file.parent()).collect();
        let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        for dir in dirs {
            match inotify::add_watch(self.fd.get_ref(), dir, what) {
                Ok(watch) => drop(self.folders.insert(watch, dir.to_owned())),
                Err(error) => return Err(cannot_watch(self.place, error.into())),
            }
        }
        Ok(())
    }

    /// When one of the files has changed and is quiet again. Cancel safe.
    async fn changed(&mut self) {
        loop {
            tokio::select! {
                () = at(self.due) => {
                    self.due = None;
                    return;
                }
                ready = self.fd.readable() => {
                    let Ok(mut ready) = ready else { return std::future::pending().await };
                    ready.clear_ready();
                    if take(ready.get_inner(), &self.folders, &self.files) {
                        self.due = Some(Instant::now() + QUIET);
                    }
                }
            }
        }
    }

    /// Applies the file as it is now; what is wrong is told and changes nothing.
    pub(super) async fn apply(&mut self, client: &Client, ui: &Ui) -> Result<(), CliError> {
        let path = self.place.need_config()?.to_owned();
        let loaded = match config::load_chosen(&path, &self.args.foreign.choice()) {
            Ok(loaded) => loaded,
            Err(errors) => {
                let _ = validate::refused(&errors, ui).show(ui);
                ui.talk(&format!("{} has errors: nothing was changed", path.display()));
                return Ok(());
            }
        };
        self.follow(&loaded.config)?;
        if self.last == loaded.config {
            return Ok(());
        }
        if !loaded.warnings.is_empty() {
            ui.talk(loaded.warnings.render(ui.talk_is_coloured()).trim_end());
        }
        let ask = apply::Ask { dry_run: false, update_env: false };
        match apply::apply(client, &loaded.config, ui, ask).await {
            Ok(applied) => {
                for warning in &applied.warnings {
                    ui.talk(&format!("warning: {warning}"));
                }
                ui.talk(&format!("{} changed: {}", path.display(), what(&applied.changes)));
                self.last = loaded.config;
            }
            // A daemon that is not there comes back, or `up` ends with ganger.
            Err(error) => {
                let _ = error.show(ui);
                ui.talk(&format!("{} was not applied: nothing was changed", path.display()));
            }
        }
        Ok(())
    }
}

/// When the config has changed; never where it is not watched. Cancel safe.
pub(super) async fn changed(again: &mut Option<Again<'_>>) {
    match again {
        Some(again) => again.changed().await,
        None => std::future::pending().await,
    }
}

/// Takes all that has happened: whether one of the files was concerned.
fn take(inotify: &OwnedFd, folders: &BTreeMap<i32, PathBuf>, files: &BTreeSet<PathBuf>) -> bool {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut reader = inotify::Reader::new(inotify.as_fd(), &mut buffer);
    let mut concerned = false;
    loop {
        let event = match reader.next() {
            Ok(event) => event,
            Err(Errno::INTR) => continue,
            // Nothing more; any other error can't be got rid of either.
            Err(_) => return concerned,
        };
        let name = event.file_name().map(|name| OsString::from_vec(name.to_bytes().to_vec()));
        let path = folders.get(&event.wd()).zip(name).map(|(dir, name)| dir.join(name));
        concerned |= event.events().contains(ReadFlags::QUEUE_OVERFLOW)
            || path.is_some_and(|path| files.contains(&path));
    }
}

fn what(changes: &[Change]) -> String {
    let list: Vec<String> = changes
        .iter()
        .filter_map(|change| {
            let mark = match change.action {
                ChangeAction::Add => '+',
                ChangeAction::Change => '~',
                ChangeAction::Remove => '-',
                ChangeAction::Keep => return None,
            };
            Some(format!("{mark} {} {}", change.kind, change.name))
        })
        .collect();
    match list.len() {
        0 => "nothing to do".to_owned(),
        n if n > SHOWN => format!("applied, {}", text::count(n, "change")),
        _ => format!("applied, {}", list.join(", ")),
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn cannot_watch(place: &Place, error: std::io::Error) -> CliError {
    let dir = place.config.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
    CliError::new(Kind::Failed, format!("{} can't be watched: {error}", dir.display()))
        .help("the kernel's limits are fs.inotify.max_user_instances and max_user_watches (sysctl)")
}
