//! `node_drain`: the script that lets Node's HTTP servers finish connections that are kept alive, loaded by `NODE_OPTIONS`.
//!
//! It is part of this binary, because the npm package is not on every machine. Where all of a service's processes can read it
//! there is one file, put there (again) by a start that does not find these very bytes: `<state dir>/run` for who owns
//! that folder, [`SHARED`] for services of other users, which only root can have. Its name never changes, so neither does the
//! plan when a new ganger brings a new script.

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ganger_keeper::wire::Plan;

use crate::spec::Stop;

const SCRIPT: &str = include_str!("../../../sdk/node/drain.js");
const NAME: &str = "node-drain.js";
/// The state folder is closed to other users; this one is root's and open to read.
const SHARED: &str = "/run/ganger";
/// The program must have ended when the stop's time is over: nine tenths are for connections.
const SHARE: (u32, u32) = (9, 10);

/// The script can't be put where the service can read it.
#[derive(Debug, thiserror::Error)]
#[error("`node_drain`: could not write {path}: {source}")]
pub(crate) struct PreloadError {
    path: PathBuf,
    source: io::Error,
}

/// Has the program of a plan load the script before its own.
pub(crate) fn load(plan: &mut Plan, run_dir: &Path, stop: Stop) -> Result<(), PreloadError> {
    let own = rustix::process::geteuid().as_raw();
    let child = plan.profile.identity.as_ref().map_or(own, |identity| identity.uid);
    let folder = if child == own { run_dir } else { Path::new(SHARED) };
    let path = folder.join(NAME);
    put(folder, &path).map_err(|source| PreloadError { path: path.clone(), source })?;
    let options = plan.env.get("NODE_OPTIONS").unwrap_or_default();
    let options = format!("{options} --require {}", quoted(&path.to_string_lossy()));
    plan.env.set("NODE_OPTIONS", options.trim_start());
    let time = stop.timeout * SHARE.0 / SHARE.1;
    plan.env.set("GANGER_DRAIN_MS", time.as_millis().to_string());
    plan.env.set("GANGER_DRAIN_SIGNAL", ganger_core::end::signal_name(stop.signal));
    Ok(())
}

/// Written beside and renamed: a process that starts meanwhile reads one whole script.
fn put(folder: &Path, path: &Path) -> io::Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == SCRIPT.as_bytes()) {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let beside = folder.join(format!("{NAME}.{}", std::process::id()));
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&beside)?;
    io::Write::write_all(&mut file, SCRIPT.as_bytes())?;
    std::fs::rename(&beside, path)
}

/// As Node splits `NODE_OPTIONS`: at spaces outside of double quotes, in which `\` stands before what is meant.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use ganger_core::{InstanceId, InstanceKind};

    use super::*;

    #[test]
    fn the_script_is_there_and_loaded_beside_what_the_program_loads_itself() {
        let folder = tempfile::Builder::new().prefix("a \"b\\").tempdir().unwrap();
        let run = folder.path().join("run");
        let mut plan = Plan::new(
            InstanceId::new("web", 1),
            InstanceKind::Service,
            "/bin/node".to_owned(),
            vec!["node".into()],
        );
        plan.env.set("NODE_OPTIONS", "--max-old-space-size=64");
        let stop = Stop { timeout: Duration::from_secs(20), signal: 2, ..Stop::default() };
        load(&mut plan, &run, stop).unwrap();

        let script = run.join(NAME);
        assert_eq!(std::fs::read_to_string(&script).unwrap(), SCRIPT);
        assert_eq!(std::fs::metadata(&script).unwrap().permissions().mode() & 0o444, 0o444);
        let path = script.to_str().unwrap().replace('\\', "\\\\").replace('"', "\\\"");
        let options = format!("--max-old-space-size=64 --require \"{path}\"");
        assert_eq!(plan.env.get("NODE_OPTIONS"), Some(&*options));
        assert_eq!(plan.env.get("GANGER_DRAIN_MS"), Some("18000"));
        assert_eq!(plan.env.get("GANGER_DRAIN_SIGNAL"), Some("SIGINT"));

        // One that somebody else has changed, or an older one, is replaced.
        std::fs::write(&script, "old").unwrap();
        load(&mut plan, &run, stop).unwrap();
        assert_eq!(std::fs::read_to_string(&script).unwrap(), SCRIPT);
        assert_eq!(std::fs::read_dir(&run).unwrap().count(), 1);
    }
}
