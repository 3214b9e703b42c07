//! Where limits are measured: the greedy program, and a daemon with a policy for each thing it is greedy for.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Ended, POLICIES};
use crate::ganger::Ganger;
use crate::sh;

const PROGRAM: &str = include_str!("greedy.c");

pub(super) struct Stage {
    folder: tempfile::TempDir,
    ganger: Ganger,
}

impl Stage {
    /// `base`: a folder whose parents nobody but this user may change, as policies want it.
    pub(super) fn new(base: &Path, binary: &Path, cgroups: bool) -> Result<Self> {
        fs::create_dir_all(base)?;
        let folder = tempfile::Builder::new().prefix("limits-").tempdir_in(base)?;
        let path = folder.path();
        fs::write(path.join("greedy.c"), PROGRAM)?;
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-o"]).arg(path.join("greedy")).arg(path.join("greedy.c"));
        sh::capture(&mut cc).context("what is limited is written in C")?;
        let home = path.join("home");
        fs::create_dir(&home)?;
        fs::write(home.join("ganger.toml"), config(&path.join("greedy"))?)?;
        let mut ganger = Ganger::new(binary.to_owned(), home);
        if !cgroups {
            ganger = ganger.with_env("GANGER_NO_CGROUP", "1");
        }
        ganger.up()?;
        Ok(Self { folder, ganger })
    }

    /// One run under a policy, to its end.
    pub(super) fn exec(&self, policy: &str) -> Result<Ended> {
        let (_, words, _) =
            POLICIES.iter().find(|(name, ..)| *name == policy).context("a known policy")?;
        let args = [&["exec", policy, "--json", "--"], *words].concat();
        let out = sh::output(&mut self.ganger.verb(&args))?;
        let text = String::from_utf8(out.stdout)?;
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        let ended: Ended = serde_json::from_str(&text).with_context(|| {
            format!("`ganger exec {policy}` said: {text}{}", sh::last_lines(&said, 3))
        })?;
        Ok(Ended { said, ..ended })
    }

    /// Processes of the greedy program.
    pub(super) fn alive(&self) -> usize {
        let program = self.folder.path().join("greedy").display().to_string();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids =
            entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
        let lines = pids.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| line.starts_with(program.as_bytes())).count()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = self.ganger.down() {
            println!("{error:#}");
        }
    }
}

/// More processes want to run than there are processors, the measured one not counted.
pub(super) fn is_busy() -> bool {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|load| load.parse::<f64>().ok());
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    load.is_none_or(|load| load >= processors as f64)
}

fn config(program: &Path) -> Result<String> {
    let mut text = "version = 1\n".to_owned();
    for (name, words, limits) in POLICIES {
        let (first, rest) = words.split_first().context("a policy has words")?;
        let program = program.display();
        write!(
            text,
            "[policy.{name}]\nprogram = \"{program}\"\ndashes = false\nsandbox = \"strict\"\nsubcommand = [\"{first}\"]\n\
             args = {rest:?}\nlimits = {{ {limits} }}\n"
        )?;
    }
    Ok(text)
}
