//! ganger and PM2 with the same program.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Cell, Place, Way};
use crate::bench::services::pm2;
use crate::ganger::Ganger;
use crate::sh;

/// A program must be up within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who holds the program; ended when dropped.
pub(super) enum Manager {
    Ganger(Ganger),
    Pm2 { tools: PathBuf, home: PathBuf },
}

/// An event, as far as it tells of reloads.
#[derive(Deserialize)]
struct Told {
    seq: u64,
    #[serde(rename = "type")]
    kind: String,
    to: Option<String>,
    reason: String,
}

impl Manager {
    /// Starts it, and returns when it serves.
    pub(super) fn start(
        cell: Cell,
        binary: &Path,
        place: &Place<'_>,
        folder: &Path,
        port: u16,
    ) -> Result<Self> {
        // It is there before its programs are: what fails half-way is ended too.
        let manager = if cell.way == Way::Pm2 {
            Self::Pm2 { tools: place.tools.to_path_buf(), home: folder.join("pm2") }
        } else {
            Self::Ganger(Ganger::new(binary.to_path_buf(), folder.to_path_buf()))
        };
        match &manager {
            Self::Ganger(ganger) => {
                std::fs::write(folder.join("ganger.toml"), cell.toml(place, port, None))?;
                ganger.up()?;
                ganger.wait(&["service:web=ready"], "30s")?;
            }
            Self::Pm2 { tools, home } => {
                let file = folder.join("web.json");
                std::fs::write(&file, cell.pm2(place, port))?;
                sh::capture(pm2(tools, home).arg("start").arg(&file))?;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = TcpStream::connect(("127.0.0.1", port)) {
            if Instant::now() > deadline {
                bail!("nothing listens on {port} after {PATIENCE:?}: {error}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(manager)
    }

    /// Replaces every process; returns when that is done.
    pub(super) fn reload(&self) -> Result<()> {
        match self {
            Self::Ganger(ganger) => ganger.run(&["reload", "web"]).map(drop),
            Self::Pm2 { tools, home } => {
                sh::capture(pm2(tools, home).args(["reload", "web"])).map(drop)
            }
        }
    }

    /// Gives it a version that is no good, waits until that is taken back, and configures the good one again. Returns what was told.
    pub(super) fn refuse(
        &self,
        cell: Cell,
        place: &Place<'_>,
        port: u16,
        bad: &str,
    ) -> Result<String> {
        let Self::Ganger(ganger) = self else { bail!("PM2 takes no version back") };
        let configure = |bad: Option<&str>| -> Result<()> {
            std::fs::write(ganger.folder().join("ganger.toml"), cell.toml(place, port, bad))?;
            // Where `up` waits for the reload it fails with it; the events tell both.
            sh::output(&mut ganger.verb(&["up", "-d"])).map(drop)
        };
        let last = ganger.run(&["events", "-n", "1", "--json"])?;
        let Told { seq, .. } = serde_json::from_str(last.trim()).context("the newest event")?;
        let seq = seq.to_string();
        let mut follower = ganger.verb(&["events", "-f", "--after", &seq, "--json"]);
        let mut follower = follower.stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(follower.stdout.take().context("no stdout")?).lines();
        configure(Some(bad))?;
        let mut told = lines.map_while(Result::ok).filter_map(|line| {
            serde_json::from_str::<Told>(&line).ok().filter(|told| told.kind == "service.reload")
        });
        let end = ["done", "rolled back", "cut short"];
        let last = told.find(|told| told.to.as_deref().is_some_and(|to| end.contains(&to)));
        follower.kill()?;
        follower.wait()?;
        configure(None)?;
        match last {
            Some(Told { to: Some(to), reason, .. }) if to == "rolled back" => Ok(reason),
            Some(Told { reason, .. }) => bail!("a bad version was not taken back: {reason}"),
            None => bail!("nothing was told of a bad version"),
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let ended = match self {
            Self::Ganger(ganger) => ganger.down(),
            Self::Pm2 { tools, home } => sh::capture(pm2(tools, home).arg("kill")).map(drop),
        };
        if let Err(error) = ended {
            println!("could not be ended: {error:#}");
        }
    }
}
