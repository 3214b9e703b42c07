//! `ganger top` on a real terminal: a pty whose other end reads what is drawn and types keys.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop at what is wrong")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use ganger_testkit::TempDaemon;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::{SOON, TWO, folder, up};

/// Begins and ends the second screen, as terminals have it (xterm's ctlseqs).
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// A `top` and the terminal it runs on.
struct Top {
    child: Child,
    terminal: File,
    /// Kept open: the settings of a terminal are seen after the program has gone.
    inner: OwnedFd,
    seen: String,
}

impl Top {
    /// In a session of its own, whose terminal it is.
    fn start(it: &TempDaemon, env: &[(&str, &str)]) -> Self {
        let top = it.command(&["top"]);
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(top.get_program()).args(top.get_args());
        command.envs(top.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env_remove("NO_COLOR").env("TERM", "xterm-256color").envs(env.iter().copied());
        if let Some(folder) = top.get_current_dir() {
            command.current_dir(folder);
        }
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&outer).unwrap();
        unlockpt(&outer).unwrap();
        let path = ptsname(&outer, vec![]).unwrap();
        let inner: OwnedFd =
            File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap().into();
        tcsetwinsize(&outer, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })
            .unwrap();
        let mut settings = tcgetattr(&inner).unwrap();
        settings.local_modes |= LocalModes::ECHO | LocalModes::ICANON;
        tcsetattr(&inner, OptionalActions::Now, &settings).unwrap();
        let end = || Stdio::from(inner.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { child, terminal: File::from(outer), inner, seen: String::new() }
    }

    fn keys(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads until all of these words were drawn since the last call.
    fn until(&mut self, words: &[&str]) {
        let begin = Instant::now();
        let mut bytes = [0; 4_096];
        while !words.iter().all(|word| self.seen.contains(word)) {
            let left = SOON.saturating_sub(begin.elapsed());
            let mut wait = [PollFd::new(&self.terminal, PollFlags::IN)];
            let left = Timespec::try_from(left).unwrap();
            let ready = poll(&mut wait, Some(&left)).unwrap();
            assert!(ready > 0, "{words:?} is not among {:?}", self.seen);
            let n = self.terminal.read(&mut bytes).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
        self.seen.clear();
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(self.inner.as_fd()).unwrap().local_modes;
        !modes.intersects(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// How it ended, once the terminal was given back.
    fn ended(mut self) -> Option<i32> {
        self.until(&[LEAVE]);
        let code = self.child.wait().unwrap().code();
        assert!(!self.is_raw(), "the terminal is as before");
        code
    }
}

#[test]
fn services_are_seen_stopped_and_started_on_a_terminal() {
    let it = up(TWO);
    let mut top = Top::start(&it, &[]);
    top.until(&[ENTER, "counter", "idle", "running", "ganger top"]);
    assert!(top.is_raw());
    // The log of the selected one.
    top.keys("l");
    top.until(&["LOG of counter", "count"]);
    // Stopped after a yes only.
    top.keys("jx");
    top.until(&["stop idle?"]);
    top.keys("n");
    top.until(&["not done: stop idle"]);
    top.keys("x");
    top.until(&["stop idle?"]);
    top.keys("y");
    top.until(&["done: stop idle"]);
    assert_eq!(it.instance("idle", 1)["state"], "stopped");
    // Another size is drawn whole.
    let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&top.terminal, size).unwrap();
    top.until(&["THR"]);
    top.keys("q");
    assert_eq!(top.ended(), Some(0));
    let _ = it.ganger(&["down"]).with_code(0);
}

#[test]
fn a_daemon_that_goes_away_is_said_to_and_seen_again_and_signals_give_the_terminal_back() {
    let it = up(TWO);
    let mut top = Top::start(&it, &[("NO_COLOR", "1")]);
    top.until(&["counter", "running"]);
    let _ = it.ganger(&["down"]).with_code(0);
    top.until(&["DAEMON AWAY"]);
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    top.until(&["the daemon is back"]);
    let pid = rustix::process::Pid::from_child(&top.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(top.ended(), Some(128 + 15));
    let _ = it.ganger(&["down"]).with_code(0);
}

#[test]
fn without_a_terminal_it_names_what_does_without() {
    let it = folder();
    let said = it.ganger(&["top"]).with_code(2).err;
    assert!(
        said.contains("terminal") && said.contains("ganger ps") && said.contains("--json"),
        "{said}"
    );
}
