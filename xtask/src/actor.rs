//! Who plays where a real ganger is tried by many commands, and what a command of theirs says.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Serialize;

use crate::sh;

/// `nobody`.
pub(crate) const USER: u32 = 65_534;
/// Bytes at the beginning of what is said that are read.
const BEGINNING: u64 = 1 << 20;
/// And at the end of a flood.
const END: u64 = 64 << 10;

/// Who plays, and runs ganger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum As {
    Root,
    User,
}

impl As {
    /// Those who are wanted, as far as whoever runs this can be them: by default all.
    pub(crate) fn wanted(wish: &[Self]) -> Result<Vec<Self>> {
        Ok(match (wish, rustix::process::geteuid().is_root()) {
            ([], true) => vec![Self::Root, Self::User],
            ([], false) => vec![Self::User],
            (some, true) => some.to_vec(),
            ([Self::User], false) => vec![Self::User],
            (_, false) => bail!("only root can play as root"),
        })
    }

    /// Has a command be run by it. Only root can have somebody else run it, so only then is there anything to do.
    pub(crate) fn dress(user: bool, command: &mut Command) {
        if user {
            command.uid(USER).gid(USER);
        }
    }
}

/// What a command said and how it ended.
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) code: Option<i32>,
    /// It had not ended at the deadline: nobody but us ended it.
    pub(crate) hung: bool,
}

impl Said {
    /// Runs a command to its end, or to the deadline. What it says goes through the file `out`: of what floods only the beginning and
    /// the end are read.
    pub(crate) fn by(mut command: Command, out: &Path, deadline: Duration) -> Result<Self> {
        let file = fs::File::create(out)?;
        command.stdout(file.try_clone()?).stderr(file);
        let short: String = sh::shown(&command).chars().take(200).collect();
        let mut child = command.spawn().with_context(|| format!("could not start `{short}`"))?;
        let hung = !ends(&child, deadline)?;
        if hung {
            child.kill()?;
        }
        let code = child.wait()?.code();
        let (mut bytes, mut file) = (Vec::new(), fs::File::open(out)?);
        (&mut file).take(BEGINNING).read_to_end(&mut bytes)?;
        let far = file.metadata()?.len().saturating_sub(END);
        if far > BEGINNING {
            file.seek(SeekFrom::Start(far))?;
            file.read_to_end(&mut bytes)?;
        }
        Ok(Self { text: String::from_utf8_lossy(&bytes).into_owned(), code, hung })
    }

    pub(crate) fn has_line(&self, line: &str) -> bool {
        self.text.lines().any(|said| said.trim() == line)
    }
}

fn ends(child: &Child, deadline: Duration) -> Result<bool> {
    let pid = Pid::from_raw(child.id().cast_signed()).context("a process has a number")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let timeout = Timespec { tv_sec: i64::try_from(deadline.as_secs())?, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))? > 0)
}
