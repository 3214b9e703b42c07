//! The stories: who does what, and which rule has to notice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::stage::Stage;
use crate::sh;

/// One story.
pub(super) struct Story {
    /// The rule, and a letter where it has several.
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    /// Plays it; when its last act began.
    pub(super) play: fn(&mut Stage) -> Result<Instant>,
    /// Which call it was is known only to those who may read the kernel's log; to others it is a privilege attempt like any.
    needs_kernel_log: bool,
    /// The log is what was attacked, so it can't say so itself.
    pub(super) unrecorded: bool,
}

impl Story {
    pub(super) fn rule(&self, kernel_log: bool) -> &'static str {
        if self.needs_kernel_log && !kernel_log { "I08" } else { &self.id[..3] }
    }
}

const fn story(
    id: &'static str,
    what: &'static str,
    play: fn(&mut Stage) -> Result<Instant>,
) -> Story {
    Story { id, what, play, needs_kernel_log: false, unrecorded: false }
}

pub(super) const STORIES: &[Story] = &[
    story("I01", "somebody tries what works", |stage| again(stage, 10, &["nothing"])),
    story("I02", "a program that it never ran", |stage| {
        again(stage, 6, &["say", "--", "say"])?;
        stage.allowed(&["cat", "--", "{home}/ro/word"])
    }),
    story("I03", "a program is exchanged", |stage| {
        stage.allowed(&["tool", "--", "say"])?;
        exchange(stage)?;
        stage.act(&["tool", "--", "say"])
    }),
    story("I03r", "a program is exchanged while no daemon is there", |stage| {
        stage.allowed(&["tool", "--", "say"])?;
        let began = stage.behind_its_back(exchange)?;
        let said = stage.ganger(&["exec", "tool", "--", "say"])?;
        match said.status.code() {
            Some(6) => Ok(began),
            code => bail!(
                "it is run all the same: {code:?} {}",
                sh::last_lines(&String::from_utf8_lossy(&said.stderr), 2)
            ),
        }
    }),
    story("I04", "a form is probed for a shell", |stage| {
        stage.act(&["name", "--", "say", "x; id"])?;
        stage.act(&["name", "--", "say", "$(id)"])?;
        stage.act(&["name", "--", "say", "a\nb"])
    }),
    story("I05", "find is to run commands", |stage| {
        stage.act(&["find", "--", "{home}/ro", "-exec", "id", ";"])
    }),
    story("I05t", "tar is to run commands", |stage| {
        stage.act(&["tar", "--", "-c", "-f", "-", "--checkpoint-action=exec=id", "{home}/ro"])
    }),
    story("I06", "out of the folder by dots", |stage| {
        stage.act(&["cat", "--", "../../../../etc/shadow"])
    }),
    story("I06l", "out of the folder by a link", |stage| {
        stage.act(&["cat", "--", "{home}/ro/link"])
    }),
    story("I06p", "one secret place after the other", |stage| {
        stage.act(&["cat", "--", "/etc/shadow"])?;
        stage.act(&["cat", "--", "/root/.ssh/id_ed25519"])?;
        stage.act(&["cat", "--", "/proc/1/environ"])
    }),
    story("I07", "a library is to be loaded", |stage| {
        stage.act(&["say", "--env", "LD_PRELOAD=/tmp/x.so", "--", "say"])
    }),
    story("I08", "a namespace of its own", |stage| stage.act(&["act", "--", "act", "unshare"])),
    story("I08p", "another process is traced", |stage| stage.act(&["act", "--", "act", "ptrace"])),
    story("I08m", "a mount", |stage| stage.act(&["act", "--", "act", "mount"])),
    of_kernel_log("I10", "packets past the network", |stage| {
        stage.act(&["act", "--", "act", "packet"])
    }),
    of_kernel_log("I11", "code without a path", |stage| {
        stage.act(&["act", "--", "act", "execveat"])
    }),
    story("I12", "runs end at their limits", |stage| again(stage, 3, &["slow", "--", "slow"])),
    story("I13", "processes outlive their runs", |stage| {
        again(stage, 3, &["leave", "--", "leave"])
    }),
    story("I14", "a storm of requests", |stage| again(stage, 102, &["seldom", "--", "say"])),
    story("I15", "a stolen session in another program", |stage| {
        again(stage, 6, &["say", "--", "say"])?;
        let other = stage.path("other");
        fs::copy(std::fs::canonicalize(stage.binary())?, &other)?;
        let began = super::now();
        stage.command(&other, &["exec", "say", "--", "say"])?.output()?;
        Ok(began)
    }),
    story("I17", "a policy is changed where ganger keeps it", |stage| {
        stage.allowed(&["name", "--", "say", "x"])?;
        stage.behind_its_back(|stage| {
            let mut sql = Command::new("sqlite3");
            sql.arg(stage.path(".ganger/state.db")).arg(WIDEN);
            sh::capture(&mut sql).context("sqlite3 changes the store").map(drop)
        })
    }),
    Story {
        unrecorded: true,
        ..story("I18", "a line of the audit log is changed", |stage| {
            stage.act(&["nothing"])?;
            stage.allowed(&["say", "--", "say"])?;
            stage.behind_its_back(forge)
        })
    },
    story("I19", "a layer of the sandbox is gone", |stage| {
        stage.allowed(&["build", "--", "say"])?;
        stage.down()?;
        stage.up(&[("GANGER_NO_LAYERS", "landlock")])?;
        stage.allowed(&["build", "--", "say"])
    }),
    story("I20", "a key is printed", |stage| stage.allowed(&["cat", "--", "{home}/ro/key"])),
];

/// Lets every argument pass that the policy `name` has a pattern for.
const WIDEN: &str = "UPDATE desired SET value = CAST(replace(CAST(value AS TEXT), '[a-z]+', '[ -~]+') AS BLOB) WHERE key = 'config'";

const fn of_kernel_log(
    id: &'static str,
    what: &'static str,
    play: fn(&mut Stage) -> Result<Instant>,
) -> Story {
    Story { needs_kernel_log: true, ..story(id, what, play) }
}

fn again(stage: &Stage, times: u32, words: &[&str]) -> Result<Instant> {
    let mut last = super::now();
    for _ in 0..times {
        last = stage.act(words)?;
    }
    Ok(last)
}

/// Another file under the tool's name, at once.
fn exchange(stage: &Stage) -> Result<()> {
    let new = stage.path("tool.new");
    let mut program = fs::read(stage.path("story"))?;
    program.extend_from_slice(b"exchanged");
    fs::write(&new, program)?;
    fs::set_permissions(&new, PermissionsExt::from_mode(0o755))?;
    Ok(fs::rename(new, stage.path("tool"))?)
}

/// One letter of a record, as somebody would who wants a denial to be of something else.
fn forge(stage: &Stage) -> Result<()> {
    for entry in fs::read_dir(stage.path(".ganger/audit"))? {
        let path = entry?.path();
        let bytes = fs::read(&path)?;
        let text = String::from_utf8_lossy(&bytes);
        if text.contains("\"event\":\"denied\"") {
            return Ok(fs::write(
                &path,
                text.replacen("\"policy\":\"nothing\"", "\"policy\":\"nothinG\"", 1),
            )?);
        }
    }
    bail!("no denial stands in the log")
}
