//! One tortured queue: a folder, a configuration, five workers, the ledger they write.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::ganger::Ganger;
use crate::torture::procs::MARK;
use crate::{build, sh};

const PYTHON_SDK: &str = include_str!("../workers/fenced.py");

/// Where it happens, on the disk of the target folder so that fsync costs what it costs.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) ganger: Ganger,
    pub(crate) mark: String,
    pub(crate) ledger: PathBuf,
    pub(crate) state_dir: PathBuf,
    folder: tempfile::TempDir,
}

impl Site {
    /// `unsynced`: what is not synced at a kill is forgotten.
    pub(crate) fn build(binary: &Path, durability: &str, unsynced: bool) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("queue-")
            .tempdir_in(build::cache_dir("torture")?)
            .context("could not make a folder")?;
        let path = folder.path().to_path_buf();
        let (ledger, state_dir) = (path.join("ledger"), path.join(".ganger"));
        std::fs::write(&ledger, "")?;
        std::fs::write(path.join("fenced.py"), PYTHON_SDK)?;
        // Abstract socket names are the machine's: this folder's name makes them this run's.
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let mark = name.context("a folder has a name")?;
        std::fs::write(path.join("ganger.toml"), config(&ledger, durability, &mark)?)?;
        if unsynced {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new().mode(0o700).create(&state_dir)?;
            std::fs::write(state_dir.join("torture-unsynced"), "")?;
        }
        let ganger = Ganger::new(binary.to_path_buf(), path).with_env(MARK, &mark);
        Ok(Self { ganger, mark, ledger, state_dir, folder })
    }

    /// The folder stays, for whoever wants to know why.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

fn config(ledger: &Path, durability: &str, guard: &str) -> Result<String> {
    let me = build::own_copy()?;
    let (me, ledger) = (me.display(), ledger.display());
    let restart =
        "restart = { on = \"always\", backoff = \"20ms..200ms\", max = 4000, within = \"1m\" }";
    let lines = format!(
        "command = [\"{me}\", \"cast\", \"fenced\", \"{ledger}\", \"{guard}\"]\nprotocol = \"stdio\""
    );
    let sdk = if sh::which("python3").is_some() {
        let sdk = build::root()?.join("sdk");
        let env =
            format!("LEDGER = \"{ledger}\", SDK = \"{}\", GUARD = \"{guard}\"", sdk.display());
        format!("command = [\"python3\", \"fenced.py\"]\nenv = {{ {env} }}")
    } else {
        println!("  Python is missing: its workers are replaced by stdio workers of our own");
        lines.clone()
    };
    Ok(format!(
        "version = 1\n\
         [queue.work]\ndurability = \"{durability}\"\ntimeout = \"10s\"\n\
         retry = {{ max = 100, crash_limit = 0, backoff = \"10ms..100ms\" }}\n\
         [pool.sdk]\nqueues = [\"work\"]\nworkers = 2\n{sdk}\n{restart}\n\
         [pool.lines]\nqueues = [\"work\"]\nworkers = 3\n{lines}\n{restart}\n"
    ))
}
