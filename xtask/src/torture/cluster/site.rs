//! What runs while daemons are killed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{LOOK, OTHERS, PATIENCE, WORKERS};
use crate::build;
use crate::ganger::Ganger;
use crate::web::{self, Mode};

/// The service that exits when it is told to.
pub(super) const MORTAL: &str = "mortal";
/// It is up again soon, however often it exits: the next daemon is killed within a second.
const MORTAL_RESTART: &str =
    "restart = { on = \"always\", backoff = \"20ms..50ms\", max = 4000, within = \"1m\" }";

/// Instance, pid and restarts; a restart shows as another pid.
pub(super) type Processes = BTreeMap<String, (Option<i32>, u64)>;

/// A folder with its services.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) ganger: Ganger,
    pub(super) mode: Mode,
    pub(super) address: SocketAddr,
    /// The number of the last line whose write came back, a file for each process.
    pub(super) notes: PathBuf,
    /// Open for both directions, so that what is written waits for its reader.
    fifo: File,
}

impl Site {
    pub(super) fn build(binary: &Path, folder: &Path, mode: Mode) -> Result<Self> {
        let notes = folder.join("notes");
        std::fs::create_dir(&notes)?;
        let path = folder.join("fifo");
        let kind = rustix::fs::FileType::Fifo;
        let rights = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rights, 0)
            .context("could not make a fifo")?;
        let fifo = OpenOptions::new().read(true).write(true).open(&path).context("the fifo")?;
        web::program(folder)?;
        let address = web::free_port()?;
        let me = build::own_copy()?;
        let (me, lines, end) = (me.display(), notes.display(), path.display());
        let mut text = format!("version = 1\n{}", mode.section(WORKERS, address, &["LOG"]));
        for name in others() {
            let command = format!("[\"{me}\", \"cast\", \"steady\", \"{lines}\", \"{name}\"]");
            write!(text, "[service.{name}]\ncommand = {command}\n")?;
        }
        let command = format!("[\"{me}\", \"cast\", \"mortal\", \"{end}\"]");
        write!(text, "[service.{MORTAL}]\ncommand = {command}\n{MORTAL_RESTART}\n")?;
        std::fs::write(folder.join("ganger.toml"), text)?;
        let ganger = Ganger::new(binary.to_path_buf(), folder.to_path_buf());
        Ok(Self { ganger, mode, address, notes, fifo })
    }

    pub(super) fn up(&self) -> Result<()> {
        web::up(&self.ganger, self.address)
    }

    /// All processes that are to stay.
    pub(super) fn processes(&self) -> Result<Processes> {
        let all = self.ganger.ps()?.into_iter().enumerate();
        let stay = all.filter(|(_, instance)| instance.name != MORTAL);
        Ok(stay.map(|(n, i)| (format!("{n} {}", i.name), (i.pid, i.restarts))).collect())
    }

    /// The pid of the one that is to exit next, once it is up.
    pub(super) fn mortal(&self) -> Result<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.ganger.ps()?.into_iter().find(|i| i.name == MORTAL);
            if let Some(pid) = found.and_then(|i| i.pid) {
                return Ok(pid);
            }
            if Instant::now() > deadline {
                bail!("{MORTAL} is not up after {PATIENCE:?}");
            }
            std::thread::sleep(LOOK);
        }
    }

    pub(super) fn let_mortal_exit(&self, code: u8) -> Result<()> {
        (&self.fifo).write_all(&[code]).context("could not write into the fifo")
    }
}

/// Names of the services that write lines.
pub(super) fn others() -> impl Iterator<Item = String> {
    (1..=OTHERS).map(|n| format!("rest{n}"))
}
