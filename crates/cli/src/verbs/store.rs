//! `ganger store backup|restore|check|vacuum`: the state database, looked after from outside the daemon.
//!
//! `backup` and `check` read beside a running daemon; `restore`, `vacuum` and `check --repair` hold the state folder's
//! lock, so that no daemon runs or starts meanwhile.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ganger_api::{StoreBackup, StoreCheck, StoreProblem, StoreRestore, StoreVacuum, V1};
use ganger_keeper::KeeperError;
use ganger_store::upkeep::{self, Remedy, UpkeepError};

use super::Json;
use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::text;
use crate::ui::Ui;

/// The database in the state folder.
const DATABASE: &str = "state.db";

/// `store`
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: StoreVerb,
}

#[derive(Debug, clap::Subcommand)]
enum StoreVerb {
    /// Copy the state database to FILE, as it is at one moment; a running daemon goes on
    Backup {
        /// The new file
        #[arg(value_name = "FILE")]
        to: PathBuf,
        /// Replace FILE if it exists
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        out: Json,
    },
    /// Put a backup in place of the state database, which is kept beside it; no daemon may run
    Restore {
        /// What `ganger store backup` wrote
        #[arg(value_name = "FILE")]
        from: PathBuf,
        #[command(flatten)]
        out: Json,
    },
    /// Check the state database: pages, indexes, counters, rules; exit 1 if something is wrong
    Check {
        /// Put right what can be known from the rows; no daemon may run
        #[arg(long)]
        repair: bool,
        #[command(flatten)]
        out: Json,
    },
    /// Give free space of the state database back to the file system; no daemon may run
    Vacuum(Json),
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let place = Place::find(ui.globals())?;
    let db = place.state_dir.join(DATABASE);
    match &args.verb {
        StoreVerb::Backup { to, replace, out } => backup(&db, to, *replace, *out, ui),
        StoreVerb::Restore { from, out } => {
            let _lock = alone(&place, "restore")?;
            restore(&db, from, *out, ui)
        }
        StoreVerb::Check { repair: false, out } => check(&db, *out, ui),
        StoreVerb::Check { repair: true, out } => {
            let _lock = alone(&place, "repair")?;
            let repaired = upkeep::repair(&db)?;
            ui.talk(&format!(
                "indexes rebuilt, counters counted anew, {} removed that belonged to no task",
                text::count(usize::try_from(repaired.orphans).unwrap_or(0), "row")
            ));
            check(&db, *out, ui)
        }
        StoreVerb::Vacuum(out) => {
            let _lock = alone(&place, "vacuum")?;
            vacuum(&db, *out, ui)
        }
    }
}

/// The state folder's lock, held while the file is replaced.
fn alone(place: &Place, what: &str) -> Result<OwnedFd, CliError> {
    if !place.state_dir.is_dir() {
        let missing = format!("there is no state folder {}", place.state_dir.display());
        return Err(CliError::new(Kind::NotFound, missing).help(ELSEWHERE));
    }
    ganger_keeper::lock_state(&place.state_dir).map_err(|error| match error {
        KeeperError::Locked { path } => CliError::new(
            Kind::Conflict,
            format!("a daemon works with {}: {what} needs it for itself", path.display()),
        )
        .help("`ganger down` ends it; `ganger store backup` and `check` work beside it"),
        other => CliError::new(Kind::Failed, other.to_string()),
    })
}

fn backup(db: &Path, file: &Path, replace: bool, out: Json, ui: &Ui) -> Result<ExitCode, CliError> {
    let copied = upkeep::backup(db, file, replace)?;
    let told = StoreBackup {
        v: V1,
        file: absolute(file),
        bytes: copied.bytes,
        unfinished: copied.unfinished,
        finished: copied.finished,
    };
    if out.json {
        ui.json(&told)?;
    } else {
        ui.talk(&format!(
            "{} written: {}, {} unfinished and {} finished tasks, checked",
            file.display(),
            text::bytes(told.bytes),
            told.unfinished,
            told.finished
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn restore(db: &Path, file: &Path, out: Json, ui: &Ui) -> Result<ExitCode, CliError> {
    let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let restored = upkeep::restore(db, file, &stamp)?;
    let told = StoreRestore {
        v: V1,
        file: absolute(db),
        aside: restored.aside.as_deref().map(absolute),
        unfinished: restored.content.unfinished,
        finished: restored.content.finished,
        epoch: restored.epoch,
    };
    if out.json {
        ui.json(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    let content = restored.content;
    ui.talk(&format!(
        "restored {} unfinished and {} finished tasks; tasks that ended after the backup was taken run again",
        content.unfinished, content.finished
    ));
    if let Some(aside) = &restored.aside {
        ui.talk(&format!("the former database is kept as {}", aside.display()));
    }
    if restored.old_unreadable {
        ui.talk("it could not be read, so the fencing epoch was raised by a leap");
    }
    Ok(ExitCode::SUCCESS)
}

fn check(db: &Path, out: Json, ui: &Ui) -> Result<ExitCode, CliError> {
    let found = upkeep::check(db)?;
    let problem = |p: &upkeep::Problem| StoreProblem {
        what: p.what.clone(),
        remedy: p.remedy.as_str().to_owned(),
        fix: fix(p.remedy).to_owned(),
    };
    let told = StoreCheck {
        v: V1,
        file: absolute(db),
        ok: found.problems.is_empty(),
        bytes: found.size.bytes,
        free_bytes: found.size.free_bytes,
        log_bytes: found.size.log_bytes,
        unfinished: found.unfinished,
        finished: found.finished,
        problems: found.problems.iter().map(problem).collect(),
    };
    if out.json {
        ui.json(&told)?;
        return Ok(ExitCode::from(u8::from(!told.ok)));
    }
    ui.talk(&format!(
        "{}: {}, of these {} free; write-ahead log {}; {} unfinished and {} finished tasks",
        db.display(),
        text::bytes(told.bytes),
        text::bytes(told.free_bytes),
        text::bytes(told.log_bytes),
        told.unfinished,
        told.finished
    ));
    if told.ok {
        ui.talk("pages, indexes, counters and rules: all well");
        return Ok(ExitCode::SUCCESS);
    }
    let wrong = text::count(told.problems.len(), "problem");
    let mut error = CliError::new(
        Kind::Failed,
        told.problems.iter().fold(format!("{wrong} in {}", db.display()), |text, problem| {
            format!("{text}\n  {}", problem.what)
        }),
    );
    let mut remedies: Vec<Remedy> = found.problems.iter().map(|p| p.remedy).collect();
    remedies.dedup_by_key(|remedy| fix(*remedy));
    for remedy in remedies {
        error = error.help(fix(remedy));
    }
    Err(error)
}

const fn fix(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Restore => {
            "look at the disk (dmesg), then `ganger down` and `ganger store restore FILE` with a backup; what it holds is all that can be known"
        }
        Remedy::Reindex | Remedy::Recount => {
            "`ganger down`, then `ganger store check --repair` puts this right from the rows"
        }
    }
}

fn vacuum(db: &Path, out: Json, ui: &Ui) -> Result<ExitCode, CliError> {
    let done = upkeep::vacuum(db)?;
    let told = StoreVacuum { v: V1, before: done.before, after: done.after };
    if out.json {
        ui.json(&told)?;
    } else {
        ui.talk(&format!("{} before, {} now", text::bytes(done.before), text::bytes(done.after)));
    }
    Ok(ExitCode::SUCCESS)
}

const ELSEWHERE: &str = "`--state-dir DIR` names another state folder";

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

impl From<UpkeepError> for CliError {
    fn from(error: UpkeepError) -> Self {
        let (kind, help) = match &error {
            UpkeepError::NotThere(_) => (Kind::NotFound, ELSEWHERE),
            UpkeepError::Exists(_) => (Kind::Conflict, "choose another name, or `--replace`"),
            UpkeepError::NotOurs { .. } => (
                Kind::Failed,
                "`ganger store backup FILE` writes such files; `restore FILE` puts one in the place of a lost state.db",
            ),
            UpkeepError::TooNew { .. } | UpkeepError::TooOld { .. } => {
                (Kind::Conflict, "`ganger version` says which one this is")
            }
            UpkeepError::Damaged { .. } => (
                Kind::Failed,
                "use another backup; `ganger store check` says more of a database in place",
            ),
            UpkeepError::Failed { .. } => (
                Kind::Failed,
                "nothing was changed; look at space and rights of the folder (`df`, `ls -ld`)",
            ),
        };
        Self::new(kind, error.to_string()).help(help)
    }
}
