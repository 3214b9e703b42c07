//! The verbs no person types: the processes ganger starts from its own binary.
//!
//! They are taken from `argv[1]` before clap, threads or a runtime exist, because the keeper must stay one thread and
//! small, and because each is started often and must be quick.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use ganger_keeper::{Helper, KeeperOptions};

/// Runs the hidden verb if the first word is one.
pub(crate) fn dispatch(mut words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let _program = words.next();
    let verb = words.next()?;
    match verb.to_str()? {
        "__keeper" => Some(match keeper_options(words) {
            Ok(None) => {
                let offer = ganger_keeper::offer(ganger_store::SCHEMA_VERSION);
                told("keeper", offer.map(|()| ExitCode::SUCCESS))
            }
            Ok(Some(options)) => {
                told("keeper", ganger_keeper::run(options).map(|()| ExitCode::SUCCESS))
            }
            Err(why) => fail("keeper", &why),
        }),
        "__logger" => Some(logger()),
        "__daemon" => {
            Some(told("daemon", ganger_daemon::run(ganger_daemon::DaemonOptions::default())))
        }
        crate::bench::WORKER_VERB => Some(crate::bench::run_worker(words)),
        crate::voice::VERB => Some(crate::voice::run(words)),
        _ => None,
    }
}

/// `--state-dir DIR [--foreground] [--adopt FD | --resume FD]`; or `--can-resume`, which is `None`. A keeper of another
/// version calls this one so: the words stay.
fn keeper_options(
    mut words: impl Iterator<Item = OsString>,
) -> Result<Option<KeeperOptions>, String> {
    let mut state_dir = None;
    let mut foreground = false;
    let (mut adopt, mut resume) = (None, None);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--state-dir") => state_dir = words.next().map(PathBuf::from),
            Some("--foreground") => foreground = true,
            Some("--adopt") => adopt = Some(descriptor("--adopt", words.next())?),
            Some("--resume") => resume = Some(descriptor("--resume", words.next())?),
            Some("--can-resume") => return Ok(None),
            _ => return Err(format!("unknown word {}", word.display())),
        }
    }
    Ok(Some(KeeperOptions {
        state_dir: state_dir.ok_or("--state-dir is missing")?,
        foreground,
        adopt,
        resume,
        keeper: Helper::own("__keeper"),
        logger: Helper::own("__logger"),
        daemon: Helper::own("__daemon"),
    }))
}

fn descriptor(flag: &str, number: Option<OsString>) -> Result<OwnedFd, String> {
    let number = number
        .and_then(|text| text.to_str()?.parse::<i32>().ok())
        .ok_or_else(|| format!("{flag} needs the number of a descriptor"))?;
    ganger_sys::adopt_fd(number)
        .map_err(|error| format!("descriptor {number} of {flag} can't be used: {error}"))
}

fn logger() -> ExitCode {
    let fd = std::env::var(ganger_keeper::wire::LOGGER_FD_ENV)
        .ok()
        .and_then(|text| text.parse::<i32>().ok())
        .ok_or_else(|| "only the keeper starts the logger".to_owned())
        .and_then(|number| {
            ganger_sys::adopt_fd(number)
                .map_err(|error| format!("descriptor {number} can't be used: {error}"))
        });
    match fd {
        Ok(fd) => told("logger", ganger_logs::mover::run(fd).map(|()| ExitCode::SUCCESS)),
        Err(why) => fail("logger", &why),
    }
}

fn told<E: std::error::Error>(who: &str, outcome: Result<ExitCode, E>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        fail(who, &text)
    })
}

fn fail(who: &str, why: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "ganger {who}: {why}");
    ExitCode::FAILURE
}
