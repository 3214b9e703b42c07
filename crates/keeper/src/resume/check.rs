//! A binary is asked whether it can go on from here: run once as an ordinary child with a copy of the state on its stdin.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use ganger_core::SignalSource;
use ganger_sys::reap::Status;
use ganger_sys::spawn::{Spec, Started};
use rustix::fs::{FileType, Mode, OFlags};

use super::{Candidate, Stage};
use crate::keeper::{Keeper, say};
use crate::stdio;
use crate::wire::{Event, Offer, UpgradeNews, WIRE_VERSION, decode};

/// It reads a few MiB of JSON and writes a line; a cold disk may have to bring the program first.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// From a binary's answer to the daemon's `Upgrade`, which follows at once if it does.
const HELD_FOR: Duration = Duration::from_secs(10);
/// Kept of what it says.
const SAID: u64 = 16 << 10;
const SIGKILL: i32 = 9;

/// A binary that has not answered yet.
#[derive(Debug)]
pub(super) struct Checking {
    pub(super) pid: u32,
    /// `None` once its time is over and it was killed.
    pub(super) due: Option<Instant>,
    pidfd: OwnedFd,
    said: OwnedFd,
    candidate: Candidate,
}

impl Keeper {
    pub(super) fn start_check(&self, path: String, now: Instant) -> Result<Checking, String> {
        let told = |error: &io::Error| format!("{path}: {error}");
        let binary = open(&path)?;
        let state = self.image(&binary, None).and_then(|(image, _)| {
            ganger_sys::memfd::sealed("ganger-state", &super::image::encode(&image))
        });
        let state = state.map_err(|error| format!("my state can't be written: {error}"))?;
        let said = stdio::capture(SAID).map_err(|error| told(&error))?;
        // The child's own descriptors begin as a copy of these, so the number names the same file there.
        let program = format!("/proc/self/fd/{}", binary.as_raw_fd());
        let mut argv = self.own_command.argv.clone();
        argv.push("--can-resume".into());
        let texts: Result<Vec<CString>, _> = argv.into_iter().map(CString::new).collect();
        let texts = texts.map_err(|error| told(&error.into()))?;
        let program = CString::new(program).map_err(|error| told(&error.into()))?;
        let mut spec = Spec::new(program, texts);
        spec.env = environment().map_err(|error| told(&error))?;
        spec.fds = vec![(state.as_fd(), 0), (said.as_fd(), 1), (said.as_fd(), 2)];
        let started = spec.spawn().map_err(|error| format!("{path}: {error}"))?;
        let Started { pid, pidfd, .. } = started;
        let candidate = Candidate { binary, path, version: String::new() };
        Ok(Checking { pid, due: Some(now + ANSWER_WITHIN), pidfd, said, candidate })
    }

    pub(super) fn check_due(&mut self, now: Instant) {
        if matches!(self.upgrading.stage, Stage::Offered(_, until) if until <= now) {
            self.upgrading.stage = Stage::Idle;
        }
        if let Stage::Checking(checking) = &mut self.upgrading.stage
            && checking.due.is_some_and(|due| due <= now)
        {
            checking.due = None;
            // Gone in between: then its end says what is to be said.
            let _ = ganger_sys::pidfd::send_signal(&checking.pidfd, SIGKILL);
        }
    }

    /// The process that was asked has ended.
    pub(crate) fn on_checked(&mut self, status: Status, now: Instant) {
        let Stage::Checking(checking) = std::mem::take(&mut self.upgrading.stage) else { return };
        let Checking { due, said, candidate, .. } = checking;
        let path = &candidate.path;
        let answer = match (due, status.end(SignalSource::Ganger)) {
            (None, _) => Err(format!("{path} gave no answer within {} s", ANSWER_WITHIN.as_secs())),
            (Some(_), ganger_core::End::Exited { code: 0 }) => offered(path, &words(&said)),
            (Some(_), end) => {
                Err(format!("{path} can't go on from here ({end}): {}", words(&said)))
            }
        };
        match answer {
            Ok(offer) => {
                let version = offer.version.clone();
                let candidate = Candidate { version, ..candidate };
                self.upgrading.stage = Stage::Offered(candidate, now + HELD_FOR);
                self.tell(&Event::Upgrade { news: UpgradeNews::Offered { offer } }, Vec::new());
            }
            Err(why) => {
                say(&format!("no upgrade: {why}"));
                self.refuse_upgrade(why);
            }
        }
    }
}

/// A regular file that only its owner or root could have made, and that owner is root or this user: what runs becomes the
/// parent of everything.
fn open(path: &str) -> Result<OwnedFd, String> {
    let told = |errno: rustix::io::Errno| format!("{path}: {}", io::Error::from(errno));
    if !path.starts_with('/') {
        return Err(format!("{path:?} is not an absolute path"));
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let binary = rustix::fs::open(path, flags, Mode::empty()).map_err(told)?;
    let stat = rustix::fs::fstat(&binary).map_err(told)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(format!("{path} is no regular file"));
    }
    let mode = Mode::from_raw_mode(stat.st_mode);
    if !mode.intersects(Mode::XUSR | Mode::XGRP | Mode::XOTH) {
        return Err(format!("{path} is not executable; chmod +x"));
    }
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid != own && stat.st_uid != 0 {
        let uid = stat.st_uid;
        return Err(format!("{path} belongs to user {uid}; it has to be root's or user {own}'s"));
    }
    if mode.intersects(Mode::SUID | Mode::SGID) {
        return Err(format!("{path} would run as another user (chmod ug-s)"));
    }
    if mode.contains(Mode::WOTH) {
        return Err(format!("{path} can be written by everybody; chmod o-w"));
    }
    Ok(binary)
}

/// What it said, as one line.
fn words(said: &OwnedFd) -> String {
    let mut text = vec![0; SAID as usize];
    // The file's position is what was written, see `stdio::capture`.
    let written = rustix::fs::tell(said).unwrap_or(0);
    let got = rustix::io::pread(said, &mut text[..], 0).unwrap_or(0);
    text.truncate(got.min(usize::try_from(written).unwrap_or(0)));
    let lines = String::from_utf8_lossy(&text).into_owned();
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ")
}

fn offered(path: &str, said: &str) -> Result<Offer, String> {
    let offer: Offer = decode("its answer", said.as_bytes())
        .map_err(|_| format!("{path} is no ganger that can be upgraded to: it said {said:?}"))?;
    if offer.wire.abs_diff(WIRE_VERSION) > 1 {
        let (theirs, version) = (offer.wire, &offer.version);
        return Err(format!(
            "{path} (ganger {version}) speaks version {theirs} with its daemons, this keeper {WIRE_VERSION}: \
             go there by a version in between, or stop everything and start it with the other"
        ));
    }
    Ok(offer)
}

/// The keeper's own, as it was started.
pub(super) fn environment() -> io::Result<Vec<CString>> {
    use std::os::unix::ffi::OsStrExt;
    let entry = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let entry = [name.as_bytes(), b"=", value.as_bytes()].concat();
        CString::new(entry).map_err(io::Error::from)
    };
    std::env::vars_os().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_should_not_become_the_parent_of_everything_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ganger");
        let path = file.to_str().unwrap();
        let why = |path: &str| open(path).unwrap_err();
        assert!(why("ganger").contains("absolute"));
        assert!(why(path).contains("No such file"));
        assert!(why(dir.path().to_str().unwrap()).contains("no regular file"));
        fs::write(&file, "x").unwrap();
        let mode = |mode| fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert!(why(path).contains("not executable"));
        mode(0o4755);
        assert!(why(path).contains("another user"));
        mode(0o757);
        assert!(why(path).contains("by everybody"));
        mode(0o755);
        open(path).unwrap();
    }

    #[test]
    fn an_answer_that_is_none_and_one_of_another_time_are_refused() {
        assert!(offered("/bin/true", "").unwrap_err().contains("no ganger"));
        let offer = |wire| {
            let offer = Offer { version: "9.0.0".into(), wire, resume: 1, schema: 1 };
            offered("/x", &String::from_utf8(crate::wire::encode(&offer)).unwrap())
        };
        assert_eq!(offer(WIRE_VERSION + 1).unwrap().version, "9.0.0");
        assert!(offer(WIRE_VERSION + 2).unwrap_err().contains("9.0.0"));
    }
}
